"""Complete what is given of a prior: from another prior, by a fit, or by what is assumed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.healpix.arrays import pair_of
from skyfill.healpix.stokes import nside_of
from skyfill.prior.dipole import Dipole
from skyfill.prior.fitting import fit
from skyfill.prior.model import LCDM, NUMBERS, Prior, lcdm

__all__ = ["Given", "as_given", "for_map"]

Map = NDArray[np.float64]


def for_map(
    prior: Prior | Given | None, values: Map, observed: NDArray[np.bool_], *, threads: int = 0
) -> Prior:
    """Give the prior of a map: as it is, completed by a fit, or all of it fitted.

    Parameters
    ----------
    prior
        What is known of it.
    values, observed, threads
        As for `Given.of_map`.

    Raises
    ------
    ValueError
        As `Given.of_map`.
    """
    return as_given(prior).of_map(values, observed, threads=threads)


def as_given(prior: object) -> Given:
    """Take a whole prior, what is known of one, or nothing.

    Raises
    ------
    ValueError
        It is something else.
    """
    if prior is None:
        return Given()
    if isinstance(prior, Prior):
        return Given(base=prior)
    if not isinstance(prior, Given):
        raise ValueError(  # noqa: TRY004 (as all that does not fit)
            f"prior must be a skyfill.Prior, got {type(prior).__name__}; a spectrum makes one: "
            "skyfill.Prior(nside, cl, fwhm=..., noise_uk_arcmin=...)"
        )
    return prior


@dataclass(frozen=True)
class Given:
    """What is known of a prior beforehand; what is not is fitted to the map.

    Attributes
    ----------
    cl
        ``(lmax + 1,)``, µK²; Planck-2018 ΛCDM if not given.
    fwhm
        Of the Gaussian beam, radians.
    noise_uk_arcmin
        White noise.
    pixel_window
        Whether the sky was averaged over its pixels.
    theory
        Name of ``cl``.
    base
        A whole prior, of which the numbers above replace their own.
    fit
        Whether the rest is fitted; if not, it is assumed: no beam, no noise.
    """

    cl: Map | None = field(default=None, repr=False)
    fwhm: float | None = None
    noise_uk_arcmin: float | None = None
    pixel_window: bool | None = None
    theory: str = Prior.theory
    base: Prior | None = None
    fit: bool = True

    def __post_init__(self) -> None:
        if self.base is not None and not isinstance(self.base, Prior):
            raise ValueError(
                f"base must be a skyfill.Prior, got {type(self.base).__name__}; a file of one is"
                " read by skyfill.prior.read_prior"
            )

    @property
    def named(self) -> str:
        """Name of the spectrum that holds."""
        if self.cl is not None:
            return self.theory
        return LCDM if self.base is None else self.base.theory

    @property
    def fits(self) -> bool:
        """Whether anything has to be fitted to a map."""
        open_ended = self.fwhm is None or self.noise_uk_arcmin is None
        return self.base is None and self.fit and open_ended

    def complete(self, nside: int) -> Prior | None:
        """Give the prior of a map of this Nside; None where it takes a fit.

        Raises
        ------
        ValueError
            ``base`` has another Nside, or a number is impossible.
        """
        if self.fits:
            return None
        bare = self.base or Prior(nside, lcdm(), theory=LCDM, assumed=NUMBERS)
        return self._onto(bare, nside)

    def of_map(self, values: Map, observed: NDArray[np.bool_], *, threads: int = 0) -> Prior:
        """Give the prior of a map, fitted as far as it is not given.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING, with any monopole and dipole. Unobserved pixels are not read.
        observed
            ``(npix,)``, RING, True where observed.
        threads
            Of the transforms; 0 for all.

        Raises
        ------
        ValueError
            As `complete`, or no pixel is observed.
        """
        values, observed = pair_of(values, observed, taker="prior.fit")
        known = self.complete(nside_of(values, "values"))
        if known is not None:
            return known
        observed = observed & np.isfinite(values)
        if not observed.any():
            raise ValueError("no pixel is observed: there is nothing to fit a prior to")
        clean = np.where(observed, values, 0.0)
        dipole = Dipole(observed, threads=threads)
        clean -= np.where(observed, dipole.of(clean), 0.0)
        return self.fitted_to(clean, observed, threads=threads)

    def fitted_to(self, values: Map, observed: NDArray[np.bool_], *, threads: int = 0) -> Prior:
        """Fit what is not given to a map without monopole and dipole; see `fit`."""
        found = fit(
            values,
            observed,
            cl=self.cl,
            fwhm=self.fwhm,
            noise_uk_arcmin=self.noise_uk_arcmin,
            pixel_window=self.pixel_window,
            threads=threads,
        )
        return found if self.cl is None else replace(found, theory=self.theory)

    def _onto(self, base: Prior, nside: int) -> Prior:
        """Replace the numbers of a prior by those that are given."""
        if base.nside != nside:
            raise ValueError(
                f"the prior has Nside {base.nside}, the map has Nside {nside}; give a prior that"
                " was fitted at the map's Nside"
            )
        names = ("cl", "fwhm", "noise_uk_arcmin", "pixel_window")
        chosen = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if not chosen:
            return base
        assumed: set[str] = set()
        if self.fwhm is not None and self.pixel_window is None:
            # A fitted beam may hold the pixel window; an instrument's beam does not.
            chosen["pixel_window"] = True
            assumed = {"pixel_window"}
        kept: dict[str, Any] = {
            origin: tuple(name for name in getattr(base, origin) if name not in chosen)
            for origin in ("fitted", "recorded", "assumed")
        }
        kept["assumed"] += tuple(assumed)
        if self.cl is not None:
            chosen["theory"] = self.theory
        return replace(base, **chosen, **kept)
