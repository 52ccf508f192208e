r"""Turn every stage of `--method vae` on and off; give its error and its seconds.

Distances are to the exact mean (`skyfill.gaussian`, a tenth of its usual tolerance). The excess is
the square of the distance over the mean squared error of the exact mean: as the exact mean's error
is uncorrelated with the data, this is what the ratio of squared errors exceeds one by, without the
scatter of a single sky.

    python docs/scripts/mosaic_stages.py --kind both
    python docs/scripts/mosaic_stages.py --nside 2048 --beam-arcmin 5 --noise-uk-arcmin 30 \
        --kind both --band-deg 12.5 --holes 4000 --radius-arcmin 6 30 --only default "no polish"
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from skyfill import Inpainter
from skyfill.mosaic import MosaicConfig
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask

#: What differs from the default: arguments of `Inpainter`, and of `MosaicConfig` under "config".
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "no polish": {"polish": 0},
    "no polish, one gather": {"polish": 0, "config": {"near": 0.0}},
    "two steps of polish": {"polish": 2},
    "polish and two gathers": {"config": {"near": 8.0}},
    "network after the steps": {"network": True},
    "10 steps on tiles": {"refine": 10},
    "40 steps on tiles": {"refine": 40},
    "no coarse level": {"config": {"coarse_nside": 0}},
    "no small holes first": {"config": {"small": 0.0}},
    "tiles of 96": {"config": {"side": 96}},
    "tiles of 192": {"config": {"side": 192}},
    "tiles that overlap more": {"config": {"margin": 32, "guard": 24}},
    "twice the cover": {"config": {"cover": 2.4}},
    "tile pixels of 0.6": {"config": {"pixel": 0.6}},
    "tile pixels of 1": {"config": {"pixel": 1.0}},
    "threshold of 0.7": {"config": {"threshold": 0.7}},
}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--beam-arcmin", type=float, default=20)
    parser.add_argument("--noise-uk-arcmin", type=float, default=60)
    parser.add_argument("--kind", choices=("holes", "band", "both"), default="both")
    parser.add_argument("--band-deg", type=float, default=10)
    parser.add_argument("--holes", type=int, default=500)
    parser.add_argument("--radius-arcmin", type=float, nargs=2, default=(6, 60))
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--exact", type=Path, help="keep the exact mean in this .npy file")
    args = parser.parse_args()
    prior = Prior(
        args.nside, lcdm(), fwhm=args.beam_arcmin * ARCMIN, noise_uk_arcmin=args.noise_uk_arcmin
    )
    observed = simulate_mask(
        args.nside,
        kind=args.kind,
        seed=3,
        half_width=np.deg2rad(args.band_deg),
        n_holes=args.holes,
        radii=tuple(np.deg2rad(radius / 60) for radius in args.radius_arcmin),
    )
    sky = draw(prior, seed=5, aliased=True)
    truth, masked = sky[~observed], np.where(observed, sky, np.nan)
    if args.exact and args.exact.exists():
        exact = np.load(args.exact)
    else:
        exact = Inpainter(masked, observed, method="gaussian", prior=prior, tolerance=3e-4).mean()
        if args.exact:
            np.save(args.exact, exact)
    least = float(np.sqrt(np.mean((exact - truth) ** 2)))
    print(f"{1 - observed.mean():.1%} masked, rms {truth.std():.1f}, exact error {least:.2f} uK")
    for name in args.only:
        variant = dict(VARIANTS[name])
        config = replace(MosaicConfig(), **variant.pop("config", {}))
        times = [time.perf_counter()]
        fill = Inpainter(
            masked, observed, prior=prior, config=config, weights=args.weights, **variant
        )
        for _ in range(2):  # the first prepares what the second finds
            times.append(time.perf_counter())
            mean = fill.mean()
        times.append(time.perf_counter())
        distance = float(np.sqrt(np.mean((mean - exact) ** 2)))
        found = {
            "variant": name,
            "distance_uk": round(distance, 2),
            "excess": round((distance / least) ** 2, 4),
            "ratio": round(float(np.mean((mean - truth) ** 2)) / least**2, 4),
            "seconds": [round(b - a, 1) for a, b in pairwise(times)],
        }
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
