"""Images of the sky in CAR and other projections: their holes, filled in the image's own pixels."""

from skyfill.images.fill import fill, solve
from skyfill.images.grid import Grid
from skyfill.images.model import Model, UnlikelyModelError
from skyfill.images.solver import Filled

__all__ = ["Filled", "Grid", "Model", "UnlikelyModelError", "fill", "solve"]
