"""Spherical harmonics: transforms, exact quadrature, and covariances that they diagonalise."""

from skyfill.harmonics.covariance import Covariance
from skyfill.harmonics.modecoupling import coupling_library, coupling_matrix
from skyfill.harmonics.quadrature import pixel_weights, quadrature_lmax
from skyfill.harmonics.transforms import (
    Rings,
    adjoint,
    almxfl,
    analysis,
    cl_of,
    correlation,
    coupling,
    lmax_of,
    synthesis,
    truncated,
)

__all__ = [
    "Covariance",
    "Rings",
    "adjoint",
    "almxfl",
    "analysis",
    "cl_of",
    "correlation",
    "coupling",
    "coupling_library",
    "coupling_matrix",
    "lmax_of",
    "pixel_weights",
    "quadrature_lmax",
    "synthesis",
    "truncated",
]
