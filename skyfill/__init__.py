"""Fill the holes of a HEALPix sky map.

Nouns and verbs that explain themselves live here (`skyfill.read_map`); verbs that need their room's
name to be understood are reached through it (`skyfill.tiling.cut`). Nothing is imported before it is
used: ``import skyfill`` loads neither numpy nor healpy, numba or torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skyfill import (
        blending,
        diffuse,
        harmonics,
        healpix,
        inpaint,
        maps,
        masks,
        prior,
        simulate,
        spectra,
        tiling,
        vae,
    )
    from skyfill._progress import Progress, Silent
    from skyfill.maps import MapInfo, SkyMap, describe, read_map, write_filled, write_map
    from skyfill.masks import (
        Holes,
        discs,
        distance_to_edge,
        fill_islands,
        galactic_cut,
        grow,
        label_holes,
        read_catalogue,
        read_mask,
    )
    from skyfill.prior import Prior, gaussian_beam, lcdm, read_cl
    from skyfill.simulate import simulate_mask, simulate_sky
    from skyfill.spectra import SpectrumComparison
    from skyfill.tiling import Layout, read_tile, write_tile

    __version__: str

# name -> room it lives in; a room is listed with itself. No name may equal a room's: importing the
# room would silently put the module in the function's place.
_HOMES = {
    "Progress": "_progress",
    "Silent": "_progress",
    # files
    "MapInfo": "maps",
    "SkyMap": "maps",
    "describe": "maps",
    "read_map": "maps",
    "write_filled": "maps",
    "write_map": "maps",
    # holes
    "Holes": "masks",
    "discs": "masks",
    "distance_to_edge": "masks",
    "fill_islands": "masks",
    "galactic_cut": "masks",
    "grow": "masks",
    "label_holes": "masks",
    "read_catalogue": "masks",
    "read_mask": "masks",
    # tiles
    "Layout": "tiling",
    "read_tile": "tiling",
    "write_tile": "tiling",
    # statistics of the sky
    "Prior": "prior",
    "SpectrumComparison": "spectra",
    "gaussian_beam": "prior",
    "lcdm": "prior",
    "read_cl": "prior",
    "simulate_mask": "simulate",
    "simulate_sky": "simulate",
}
_ROOMS = (
    "blending",
    "diffuse",
    "harmonics",
    "healpix",
    "inpaint",
    "maps",
    "masks",
    "prior",
    "simulate",
    "spectra",
    "tiling",
    "vae",
)

__all__ = [*_HOMES, *_ROOMS]  # noqa: PLE0604 (both hold strings)

if not TYPE_CHECKING:  # hidden from type checkers, which would accept any name otherwise

    def __getattr__(name: str) -> object:
        """Import the room of ``name`` on first use."""
        from importlib import import_module, metadata  # noqa: PLC0415

        if name == "__version__":
            value = metadata.version("skyfill")
        elif name in _HOMES:
            value = getattr(import_module(f"skyfill.{_HOMES[name]}"), name)
        elif name in _ROOMS:
            value = import_module(f"skyfill.{name}")
        else:
            raise AttributeError(f"module 'skyfill' has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted([*__all__, "__version__"])
