"""Measure how much of the BB of a filled sky follows from the prior.

A realization is A s + (1 - A) z, with s the sky, z a sky of the prior, and A the map from the sky
to its posterior mean. So BB of the filled sky is (1 - α) BB of the sky + α BB of the prior, where
1 - α is what A leaves of the power of a sky of B modes alone. A is linear and does not depend on
the data: one mean fill of such a sky gives α.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.gaussian import freed
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.checks import check_whole
from skyfill.prior import PolarizedPrior, draw_polarization
from skyfill.progress import Progress
from skyfill.spectra import bin_edges, whole_spectra
from skyfill.spectra.binning import Binning, averaged

__all__ = ["bb_share"]

#: Seed of the drawn skies.
_SEED = 0xBB


def bb_share(
    prior: PolarizedPrior,
    observed: ArrayLike,
    observed_pol: ArrayLike | None = None,
    *,
    stokes: str = "TQU",
    lmax: int | None = None,
    bins: int | Binning | Sequence[int] | NDArray[np.int64] | None = None,
    skies: int = 1,
    tolerance: float = 0.01,
    threads: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Give α, the share of the BB of a filled sky that follows from the prior, in each bin.

    BB of the filled sky is (1 - α) BB of the sky + α BB of the prior. Divide nothing by it: measure
    r on the cut sky, or forward-model the fill.

    Parameters
    ----------
    prior
        Prior of the fill.
    observed, observed_pol
        ``(npix,)``, RING, True where observed: of T and of Q and U; ``observed_pol`` is
        ``observed`` if None.
    stokes
        What was filled together: ``TQU`` or ``QU``.
    lmax, bins
        As for `skyfill.spectra.compare_stokes`.
    skies
        Number of skies of B modes that are filled; more where bins have few modes.
    tolerance
        Accuracy of the fills, in units of the rms of such a sky.
    threads
        Number of threads; 0 for all cores.
    progress
        Receives every step.

    Returns
    -------
    ``(nbin,)``, from 0, where all is observed, to 1.

    Raises
    ------
    ValueError
        The prior has no BB, masks and prior have several Nside, or nothing is observed.

    Examples
    --------
    >>> import skyfill
    >>> t = skyfill.Prior(16, skyfill.lcdm(), 0.1, 300.0, theory=skyfill.prior.LCDM)
    >>> prior = skyfill.prior.PolarizedPrior.of(t, 1.0)
    >>> observed = skyfill.simulate_mask(16, kind="band", seed=1, half_width=0.2)
    >>> share = skyfill.fidelity.bb_share(prior, observed, stokes="QU", bins=[2, 9, 25])
    >>> bool(0 < share.min() and share.max() < 0.7)
    True
    """
    if stokes not in ("TQU", "QU"):
        raise ValueError(f"`stokes` must be TQU or QU, got {stokes!r}")
    number, nside = check_whole(skies, "skies", least=1), prior.temperature.nside
    masks = [as_mask(observed, taker="fidelity.bb_share")]
    masks.append(
        masks[0]
        if observed_pol is None
        else as_mask(observed_pol, "observed_pol", taker="fidelity.bb_share")
    )
    if any(mask.size != 12 * nside**2 for mask in masks):
        raise ValueError(f"the prior has Nside {nside}; give masks of this Nside")
    if not prior.bb.any():
        raise ValueError("the prior has no BB, and no share of the filled sky's BB follows from it")
    lmax = harmonics.quadrature_lmax(nside) if lmax is None else check_whole(lmax, "lmax")
    edges = bin_edges(bins, lmax)
    seen = masks if stokes == "TQU" else masks[1:]
    holes = ~masks[1]
    if not holes.any():
        return np.zeros(edges.size - 1)
    cl = prior.signal_cl()
    if stokes == "TQU":
        cl[0, 0] = freed(cl[0, 0])
    else:
        cl = cl[1:, 1:]
    solver = JointSolver(seen, signal_cl=cl, noise_cl=prior.white_cl[-len(seen) :], threads=threads)
    alone = replace(prior, ee=np.zeros_like(prior.ee), te=np.zeros_like(prior.te))
    before, after = np.zeros(edges.size - 1), np.zeros(edges.size - 1)
    for index in range(number):
        sky, _ = draw_polarization(alone, seed=_SEED, index=index, threads=threads)
        # Tolerances are in units of the rms of a map of the prior.
        sky *= solver.rms[-1] / np.sqrt(np.mean(np.square(sky)))
        fields = [sky] if stokes == "QU" else [np.zeros(sky.shape[1]), sky]
        filled = sky.copy()
        filled[:, holes] = solver.mean(fields, tolerance=tolerance, progress=progress).fills[-1]
        for total, each in ((before, sky), (after, filled)):
            found = whole_spectra(each, lmax=lmax, threads=threads)["BB"]
            total += averaged(found, edges)
    left = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    return np.asarray(np.clip(1 - left, 0.0, 1.0))
