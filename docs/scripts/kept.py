"""Time the set-up of a fill: nothing kept, kept for the first time, and found.

    python docs/scripts/kept.py sky.fits mask.fits --method vae --beam-arcmin 5 --noise-uk-arcmin 30

Each in a process of its own, of one thread: CPU seconds until the map could be filled, the factors
of small holes (which are made at their first use) included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import skyfill
from skyfill.inpaint.methods import Exact


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("map")
    parser.add_argument("mask")
    parser.add_argument("--method", choices=("vae", "gaussian"), default="vae")
    parser.add_argument("--beam-arcmin", type=float, required=True)
    parser.add_argument("--noise-uk-arcmin", type=float, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, cache in (("nothing kept", None), ("kept", folder), ("found", folder)):
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, spawn) as pool:
                seconds = pool.submit(prepare, args, cache).result()
            print(f"{name}: {seconds:.2f} s", flush=True)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        print(f"on disk: {size / 1e6:.0f} MB")


def prepare(args: argparse.Namespace, cache: str | None) -> float:
    """Give the CPU seconds of a set-up, those of imports aside."""
    sky = skyfill.read_map(args.map, single=True)
    observed = skyfill.read_mask(args.mask)
    fwhm = np.radians(args.beam_arcmin / 60)
    prior = skyfill.Prior(
        sky.nside, skyfill.lcdm(), fwhm=fwhm, noise_uk_arcmin=args.noise_uk_arcmin
    )
    skyfill.vae.pick_device("auto", threads=1)
    begun = time.process_time()
    options = {"method": args.method, "prior": prior, "threads": 1, "cache": cache}
    fill = skyfill.Inpainter(sky.values, observed, **options)._fill  # noqa: SLF001 - no more than the set-up
    solver = fill.solver if isinstance(fill, Exact) else fill._polisher  # noqa: SLF001
    if solver is not None:
        solver.precondition(np.zeros(solver.holes.size))
    return time.process_time() - begun


if __name__ == "__main__":
    main()
