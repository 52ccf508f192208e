"""The table of fill methods by name.

`skyfill.inpaint.fills` defines the interface; each method has its own file.
"""

from __future__ import annotations

from skyfill.inpaint.choice import choose_at
from skyfill.inpaint.diffusing import Diffuse, DiffuseMethod
from skyfill.inpaint.exact import Exact, ExactMethod, Polished, Surrounded
from skyfill.inpaint.fills import ConvergenceError, Fill, Method, Setup
from skyfill.inpaint.learned import LearnedMethod, SingleMethod
from skyfill.inpaint.options import DIPOLES, FILLS, METHODS, FillOptions
from skyfill.inpaint.published import Ensemble, PublishedMethod
from skyfill.inpaint.tiled import TileMethod

__all__ = [
    "DIPOLES",
    "FILLS",
    "METHODS",
    "ConvergenceError",
    "Diffuse",
    "Ensemble",
    "Exact",
    "Fill",
    "Method",
    "Polished",
    "Setup",
    "Surrounded",
    "method_of",
]

_CLASSES: dict[str, type[Method]] = {
    "vae": TileMethod,
    "gaussian": ExactMethod,
    "diffuse": DiffuseMethod,
    "cosmovae": PublishedMethod,
    "pconv": SingleMethod,
    "vaeac": LearnedMethod,
    "context-encoder": SingleMethod,
}


def method_of(options: FillOptions, nside: int, *, mapped: bool = False) -> Method:
    """Build the method of the options, at one resolution, with or without a noise map."""
    options = choose_at(options, nside, mapped=mapped).applied(options)
    return _CLASSES[options.method](options, nside, mapped=mapped)
