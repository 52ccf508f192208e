"""Complete a partly given prior: from another prior, by a fit, or by assumptions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.healpix.arrays import pair_of
from skyfill.healpix.stokes import nside_of
from skyfill.prior.beam import Beam, as_beam
from skyfill.prior.dipole import Dipole
from skyfill.prior.fitting import FROM_MAP, fit
from skyfill.prior.model import LCDM, NUMBERS, Prior, lcdm

__all__ = ["Given", "as_given", "for_map"]

Map = NDArray[np.float64]


def for_map(
    prior: Prior | Given | None, values: Map, observed: NDArray[np.bool_], *, threads: int = 0
) -> Prior:
    """Give the prior of a map: as given, completed by a fit, or wholly fitted.

    Parameters
    ----------
    prior
        A whole prior, a partly given one, or None.
    values, observed, threads
        As for `Given.of_map`.

    Raises
    ------
    ValueError
        As `Given.of_map`.
    """
    return as_given(prior).of_map(values, observed, threads=threads)


def as_given(prior: object) -> Given:
    """Convert a whole prior, a partly given one or None to `Given`.

    Raises
    ------
    ValueError
        The prior is of another type.
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
    """A partly given prior; the numbers that are None are fitted to the map.

    Attributes
    ----------
    cl
        ``(lmax + 1,)``, µK²; Planck-2018 ΛCDM if None; fitted to the map if ``"map"``.
    fwhm
        Full width at half maximum of the Gaussian beam, radians.
    beam
        A tabulated beam in place of the Gaussian: a `Beam`, or b_l from l = 0.
    noise_uk_arcmin
        White noise, µK·arcmin.
    pixel_window
        Whether the map includes the HEALPix pixel window.
    theory
        Name of ``cl``.
    base
        A whole prior that gives the numbers which are None above.
    fit
        Whether the remaining numbers are fitted. Otherwise no beam and no noise are assumed.

    Raises
    ------
    ValueError
        ``base`` is no prior, or the spectrum is to be fitted and either nothing is to be fitted or
        there is a ``base``.
    """

    __repr__ = brief

    cl: Map | Literal["map"] | None = field(default=None, repr=False)
    fwhm: float | None = None
    noise_uk_arcmin: float | None = None
    pixel_window: bool | None = None
    theory: str = Prior.theory
    base: Prior | None = None
    fit: bool = True
    beam: Beam | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "beam", as_beam(self.beam))
        if self.beam is not None and self.fwhm is not None:
            raise ValueError("`fwhm` and `beam` are two beams: give one of them")
        if self.base is not None and not isinstance(self.base, Prior):
            raise ValueError(
                f"base must be a skyfill.Prior, got {type(self.base).__name__}; a file of one is"
                " by skyfill.prior.read_prior"
            )
        if not isinstance(self.cl, str):
            return
        if self.cl != "map":
            raise ValueError(f"`cl` must be a spectrum, or `cl='map'`, got {self.cl!r}")
        if self.base is not None or not self.fit:
            other = "`prior`" if self.base is not None else "`no_fit`"
            raise ValueError(f"`cl='map'` fits a spectrum to the map; drop {other}")

    @property
    def named(self) -> str:
        """Name of the spectrum in use."""
        if self.cl is not None:
            return FROM_MAP if isinstance(self.cl, str) else self.theory
        return LCDM if self.base is None else self.base.theory

    @property
    def fits(self) -> bool:
        """Whether anything has to be fitted to a map."""
        open_ended = (self.fwhm is None and self.beam is None) or self.noise_uk_arcmin is None
        return self.base is None and self.fit and (open_ended or isinstance(self.cl, str))

    def complete(self, nside: int) -> Prior | None:
        """Give the prior of a map of this Nside; None if a fit is needed.

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
        """Give the prior of a map, with missing numbers fitted.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING, with any monopole and dipole. Unobserved pixels are not read.
        observed
            ``(npix,)``, RING, True where observed.
        threads
            Threads of the transforms; 0 for all cores.

        Raises
        ------
        ValueError
            As for `complete`, or no pixel is observed.
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
        """Fit the missing numbers to a map without monopole and dipole; see `fit`."""
        found = fit(
            values,
            observed,
            cl=self.cl,
            fwhm=self.fwhm,
            noise_uk_arcmin=self.noise_uk_arcmin,
            pixel_window=self.pixel_window,
            beam=self.beam,
            threads=threads,
        )
        return found if found.theory in (LCDM, FROM_MAP) else replace(found, theory=self.theory)

    def _onto(self, base: Prior, nside: int) -> Prior:
        """Replace numbers of a prior by the given ones."""
        if base.nside != nside:
            raise ValueError(
                f"the prior has Nside {base.nside}, the map has Nside {nside}; give a prior that"
                " was fitted at the map's Nside"
            )
        names = ("cl", "fwhm", "noise_uk_arcmin", "pixel_window")
        chosen = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.beam is not None:
            chosen |= {"beam": self.beam, "fwhm": 0.0}
        elif self.fwhm is not None:
            chosen["beam"] = None
        if not chosen:
            return base
        assumed: set[str] = set()
        if "fwhm" in chosen and self.pixel_window is None:
            # A fitted beam may include the pixel window; the beam of an instrument does not.
            chosen["pixel_window"] = True
            assumed = {"pixel_window"}
        kept: dict[str, Any] = {
            origin: tuple(name for name in getattr(base, origin) if name not in chosen)
            for origin in ("fitted", "recorded", "assumed")
        }
        kept["assumed"] += tuple(assumed)
        if self.cl is not None:
            chosen["theory"] = self.theory
        if "cl" in chosen and base.extra_cl.size:  # it was what the other spectrum lacked
            chosen["extra_cl"] = np.zeros(0)
        return replace(base, quality=None, **chosen, **kept)
