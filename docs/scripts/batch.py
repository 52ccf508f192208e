"""Time `skyfill batch` against one `skyfill inpaint` a map, same options, and compare the fills.

A batch gives the network one thread, and so has `inpaint` here.

    python docs/scripts/batch.py --nside 512 --method vae --maps 4 --workers 2

Prints seconds a map, processes and all: of single commands, of batches, and of a batch's maps after
the first of each worker, which is what a map costs among hundreds. Seconds of all cores together
(CPU) say more where the machine has other things to do.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import skyfill

#: Share of the sky within the band, and holes beside it, as in docs/measured.md.
_BAND, _HOLES, _RADII = math.radians(10), 500, (math.radians(10 / 60), math.radians(1))


def main() -> None:
    """Make skies, fill them both ways, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--method", default="vae")
    parser.add_argument("--maps", type=int, default=4)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--fitted", action="store_true", help="give no prior")
    parser.add_argument("--module", default="skyfill.cli", help="what runs as the command")
    args = parser.parse_args()
    beam = 3 * 3600 / args.nside  # 3 pixels, nearly
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sims").mkdir()
        for seed in range(args.maps):
            fwhm = math.radians(beam / 60)
            sky = skyfill.simulate_sky(args.nside, seed=seed, fwhm=fwhm, noise_uk_arcmin=30)
            skyfill.write_map(folder / "sims" / f"sky{seed:03d}.fits", sky)
        observed = skyfill.simulate_mask(
            args.nside, seed=1, half_width=_BAND, n_holes=_HOLES, radii=_RADII
        )
        mask = folder / "mask.fits"
        skyfill.write_map(mask, observed, column="MASK", unit="", dtype="uint8")
        words = ["--method", args.method, "-q"]
        if not args.fitted and args.method not in ("diffuse", "cosmovae"):
            words += ["--beam-arcmin", str(beam), "--noise-uk-arcmin", "30"]
        command = [sys.executable, "-m", args.module]
        maps = str(folder / "sims" / "*.fits")

        def run(*more: str) -> np.ndarray:
            begun, before = time.perf_counter(), os.times()
            subprocess.run([*command, *more, *words], check=True)  # noqa: S603
            after = os.times()
            cpu = sum(after[2:4]) - sum(before[2:4])
            return np.array([time.perf_counter() - begun, cpu]) / args.maps

        run("inpaint", str(folder / "sims" / "sky000.fits"), str(mask), "-o", str(folder / "warm"))
        print(f"Nside {args.nside}, {args.method}, {args.maps} maps, {os.cpu_count()} cores")
        print(
            "| how | seconds a map | CPU | after the first |\n| --- | --- | --- | --- |", flush=True
        )
        for workers in sorted({1, args.workers}):
            out = folder / f"out{workers}"
            seconds = run("batch", maps, str(mask), "-o", str(out), "--workers", str(workers))
            records = [json.loads(line) for line in (out / "manifest.jsonl").open()][1:]
            after = np.mean([one["seconds"] for one in records[workers:]]) / workers
            table = f"{seconds[0]:.1f} | {seconds[1]:.1f} | {after:.1f}"
            print(f"| batch, {workers} workers | {table} |", flush=True)
        alone, same = np.zeros(2), True
        for one in records:
            output = folder / "alone.fits"
            seed = str(one["seed"])
            alone = alone + run(
                *("inpaint", one["input"], str(mask), "-o", str(output), "--overwrite"),
                *("--seed", seed, *(["--threads", "1"] if args.method == "vae" else [])),
            )
            fill = skyfill.read_map(output).values
            for workers in sorted({1, args.workers}):
                whole = skyfill.read_map(folder / f"out{workers}" / one["name"]).values
                same = same and np.array_equal(fill, whole)
        print(f"| inpaint, one by one | {alone[0]:.1f} | {alone[1]:.1f} | |")
        print("all fills are the same, bit for bit" if same else "fills differ")


if __name__ == "__main__":
    main()
