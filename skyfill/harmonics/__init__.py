"""Spherical harmonics: transforms, exact quadrature, and covariances that they diagonalise."""

from skyfill.harmonics.covariance import Covariance
from skyfill.harmonics.ebmaps import eb_maps
from skyfill.harmonics.jointcovariance import JointCovariance
from skyfill.harmonics.modecoupling import coupling_library, coupling_matrix, stokes_coupling
from skyfill.harmonics.quadrature import pixel_weights, quadrature_lmax
from skyfill.harmonics.sphere import (
    adjoint,
    adjoint_of,
    analysis,
    lmax_of,
    parts_of,
    synthesis,
)
from skyfill.harmonics.spheres import (
    DeviceSphere,
    DuccSphere,
    Sphere,
    device_for,
    device_memory,
    free_memory,
    sphere_on,
)
from skyfill.harmonics.transforms import (
    Rings,
    almxfl,
    cl_of,
    correlation,
    correlations,
    coupling,
    coupling_pol,
    spin2_window,
    truncated,
)

__all__ = [
    "Covariance",
    "DeviceSphere",
    "DuccSphere",
    "JointCovariance",
    "Rings",
    "Sphere",
    "adjoint",
    "adjoint_of",
    "almxfl",
    "analysis",
    "cl_of",
    "correlation",
    "correlations",
    "coupling",
    "coupling_library",
    "coupling_matrix",
    "coupling_pol",
    "device_for",
    "device_memory",
    "eb_maps",
    "free_memory",
    "lmax_of",
    "parts_of",
    "pixel_weights",
    "quadrature_lmax",
    "sphere_on",
    "spin2_window",
    "stokes_coupling",
    "synthesis",
    "truncated",
]
