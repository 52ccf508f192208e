"""Which method is quicker: seconds of the first fill and of a further one, by Nside and method.

    python docs/scripts/methods.py [--nside 64 128 256] [--threads 1] [--device cpu]

prints a table in Markdown; docs/how-it-works.md has one. A ΛCDM sky with a beam of four pixels and
noise of 4% of the signal's variance is filled under a mask of 15% of the sky in holes. Kernels are
compiled, and tables read, before the clock starts: one fill at Nside 64 comes first.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
import warnings

import numpy as np

import skyfill
from skyfill.mosaic import MosaicConfig

#: FWHM of the beam in units of a pixel's side.
BEAM = 4.0
#: Distance of the mean from the exact one is measured against this tolerance.
TIGHT = 1e-5


def case(nside: int) -> tuple[skyfill.Prior, np.ndarray, np.ndarray]:
    """Make a prior, a sky and a mask."""
    side = math.sqrt(4 * math.pi / (12 * nside**2))
    cl = skyfill.lcdm()
    clean = skyfill.Prior(nside, cl, fwhm=BEAM * side, noise_uk_arcmin=0.0)
    power = clean.signal_cl()
    variance = float(np.sum((2 * np.arange(power.size) + 1) * power)) / (4 * math.pi)
    noise = math.sqrt(0.2**2 * variance) * math.degrees(side) * 60
    prior = skyfill.Prior(nside, cl, fwhm=BEAM * side, noise_uk_arcmin=noise)
    sky = skyfill.prior.draw(prior, seed=1, index=0, aliased=True)
    observed = skyfill.simulate_mask(nside, seed=2, n_holes=30, radii=np.radians((0.5, 3.0)))
    return prior, sky, observed & skyfill.galactic_cut(nside, np.radians(5.0))


def now() -> np.ndarray:
    """Give the time of the wall clock and that of the CPU, seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def filled(
    nside: int, method: str, threads: int, device: str, config: MosaicConfig | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time the first realization, with all preparations, and a further one; give its mean, too."""
    prior, sky, observed = case(nside)
    words = {"method": method, "prior": prior, "threads": threads, "device": device, "seed": 3}
    words["accept"] = config is not None  # only to compile: tiles of Nside 64 are too few
    words["config"] = config
    begun = now()
    filler = skyfill.Inpainter(sky, observed, **words)
    filler.realization(0)
    middle = now()
    filler.realization(1)
    return middle - begun, now() - middle, filler.mean()


def told(seconds: np.ndarray) -> str:
    """Write both times."""
    return f"{seconds[0]:.1f}, {seconds[1]:.1f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--nside", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--without-error", action="store_true", help="no tight solve to compare to")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    filled(64, "gaussian", args.threads, args.device)
    filled(64, "vae", args.threads, args.device, config=MosaicConfig(whole_nside=32))
    print(
        "| Nside | method | first fill: s, CPU s | a further one: s, CPU s | rms from exact mean |"
    )
    print("| --- | --- | --- | --- | --- |", flush=True)
    for nside in args.nside:
        exact, rms = None, 1.0
        if not args.without_error:
            prior, sky, observed = case(nside)
            words = {"prior": prior, "threads": args.threads, "device": args.device}
            tight = skyfill.Inpainter(sky, observed, method="gaussian", tolerance=TIGHT, **words)
            exact, rms = tight.mean(), float(sky.std())
        for method in ("gaussian", "vae"):
            first, further, mean = filled(nside, method, args.threads, args.device)
            error = "" if exact is None else f"{np.sqrt(np.mean((mean - exact) ** 2)) / rms:.2%}"
            print(
                f"| {nside} | `{method}` | {told(first)} | {told(further)} | {error} |", flush=True
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak / 2**20:.2f} GiB", file=sys.stderr)


if __name__ == "__main__":
    main()
