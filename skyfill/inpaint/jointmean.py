"""Make the solver of the joint posterior mean of T, Q and U, and count what it solves for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skyfill.files.cache import Kept
from skyfill.gaussian import freed
from skyfill.gaussian.blocks import affordable
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.gaussian.nested import NestedSolver, suits
from skyfill.gaussian.polarblocks import affordable_pol
from skyfill.prior import PolarizedPrior

__all__ = ["joint_size", "joint_solver"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Sizes = NDArray[np.int64]


def joint_size(sizes: Mapping[str, Sizes]) -> tuple[int, int, Sizes]:
    """Count what a joint solve solves for, as `skyfill.gaussian.memory.joint_bytes` takes it.

    Parameters
    ----------
    sizes
        Of ``T`` and of ``P``, or of ``P``, ``(n,)``: number of pixels of each hole.

    Returns
    -------
    Number of Stokes parameters, number of values in the holes, and number of values of each block.
    """
    polar, of_t = sizes["P"], sizes.get("T", np.empty(0, np.int64))
    blocks = np.concatenate([2 * polar[affordable_pol(polar)], of_t[affordable(of_t)]])
    return len(sizes) + 1, 2 * int(polar.sum()) + int(of_t.sum()), blocks


def joint_solver(
    seen: Sequence[Mask],
    prior: PolarizedPrior,
    *,
    noise_variance: Sequence[Map | None] | None = None,
    marginal: bool = True,
    way: Literal["joint", "alternate"] = "joint",
    threads: int = 0,
    kept: Kept | None = None,
    device: str | None = None,
) -> JointSolver | NestedSolver:
    """Make the solver for masks of T and of P, or of P alone, and a prior.

    P alone, with white noise, is solved by its harmonics, unless signal is far above the noise.

    Parameters
    ----------
    seen
        Of T and of P, or of P, ``(npix,)``, RING, True where observed.
    prior
        The prior.
    noise_variance, way, threads, kept, device
        As for `skyfill.gaussian.jointsolver.JointSolver`.
    marginal
        Whether monopole and dipole of T are free; else they have the C_0 and C_1 of the prior.
    """
    cl = prior.signal_cl()
    if marginal:
        cl[0, 0] = freed(cl[0, 0])
    if len(seen) == 1:
        cl = cl[1:, 1:]
        white = not noise_variance or all(own is None for own in noise_variance)
        if white and suits(cl, prior.white_cl[-1]) and not seen[0].all():
            noise_cl = prior.white_cl[-1]
            return NestedSolver(
                seen[0], signal_cl=cl, noise_cl=noise_cl, threads=threads, device=device
            )
    return JointSolver(
        seen,
        signal_cl=cl,
        noise_cl=prior.white_cl[-len(seen) :],
        noise_variance=noise_variance,
        way=way,
        threads=threads,
        kept=kept,
        device=device,
    )
