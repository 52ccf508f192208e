"""Measure the joint fill of T, Q and U.

    python docs/scripts/polarization.py [--noise 85 2.5] [--noise-t 60] [--ways joint alternate]
        [--threads 1] [NSIDE ...]

First, seconds, iterations and memory of T alone and of T, Q and U, of `Solver` and `JointSolver`,
on a ragged band with discs, whose masks of T and P differ. The sky is that of Nside 512 with a beam
of 20' at each Nside: C_l is that of l 512/Nside, times (512/Nside)². ``--noise`` is that of Q and U
at Nside 512, ``--noise-t`` that of T, µK·arcmin. Memory is what a solve adds at its peak to the
memory before it (Linux).

Then, at Nside 64, the B modes that fills of a sky of E modes alone (BB = 0, no noise, a prior with
BB = 0 and 2.2 µK·arcmin) have, in units of lensing BB; ``--leak`` prints them alone.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import time
from pathlib import Path
from typing import Self

import healpy as hp
import numpy as np

from skyfill import harmonics
from skyfill.gaussian import Solver, freed
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw, draw_polarization, lcdm

#: Nside and beam, arcmin, of the sky that is measured.
NSIDE, BEAM = 512, 20.0
BINS = (2, 8), (9, 30), (31, 49), (50, 96)


def band(nside: int, degrees: float, discs: int) -> np.ndarray:
    """Mask a ragged band and discs."""
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    seen = np.abs(90 - np.degrees(theta)) > degrees + degrees / 3 * np.sin(5 * phi)
    random = np.random.default_rng(0)
    for centre in random.integers(0, seen.size, discs):
        disc = hp.query_disc(nside, hp.pix2vec(nside, centre), 2.5 * hp.nside2resol(nside))
        seen[disc] = False
    return seen


class Spent:
    """Seconds, of the clock and of the processors, and bytes that a block adds at its peak."""

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):  # Linux: start the peak anew
            Path("/proc/self/clear_refs").write_text("5")
        self._before = self._memory("VmRSS")
        self._begun = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begun[0]
        self.cpu = time.process_time() - self._begun[1]
        self.peak = self._memory("VmHWM") - self._before

    @staticmethod
    def _memory(name: str) -> float:
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return math.nan
        (line,) = (line for line in lines if line.startswith(name))
        return 1024 * int(line.split()[1])

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s ({self.cpu:.1f} s of CPU), {self.peak / 2**30:.2f} GiB"


def stretched(name: str, nside: int) -> np.ndarray:
    """Give the spectrum of which a map of this Nside looks like one of Nside 512."""
    stretch = max(NSIDE // nside, 1)
    return stretch**2 * lcdm(None, name)[::stretch]


def speed(
    nside: int, levels: tuple[float, float], ways: list[str], threads: int, *, shown: bool
) -> None:
    """Print seconds, iterations and memory."""
    tt, ee, bb, te = (stretched(name, nside) for name in ("TT", "EE", "BB", "TE"))
    noise_t, noise_pol = (level * NSIDE / nside for level in levels)
    beam = math.radians(BEAM / 60 * NSIDE / nside)
    t_prior = Prior(nside, tt, fwhm=beam, noise_uk_arcmin=noise_t)
    n = min(each.size for each in (tt, ee, bb, te))
    prior = PolarizedPrior(t_prior, ee[:n], bb[:n], te[:n], noise_pol)
    npix = 12 * nside**2
    t = draw(t_prior, seed=1, aliased=True)
    p, white = draw_polarization(prior, seed=1)
    p += white * math.sqrt(prior.white_cl[1] * npix / (4 * math.pi))
    del white
    seen_t, seen_p = band(nside, 6, 30), band(nside, 10, 60)
    cl = prior.signal_cl()
    cl[0, 0] = freed(cl[0, 0])
    weights = harmonics.pixel_weights(nside, threads=threads)
    with Spent() as first:
        solver = Solver(
            *(seen_t,),
            signal_cl=freed(t_prior.signal_cl()),
            noise_cl=t_prior.white_cl,
            weights=weights,
            threads=threads,
        )
        alone = solver.mean(t).certificate
    del solver
    if shown:
        print(f"Nside {nside}, noise {levels[0]:g} and {levels[1]:g} uK.arcmin at {NSIDE}")
        print(f"    T: {first}; {alone}", flush=True)
    for way in ways:
        with Spent() as spent:
            solver = JointSolver(
                (seen_t, seen_p),
                signal_cl=cl,
                noise_cl=prior.white_cl,
                way=way,
                weights=weights,
                threads=threads,
            )
            found = solver.mean((t, p))
        if shown:
            each = "; ".join(f"{x} {c}" for x, c in found.certificates.items())
            ratio = spent.seconds / first.seconds, spent.cpu / first.cpu
            print(f"    TQU, {solver.way}: {spent}, {ratio[0]:.1f} times T ({ratio[1]:.1f} in CPU)")
            print(f"        l up to {solver.inner.lmax}, {each}", flush=True)
        del solver


def leak(nside: int = 64) -> None:
    """Print the B modes of fills of a sky of E modes alone."""
    t_prior = Prior(nside, lcdm(), math.radians(160 / 60), 100.0, theory=LCDM)
    nothing = np.zeros(3)
    prior = PolarizedPrior(t_prior, lcdm(None, "EE"), nothing, lcdm(None, "TE"), 2.2)
    sky, _ = draw_polarization(prior, seed=3)
    seen = band(nside, 12, 30)
    weights = harmonics.pixel_weights(nside)
    ell = np.arange(BINS[-1][1] + 1)
    lensing = (2 * ell + 1) * lcdm(ell[-1], "BB") * t_prior.transfer(ell[-1])
    solver = JointSolver(
        (seen,), signal_cl=prior.signal_cl()[1:, 1:], noise_cl=prior.white_cl[1:], threads=1
    )
    zero, mean = sky * seen, sky.copy()
    mean[:, ~seen] = solver.mean((sky,)).fills[0]
    for name, filled in (("truth", sky), ("zero", zero), ("mean", mean)):
        alm = harmonics.adjoint(np.vstack([0 * filled[:1], filled]) * weights, lmax=ell[-1])
        cl = (2 * ell + 1) * hp.alm2cl(alm[2] * 4 * np.pi / seen.size)
        shares = (cl[a : b + 1].sum() / lensing[a : b + 1].sum() for a, b in BINS)
        print(f"{name:6} BB over lensing BB at l {BINS}:", *(f"{share:.1e}" for share in shares))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nside", type=int, nargs="*", default=[64, 128])
    parser.add_argument("--noise", type=float, nargs="+", default=[85.0, 2.5])
    parser.add_argument("--noise-t", type=float, default=60.0)
    parser.add_argument("--ways", nargs="+", default=["joint"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--leak", action="store_true")
    args = parser.parse_args()
    if not args.leak:
        speed(
            16, (args.noise_t, args.noise[0]), ["joint", "alternate"], args.threads, shown=False
        )  # compiles
        for nside in args.nside:
            for noise in args.noise:
                speed(nside, (args.noise_t, noise), args.ways, args.threads, shown=True)
    if args.leak or not args.nside or max(args.nside) <= 128:
        leak()


if __name__ == "__main__":
    main()
