"""The exact fill of a Gaussian sky: posterior mean, and with it realizations, on the sphere."""

from skyfill.gaussian.solver import Solution, Solver, posterior_mean

__all__ = ["Solution", "Solver", "posterior_mean"]
