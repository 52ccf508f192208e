"""Hold what is known of a sky before it is seen: spectrum, beam, pixel window, noise.

The model of every map is d = M (T + n): T a Gaussian field with spectrum C_l b_l² p_l², n white
noise. A `Prior` is those four things; it is given, or fitted to the observed sky.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from skyfill import harmonics
from skyfill._checks import check_nside, nside_of
from skyfill._jit import compiled
from skyfill._spectrumfile import read_cl

__all__ = [
    "Prior",
    "draw",
    "draw_signal",
    "draw_white",
    "fit",
    "gaussian_beam",
    "lcdm",
    "pixel_window",
    "read_cl",
]

ARCMIN = math.pi / 180 / 60
_TABLE = "lcdm_planck2018.npz"
#: Share of the signal's variance that may be lost beyond the largest multipole that is drawn.
_LOST = 1e-5
#: Multipoles, and pixels, of which random numbers are drawn at a time.
_ROWS, _AT_ONCE = 512, 2**22
#: How well the power of a map is known before it is fitted (Planck's releases differ by 2%).
_CALIBRATION = 0.03


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
    cl = _table(_TABLE)[spectrum]
    if lmax is None:
        return cl.copy()
    if not 0 <= lmax < cl.size:
        raise ValueError(f"the ΛCDM table ends at l = {cl.size - 1}, got lmax {lmax}")
    return cl[: lmax + 1].copy()


def gaussian_beam(fwhm: float, lmax: int) -> NDArray[np.float64]:
    """Give b_l = exp(-l (l + 1) σ² / 2) of a Gaussian beam, fwhm in radians, ``(lmax + 1,)``."""
    ell = np.arange(lmax + 1)
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
    fitted
        Names of what was fitted to the map.
    """

    nside: int
    cl: NDArray[np.float64]
    fwhm: float = 0.0
    noise_uk_arcmin: float = 0.0
    pixel_window: bool = True
    calibration: float = 1.0
    fitted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_nside(self.nside)
        for name in ("fwhm", "noise_uk_arcmin", "calibration"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a number, zero or more, got {value}")
        if not np.all(np.isfinite(self.cl)) or np.any(self.cl < 0) or not np.any(self.cl):
            raise ValueError("C_l must be finite and not negative, with some power")

    @property
    def lmax(self) -> int:
        """Largest multipole of the signal that matters on this map: at most 3 nside - 1."""
        full = self._signal(min(3 * self.nside, self.cl.size) - 1)
        power = np.cumsum((2 * np.arange(full.size) + 1) * full)
        enough = int(np.searchsorted(power, (1 - _LOST) * power[-1]))
        return min(max(enough, 2 * self.nside), full.size - 1)

    def _signal(self, lmax: int) -> NDArray[np.float64]:
        cl = np.zeros(lmax + 1)
        n = min(lmax + 1, self.cl.size)
        cl[:n] = self.cl[:n]
        return cl * self.transfer(lmax)

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
        """Spectrum of the white noise that the signal beyond l = 3 nside looks like, µK².

        A map of pixels that do not resolve its beam holds such power, as every degraded map does.
        """
        beyond = self._signal(self.cl.size - 1)[3 * self.nside :]
        modes = 2 * np.arange(3 * self.nside, 3 * self.nside + beyond.size) + 1
        return float(modes @ beyond) / (12 * self.nside**2)

    @property
    def white_cl(self) -> float:
        """Spectrum of all that is white on the map, noise and aliased signal, µK²."""
        return self.noise_cl + self.aliased_cl

    def total_cl(self, lmax: int | None = None) -> NDArray[np.float64]:
        """Give the spectrum of the map, ``(lmax + 1,)``, µK²: signal and all that is white."""
        return self.signal_cl(lmax) + self.white_cl


@compiled
def _pack(
    normals: NDArray[np.float64],
    first: int,
    last: int,
    lmax: int,
    root: NDArray[np.float64],
    alm: NDArray[np.complex128],
) -> None:
    """Put normals, drawn multipole by multipole, into m-major alm of spectrum root²."""
    for ell in range(first, last):
        base = ell * ell - first * first
        alm[ell] = root[ell] * normals[base]
        for m in range(1, ell + 1):
            index = m * (2 * lmax + 1 - m) // 2 + ell
            scale = root[ell] * 0.7071067811865476
            alm[index] = complex(scale * normals[base + 2 * m - 1], scale * normals[base + 2 * m])


def draw(
    prior: Prior,
    *,
    seed: int,
    index: int = 0,
    lmax: int | None = None,
    aliased: bool = False,
    threads: int = 0,
) -> NDArray[np.float64]:
    """Draw a whole sky, signal and noise, from the prior.

    Multipoles come in their order, so a seed gives the same sky at every resolution, as far as the
    multipoles of both go; the noise has a stream of its own.

    Parameters
    ----------
    prior
        What to draw from.
    seed, index
        Which sky: the same pair always gives the same one; different indices are independent.
    lmax
        Largest multipole, ``prior.lmax`` if not given.
    aliased
        Whether the signal that the pixels do not resolve is there, too, as white noise.
    threads
        Of the transform; the result does not depend on it but for rounding.

    Returns
    -------
    ``(npix,)``, µK, RING.
    """
    sky = draw_signal(prior, seed=seed, index=index, lmax=lmax, threads=threads)
    white = prior.white_cl if aliased else prior.noise_cl
    if white:
        rms = math.sqrt(white * sky.size / (4 * math.pi))
        for part, unit in draw_white(sky.size, seed=seed, index=index):
            sky[part] += rms * unit
    return sky


def draw_signal(
    prior: Prior, *, seed: int, index: int = 0, lmax: int | None = None, threads: int = 0
) -> NDArray[np.float64]:
    """Draw the signal of `draw` alone; the arguments are the same."""
    lmax = prior.lmax if lmax is None else lmax
    random = np.random.default_rng(_streams(seed, index)[0])
    alm = np.empty((lmax + 1) * (lmax + 2) // 2, dtype=np.complex128)
    root = np.sqrt(prior.signal_cl(lmax))
    for first in range(0, lmax + 1, _ROWS):
        last = min(first + _ROWS, lmax + 1)
        _pack(random.standard_normal(last**2 - first**2), first, last, lmax, root, alm)
    return harmonics.synthesis(alm, prior.nside, threads=threads)


def draw_white(
    npix: int, *, seed: int, index: int = 0
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Draw the normal numbers of the white part of `draw`, part by part: where, and what."""
    random = np.random.default_rng(_streams(seed, index)[1])
    for start in range(0, npix, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, npix))
        yield part, random.standard_normal(part.stop - start)


def _streams(seed: int, index: int) -> list[np.random.SeedSequence]:
    return np.random.SeedSequence([seed, index]).spawn(2)


def fit(
    values: NDArray[np.float64],
    observed: NDArray[np.bool_],
    *,
    cl: ArrayLike | None = None,
    fwhm: float | None = None,
    noise_uk_arcmin: float | None = None,
    pixel_window: bool | None = None,
    threads: int = 0,
) -> Prior:
    """Fit beam, noise and calibration to the observed part of a map.

    The pseudo-spectrum of the masked map is compared with the model's own pseudo-spectrum
    (`harmonics.coupling`, so any mask will do) by the likelihood of Γ-distributed bins (Hamimeche &
    Lewis 2008, eq. 8), between l = 2 and 2 nside (2500 at most).

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING; monopole and dipole should be gone. Unobserved pixels are not read.
    observed
        ``(npix,)``, RING, True where observed.
    cl
        Spectrum of the sky, µK²; Planck-2018 ΛCDM if not given.
    fwhm, noise_uk_arcmin
        Held where given, fitted where None; with both free, so is the factor of the signal's
        power, within the few per cent to which maps are calibrated: the beam would take it up.
    pixel_window
        Whether to multiply the beam by the pixel window; if None, a given beam is, and for a fitted
        one both are tried and the better is kept: not every map was averaged over its pixels.
    threads
        Of the transforms.

    Returns
    -------
    The prior, with what was fitted in ``fitted``.

    Raises
    ------
    ValueError
        No pixel is observed.
    """
    nside = nside_of(values.size, "the map to fit")
    theory = lcdm() if cl is None else np.asarray(cl, dtype=np.float64)
    start = Prior(nside, theory, fwhm or 0.0, noise_uk_arcmin or 0.0, pixel_window is not False)
    free = {"fwhm": fwhm is None, "noise_uk_arcmin": noise_uk_arcmin is None}
    free["calibration"] = all(free.values())
    names = tuple(name for name, is_free in free.items() if is_free)
    if not observed.any():
        raise ValueError("no pixel is observed: there is nothing to fit a prior to")
    if not names:
        return start
    last = min(2 * nside, 2500, theory.size - 1)
    # Power leaks into the fitted range from beyond.
    lmax = min(5 * last // 3, 3 * nside - 1, theory.size - 1)
    again = 3 if last > 1.5 * nside else 1  # where equal weights are far from exact
    sky = observed.mean()
    pseudo = harmonics.cl_of(
        harmonics.analysis(values, lmax=lmax, iterations=again, observed=observed, threads=threads)
    )
    # The mask's power is in its large scales, for which plain sums will do.
    mask_cl = harmonics.cl_of(harmonics.analysis(observed, lmax=lmax, threads=threads))
    edges = np.unique(np.geomspace(2, last + 1, 60).astype(np.int64))
    modes = 2.0 * np.arange(last + 1) + 1
    count = np.add.reduceat(modes, edges[:-1])
    data = np.add.reduceat(modes * pseudo[: last + 1], edges[:-1]) / count
    response = harmonics.coupling(mask_cl, edges, lmax=lmax)
    pixel = math.sqrt(4 * math.pi / values.size)

    def model(parameters: NDArray[np.float64], *, window: bool) -> Prior:
        found = dict(zip(names, np.exp(parameters), strict=True))
        return replace(start, fitted=names, pixel_window=window, **found)

    def misfit(parameters: NDArray[np.float64], window: bool) -> float:
        if np.any(parameters < -30) or np.any(parameters > 12):
            return float("inf")
        prior = model(parameters, window=window)
        ratio = data / (response @ prior.total_cl(lmax))
        known = 0.5 * (math.log(prior.calibration) / _CALIBRATION) ** 2
        return known + float(np.sum(0.5 * sky * count * (ratio - 1 - np.log(ratio))))

    # Noise from the last bin's power, which it cannot exceed by much; beam from the pixel.
    ceiling = math.sqrt(data[-1] / sky) / ARCMIN
    guesses = {
        "fwhm": math.log(2 * pixel),
        "noise_uk_arcmin": math.log(0.3 * ceiling),
        "calibration": 0.0,
    }
    steps = {"fwhm": -0.5, "noise_uk_arcmin": -1.0, "calibration": 0.1}
    first = np.array([guesses[n] for n in names])
    simplex = np.vstack([first, first + np.diag([steps[n] for n in names])])
    either = fwhm is None and pixel_window is None
    fits = {
        window: optimize.minimize(
            misfit,
            first,
            args=(window,),
            method="Nelder-Mead",
            options={"xatol": 1e-3, "fatol": 1e-2, "initial_simplex": simplex},
        )
        for window in ((True, False) if either else (start.pixel_window,))
    }
    window = min(fits, key=lambda key: float(fits[key].fun))
    return model(fits[window].x, window=window)
