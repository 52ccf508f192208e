"""Fill the holes of a map: the pipeline from map and mask to a whole sky.

A fill method gives, for a map with holes, a mean of what can be in them. Where that mean is linear
in the data and knows the prior, a sample of the posterior is z + W (d - M z) with z a sky drawn
from the prior (Hoffman & Ribak 1991): z is drawn once for the whole sphere, so tiles that overlap
agree, and its small scales come straight from the harmonics at the pixel centres.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from skyfill._checks import nside_of
from skyfill._progress import Progress, Silent
from skyfill.diffuse import diffuse
from skyfill.flatsky import TileField
from skyfill.healpix import pixel_directions
from skyfill.masks import find_holes
from skyfill.mosaic import FlatEngine, Mosaic, MosaicConfig, TileMean
from skyfill.prior import Prior, draw, fit

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = ["METHODS", "Fill", "Inpainter", "describe_prior"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

METHODS = ("vae", "diffuse")


class Fill(Protocol):
    """What the pipeline asks of a fill method."""

    #: Whether the mean is that of a posterior, so that realizations can be made from it.
    posterior: bool

    def mean(self, values: Map) -> Map:
        """Give the mean in the holes, ``(nhole,)`` in RING order; values there are not read."""


class Diffuse:
    """Neighbour means until they stand still: what people use today."""

    posterior = False

    def __init__(self, observed: Mask, *, progress: Progress) -> None:
        self._observed = observed
        self._progress = progress

    def mean(self, values: Map) -> Map:
        """Give the Laplace fill of the holes."""
        self._progress.stage("diffuse")
        filled = diffuse(values, self._observed)
        self._progress.done()
        return np.asarray(filled[~self._observed])


class Inpainter:
    """Fill one map, once or many times.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING; NaN where missing.
    observed
        ``(npix,)``, RING, True where observed; missing pixels are added to the holes, with a
        warning.
    method
        ``vae`` or ``diffuse``.
    prior
        What the map is made of; fitted to its observed part if not given (not used by ``diffuse``).
    seed
        Of the realizations.
    weights
        File of weights for ``vae``; the shipped ones if not given.
    refine
        Exact steps after the network, on each tile, at most.
    device, batch_size, threads
        Where and how tiles are filled; they change nothing but rounding.
    config
        How the sphere is divided into tiles.
    progress
        Told of every stage.

    Attributes
    ----------
    holes
        ``(npix,)``, RING, True where the map is filled.
    prior
        The prior in use; None for a method that has none.
    card
        The model card of the weights in use; None without a network.

    Raises
    ------
    ValueError
        Map and mask do not fit, nothing is observed or nothing is missing, or the method, device or
        weights are not to be had.
    """

    def __init__(
        self,
        values: Map,
        observed: Mask,
        *,
        method: str = "vae",
        prior: Prior | None = None,
        seed: int = 0,
        weights: str | Path | None = None,
        refine: int = 40,
        device: str = "auto",
        batch_size: int = 64,
        threads: int = 0,
        config: MosaicConfig | None = None,
        progress: Progress | None = None,
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
        self._progress = progress or Silent()
        self._seed = seed
        self._threads = threads
        self.holes = find_holes(values, observed)
        seen = ~self.holes
        self.card: ModelCard | None = None
        self._template = _Dipole(values, seen)
        self._values = self._template.removed(values)
        self._values[self.holes] = 0.0
        self.prior = prior
        if method == "diffuse":
            self.prior = None
            self._fill: Fill = Diffuse(seen, progress=self._progress)
            return
        if self.prior is None:
            self._progress.stage("prior")
            self.prior = fit(self._values, seen, threads=threads)
            self._progress.done(describe_prior(self.prior))
        engine, self.card = _engine(weights, refine, device, batch_size, threads)
        self._fill = Mosaic(
            seen, self.prior, engine, config=config, threads=threads, progress=self._progress
        )

    @property
    def stochastic(self) -> bool:
        """Whether `realization` gives posterior samples, not the same fill again."""
        return self._fill.posterior

    def mean(self) -> Map:
        """Give the posterior mean (or the one fill of a method that has no posterior).

        Returns
        -------
        ``(nhole,)``, µK, in RING order of `holes`.
        """
        return self._fill.mean(self._values) + self._template.at(self.holes)

    def realization(self, index: int = 0) -> Map:
        """Draw a sample of the posterior: full power in the holes.

        Parameters
        ----------
        index
            Which sample; with the seed it says all.

        Returns
        -------
        ``(nhole,)``, µK, in RING order of `holes`.

        Raises
        ------
        ValueError
            The method has no posterior.
        """
        if self.prior is None:
            raise ValueError("diffuse has no realizations; use --method vae, or one --mean fill")
        self._progress.stage("latent sky")
        latent = draw(self.prior, seed=self._seed, index=index, aliased=True, threads=self._threads)
        # z has no part in what was taken out of d before.
        latent = _Dipole(latent, ~self.holes).removed(latent)
        self._progress.done(f"seed {self._seed}, index {index}")
        prior_part = latent[self.holes]
        np.subtract(self._values, latent, out=latent)
        return prior_part + self._fill.mean(latent) + self._template.at(self.holes)


def describe_prior(prior: Prior) -> str:
    """Say in one line what a prior is."""
    how = "fitted" if prior.fitted else "given"
    beam, effective = (math.degrees(x) * 60 for x in (prior.fwhm, prior.effective_fwhm))
    window = f" ({effective:.2f} with the pixel window)" if prior.pixel_window else ""
    text = f"{how}: beam {beam:.2f} arcmin{window}, noise {prior.noise_uk_arcmin:.1f} uK.arcmin"
    return text + (f", power x {prior.calibration:.3f}" if prior.calibration != 1 else "")


def _engine(
    weights: str | Path | None, refine: int, device: str, batch_size: int, threads: int
) -> tuple[FlatEngine, ModelCard]:
    """Make what fills tiles; torch is loaded here and not before."""
    from skyfill import vae

    vae.pick_device(device, threads=threads)
    network, card = vae.load(weights)

    def engine(
        cl: Map, *, side: int, pixel: float, share: bool, sky_pixel: float, guard: int
    ) -> TileMean:
        return vae.TileFiller(
            network,
            TileField.of(cl, side=side, pixel=pixel, share=share, sky_pixel=sky_pixel),
            guard=guard,
            refine=refine,
            batch_size=batch_size,
            device=device,
        )

    return engine, card


class _Dipole:
    """Monopole and dipole of the observed sky, which no prior speaks of."""

    def __init__(self, values: Map, observed: Mask) -> None:
        self._nside = nside_of(values.size, "map")
        normal, right = np.zeros((4, 4)), np.zeros(4)
        for part in self._parts(values.size):
            seen = np.flatnonzero(observed[part]) + part.start
            modes = self._modes(seen)
            normal += modes.T @ modes
            right += modes.T @ values[seen]
        # A sky too small to tell them apart gets the smallest that fit.
        self._amplitude = np.linalg.lstsq(normal, right, rcond=1e-8)[0]

    def _modes(self, pixels: NDArray[np.int64]) -> Map:
        return np.column_stack([np.ones(pixels.size), pixel_directions(self._nside, pixels)])

    def _parts(self, npix: int) -> list[slice]:
        return [slice(i, min(i + 2**20, npix)) for i in range(0, npix, 2**20)]

    def removed(self, values: Map) -> Map:
        """Give a copy of the map without them."""
        out = np.array(values, dtype=np.float64)
        for part in self._parts(out.size):
            out[part] -= self._modes(np.arange(part.start, part.stop)) @ self._amplitude
        return out

    def at(self, holes: Mask) -> Map:
        """Give their values at the pixels of a mask, in RING order."""
        pixels = np.flatnonzero(holes)
        parts = self._parts(pixels.size)
        return np.concatenate([self._modes(pixels[part]) @ self._amplitude for part in parts])
