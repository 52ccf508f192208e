"""Model of a sky before it is observed: its spectrum, beam, pixel window and noise."""

from skyfill.prior.beam import Beam, read_beam
from skyfill.prior.drawing import draw, draw_signal, draw_white
from skyfill.prior.examination import Examined, examine
from skyfill.prior.figure import draw_fit, save_fit
from skyfill.prior.fitting import FROM_MAP, assess, fit
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
from skyfill.prior.patches import Patches
from skyfill.prior.pixelorder import WRONG_ORDER, wrong_order
from skyfill.prior.plausibility import Plausibility, UnlikelyPriorError, judge
from skyfill.prior.polarfitting import PolarPseudo, assess_polarization, fit_polarization
from skyfill.prior.polarized import PolarizedPrior, draw_polarization
from skyfill.prior.pseudospectrum import Pseudo
from skyfill.prior.quality import Quality
from skyfill.prior.record import (
    PRIOR_HDU,
    prior_hdu,
    read_polarization,
    read_prior,
    recorded_polarization,
    recorded_prior,
    save_prior,
)
from skyfill.prior.scatter import Band
from skyfill.prior.skyspectra import SkySpectra, tensor_spectra
from skyfill.prior.spectrumfile import SpectrumFile, read_cl, read_spectra, read_spectrum

__all__ = [
    "ARCMIN",
    "FROM_MAP",
    "LCDM",
    "NUMBERS",
    "PRIOR_HDU",
    "WRONG_ORDER",
    "Band",
    "Beam",
    "Examined",
    "Given",
    "NoiseEstimate",
    "Patches",
    "Plausibility",
    "PolarPseudo",
    "PolarizedPrior",
    "Prior",
    "Pseudo",
    "Quality",
    "SkySpectra",
    "SpectrumFile",
    "UnlikelyPriorError",
    "as_given",
    "assess",
    "assess_polarization",
    "draw",
    "draw_fit",
    "draw_polarization",
    "draw_signal",
    "draw_white",
    "estimate_noise",
    "examine",
    "fit",
    "fit_polarization",
    "for_map",
    "gaussian_beam",
    "judge",
    "lcdm",
    "pixel_window",
    "prior_hdu",
    "read_beam",
    "read_cl",
    "read_polarization",
    "read_prior",
    "read_spectra",
    "read_spectrum",
    "recorded_polarization",
    "recorded_prior",
    "save_fit",
    "save_prior",
    "tensor_spectra",
    "wrong_order",
]
