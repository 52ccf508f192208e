"""Make what fills tiles from files of weights; torch is loaded here and not before."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skyfill.cosmovae.tilefill import TileFill
from skyfill.flatsky import TileField
from skyfill.healpix.stokes import nside_of
from skyfill.mosaic import FlatEngine, TileMean
from skyfill.progress import Progress

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = ["published_fills", "tile_engine"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Residual of the probes of `TileFiller` at which its steps end: single tiles keep up to ten times
#: as much, and their error in the holes is a few per cent.
_GOOD = 5e-4


def published_fills(
    seen: Mask,
    holes: Mask | None,
    files: list[str | Path],
    device: str,
    batch_size: int | None,
    progress: Progress,
) -> tuple[list[TileFill], ModelCard]:
    """Make the fills of one CosmoVAE or several."""
    from skyfill import cosmovae

    fills, cards = [], []
    for file in files or cosmovae.shipped():
        network, card = cosmovae.load(file)
        about = card.training
        nside, trained = nside_of(seen, "observed"), about.get("nside")
        if trained not in (None, nside):
            warnings.warn(
                f"{card.name} was trained at Nside {trained}, the map has Nside {nside}; train "
                "weights with skyfill train (`model='cosmovae'`)",
                stacklevel=3,
            )
        boxes = about["projection"] == "cartesian"
        engine = cosmovae.CosmoFiller(network, card, device=device, batch_size=batch_size or 8)
        pixel = 600 / about["size"] if boxes else about["pixel_arcmin"]
        fills.append(
            TileFill(
                seen,
                engine,
                holes=holes,
                side=about["size"],
                pixel_arcmin=pixel,
                boxes=boxes,
                progress=progress,
            )
        )
        cards.append(card)
    return fills, cards[0]


def tile_engine(
    files: list[str | Path],
    network: bool,
    refine: int,
    device: str,
    batch_size: int | None,
    threads: int,
) -> tuple[FlatEngine, ModelCard | None]:
    """Make what fills the tiles of a mosaic, with or without the network."""
    from skyfill import vae

    vae.pick_device(device, threads=threads)
    if len(files) > 1:
        raise ValueError("vae has one file of weights, cosmovae may have several; pass one")
    first, card = vae.load(files[0] if files else None) if network else (None, None)

    def engine(
        cl: Map, *, side: int, pixel: float, share: bool, sky_pixel: float, guard: int
    ) -> TileMean:
        return vae.TileFiller(
            first,
            TileField.of(cl, side=side, pixel=pixel, share=share, sky_pixel=sky_pixel),
            guard=guard,
            refine=refine,
            tolerance=_GOOD,
            batch_size=batch_size,
            device=device,
        )

    return engine, card
