"""Images of the sky in CAR and other projections: their holes, filled in the image's own pixels."""

from skyfill.images.fill import Filled, Model, UnlikelyModelError, fill, solve
from skyfill.images.grid import Grid

__all__ = ["Filled", "Grid", "Model", "UnlikelyModelError", "fill", "solve"]
