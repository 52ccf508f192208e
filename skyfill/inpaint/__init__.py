"""Fill the holes of a map: the pipeline from map and mask to a whole sky.

`Inpainter` puts the parts together. `skyfill.inpaint.methods` holds what every fill method
offers, `skyfill.inpaint.plan` estimates tiles, memory and time.

Examples
--------
>>> import numpy as np, skyfill
>>> prior = skyfill.Prior(32, skyfill.lcdm(), fwhm=0.08, noise_uk_arcmin=500.0)
>>> sky = skyfill.prior.draw(prior, seed=1, index=0, aliased=True)
>>> observed = skyfill.simulate_mask(32, seed=2, n_holes=10)
>>> filler = skyfill.Inpainter(sky, observed, method="gaussian", prior=prior, seed=3)
>>> whole = sky.copy()
>>> whole[filler.holes] = filler.realization(0)  # µK; the observed pixels are unchanged
>>> filler.converged, bool((filler.holes == ~observed).all())
(True, True)
"""

from skyfill.inpaint.choice import Choice, choose_method, choose_stokes
from skyfill.inpaint.inpainter import (
    DIPOLES,
    FILLS,
    METHODS,
    ConvergenceError,
    ConvergenceWarning,
    Fill,
    Inpainter,
    describe_prior,
)
from skyfill.inpaint.linear import LinearFill
from skyfill.inpaint.linearstokes import LinearStokesFill
from skyfill.inpaint.options import FillOptions
from skyfill.inpaint.polarized import POLARIZED_METHODS, PolarizedInpainter
from skyfill.inpaint.skies import fill
from skyfill.inpaint.spread import PolarizedSpread, Spread, relative_error
from skyfill.inpaint.transformed import TransformedInpainter

__all__ = [
    "DIPOLES",
    "FILLS",
    "METHODS",
    "POLARIZED_METHODS",
    "Choice",
    "ConvergenceError",
    "ConvergenceWarning",
    "Fill",
    "FillOptions",
    "Inpainter",
    "LinearFill",
    "LinearStokesFill",
    "PolarizedInpainter",
    "PolarizedSpread",
    "Spread",
    "TransformedInpainter",
    "choose_method",
    "choose_stokes",
    "describe_prior",
    "fill",
    "relative_error",
]
