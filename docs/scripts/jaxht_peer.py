"""Compare the masked Wiener filter of jaxht with the method `gaussian`: seconds and distance.

    pip install jaxht            # beside skyfill; on a GPU: pip install jaxht "jax[cuda12]"
    python docs/scripts/jaxht_peer.py [--nside 64 256] [--device cpu|cuda]

Both are given one map, a band and holes, one C_l with beam and pixel window, and the same white
noise. jaxht solves for harmonics up to the same lmax, with its preconditioner, in float64. Its mean
is synthesised in the holes, and compared with ours at a tolerance of 1e-5. Every figure is a line
of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable

import numpy as np

from skyfill.gaussian import Solver
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask


def problem(nside: int) -> tuple[Prior, np.ndarray, np.ndarray]:
    """Give prior, mask and sky: a band and holes, a beam that ends l below 1.5 Nside.

    That is where jaxht is validated.
    """
    size = 2048 / nside
    prior = Prior(nside, lcdm(), fwhm=8 * size * ARCMIN, noise_uk_arcmin=30 * size)
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


def compare(nside: int, *, device: str, tolerance: float, split: int, write: Callable[..., None]) -> None:
    """Solve one problem with both."""
    import jax
    import jht

    prior, observed, sky = problem(nside)
    lmax = prior.lmax
    ours = "cuda" if device == "cuda" else None
    solver, seconds = timed(lambda: Solver.for_prior(observed, prior, marginal=False, device=ours))
    write("skyfill prepares", nside=nside, seconds=seconds, lmax=lmax)
    for name in ("first", "further"):
        found, seconds = timed(lambda: solver.mean(sky))
        write("skyfill", nside=nside, map=name, seconds=seconds, certificate=str(found.certificate))
    exact = np.asarray(solver.mean(sky, tolerance=1e-5).fill)
    rms = float(np.std(sky[observed]))
    write("skyfill", nside=nside, away_of_rms=float(np.std(found.fill - exact)) / rms)

    values = jax.numpy.asarray(np.where(observed, sky, 0.0))
    weight = jax.numpy.asarray(observed * (4 * math.pi / sky.size / prior.white_cl))
    signal = jax.numpy.asarray(prior.signal_cl())
    bare, seconds = timed(
        lambda: jax.block_until_ready(
            jht.wiener_preconditioner(signal, nside, lmax, inv_noise=weight, ell_split=split)
        )
    )
    write("jaxht prepares", nside=nside, seconds=seconds, where=str(jax.devices()[0]))

    @jax.jit
    def solve(values):  # noqa: ANN001, ANN202
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
            tol=tolerance,
            max_iter=1000,
        )

    for name in ("first, with compilation", "further"):
        (alm, info), seconds = timed(lambda: jax.block_until_ready(solve(values)))
        write(
            "jaxht",
            nside=nside,
            map=name,
            seconds=seconds,
            iterations=int(info.n_iter),
            residual=float(info.rel_residual),
        )
    fill = np.asarray(jht.synthesis(alm, nside, lmax))[~observed]
    write("jaxht", nside=nside, away_of_rms=float(np.std(fill - exact)) / rms, tolerance=tolerance)
    for name in ("first, with compilation", "further"):
        key = jax.random.PRNGKey(len(name))
        _, seconds = timed(lambda: jax.block_until_ready(realization(values, key)))  # noqa: B023
        write("jaxht realization", nside=nside, map=name, seconds=seconds)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nside", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="of jaxht's residual")
    parser.add_argument("--split", type=int, default=32, help="l solved exactly by jaxht beforehand")
    args = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", args.device)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    jax.config.update("jax_enable_x64", val=True)

    def write(what: str, **figures: object) -> None:
        figures = {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in figures.items()}
        print(json.dumps({"what": what, **figures}), flush=True)

    for nside in args.nside:
        compare(nside, device=args.device, tolerance=args.tolerance, split=args.split, write=write)


if __name__ == "__main__":
    main()
