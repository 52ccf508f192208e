"""Time `skyfill batch` against one `skyfill inpaint` a map, same options, and compare the fills.

    python docs/scripts/batch.py --nside 512 --method vae --maps 100 --alone 10

Prints seconds a map, processes and all: of commands of their own as a user would give them; of the
batch; and of a batch's maps after the first of each worker, which is what a map costs among
hundreds. Seconds of all cores together (CPU) say more where the machine has other things to do. The
fills of three commands more are compared with the batch's, with one thread for the network, as a
batch has it.
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
from typing import Any

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
    parser.add_argument("--alone", type=int, default=4, help="maps to fill one by one")
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
            return np.array(
                [time.perf_counter() - begun, sum(after[2:4]) - sum(before[2:4])], dtype=float
            )

        def alone(record: dict[str, Any], *more: str) -> np.ndarray:
            places = (record["input"], str(mask), "-o", str(folder / "alone.fits"))
            return run("inpaint", *places, "--overwrite", "--seed", str(record["seed"]), *more)

        alone({"input": str(folder / "sims" / "sky000.fits"), "seed": 0})  # compiles what it must
        out = folder / "out"
        whole = run("batch", maps, str(mask), "-o", str(out), "--workers", str(args.workers))
        records = [json.loads(line) for line in (out / "manifest.jsonl").open()][1:]
        after = np.mean([one["seconds"] for one in records[args.workers :]]) / args.workers
        single = np.mean([alone(one) for one in records[: args.alone]], axis=0)
        same = True
        for one in records[:3]:
            alone(one, *(["--threads", "1"] if args.method == "vae" else []))
            fill = skyfill.read_map(folder / "alone.fits").values
            same &= np.array_equal(fill, skyfill.read_map(out / one["name"]).values)
    whole /= args.maps
    print(f"Nside {args.nside}, {args.method}, {os.cpu_count()} cores")
    print("| how | seconds a map | CPU | after the first |\n| --- | --- | --- | --- |")
    print(f"| inpaint, {args.alone} one by one | {single[0]:.2f} | {single[1]:.2f} | |")
    table = f"{whole[0]:.2f} | {whole[1]:.2f} | {after:.2f}"
    print(f"| batch of {args.maps}, {args.workers} workers | {table} |")
    print(f"ratio {single[0] / whole[0]:.2f}, after the first {single[0] / after:.2f}")
    print("three fills are the same, bit for bit" if same else "fills differ")


if __name__ == "__main__":
    main()
