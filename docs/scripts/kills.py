"""Kill a batch again and again, and see that nothing comes of it.

Many simulated maps of one mask are filled twice: undisturbed, and with `kill -9` of the command and
its workers at random moments, after each of which the same command is given again. Then all outputs
must be the same, byte by byte, and nothing else may lie in the folder.

    python docs/scripts/kills.py --maps 100 --nside 256 --workers 2 --kills 5
    python docs/scripts/kills.py --maps 20 --nside 256 --stokes TQU

With --stokes the skies are of T, Q and U, with a mask of T and one of P. The seconds of the first
map of a worker, which prepares the solver, and of a further one are said.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import skyfill


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=int, default=100)
    parser.add_argument("--nside", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--method", default="gaussian")
    parser.add_argument("--stokes", choices=("TQU", "QU"), help="default: T alone")
    parser.add_argument("--seed", type=int, default=61)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    (folder / "sims").mkdir()
    prior = skyfill.Prior(
        args.nside,
        skyfill.lcdm(),
        theory=skyfill.prior.LCDM,
        fwhm=np.radians(10240 / args.nside / 60),
        noise_uk_arcmin=23040 / args.nside,
    )
    for k in range(args.maps):
        sky = skyfill.prior.draw(prior, seed=args.seed, index=k, aliased=True)
        columns = {"T": sky, **polarization(args, prior, k)}
        path = folder / f"sims/sim_{k:03d}.fits"
        skyfill.write_map(path, columns, unit="uK_CMB", dtype="float32")
    observed = skyfill.simulate_mask(args.nside, seed=args.seed)
    skyfill.write_map(folder / "mask.fits", observed, column="M", unit="", dtype="uint8")
    words = ["batch", "sims/*.fits", "mask.fits", "--method", args.method, "--quiet"]
    words += ["--workers", str(args.workers), "--seed", str(args.seed)]
    words += ["--beam-arcmin", str(10240 / args.nside)]
    words += ["--noise-uk-arcmin", str(23040 / args.nside)]
    if args.stokes:
        observed = skyfill.simulate_mask(args.nside, seed=args.seed + 1, half_width=0.2)
        skyfill.write_map(folder / "pol.fits", observed, column="M", unit="", dtype="uint8")
        words += ["--stokes", args.stokes, "--mask-pol", "pol.fits"]
        words += ["--noise-pol-uk-arcmin", str(noise_pol(args.nside))]

    begun = time.perf_counter()
    if start(folder, words, "whole").wait():
        raise SystemExit("the undisturbed run failed")
    seconds = time.perf_counter() - begun
    print(f"undisturbed: {seconds:.0f} s, {seconds / args.maps:.1f} s a map", flush=True)
    lines = (folder / "whole/manifest.jsonl").read_text().splitlines()[1:]
    each = [json.loads(line)["seconds"] for line in lines]
    first, rest = np.mean(each[: args.workers]), np.mean(each[args.workers :] or [np.nan])
    print(f"first map of a worker: {first:.2f} s, a further one {rest:.2f} s", flush=True)

    rng = np.random.default_rng(args.seed)
    begun = time.perf_counter()
    for number in range(args.kills):
        running = start(folder, words, "killed")
        time.sleep(rng.uniform(0, 2 * seconds / (args.kills + 1)))
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        done = len(list((folder / "killed").glob("sim_*.fits")))
        print(f"kill {number + 1}: {done} maps are there", flush=True)
    if start(folder, words, "killed").wait():
        raise SystemExit("the last run failed")
    print(f"killed {args.kills} times: {time.perf_counter() - begun:.0f} s", flush=True)

    names = [sorted(p.name for p in (folder / run).iterdir()) for run in ("whole", "killed")]
    same = [
        digest(folder / "whole" / name) == digest(folder / "killed" / name)
        for name in names[0]
        if name.endswith(".fits")
    ]
    print(f"{sum(same)} of {len(same)} maps are the same; same files: {names[0] == names[1]}")


def noise_pol(nside: int) -> float:
    """Give the noise of Q and U, µK·arcmin: a tenth of that of T, about the signal in a pixel."""
    return 2304 / nside


def polarization(
    args: argparse.Namespace, prior: skyfill.Prior, index: int
) -> dict[str, np.ndarray]:
    """Draw Q and U of a sky with their noise, if they are asked for."""
    if not args.stokes:
        return {}
    whole = skyfill.prior.PolarizedPrior.of(prior, noise_pol(args.nside))
    sky, white = skyfill.prior.draw_polarization(whole, seed=args.seed, index=index)
    sky += white * np.sqrt(whole.white_cl[1] * sky.shape[1] / (4 * np.pi))
    return dict(zip("QU", sky, strict=True))


def start(folder: Path, words: list[str], out: str) -> subprocess.Popen[bytes]:
    """Start the command as the head of a group of processes."""
    command = [sys.executable, "-m", "skyfill.cli", *words, "-o", out]
    return subprocess.Popen(command, cwd=folder, start_new_session=True)  # noqa: S603 - our own


def digest(path: Path) -> str:
    """Hash a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
