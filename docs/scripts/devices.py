r"""Compare fills on a GPU with fills on the CPU: the same seed, seconds by stage, differences.

Every figure is a line of JSON. A section that fails says so in its line, and the others go on.

    python docs/scripts/devices.py --out devices.jsonl
    python docs/scripts/devices.py --device cpu --nsides 64 --methods solver
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
from pathlib import Path

import numpy as np

from skyfill import Inpainter
from skyfill.gaussian import Solver
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask
from skyfill.progress import Silent

BEGUN = time.perf_counter()


class Stages(Silent):
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._name, self._since = "", 0.0

    def stage(self, name: str, steps: int | None = None) -> None:  # noqa: ARG002
        """Begin a stage."""
        self._close()
        self._name, self._since = name, time.perf_counter()

    def done(self, note: str | None = None) -> None:  # noqa: ARG002
        """End a stage."""
        self._close()

    def _close(self) -> None:
        if self._name:
            spent = time.perf_counter() - self._since
            self.seconds[self._name] = round(self.seconds.get(self._name, 0.0) + spent, 3)
        self._name = ""


def problem(nside: int) -> tuple[Prior, np.ndarray, np.ndarray]:
    """Give prior, mask and sky: 5', 30 µK·arcmin, 24% masked at Nside 2048, and scaled below."""
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


def apart(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Give the distance of two fills, µK."""
    rest = one - other
    return {"rms_uk": float(np.sqrt(np.mean(rest**2))), "worst_uk": float(np.abs(rest).max())}


def memory() -> dict[str, float]:
    """Give the peak memory of the GPU since the last call, GB."""
    import torch

    if not torch.cuda.is_available():
        return {}
    peak = torch.cuda.max_memory_allocated() / 1e9
    torch.cuda.reset_peak_memory_stats()
    return {"gpu_peak_GB": peak}


def exact(write, nside: int, device: str, *, cpu: bool) -> None:  # noqa: ANN001
    """Solve one map twice on the device, and once on the CPU."""
    prior, observed, sky = problem(nside)
    start = time.perf_counter()
    solver = Solver.for_prior(observed, prior, device=device)
    write(f"solver {nside}", where=device, prepare_s=time.perf_counter() - start, holes=str(solver))
    for name in ("first", "further", "again"):
        start = time.perf_counter()
        found = solver.mean(sky)
        seconds = time.perf_counter() - start
        write(
            f"solver {nside}",
            where=device,
            map=name,
            seconds=seconds,
            certificate=str(found.certificate),
            **memory(),
        )
    again = solver.mean(sky)
    write(f"solver {nside}", same_bits=bool(np.array_equal(found.fill, again.fill)))
    if cpu:
        del solver
        other = Solver.for_prior(observed, prior)
        for name in ("first", "further"):
            start = time.perf_counter()
            known = other.mean(sky)
            seconds = time.perf_counter() - start
            write(
                f"solver {nside}",
                where="cpu",
                map=name,
                seconds=seconds,
                certificate=str(known.certificate),
            )
            if nside >= 2048:
                break
        write(f"solver {nside}", **apart(found.fill, known.fill))


def tiled(write, nside: int, device: str, *, method: str, cpu: bool) -> None:  # noqa: ANN001
    """Draw two realizations on the device and on the CPU."""
    prior, observed, sky = problem(nside)
    found = {}
    for where in [device, "cpu"] if cpu else [device]:
        for name in ("first", "further", "again"):
            stages = Stages()
            if name == "first":
                start = time.perf_counter()
                inpainter = Inpainter(
                    *(sky, observed),
                    method=method,
                    prior=prior,
                    seed=7,
                    device=where,
                    trust_prior=True,
                    progress=stages,
                )
            else:
                start = time.perf_counter()
                stages = inpainter._progress  # noqa: SLF001
                stages.seconds.clear()
            filled = inpainter.realization(0)
            write(
                f"{method} {nside}",
                where=where,
                map=name,
                seconds=time.perf_counter() - start,
                stages=dict(stages.seconds),
                **memory(),
            )
            found.setdefault(where, filled)
            same = bool(np.array_equal(found[where], filled))
        write(f"{method} {nside}", where=where, same_bits=same)
        del inpainter
    if cpu and device != "cpu":
        write(f"{method} {nside}", **apart(found[device], found["cpu"]))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--nsides", nargs="+", type=int, default=[512, 2048])
    parser.add_argument("--methods", nargs="+", default=["solver", "gaussian", "vae"])
    parser.add_argument("--no-cpu", action="store_true", help="leave out the fills on the CPU")
    parser.add_argument("--out", type=Path, help="a file to which the lines are appended")
    args = parser.parse_args()

    def write(what: str, **figures: object) -> None:
        figures = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in figures.items()}
        line = json.dumps({"what": what, **figures, "at_s": round(time.perf_counter() - BEGUN, 1)})
        print(line, flush=True)
        if args.out:
            with args.out.open("a") as file:
                file.write(line + "\n")

    for nside in args.nsides:
        for method in args.methods:
            try:
                if method == "solver":
                    exact(write, nside, args.device, cpu=not args.no_cpu)
                else:
                    tiled(write, nside, args.device, method=method, cpu=not args.no_cpu)
            except Exception as error:  # noqa: BLE001 (the other figures are wanted)
                where = traceback.format_exc().strip().splitlines()[-9:]
                write(f"{method} {nside}", failed=f"{type(error).__name__}: {error}", where=where)


if __name__ == "__main__":
    main()
