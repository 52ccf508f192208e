"""Hold what is known of a sky before it is seen: spectrum, beam, pixel window, noise.

The model of every map is d = M (T + n): T a Gaussian field with spectrum C_l b_l² p_l², n white
noise. A `Prior` is those four things; it is given, or fitted to the observed sky.
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

from skyfill.healpix.checks import check_angle, check_nside, check_whole
from skyfill.prior.quality import Quality

__all__ = ["ARCMIN", "LCDM", "NUMBERS", "Prior", "gaussian_beam", "lcdm", "pixel_window"]

ARCMIN = math.pi / 180 / 60
LCDM = "Planck 2018 LCDM"
"""Name of the spectrum that is shipped and taken where none is given."""
NUMBERS = ("cl", "fwhm", "pixel_window", "noise_uk_arcmin", "calibration")
"""What a prior consists of, by the names of its attributes."""
_TABLE = "lcdm_planck2018.npz"
#: Share of the signal's variance that may be lost beyond the largest multipole that is drawn.
_LOST = 1e-5
MOST = 4.5
"""Largest multipole of the signal on a map, over its Nside: beyond, signal counts as white."""


@lru_cache(maxsize=4)
def _table(name: str) -> dict[str, NDArray[np.float64]]:
    path = resources.files("skyfill").joinpath("data", name)
    with path.open("rb") as file, np.load(file) as table:
        return {key: table[key] for key in table.files}


def lcdm(
    lmax: int | None = None, spectrum: Literal["TT", "EE", "BB", "TE"] = "TT"
) -> NDArray[np.float64]:
    """Give the Planck-2018 best-fit ΛCDM spectrum (lensed, CAMB; `docs/scripts/make_lcdm.py`).

    Parameters
    ----------
    lmax
        Last multipole; 6000, where the table ends, if not given.
    spectrum
        Which one.

    Returns
    -------
    ``(lmax + 1,)`` C_l, µK², from l = 0; monopole and dipole are zero.

    Raises
    ------
    ValueError
        ``lmax`` is beyond the table.
    """
    if spectrum not in ("TT", "EE", "BB", "TE"):
        raise ValueError(f"spectrum must be TT, EE, BB or TE, got {spectrum!r}")
    cl = _table(_TABLE)[spectrum]
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

    A universal function of l / nside, computed from the pixels' shapes
    (`docs/scripts/make_pixel_window.py`); below nside 32 it is good to some 1e-3.

    Parameters
    ----------
    nside
        Resolution.
    lmax
        Last multipole. Beyond 4 nside the window falls as 1 / l, as that of a square does.

    Returns
    -------
    ``(lmax + 1,)``.
    """
    check_nside(nside)
    table = _table("pixel_window.npz")
    x = np.arange(lmax + 1) / nside
    beyond = np.minimum(1, table["x"][-1] / np.maximum(x, 1))
    return np.asarray(np.interp(x, table["x"], table["window"]) * beyond)


@dataclass(frozen=True)
class Prior:
    """Say what a map is made of.

    Attributes
    ----------
    nside
        Resolution of the map.
    cl
        ``(lmax + 1,)`` spectrum of the sky before beam and pixels, µK².
    fwhm
        Gaussian beam, radians.
    noise_uk_arcmin
        White noise, µK in a pixel of one square arcminute.
    pixel_window
        Whether the pixel window multiplies the beam (False where ``fwhm`` is an effective beam,
        fitted, that holds it).
    calibration
        Factor of the signal's power, for a map whose amplitude is not that of ``cl``.
    theory
        Name of ``cl``, for headers and messages.
    noise_map
        Name of the map of noise that was used in place of the white noise, if any.
    extra_cl
        ``(any,)``, µK²: power on the map beside that of ``cl``, unchanged by beam and pixels:
        foregrounds or coloured noise, fitted where the map asks for it.
    quality
        How well the prior describes the observed sky, where it was fitted.
    fitted, recorded, assumed
        Names, of `NUMBERS`, of what was fitted to the map, read from the header of a file, or taken
        because nothing else was said. All others were given.

    Raises
    ------
    ValueError
        A number is negative or not finite, ``cl`` has no power, or the beam is wider than the sky.
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
    extra_cl: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    quality: Quality | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nside", check_nside(self.nside))
        object.__setattr__(self, "cl", np.asarray(self.cl, dtype=np.float64))
        object.__setattr__(self, "extra_cl", np.asarray(self.extra_cl, dtype=np.float64))
        for name in ("noise_uk_arcmin", "calibration"):
            value = getattr(self, name)
            if name == "noise_uk_arcmin" and hasattr(value, "to_value"):  # an astropy Quantity
                value = value.to_value("uK arcmin")
            number = isinstance(value, Real) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a number, zero or more, got {value!r}")
            object.__setattr__(self, name, float(value))
        if not self.calibration:
            raise ValueError("calibration must be above zero: the sky has power")
        object.__setattr__(self, "fwhm", check_angle(self.fwhm, "fwhm"))
        if self.cl.ndim != 1:
            raise ValueError(
                f"cl must be one spectrum from l = 0, (lmax + 1,), not {self.cl.shape}"
            )
        if not np.all(np.isfinite(self.cl)) or np.any(self.cl < 0) or not np.any(self.cl):
            raise ValueError("C_l must be finite and not negative, with some power")

    def origin(self, name: str) -> str:
        """Say where a number of `NUMBERS` is from: fitted, header, assumed or given."""
        if name in self.fitted:
            return "fitted"
        if name in self.recorded:
            return "header"
        return "assumed" if name in self.assumed else "given"

    @property
    def lmax(self) -> int:
        """Largest multipole of the signal that matters on this map: at most 4.5 nside.

        Pixels sample the sky at their centres. What lies beyond the 3 nside that they resolve is in
        their values all the same, and neighbours share it: it is signal, not white noise.
        """
        full = self._signal(min(int(MOST * self.nside) + 1, self.cl.size) - 1)
        power = np.cumsum((2 * np.arange(full.size) + 1) * full)
        enough = int(np.searchsorted(power, (1 - _LOST) * power[-1]))
        return min(max(enough, 2 * self.nside), full.size - 1)

    def _signal(self, lmax: int) -> NDArray[np.float64]:
        cl = np.zeros(lmax + 1)
        n = min(lmax + 1, self.cl.size)
        cl[:n] = self.cl[:n]
        cl *= self.transfer(lmax)
        n = min(lmax + 1, self.extra_cl.size)
        cl[:n] += self.extra_cl[:n]
        return cl

    def transfer(self, lmax: int) -> NDArray[np.float64]:
        """Give what the map keeps of the sky's power: calibration b_l² p_l², ``(lmax + 1,)``."""
        kept = self.calibration * gaussian_beam(self.fwhm, lmax) ** 2
        if self.pixel_window:
            kept *= pixel_window(self.nside, lmax) ** 2
        return np.asarray(kept)

    def signal_cl(self, lmax: int | None = None) -> NDArray[np.float64]:
        """Give C_l b_l² p_l² of the map's signal, ``(lmax + 1,)``, µK²."""
        return self._signal(self.lmax if lmax is None else lmax)

    @property
    def effective_fwhm(self) -> float:
        """FWHM of the Gaussian that stands for beam and pixel window together, radians."""
        pixel = pixel_window(self.nside, self.nside)[-1] if self.pixel_window else 1.0
        return math.sqrt(self.fwhm**2 - 16 * math.log(2) * math.log(pixel) / self.nside**2)

    @property
    def noise_cl(self) -> float:
        """Spectrum of the white noise, µK² (steradian)."""
        return (self.noise_uk_arcmin * ARCMIN) ** 2

    @property
    def aliased_cl(self) -> float:
        """Spectrum of the white noise that the signal beyond `lmax` looks like, µK²."""
        return self.white_beyond(self.lmax)

    def white_beyond(self, lmax: int) -> float:
        """Give the spectrum of white noise with the variance of the signal beyond ``lmax``, µK²."""
        beyond = self._signal(self.cl.size - 1)[lmax + 1 :]
        modes = 2 * np.arange(lmax + 1, lmax + 1 + beyond.size) + 1
        return float(modes @ beyond) / (12 * self.nside**2)

    @property
    def white_cl(self) -> float:
        """Spectrum of all that is white on the map, noise and aliased signal, µK²."""
        return self.noise_cl + self.aliased_cl

    def total_cl(self, lmax: int | None = None) -> NDArray[np.float64]:
        """Give the spectrum of the map, ``(lmax + 1,)``, µK²: signal and all that is white."""
        return self.signal_cl(lmax) + self.white_cl
