"""The mean fill of T, Q and U as a linear map from observed pixels to the whole sky."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.diffuse import diffuse_polarization
from skyfill.files.cache import Kept
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.gaussian.nested import NestedSolver
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.inpaint.fills import unconverged
from skyfill.inpaint.jointmean import joint_solver
from skyfill.inpaint.linear import LinearFill
from skyfill.inpaint.options import FillOptions
from skyfill.inpaint.polarized import POLARIZED_METHODS
from skyfill.inpaint.turns import Turns, engine_of
from skyfill.prior import PolarizedPrior
from skyfill.prior.dipole import Dipole
from skyfill.progress import Silent

__all__ = ["LinearStokesFill"]

Map = NDArray[np.float64]


class LinearStokesFill:
    """The mean fill of T, Q and U together, or of Q and U, without a judgement of the map.

    It gives what `skyfill.inpaint.PolarizedInpainter.mean` gives with white noise, for any map, and
    is linear up to rounding and the tolerance of the method.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed; all other pixels are filled.
    prior
        Prior of the fill; None for ``diffuse``.
    observed_pol
        ``(npix,)``, RING: the mask of Q and U; ``observed`` if None.
    stokes
        What is filled together: ``TQU`` or ``QU``.
    method
        ``gaussian``, ``diffuse`` or, for T, Q and U, ``vae``.
    dipole, tolerance, accept, threads, device, cache, engine
        As for `skyfill.inpaint.PolarizedInpainter`.

    Attributes
    ----------
    stokes
        ``TQU`` or ``QU``.
    deciding
        All that decides the fill, for the key of a cache.
    unconverged
        Number of fills that have not converged; there is a warning of the first that is accepted.

    Raises
    ------
    ValueError
        The method or its network is not linear, or it has no prior and needs one; the masks are of
        several Nside, or of another than the prior; or nothing is observed.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> observed = skyfill.simulate_mask(16, seed=1, n_holes=5)
    >>> fill = skyfill.inpaint.LinearStokesFill(observed, None, method="diffuse")
    >>> fill(np.ones((3, observed.size))).shape
    (3, 3072)
    """

    def __init__(
        self,
        observed: ArrayLike,
        prior: PolarizedPrior | None,
        *,
        observed_pol: ArrayLike | None = None,
        stokes: str = "TQU",
        method: str = "gaussian",
        dipole: str = "marginalise",
        tolerance: float = 3e-3,
        accept: bool = False,
        threads: int = 0,
        device: str = FillOptions.device,
        cache: str | Path | None = None,
        engine: FillOptions | None = None,
    ) -> None:
        _check(method, stokes, dipole)
        masks = [as_mask(observed, taker="inpaint.LinearStokesFill")]
        if observed_pol is not None:
            masks.append(as_mask(observed_pol, "observed_pol", taker="inpaint.LinearStokesFill"))
        self.nside = nside = nside_of(masks[0], "observed")
        if masks[-1].size != masks[0].size:
            raise ValueError("the masks of T and of P must have one Nside")
        self._seen = [masks[0], masks[-1]] if stokes == "TQU" else [masks[-1]]
        if not all(mask.any() for mask in self._seen):
            raise ValueError("no pixel is observed; give a mask that is True somewhere")
        self.stokes, self.method, self._accept = stokes, method, accept
        options = FillOptions(tolerance=tolerance, device=device, threads=threads, cache=cache)
        self._tolerance, self._threads = options.tolerance, options.threads
        self.unconverged = 0
        self._solver: JointSolver | NestedSolver | Turns | None = None
        self._of_t: LinearFill | None = None
        self._dipole: Dipole | None = None
        self.deciding: tuple[object, ...] = (method, stokes, *self._seen)
        if method == "diffuse":
            if stokes == "TQU" and not self._seen[0].all():
                words = {"method": method, "dipole": dipole, "accept": accept, "threads": threads}
                self._of_t = LinearFill(self._seen[0], None, **words)
                self.deciding += self._of_t.deciding
            return
        if prior is None:
            raise ValueError(f"{method} needs a prior; give that of the fill (`prior`)")
        if prior.temperature.nside != nside:
            raise ValueError(
                f"the prior has Nside {prior.temperature.nside}, the masks have Nside {nside}"
            )
        if stokes == "TQU" and dipole == "marginalise":
            self._dipole = Dipole(self._seen[0], threads=threads)
        self.deciding += dipole, options.tolerance, prior
        if method == "vae":
            self._solver = self._turns(prior, engine, dipole, options)
            return
        self._solver = joint_solver(
            self._seen,
            prior,
            marginal=dipole == "marginalise",
            threads=threads,
            kept=Kept(options.cache),
            device=harmonics.device_for(options.device),
        )

    def _turns(
        self, prior: PolarizedPrior, engine: FillOptions | None, dipole: str, options: FillOptions
    ) -> Turns:
        """Prepare the turns of T and P; refuse a network that is not linear."""
        chosen = replace(
            engine_of(engine), dipole=dipole, threads=options.threads, cache=options.cache
        )
        kept = Kept(options.cache)
        turns = Turns(self._seen, prior, options=chosen, kept=kept, progress=Silent())
        card = turns.card
        if card is not None and not card.training.get("architecture", {}).get("linear", True):
            raise ValueError(
                f"{card.name} is not linear in the data; pass an engine with other weights, or"
                " without (network=False)"
            )
        of_t = chosen.tolerance, chosen.refine, chosen.mosaic
        self.deciding += *of_t, None if card is None else card.sha256
        return turns

    def __repr__(self) -> str:
        shares = " and ".join(f"{1 - seen.mean():.2%}" for seen in self._seen)
        return (
            f"LinearStokesFill({self.method}, {self.stokes}, Nside {self.nside}, {shares} of the"
            " sky to fill)"
        )

    def __call__(self, values: ArrayLike) -> Map:
        """Fill a map, ``(3, npix)`` or ``(2, npix)``, µK, RING; only observed pixels are read.

        Returns
        -------
        ``(k, npix)``, µK, RING: the map with its holes filled.

        Raises
        ------
        ConvergenceError
            A ValueError: the fill has not converged, and ``accept`` is False.
        """
        count = len(self.stokes)
        if np.shape(values)[:-1] != (count,):
            raise ValueError(
                f"values must be ({count}, npix), {', '.join(self.stokes)}, got {np.shape(values)}"
            )
        seen = [*self._seen[:-1], self._seen[-1], self._seen[-1]]
        skies = np.asanyarray(values)
        whole = np.array(
            [
                np.where(mask, as_map(sky, taker="inpaint.LinearStokesFill"), 0.0)
                for sky, mask in zip(skies, seen, strict=True)
            ]
        )
        for plane, mask, fill in zip(whole, seen, self._fills(whole), strict=True):
            plane[~mask] = fill
        return whole

    def _fills(self, whole: Map) -> list[Map]:
        """Give the fill of each component in its holes."""
        if self._solver is None:
            of_t: list[Map] = [np.empty(0)] if self.stokes == "TQU" else []
            if self._of_t is not None:
                of_t = [self._of_t(whole[0])[~self._seen[0]]]
            return [*of_t, *diffuse_polarization(whole[-2:], self._seen[-1])]
        low = np.zeros(0)
        t, p = [sky.copy() for sky in whole[:-2]], whole[-2:].copy()
        if self._dipole is not None:
            alm = self._dipole.alm(t[0])
            low = harmonics.synthesis(alm, self.nside, threads=self._threads)
            t[0] -= low
        found = self._solver.mean([*t, p], tolerance=self._tolerance, overwrite=True)
        out = [*found.fills[:-1], *found.fills[-1]]
        if not found.converged or not all(np.all(np.isfinite(each)) for each in out):
            self.unconverged += 1
            if self.unconverged == 1 or not self._accept:  # one warning is enough
                words = "; ".join(f"{name}: {each}" for name, each in found.certificates.items())
                unconverged(f"{words}; pass a larger `tolerance`", accept=self._accept, frames=3)
        if self._dipole is not None:
            out[0] = out[0] + low[~self._seen[0]]
        return out


def _check(method: str, stokes: str, dipole: str) -> None:
    """Refuse options that do not exist with Q and U."""
    if method not in POLARIZED_METHODS:
        raise ValueError(
            f"the fill of {method} is not linear, or not known to be; choose one of"
            f" {', '.join(POLARIZED_METHODS)} (`method`)"
        )
    if stokes not in ("TQU", "QU"):
        raise ValueError(f"`stokes` must be TQU or QU, got {stokes!r}")
    if dipole not in ("marginalise", "prior"):
        raise ValueError(f"dipole must be marginalise or prior with Q and U, got {dipole!r}")
    if method == "vae" and stokes == "QU":
        raise ValueError("vae fills T with Q and U; choose `method='gaussian'` for Q and U")
