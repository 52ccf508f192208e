"""The prior of a sky: spectrum, beam, pixel window and noise.

The model of a map is d = M (T + n), where M is the mask, T a Gaussian field with spectrum
C_l b_l² p_l² and n white noise. A `Prior` holds these four; it is given, or fitted to the observed
sky.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from numbers import Real
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skyfill.brief import card
from skyfill.healpix.checks import check_angle, check_nside, check_whole
from skyfill.prior.beam import Beam, as_beam
from skyfill.prior.portrait import draw_spectra
from skyfill.prior.quality import Quality

__all__ = [
    "ARCMIN",
    "LCDM",
    "NUMBERS",
    "Prior",
    "gaussian_beam",
    "heard_lmax",
    "lcdm",
    "pixel_window",
    "shipped",
]

ARCMIN = math.pi / 180 / 60
LCDM = "Planck 2018 LCDM"
"""Name of the shipped spectrum, which is the default."""
NUMBERS = ("cl", "fwhm", "pixel_window", "noise_uk_arcmin", "calibration")
"""Names of the attributes of a prior that are given, fitted or assumed."""
#: Most characters of the spectrum's name in a repr.
_NAME = 60
_TABLE = "lcdm_planck2018.npz"
#: Largest share of the signal's variance that may be lost beyond the largest drawn multipole.
_LOST = 1e-5
#: Variance of all signal beyond `heard_lmax`, in units of the noise's.
_HIDDEN = 1e-5
MOST = 4.5
"""Largest multipole of the signal on a map, in units of its Nside."""


@lru_cache(maxsize=4)
def shipped(name: str) -> dict[str, NDArray[np.float64]]:
    """Read a table of numbers from the data of the package."""
    path = resources.files("skyfill").joinpath("data", name)
    with path.open("rb") as file, np.load(file) as table:
        return {key: table[key] for key in table.files}


def heard_lmax(power: NDArray[np.float64], noise: float) -> int:
    """Give the multipole beyond which all signal together is nothing beside the noise.

    Parameters
    ----------
    power
        ``(lmax + 1,)``, variance of the signal by multipole.
    noise
        Variance of the noise in a pixel, in the same units.

    Returns
    -------
    At least 2, or lmax. Without noise it is the last multipole that has signal, and lmax if the
    noise is NaN.
    """
    left = np.cumsum(power[::-1])[::-1]
    heard = np.flatnonzero(~(left <= _HIDDEN * noise))  # all, if the noise is NaN
    return min(max(int(heard[-1]) if heard.size else 0, 2), power.size - 1)


def lcdm(
    lmax: int | None = None, spectrum: Literal["TT", "EE", "BB", "TE"] = "TT"
) -> NDArray[np.float64]:
    """Give the Planck-2018 best-fit ΛCDM spectrum (lensed, CAMB; `docs/scripts/make_lcdm.py`).

    Parameters
    ----------
    lmax
        Last multipole; 6000, the end of the table, if None.
    spectrum
        TT, EE, BB or TE.

    Returns
    -------
    ``(lmax + 1,)`` C_l, µK², from l = 0; monopole and dipole are zero.

    Raises
    ------
    ValueError
        ``lmax`` is beyond the table, or the spectrum is unknown.

    Examples
    --------
    >>> import skyfill
    >>> cl = skyfill.lcdm(2000)
    >>> cl.shape, bool(cl[220] > cl[400])
    ((2001,), True)

    """
    if spectrum not in ("TT", "EE", "BB", "TE"):
        raise ValueError(f"spectrum must be TT, EE, BB or TE, got {spectrum!r}")
    cl = shipped(_TABLE)[spectrum]
    if lmax is None:
        return cl.copy()
    lmax = check_whole(lmax, "lmax")
    if lmax >= cl.size:
        raise ValueError(f"the ΛCDM table ends at l = {cl.size - 1}, got lmax {lmax}")
    return cl[: lmax + 1].copy()


def gaussian_beam(fwhm: float, lmax: int) -> NDArray[np.float64]:
    """Give b_l = exp(-l (l + 1) σ² / 2) of a Gaussian beam, fwhm in radians, ``(lmax + 1,)``."""
    fwhm = check_angle(fwhm, "fwhm")
    ell = np.arange(check_whole(lmax, "lmax") + 1)
    return np.asarray(np.exp(-0.5 * ell * (ell + 1) * fwhm**2 / (8 * math.log(2))))


def pixel_window(nside: int, lmax: int) -> NDArray[np.float64]:
    """Give the HEALPix temperature pixel window without downloading anything.

    It is a universal function of l / nside, computed from the shapes of the pixels
    (`docs/scripts/make_pixel_window.py`). Below nside 32 its error is about 1e-3.

    Parameters
    ----------
    nside
        Resolution.
    lmax
        Last multipole. Beyond 4 nside the window falls as 1 / l, like that of a square.

    Returns
    -------
    ``(lmax + 1,)``.
    """
    check_nside(nside)
    table = shipped("pixel_window.npz")
    x = np.arange(lmax + 1) / nside
    beyond = np.minimum(1, table["x"][-1] / np.maximum(x, 1))
    return np.asarray(np.interp(x, table["x"], table["window"]) * beyond)


@dataclass(frozen=True)
class Prior:
    """Statistical model of a map: spectrum, beam, pixel window and noise.

    Attributes
    ----------
    nside
        Resolution of the map.
    cl
        ``(lmax + 1,)`` spectrum of the sky before beam and pixels, µK².
    fwhm
        Full width at half maximum of the Gaussian beam, radians; 0 with ``beam``.
    noise_uk_arcmin
        White noise: standard deviation in a pixel of one square arcminute, µK.
    pixel_window
        Whether the pixel window multiplies the beam. (False if ``fwhm`` is a fitted effective beam
        that includes it.)
    calibration
        Factor of the signal's power, for a map whose amplitude differs from ``cl``.
    theory
        Name of ``cl``, for headers and messages.
    noise_map
        Name of the noise map that replaced the white noise, if any.
    beam
        A tabulated beam in place of the Gaussian: a `Beam`, or b_l from l = 0, ``(lmax + 1,)``. Its
        origin is that of ``fwhm``.
    extra_cl
        ``(any,)``, µK²: power on the map in addition to that of ``cl``, not changed by beam and
        pixels: foregrounds or coloured noise, fitted where the map requires it.
    quality
        How well the prior describes the observed sky, if it was fitted.
    fitted, recorded, assumed
        Names from `NUMBERS`: numbers that were fitted to the map, read from the header of a file,
        or assumed by default. All others were given.

    Raises
    ------
    ValueError
        A number is negative or not finite, ``cl`` has no power, the beam is wider than the sky,
        both ``fwhm`` and ``beam`` are given, or ``beam`` ends too early for the map.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> prior = skyfill.Prior(
    ...     64, skyfill.lcdm(), fwhm=np.radians(160 / 60), noise_uk_arcmin=400.0
    ... )
    >>> prior.origin("fwhm")
    'given'
    >>> bool(prior.lmax < 3 * 64)  # the beam leaves nothing beyond
    True

    """

    nside: int
    cl: NDArray[np.float64]
    fwhm: float = 0.0
    noise_uk_arcmin: float = 0.0
    pixel_window: bool = True
    calibration: float = 1.0
    theory: str = "given C_l"
    fitted: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    noise_map: str = ""
    beam: Beam | None = None
    extra_cl: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    quality: Quality | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nside", check_nside(self.nside))
        object.__setattr__(self, "cl", np.asarray(self.cl, dtype=np.float64))
        object.__setattr__(self, "extra_cl", np.asarray(self.extra_cl, dtype=np.float64))
        for name in ("noise_uk_arcmin", "calibration"):
            value = getattr(self, name)
            if name == "noise_uk_arcmin" and hasattr(value, "to_value"):  # astropy Quantity
                value = value.to_value("uK arcmin")
            number = isinstance(value, Real) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a number, zero or more, got {value!r}")
            object.__setattr__(self, name, float(value))
        if not self.calibration:
            raise ValueError("calibration must be above zero: the sky has power")
        object.__setattr__(self, "fwhm", check_angle(self.fwhm, "fwhm"))
        object.__setattr__(self, "beam", as_beam(self.beam))
        if self.beam is not None:
            if self.fwhm:
                raise ValueError("`fwhm` and `beam` are two beams: give one of them")
            self.beam.check_reach(self.nside)
        if self.cl.ndim != 1:
            raise ValueError(
                f"cl must be one spectrum from l = 0, (lmax + 1,), not {self.cl.shape}"
            )
        if not np.all(np.isfinite(self.cl)) or np.any(self.cl < 0) or not np.any(self.cl):
            raise ValueError("C_l must be finite and not negative, with some power")
        self._check_extra()

    def _check_extra(self) -> None:
        """Refuse a free part that is no spectrum, or that ends beyond C_l."""
        more = self.extra_cl
        if more.ndim != 1 or not np.all(np.isfinite(more)) or np.any(more < 0):
            raise ValueError("extra_cl must be one spectrum from l = 0, finite and not negative")
        if more.size > self.cl.size:
            raise ValueError(
                f"extra_cl ends at l = {more.size - 1}, beyond cl, at {self.cl.size - 1}; continue"
                " cl with zeros"
            )

    def origin(self, name: str) -> str:
        """Give the origin of a number of `NUMBERS`: fitted, header, assumed or given."""
        if name in self.fitted:
            return "fitted"
        if name in self.recorded:
            return "header"
        return "assumed" if name in self.assumed else "given"

    @property
    def lmax(self) -> int:
        """Largest multipole with relevant signal on this map, at most 4.5 nside.

        Pixels sample the sky at their centres. Signal beyond the 3 nside that they resolve is in
        their values all the same, and neighbours share it: it is not white noise.
        """
        return self.reach(MOST)

    def reach(self, most: float, *, lost: float = _LOST) -> int:
        """Give the largest multipole with relevant signal, at most so many times Nside.

        ``lost`` is the share of the signal's variance that may lie beyond.
        """
        full = self._signal(min(int(most * self.nside) + 1, self.cl.size) - 1)
        power = np.cumsum((2 * np.arange(full.size) + 1) * full)
        enough = int(np.searchsorted(power, (1 - lost) * power[-1]))
        return min(max(enough, 2 * self.nside), full.size - 1)

    def _signal(self, lmax: int) -> NDArray[np.float64]:
        cl = np.zeros(lmax + 1)
        n = min(lmax + 1, self.cl.size)
        cl[:n] = self.cl[:n]
        cl *= self.transfer(lmax)
        n = min(lmax + 1, self.extra_cl.size)
        cl[:n] += self.extra_cl[:n]
        return cl

    def __repr__(self) -> str:
        theory = self.theory if len(self.theory) <= _NAME else f"{self.theory[: _NAME - 3]}..."
        return (
            f"Prior({theory}, Nside {self.nside}, l up to {self.cl.size - 1}, beam"
            f" {self.beam_fwhm / ARCMIN:.4g} arcmin, noise {self.noise_uk_arcmin:.4g} µK·arcmin)"
        )

    def _repr_html_(self) -> str:
        """Show the prior in a notebook."""
        origins = {name: self.origin(name) for name in NUMBERS}
        beam = "tabulated" if self.beam is not None else "Gaussian"
        rows = {
            "spectrum": f"{self.theory}, l up to {self.cl.size - 1} ({origins['cl']})",
            "Nside": self.nside,
            "beam": f"{self.beam_fwhm / ARCMIN:.4g} arcmin, {beam} ({origins['fwhm']})",
            "pixel window": f"{'yes' if self.pixel_window else 'no'} ({origins['pixel_window']})",
            "noise": f"{self.noise_uk_arcmin:.4g} µK·arcmin ({origins['noise_uk_arcmin']})",
            "calibration": f"{self.calibration:.4g} of the power ({origins['calibration']})",
        }
        if self.extra_cl.size:
            rows["free part"] = f"{self.extra_share:.1%} of the variance"
        signal = self.signal_cl()
        noise = np.full(signal.size, self.noise_cl)
        return card(
            "Prior of a map",
            rows,
            lambda: draw_spectra({"signal on the map": signal, "noise": noise}),
        )

    def transfer(self, lmax: int) -> NDArray[np.float64]:
        """Give the share of the sky's power in the map, calibration b_l² p_l², ``(lmax + 1,)``."""
        kept = self.calibration * self.beam_window(lmax) ** 2
        if self.pixel_window:
            kept *= pixel_window(self.nside, lmax) ** 2
        return np.asarray(kept)

    def beam_window(self, lmax: int) -> NDArray[np.float64]:
        """Give b_l of the beam, tabulated or Gaussian, ``(lmax + 1,)``."""
        return gaussian_beam(self.fwhm, lmax) if self.beam is None else self.beam.at(lmax)

    @property
    def beam_fwhm(self) -> float:
        """FWHM of the Gaussian beam, or of the Gaussian nearest to the tabulated one, radians."""
        return self.fwhm if self.beam is None else self.beam.fwhm

    def signal_cl(self, lmax: int | None = None) -> NDArray[np.float64]:
        """Give C_l b_l² p_l² of the map's signal, ``(lmax + 1,)``, µK²."""
        return self._signal(self.lmax if lmax is None else lmax)

    @property
    def extra_share(self) -> float:
        """Share of `extra_cl` in the variance of the signal on the map."""
        if not self.extra_cl.size:
            return 0.0
        modes = 2 * np.arange(self.lmax + 1) + 1
        more = np.zeros(self.lmax + 1)
        n = min(more.size, self.extra_cl.size)
        more[:n] = self.extra_cl[:n]
        return float(modes @ more / (modes @ self.signal_cl()))

    @property
    def effective_fwhm(self) -> float:
        """FWHM of the Gaussian that approximates beam and pixel window together, radians."""
        pixel = pixel_window(self.nside, self.nside)[-1] if self.pixel_window else 1.0
        return math.sqrt(self.beam_fwhm**2 - 16 * math.log(2) * math.log(pixel) / self.nside**2)

    @property
    def noise_cl(self) -> float:
        """Spectrum of the white noise, µK² (steradian)."""
        return (self.noise_uk_arcmin * ARCMIN) ** 2

    @property
    def aliased_cl(self) -> float:
        """Spectrum of the signal beyond `Prior.lmax`, aliased into white noise, µK²."""
        return self.white_beyond(self.lmax)

    def white_beyond(self, lmax: int) -> float:
        """Give the spectrum of white noise with the variance of the signal beyond ``lmax``, µK²."""
        beyond = self._signal(self.cl.size - 1)[lmax + 1 :]
        modes = 2 * np.arange(lmax + 1, lmax + 1 + beyond.size) + 1
        return float(modes @ beyond) / (12 * self.nside**2)

    @property
    def white_cl(self) -> float:
        """Spectrum of the white part of the map, noise and aliased signal, µK²."""
        return self.noise_cl + self.aliased_cl

    def total_cl(self, lmax: int | None = None) -> NDArray[np.float64]:
        """Give the spectrum of the map, ``(lmax + 1,)``, µK²: signal, noise and aliased signal."""
        return self.signal_cl(lmax) + self.white_cl
