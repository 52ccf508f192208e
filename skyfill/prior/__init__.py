"""Model of a sky before it is observed: its spectrum, beam, pixel window and noise."""

from skyfill.prior.drawing import draw, draw_signal, draw_white
from skyfill.prior.fitting import fit
from skyfill.prior.given import Given, as_given, for_map
from skyfill.prior.localnoise import NoiseEstimate, estimate_noise
from skyfill.prior.model import (
    ARCMIN,
    LCDM,
    NUMBERS,
    Prior,
    gaussian_beam,
    lcdm,
    pixel_window,
)
from skyfill.prior.plausibility import (
    WRONG_ORDER,
    Band,
    Plausibility,
    UnlikelyPriorError,
    judge,
    wrong_order,
)
from skyfill.prior.record import (
    PRIOR_HDU,
    prior_hdu,
    read_prior,
    recorded_prior,
    save_prior,
)
from skyfill.prior.spectrumfile import SpectrumFile, read_cl, read_spectrum

__all__ = [
    "ARCMIN",
    "LCDM",
    "NUMBERS",
    "PRIOR_HDU",
    "WRONG_ORDER",
    "Band",
    "Given",
    "NoiseEstimate",
    "Plausibility",
    "Prior",
    "SpectrumFile",
    "UnlikelyPriorError",
    "as_given",
    "draw",
    "draw_signal",
    "draw_white",
    "estimate_noise",
    "fit",
    "for_map",
    "gaussian_beam",
    "judge",
    "lcdm",
    "pixel_window",
    "prior_hdu",
    "read_cl",
    "read_prior",
    "read_spectrum",
    "recorded_prior",
    "save_prior",
    "wrong_order",
]
