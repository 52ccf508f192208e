"""Fill holes by diffusion: the solution of Laplace's equation, by multigrid."""

from skyfill.diffuse.fill import diffuse, diffuse_bytes, diffuse_holes, diffuse_polarization

__all__ = [
    "diffuse",
    "diffuse_bytes",
    "diffuse_holes",
    "diffuse_polarization",
]
