"""Fill the holes of a map: the pipeline from map and mask to a whole sky.

`Inpainter` puts the parts together. `skyfill.inpaint.methods` holds what every fill method
offers, `skyfill.inpaint.plan` estimates tiles, memory and time.
"""

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
from skyfill.inpaint.options import FillOptions
from skyfill.inpaint.spread import Spread

__all__ = [
    "DIPOLES",
    "FILLS",
    "METHODS",
    "ConvergenceError",
    "ConvergenceWarning",
    "Fill",
    "FillOptions",
    "Inpainter",
    "Spread",
    "describe_prior",
]
