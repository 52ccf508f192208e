"""Count the verdicts of right fills: exact, with the true prior, of skies that healpy synthesises.

python docs/scripts/verdicts.py --skies 50
"""

from __future__ import annotations

import argparse
from collections import Counter

from skies import synthesised

import skyfill
from skyfill.fidelity import score_sky
from skyfill.prior import ARCMIN, Prior


def main() -> None:
    """Fill skies, and judge the fills."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--skies", type=int, default=50)
    parser.add_argument("--realizations", type=int, default=20)
    args = parser.parse_args()
    prior = Prior(
        args.nside, skyfill.lcdm(), fwhm=70 * ARCMIN * 64 / args.nside, noise_uk_arcmin=150.0
    )
    heads, rows = Counter(), Counter()
    for seed in range(args.skies):
        observed = skyfill.simulate_mask(args.nside, seed=seed, half_width=0.2)
        values = synthesised(prior, seed)
        filler = skyfill.Inpainter(
            values, observed, method="gaussian", prior=prior, seed=seed, trust_prior=True
        )
        fills = []
        for k in range(args.realizations):
            fills.append(values.copy())
            fills[-1][filler.holes] = filler.realization(k)
        found = score_sky(fills, observed, truth=values)
        heads[found.verdict] += 1
        odd = [name for name, each in found.figures.items() if each.verdict not in (None, "good")]
        rows.update(odd)
        print(f"sky {seed}: {found.verdict} {' '.join(odd)}", flush=True)
    print(dict(heads), dict(rows))


if __name__ == "__main__":
    main()
