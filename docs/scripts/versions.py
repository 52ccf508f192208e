"""Time two versions of skyfill beside each other: first and further realizations, in one run.

    git worktree add ../before 74cde1d
    python docs/scripts/versions.py --before ../before --after . --nside 2048

The checkouts take turns, each fill in a process of its own. The first round also compiles, so the
ratios are those of the shortest times of two rounds or more. The
sky has 5', 30 µK·arcmin and 24% masked at Nside 2048, and is scaled below. Every figure is a line
of JSON: wall seconds, those of all threads together (``_cpu``), and the peak of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

#: What Linux tells of this process.
STATUS = Path("/proc/self/status")


def peak() -> float:
    """Give the peak memory of this process, GiB."""
    kept = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(kept.split()[1]) / 2**20, 2)


def fill(method: str, nside: int, threads: int) -> None:
    """Fill once more with the version that Python finds; print the seconds."""
    import numpy as np

    import skyfill
    from skyfill.prior import ARCMIN, Prior, draw, lcdm
    from skyfill.prior.simulate import simulate_mask

    warnings.simplefilter("ignore")
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
    sky = draw(prior, seed=72, aliased=True)
    figures: dict[str, object] = {"from": skyfill.__file__, "missing": float(1 - observed.mean())}
    STATUS.with_name("clear_refs").write_text("5")  # the peak of making the sky does not count
    wall, cpu = time.perf_counter(), time.process_time()
    inpainter = skyfill.Inpainter(
        sky, observed, method=method, prior=prior, seed=7, threads=threads, trust_prior=True
    )
    for index, name in enumerate(("first", "further")):
        filled = inpainter.realization(index)
        figures[name] = round(time.perf_counter() - wall, 3)
        figures[f"{name}_cpu"] = round(time.process_time() - cpu, 3)
        wall, cpu = time.perf_counter(), time.process_time()
    figures["rms_uk"] = float(np.std(filled))
    figures["GiB"] = peak()
    print(json.dumps(figures))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="a checkout")
    parser.add_argument("--after", type=Path, help="a checkout")
    parser.add_argument("--nside", type=int, default=2048)
    parser.add_argument("--methods", nargs="+", default=["vae", "gaussian"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="0 for all cores")
    parser.add_argument("--fill", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.fill:
        fill(args.fill, args.nside, args.threads)
        return
    if args.before is None or args.after is None:
        parser.error("give --before and --after, two checkouts")
    checkouts = {"before": args.before.resolve(), "after": args.after.resolve()}
    words = ["--nside", str(args.nside), "--threads", str(args.threads)]
    for method in args.methods:
        best: dict[tuple[str, str], float] = {}
        for number in range(args.rounds):
            for name, folder in checkouts.items():
                with tempfile.TemporaryDirectory(prefix="skyfill-versions-") as elsewhere:
                    done = subprocess.run(  # noqa: S603 (this very file)
                        [sys.executable, str(Path(__file__).resolve()), "--fill", method, *words],
                        cwd=elsewhere,
                        env=os.environ | {"PYTHONPATH": str(folder)},
                        capture_output=True,
                        text=True,
                        check=False,
                    )
                if done.returncode:
                    sys.exit(f"{name}: {done.stderr.strip()}")
                figures = json.loads(done.stdout.splitlines()[-1])
                if folder not in Path(figures["from"]).parents:
                    sys.exit(f"{name}: Python found {figures['from']}, not {folder}")
                print(
                    json.dumps({"what": method, "version": name, "round": number, **figures}),
                    flush=True,
                )
                for which in ("first", "further"):
                    known = best.get((name, which), figures[which])
                    best[name, which] = min(known, figures[which])
        ratios = {
            which: round(best["after", which] / best["before", which], 3)
            for which in ("first", "further")
        }
        print(json.dumps({"what": method, "after_over_before": ratios}), flush=True)


if __name__ == "__main__":
    main()
