"""Hold the errors of spectra against the scatter of skies: of filled skies and of cut ones.

Skies are synthesised by healpy to 8 Nside, with beam and pixel window, and have white noise. They
are filled exactly, with the true prior or with one fitted to each sky. For each bin:

- the mean over skies against the theory, in its own standard errors, asked to be within 3;
- the scatter over skies, in units of the quoted `sigma`, asked to be 1 ± 0.15;
- 1 minus the prior's share, against the response that is measured: all skies are filled again with
  a truth that has a fifth more power, signal and noise, while the prior stays.

The last line is JSON.

    python docs/scripts/errors.py                      # Nside 64, 70', 150 µK·arcmin, 100 skies
    python docs/scripts/errors.py --fit                # beam and noise fitted to each sky
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from skies import synthesised

import skyfill
from skyfill.prior import ARCMIN, Given, Prior, lcdm
from skyfill.spectra import compare

#: Factor of the truth's power in the second fill.
MORE = 1.2


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--beam-arcmin", type=float, default=70)
    parser.add_argument("--noise-uk-arcmin", type=float, default=150)
    parser.add_argument("--half-width", type=float, default=0.35, help="of the band, radians")
    parser.add_argument("--skies", type=int, default=100)
    parser.add_argument("--method", default="gaussian")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--workers", type=int, default=1, help="skies at once, a thread each")
    args = parser.parse_args()
    begun = time.perf_counter()
    prior, observed = prior_of(args), mask_of(args)
    with ProcessPoolExecutor(args.workers) as pool:
        parts = pool.map(partial(fill_skies, args), range(args.workers))
        fills = [pair for part in parts for pair in part]
    once, more = (np.array(one) for one in zip(*fills, strict=True))
    found = compare(once, prior, observed=observed, threads=1)
    response = compare(more, prior, threads=1).cl / found.cl - 1
    share = skyfill.fidelity.prior_share(
        prior, observed, realizations=9, method=args.method, threads=1
    )
    print(f"fsky {observed.mean():.3f}, {args.skies} skies, {time.perf_counter() - begun:.0f} s")
    print("      l         filled: bias  scatter/sigma  1 - share  response   cut: bias  scatter")
    rows = []
    for index, (low, high) in enumerate(zip(found.ell_min, found.ell_max, strict=True)):
        row: dict[str, float] = {"low": int(low), "high": int(high)}
        for name, band in (("filled", found.full), ("cut", found.cut)):
            off = band.cl[index] - band.theory[index]
            row[f"{name}_bias"] = float(off / band.scatter[index] * math.sqrt(args.skies))
            row[f"{name}_scatter"] = float(band.scatter[index] / band.sigma[index])
        row["own"] = float(1 - share[index])
        row["response"] = float(response[index] / (MORE - 1))
        rows.append(row)
        print(
            f"{low:5d} – {high:<5d} {row['filled_bias']:+12.1f} {row['filled_scatter']:14.3f}"
            f" {row['own']:10.3f} {row['response']:9.3f} {row['cut_bias']:+11.1f}"
            f" {row['cut_scatter']:8.3f}"
        )
    right = {
        f"{name}_{what}": all(ask(row[f"{name}_{what}"]) for row in rows)
        for name in ("filled", "cut")
        for what, ask in (("bias", lambda x: abs(x) < 3), ("scatter", lambda x: abs(x - 1) < 0.15))
    }
    print(json.dumps({"fsky": float(observed.mean()), "right": right, "bins": rows}))


def prior_of(args: argparse.Namespace) -> Prior:
    """Give the prior of the skies."""
    return Prior(
        args.nside,
        lcdm(),
        fwhm=args.beam_arcmin * ARCMIN,
        noise_uk_arcmin=args.noise_uk_arcmin,
    )


def mask_of(args: argparse.Namespace) -> np.ndarray:
    """Give a ragged band with holes; True where observed."""
    return skyfill.simulate_mask(
        args.nside, kind="both", seed=1, half_width=args.half_width, n_holes=100, radii=(0.02, 0.06)
    )


def fill_skies(args: argparse.Namespace, first: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Fill every n-th sky from the first, and the same with more power; n is that of workers."""
    observed = mask_of(args)
    known = Given(cl=lcdm()) if args.fit else prior_of(args)
    words = {"method": args.method, "trust_prior": True, "threads": 1, "holes": "all"}
    filler, found = None, []
    for sky in range(first, args.skies, args.workers):
        truth = synthesised(prior_of(args), 1000 + sky)
        if filler is None or args.fit:
            filler = skyfill.Inpainter(truth, observed, prior=known, seed=sky, **words)
        one = filler.with_map(truth, seed=sky)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the prior is wrong on purpose
            if args.fit:
                other = skyfill.Inpainter(
                    math.sqrt(MORE) * truth, observed, prior=one.prior, seed=sky, **words
                )
            else:
                other = filler.with_map(math.sqrt(MORE) * truth, seed=sky)
        found.append((one.whole(one.realization()), other.whole(other.realization())))
    return found


if __name__ == "__main__":
    main()
