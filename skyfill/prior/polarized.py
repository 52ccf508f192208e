"""The prior of a polarized sky: the spectra of T, E and B, and the noise of Q and U.

T has the `Prior` that it has alone. Q and U share its beam and pixel window, in their forms for
spin 2, and its calibration unless they have their own. Skies of T are the same numbers with and
without polarization: E is drawn given T, from random numbers of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill.brief import brief
from skyfill.harmonics.spheres import Vector
from skyfill.prior.drawing import alm_of_cl, streams
from skyfill.prior.model import ARCMIN, LCDM, MOST, Prior, pixel_window
from skyfill.prior.normals import normal_array, normal_numbers
from skyfill.prior.quality import Quality
from skyfill.prior.skyspectra import SkySpectra

__all__ = ["PolarizedPrior", "draw_polarization"]

Map = NDArray[np.float64]

#: Largest share of the signal's variance that may be lost beyond the largest multipole.
_LOST = 1e-5
#: The pixel window of P is that of T times 1 less this over Nside²: the points of a pixel have
#: different axes of Q and U. Measured from averages of E-only skies at Nside 8, 16 and 32.
_TURNED = 0.4


@dataclass(frozen=True, eq=False)
class PolarizedPrior:
    """Statistical model of a map of T, Q and U.

    Attributes
    ----------
    temperature
        Prior of T. Its beam and pixel window are also those of Q and U.
    ee, bb, te
        ``(lmax + 1,)`` spectra of the sky before beam and pixels, µK²; zero beyond their ends.
    noise_pol_uk_arcmin
        White noise of Q, and of U, µK·arcmin; √2 times that of T if None.
    calibration_pol
        Factor of the power of EE and BB, as ``calibration`` of T; that of T if None.
    bb_source
        What BB is, for headers and messages: ``lensing``, or the name of a file, and r.
    fitted_pol
        Those of ``noise_pol_uk_arcmin`` and ``calibration_pol`` that were fitted to the map.
    quality_pol
        How well the prior describes the observed sky, for EE and BB; empty if not compared.

    Raises
    ------
    ValueError
        A spectrum is not finite, EE or BB is negative, TE² exceeds TT EE, the noise is negative, or
        the calibration not above zero.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> t = skyfill.Prior(64, skyfill.lcdm(), fwhm=np.radians(160 / 60), noise_uk_arcmin=400.0)
    >>> ee, bb, te = (skyfill.lcdm(spectrum=name) for name in ("EE", "BB", "TE"))
    >>> prior = PolarizedPrior(t, ee, bb, te)
    >>> round(prior.noise_pol, 1)
    565.7

    """

    __repr__ = brief

    temperature: Prior
    ee: Map
    bb: Map
    te: Map
    noise_pol_uk_arcmin: float | None = None
    calibration_pol: float | None = None
    bb_source: str = "given"
    fitted_pol: tuple[str, ...] = ()
    quality_pol: Mapping[str, Quality] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name in ("ee", "bb", "te"):
            cl = np.asarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, cl)
            if cl.ndim != 1 or not np.all(np.isfinite(cl)) or (name != "te" and np.any(cl < 0)):
                raise ValueError(f"{name} must be one spectrum from l = 0, finite, not negative")
        noise = self.noise_pol_uk_arcmin
        if noise is not None and not (math.isfinite(noise) and noise >= 0):
            raise ValueError(f"noise_pol_uk_arcmin must be a number, zero or more, got {noise!r}")
        power = self.calibration_pol
        if power is not None and not (math.isfinite(power) and power > 0):
            raise ValueError(f"calibration_pol must be a number above zero, got {power!r}")
        n = min(self.temperature.cl.size, self.ee.size, self.te.size)
        too_much = self.te[:n] ** 2 > (1 + 1e-9) * self.temperature.cl[:n] * self.ee[:n]
        if too_much[2:].any() or np.any(self.te[max(n, 2) :]):
            ell = 2 + int(np.argmax(too_much[2:])) if too_much[2:].any() else n
            raise ValueError(f"TE² exceeds TT EE at l = {ell}: no sky has these spectra")

    @classmethod
    def of(
        cls,
        temperature: Prior,
        noise_pol_uk_arcmin: float | None = None,
        *,
        spectra: SkySpectra | None = None,
    ) -> PolarizedPrior:
        """Add EE, BB and TE to a prior of T.

        Parameters
        ----------
        temperature
            The prior of T.
        noise_pol_uk_arcmin
            White noise of Q, and of U, µK·arcmin; √2 times that of T if None.
        spectra
            The spectra that belong to those of T; if None, those of ΛCDM, lensed, without tensors.

        Raises
        ------
        ValueError
            The prior of T has another spectrum than ΛCDM, and no ``spectra`` are given.
        """
        if spectra is None and temperature.theory != LCDM:
            raise ValueError(
                f"EE, BB and TE are known for {LCDM}, and the prior of T is {temperature.theory};"
                " give a PolarizedPrior with its EE, BB and TE"
            )
        sky = SkySpectra.lcdm() if spectra is None else spectra
        return cls(temperature, sky.ee, sky.bb, sky.te, noise_pol_uk_arcmin, bb_source=sky.words)

    @property
    def noise_pol(self) -> float:
        """White noise of Q, and of U, µK·arcmin."""
        if self.noise_pol_uk_arcmin is None:
            return math.sqrt(2) * self.temperature.noise_uk_arcmin
        return self.noise_pol_uk_arcmin

    @property
    def origin_noise_pol(self) -> str:
        """Origin of the noise of Q and U: given, fitted, or assumed (√2 times that of T)."""
        if "noise_pol_uk_arcmin" in self.fitted_pol:
            return "fitted"
        return "assumed" if self.noise_pol_uk_arcmin is None else "given"

    @property
    def calibration_of_pol(self) -> float:
        """Factor of the power of EE and BB."""
        if self.calibration_pol is None:
            return self.temperature.calibration
        return self.calibration_pol

    def window_pol(self, lmax: int) -> Map:
        """Give what beam and pixels leave of the amplitudes of E and B, ``(lmax + 1,)``.

        A Gaussian beam is exp(-(l (l + 1) - 4) σ² / 2) (Challinor et al. 2000, Phys. Rev. D 62,
        123002, eq. 31); that of a table is `harmonics.spin2_window` of it. Zero below l = 2.
        """
        of_t = self.temperature
        if of_t.beam is None:
            window = of_t.beam_window(lmax) * math.exp(of_t.fwhm**2 / (4 * math.log(2)))
        else:
            window = harmonics.spin2_window(of_t.beam_window(lmax))
        if of_t.pixel_window:
            window = window * pixel_window(of_t.nside, lmax) * (1 - _TURNED / of_t.nside**2)
        window[:2] = 0
        return np.asarray(window)

    @cached_property
    def _kept(self) -> Map:
        """`window_pol` of every multipole that the spectra have."""
        return self.window_pol(max(self.ee.size, self.bb.size, self.te.size) - 1)

    @cached_property
    def _polar(self) -> tuple[Map, Map]:
        """EE and BB of the map, without end."""
        lmax = max(self.ee.size, self.bb.size) - 1
        kept = self.calibration_of_pol * self._kept[: lmax + 1] ** 2
        ee, bb = (np.pad(cl, (0, lmax + 1 - cl.size)) * kept for cl in (self.ee, self.bb))
        return ee, bb

    @property
    def map_cl(self) -> tuple[Map, Map]:
        """EE and BB of the signal on the map, µK², to the end of their spectra."""
        return self._polar

    @cached_property
    def lmax_pol(self) -> int:
        """Largest multipole with relevant signal in Q and U, at most 4.5 Nside."""
        return self.reach_pol(MOST)

    def reach_pol(self, most: float, *, lost: float = _LOST) -> int:
        """Give the largest multipole with relevant signal in Q and U, as `Prior.reach`."""
        nside, last = self.temperature.nside, 0
        for full in self._polar:
            power = np.cumsum((2 * np.arange(full.size) + 1) * full)
            if power[-1]:
                last = max(last, int(np.searchsorted(power, (1 - lost) * power[-1])))
        return min(max(last, 2 * nside), int(most * nside) + 1, self._polar[0].size - 1)

    def signal_cl(self, lmax: int | None = None) -> Map:
        """Give the spectra of the map's signal, T, E and B, ``(3, 3, lmax + 1)``, µK².

        Without ``lmax``, T ends at the ``lmax`` of its prior, E and B at `lmax_pol`, and what lies
        beyond is white noise.
        """
        t, p = self.temperature.lmax, self.lmax_pol
        if lmax is not None:
            t, p = lmax, min(lmax, self._polar[0].size - 1)
        out = np.zeros((3, 3, max(t, p) + 1))
        out[0, 0, : t + 1] = self.temperature.signal_cl(t)
        for number, cl in enumerate(self._polar, 1):
            out[number, number, : p + 1] = cl[: p + 1]
        both = min(t, p, self.te.size - 1) + 1
        of_t = np.sqrt(self.temperature.transfer(both - 1) * self.calibration_of_pol)
        out[0, 1, 2:both] = (self.te[:both] * of_t * np.abs(self._kept[:both]))[2:]
        out[1, 0] = out[0, 1]
        return out

    @property
    def noise_pol_cl(self) -> float:
        """Spectrum of the white noise of E, which is that of B, µK²."""
        return (self.noise_pol * ARCMIN) ** 2

    @property
    def aliased_pol_cl(self) -> float:
        """Spectrum of the signal of Q (or U) beyond `lmax_pol`, as white noise, µK²."""
        return self.white_beyond_pol(self.lmax_pol)

    def white_beyond_pol(self, lmax: int) -> float:
        """Give the spectrum of white noise with the variance of Q (or U) beyond ``lmax``, µK²."""
        ee, bb = self._polar
        beyond = (ee + bb)[lmax + 1 :]
        modes = 2 * np.arange(lmax + 1, lmax + 1 + beyond.size) + 1
        return float(modes @ beyond) / (24 * self.temperature.nside**2)

    @property
    def white_cl(self) -> tuple[float, float]:
        """Spectra of the white parts of T and of P, noise and aliased signal, µK²."""
        return self.temperature.white_cl, self.noise_pol_cl + self.aliased_pol_cl


def draw_polarization(
    prior: PolarizedPrior,
    *,
    seed: int,
    index: int = 0,
    lmax: int | None = None,
    threads: int = 0,
    sphere: harmonics.DeviceSphere | None = None,
) -> tuple[Vector, Vector]:
    """Draw Q and U that belong to the sky of T that `draw` gives for the same seed and index.

    The random numbers are the same on every device; the sky differs by rounding only.

    Parameters
    ----------
    prior
        The model of the sky.
    seed, index
        As for `draw`.
    lmax
        Largest multipole; those of `PolarizedPrior.signal_cl` if None.
    threads
        Threads of the random numbers and of the transforms.
    sphere
        Transforms on a device, if the sky is drawn there.

    Returns
    -------
    Signal, and white noise of unit variance, both ``(2, npix)``, RING; the signal in µK. With
    ``sphere`` both are tensors on its device, else arrays.
    """
    own = streams(seed, index, count=4)
    cl = prior.signal_cl(lmax)
    last = prior.temperature.lmax if lmax is None else lmax
    lmax = cl.shape[2] - 1
    # Multipoles are drawn in order, so T's are those of `draw` up to the end of its spectrum.
    ones, bb = np.ones(lmax + 1), cl[2, 2]
    tt, te = cl[0, 0], cl[0, 1]
    seen = np.divide(te, np.sqrt(tt), out=np.zeros(lmax + 1), where=tt > 0)
    seen[last + 1 :] = 0
    rest = np.sqrt(np.maximum(cl[1, 1] - seen**2, 0))
    shape = (2, 12 * prior.temperature.nside**2)
    if sphere is not None:
        alm = partial(_alm_on, sphere, threads=threads)
        e = sphere.almxfl(alm(ones, own[0]), seen) + sphere.almxfl(alm(ones, own[2]), rest)
        modes = sphere.joined([e, alm(bb, own[3])], [1.0, 1.0]).reshape(2, -1)
        white = _numbers_on(sphere, own[3].spawn(1)[0], math.prod(shape), threads=threads)
        return sphere.synthesis(modes), white.reshape(shape)
    of_t, of_e, of_b = (np.random.default_rng(each) for each in (own[0], own[2], own[3]))
    e = harmonics.almxfl(alm_of_cl(ones, of_t), seen)
    e = e + harmonics.almxfl(alm_of_cl(ones, of_e), rest)
    sky = harmonics.synthesis(
        np.stack([np.zeros_like(e), e, alm_of_cl(bb, of_b)]),
        prior.temperature.nside,
        threads=threads,
    )
    return sky[1:], normal_array(own[3].spawn(1)[0], shape, threads=threads)


def _numbers_on(
    sphere: harmonics.DeviceSphere, stream: np.random.SeedSequence, count: int, *, threads: int
) -> Vector:
    """Draw normal numbers on the host, and give them on a device."""
    return sphere.gathered(normal_numbers(stream, count, threads=threads), count)


def _alm_on(
    sphere: harmonics.DeviceSphere, cl: Map, stream: np.random.SeedSequence, *, threads: int
) -> Vector:
    """Draw as `alm_of_cl` does: the numbers on the host, all else on a device."""
    return sphere.coloured(_numbers_on(sphere, stream, cl.size**2, threads=threads), cl)
