"""What is assumed of an image's signal and noise, and whether the observed pixels agree."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.healpix.checks import check_angle
from skyfill.prior import LCDM, Beam, gaussian_beam, lcdm
from skyfill.prior.beam import as_beam

__all__ = ["Model", "UnlikelyModelError", "judge"]

Map = NDArray[np.float64]

#: Rms of the decorrelated pixels, 1 if the model is right, or one over it, beyond which the model
#: is refused.
_REFUSED = 1.5
#: The same beyond which there is a warning.
_WARNED = 1.1


class UnlikelyModelError(ValueError):
    """The observed pixels contradict spectrum, beam and noise."""


@dataclass(frozen=True, eq=False)
class Model:
    """What is assumed of signal and noise.

    Attributes
    ----------
    cl
        ``(lmax + 1,)``, spectrum of the sky, µK²; no power beyond.
    fwhm
        FWHM of a Gaussian beam, radians; 0 with ``beam``.
    beam
        Tabulated beam, a `skyfill.prior.Beam` or b_l, ``(lmax + 1,)``; it includes what the
        pixels smooth, if they do.
    noise_uk_arcmin
        White noise; None with an inverse variance.
    theory
        Name of ``cl``.

    Raises
    ------
    ValueError
        Spectrum, beam or noise are not of this form.
    """

    __repr__ = brief

    cl: Map = field(default_factory=lcdm, repr=False)
    fwhm: float = 0.0
    beam: Beam | None = None
    noise_uk_arcmin: float | None = None
    theory: str = LCDM

    def __post_init__(self) -> None:
        cl = np.asarray(self.cl, dtype=np.float64)
        if cl.ndim != 1 or not np.all(np.isfinite(cl)) or np.any(cl < 0) or not np.any(cl[2:]):
            raise ValueError("`cl` must be one spectrum from l = 0, finite and not negative")
        object.__setattr__(self, "cl", cl)
        object.__setattr__(self, "fwhm", check_angle(self.fwhm, "fwhm"))
        object.__setattr__(self, "beam", as_beam(self.beam))
        if self.fwhm and self.beam is not None:
            raise ValueError("`fwhm` and `beam` are two beams: give one of them")
        noise = self.noise_uk_arcmin
        if noise is not None and not (math.isfinite(noise) and noise > 0):
            raise ValueError(f"noise_uk_arcmin must be finite and above 0, got {noise!r}")

    @property
    def signal_cl(self) -> Map:
        """C_l b_l² without monopole and dipole, ``(lmax + 1,)``, µK²."""
        lmax = self.cl.size - 1
        window = gaussian_beam(self.fwhm, lmax) if self.beam is None else self.beam.at(lmax)
        cl = self.cl * window**2
        cl[:2] = 0.0
        return np.asarray(cl)


def judge(whitened: float, *, trust: bool) -> None:
    """Refuse a model that the observed pixels contradict, or warn of it.

    Parameters
    ----------
    whitened
        Rms of the decorrelated observed pixels.
    trust
        Whether to warn in place of refusing.

    Raises
    ------
    UnlikelyModelError
        It is far from 1.
    """
    far = max(whitened, 1 / max(whitened, 1e-9))
    if far <= _WARNED:
        return
    side = "larger" if whitened > 1 else "smaller"
    said = (
        f"the observed pixels around the holes are {far:.3g} times {side} than spectrum, beam and"
        " noise say (rms of decorrelated pixels, 1 if they are right)"
    )
    if far > _REFUSED and not trust:
        raise UnlikelyModelError(
            f"{said}; correct the unit, beam or noise, or pass `trust_prior=True`"
        )
    warnings.warn(said, stacklevel=4)
