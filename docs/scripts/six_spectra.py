"""Measure the error of BB behind a mask, and the prior's share of BB in a filled sky.

python docs/scripts/six_spectra.py --nside 64 --bins 2 9 31 50 97
"""

from __future__ import annotations

import argparse
import math

import skyfill
from skyfill.prior import LCDM, PolarizedPrior


def main() -> None:
    """Print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--noise-pol", type=float, default=2.2, help="µK·arcmin")
    parser.add_argument("--bins", type=int, nargs="+", default=[2, 9, 31, 50, 97])
    parser.add_argument("--skies", type=int, default=2, help="skies of B modes that are filled")
    args = parser.parse_args()
    t = skyfill.Prior(args.nside, skyfill.lcdm(), math.radians(160 / args.nside), 5.0, theory=LCDM)
    prior = PolarizedPrior.of(t, args.noise_pol)
    observed = skyfill.simulate_mask(args.nside, seed=3, half_width=math.radians(11), n_holes=60)
    sky = skyfill.simulate.simulate_stokes(prior, seed=1)
    found = skyfill.spectra.compare_stokes(sky, prior, observed=observed, bins=args.bins)
    whole, cut = found.full["BB"], found.cut["BB"]
    signal = whole.theory - whole.noise
    print(f"masked: {1 - observed.mean():.3f}")
    print("error of BB over lensing BB, cut sky:  ", cut.sigma / signal)
    print("error of BB over lensing BB, whole sky:", whole.sigma / signal)
    words = {"lmax": found.lmax, "bins": args.bins, "stokes": "QU", "skies": args.skies}
    print("prior's share of BB:", skyfill.fidelity.bb_share(prior, observed, **words))


if __name__ == "__main__":
    main()
