"""Compare the masked Wiener filter of jaxht with the method `gaussian`: seconds and distance.

    pip install jaxht            # beside skyfill; on a GPU: pip install jaxht "jax[cuda12]"
    python docs/scripts/jaxht_peer.py [--nside 64 256] [--device cpu|cuda]

Both are given one map, a band and holes, one C_l with beam and pixel window, and the same white
noise, up to l = 1.5 Nside, where jaxht is validated. jaxht solves for these harmonics, with its
preconditioner, in float64. Its mean is synthesised in the holes, and compared with ours at a
tolerance of 1e-5. Every figure is a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from skyfill.gaussian import Solver
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask


def problem(nside: int) -> tuple[Prior, np.ndarray, np.ndarray]:
    """Give prior, mask and sky: a beam of three pixels, a band and at least 20 holes."""
    size = 2048 / nside
    prior = Prior(nside, lcdm(), fwhm=5 * size * ARCMIN, noise_uk_arcmin=30 * size)
    observed = simulate_mask(
        nside,
        kind="both",
        seed=71,
        half_width=np.deg2rad(12.5),
        n_holes=max(int(4000 / size**2), 20),
        radii=tuple(np.deg2rad(np.array([6, 30]) * min(size, 8) / 60)),
    )
    return prior, observed, draw(prior, seed=72, aliased=True)


def timed(work: Callable[[], object]) -> tuple[object, float]:
    """Give the result, and the seconds."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def compare(
    nside: int, *, device: str, tolerances: list[float], split: int, write: Callable[..., None]
) -> None:
    """Solve one problem with both."""
    import jax
    import jht

    prior, observed, sky = problem(nside)
    lmax = 3 * nside // 2  # where jaxht is validated; the prior of both ends there
    cl = prior.signal_cl()[: lmax + 1]
    ours = "cuda" if device == "cuda" else None
    solver, seconds = timed(
        lambda: Solver(observed, signal_cl=cl, noise_cl=prior.white_cl, device=ours)
    )
    write("skyfill prepares", nside=nside, seconds=seconds, lmax=lmax)
    for name in ("first", "further"):
        found, seconds = timed(lambda: solver.mean(sky))
        write("skyfill", nside=nside, map=name, seconds=seconds, certificate=str(found.certificate))
    exact = np.asarray(solver.mean(sky, tolerance=1e-5).fill)
    rms = float(np.std(sky[observed]))
    write("skyfill", nside=nside, away_of_rms=float(np.std(found.fill - exact)) / rms)

    values = jax.numpy.asarray(np.where(observed, sky, 0.0))
    weight = jax.numpy.asarray(observed * (4 * math.pi / sky.size / prior.white_cl))
    signal = jax.numpy.asarray(cl)
    bare, seconds = timed(
        lambda: jax.block_until_ready(
            jht.wiener_preconditioner(signal, nside, lmax, inv_noise=weight, ell_split=split)
        )
    )
    write("jaxht prepares", nside=nside, seconds=seconds, where=str(jax.devices()[0]))

    @partial(jax.jit, static_argnames="tolerance")
    def solve(values, tolerance):  # noqa: ANN001, ANN202
        return jht.wiener(
            *(values, signal, nside, lmax),
            inv_noise=weight,
            precond=bare,
            tol=tolerance,
            max_iter=1000,
            return_info=True,
        )

    @jax.jit
    def realization(values, key):  # noqa: ANN001, ANN202
        return jht.constrained_realization(
            *(values, signal, nside, lmax, key),
            inv_noise=weight,
            precond=bare,
            tol=tolerances[0],
            max_iter=1000,
        )

    for tolerance in tolerances:
        for name in ("first, with compilation", "further"):
            start = time.perf_counter()
            alm, info = jax.block_until_ready(solve(values, tolerance))
            write(
                "jaxht",
                nside=nside,
                map=name,
                seconds=time.perf_counter() - start,
                tolerance=tolerance,
                iterations=int(info.n_iter),
                residual=float(info.rel_residual),
            )
        fill = np.asarray(jht.synthesis(alm, nside, lmax))[~observed]
        away = float(np.std(fill - exact)) / rms
        write("jaxht", nside=nside, tolerance=tolerance, away_of_rms=away)
    for name in ("first, with compilation", "further"):
        start = time.perf_counter()
        jax.block_until_ready(realization(values, jax.random.PRNGKey(len(name))))
        seconds = time.perf_counter() - start
        write("jaxht realization", nside=nside, map=name, seconds=seconds, tolerance=tolerances[0])


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nside", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--tolerance", nargs="+", type=float, default=[1e-5, 1e-8], help="of jaxht's residual"
    )
    parser.add_argument(
        "--split", type=int, default=32, help="l solved exactly by jaxht beforehand"
    )
    args = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", args.device)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    jax.config.update("jax_enable_x64", val=True)

    def write(what: str, **figures: object) -> None:
        figures = {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in figures.items()}
        print(json.dumps({"what": what, **figures}), flush=True)

    for nside in args.nside:
        compare(nside, device=args.device, tolerances=args.tolerance, split=args.split, write=write)


if __name__ == "__main__":
    main()
