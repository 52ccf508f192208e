"""Bias and scatter of debiased spectra beside MASTER and beside the optimum of a cut sky.

Skies are synthesised by healpy to 8 Nside, with beam and pixel window, and have white noise. Each
is filled by the mean of every method; the response of the fill is measured once, from fills of
drawn skies, and undone (Gruetjen et al. 2015). Beside stands the pseudo-spectrum of the mask,
apodised and not, and the optimum: the least error that any estimator can have on this cut sky
(Fisher matrix), which follows from the response of the exact mean. The last line is JSON.

    python docs/scripts/debias.py                                 # Nside 64, 20 skies
    python docs/scripts/debias.py --nside 128 --skies 100 --draws 40

All skies share the error of the response. `from_response` in the JSON is this error over the
standard error of the mean of all skies: with many skies, more draws are needed to keep it small.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from itertools import pairwise

import numpy as np
from skies import synthesised

import skyfill
from skyfill.inpaint import LinearFill
from skyfill.prior import ARCMIN, Prior, lcdm
from skyfill.spectra import CutSky, FullSky, apodized, bin_edges, expectation
from skyfill.spectra.binning import averaged
from skyfill.spectra.debiasing import debiased


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--skies", type=int, default=20)
    parser.add_argument("--beam-pixels", type=float, default=2.2, help="FWHM, in pixels")
    parser.add_argument("--noise-uk-arcmin", type=float, help="default: 9600 / Nside")
    parser.add_argument("--half-width", type=float, default=0.22, help="of the band, radians")
    parser.add_argument("--holes", type=int, default=200)
    parser.add_argument("--apodize-deg", type=float, default=2.0)
    parser.add_argument("--methods", nargs="+", default=["gaussian", "diffuse"])
    parser.add_argument("--draws", type=int, default=skyfill.spectra.debiasing.DRAWS)
    parser.add_argument("--covariance-skies", type=int, default=skyfill.spectra.debiasing.SKIES)
    parser.add_argument("--truth", type=float, default=1.0, help="its power over the prior's")
    args = parser.parse_args()
    nside = args.nside
    noise = args.noise_uk_arcmin or 9600 / nside
    pixel = math.sqrt(4 * math.pi / 12) / nside
    prior = Prior(
        nside,
        lcdm(),
        fwhm=args.beam_pixels * pixel,
        noise_uk_arcmin=noise,
    )
    truth = Prior(
        nside,
        args.truth * lcdm(),
        fwhm=args.beam_pixels * pixel,
        noise_uk_arcmin=noise,
    )
    observed = skyfill.simulate_mask(
        nside, kind="both", seed=1, half_width=args.half_width, n_holes=args.holes
    )
    lmax = 2 * nside
    edges = bin_edges(None, lmax)
    expected = expectation(prior, nside, lmax)
    known = averaged(expectation(truth, nside, lmax).total_cl, edges)
    print(
        f"Nside {nside}, fsky {observed.mean():.3f}, beam {prior.fwhm / ARCMIN:.0f}', "
        f"{args.skies} skies",
        flush=True,
    )
    seconds: dict[str, float] = {}
    fills, responses = {}, {}
    for method in args.methods:
        begun = time.perf_counter()
        fills[method] = LinearFill(observed, prior, method=method, threads=1)
        responses[method] = skyfill.spectra.response_of(
            fills[method],
            observed,
            prior,
            draws=args.draws,
            skies=args.covariance_skies,
            cache=True,
            threads=1,
        )
        seconds[f"response, {method}"] = time.perf_counter() - begun
        print(f"response of {method}: {seconds[f'response, {method}']:.0f} s", flush=True)
    whole = FullSky(expected, edges)
    soft = apodized(observed, math.radians(args.apodize_deg), kind="C2")
    cut = {
        "MASTER": CutSky(observed.astype(np.float64), expected, edges, threads=1),
        "MASTER, apodised": CutSky(soft, expected, edges, threads=1),
    }
    found: dict[str, list[np.ndarray]] = {name: [] for name in (*cut, *fills)}
    begun = time.perf_counter()
    for index in range(args.skies):
        sky = synthesised(truth, 2000 + index)
        for name, estimator in cut.items():
            found[name].append(estimator.powers(np.where(observed, sky, np.nan)))
        for method, fill in fills.items():
            power = whole.powers(fill(sky))
            found[method].append(debiased(power, responses[method]).cl)
    seconds["skies"] = time.perf_counter() - begun
    optimum = None
    if "gaussian" in responses:
        optimum = np.sqrt(np.diagonal(responses["gaussian"].optimum))
    rows = []
    names = [*found]
    print("      l      " + "".join(f"{name:>28s}" for name in names) + "   optimum/MASTER")
    print(" " * 13 + "        bias  scatter  /MASTER" * len(names))
    master = np.std(found["MASTER"], axis=0, ddof=1)
    for b, (low, end) in enumerate(pairwise(edges)):
        row: dict[str, object] = {"low": int(low), "high": int(end) - 1}
        line = f"{low:5d} – {end - 1:<5d}"
        for name in names:
            values = np.array(found[name])[:, b]
            scatter = values.std(ddof=1)
            bias = (values.mean() - known[b]) / scatter * math.sqrt(args.skies)
            row[name] = {
                "bias": float(bias),
                "scatter": float(scatter / known[b]),
                "over_master": float(scatter / master[b]),
            }
            if name in responses:
                said = debiased(np.zeros(edges.size - 1), responses[name]).sigma[b]
                row[name]["scatter_over_sigma"] = float(scatter / said)
                drawn = shared_error(responses[name])[b]
                row[name]["from_response"] = float(drawn / scatter * math.sqrt(args.skies))
            line += f"{bias:+12.1f} {scatter / known[b]:8.4f} {scatter / master[b]:6.3f}"
        if optimum is not None:
            row["optimum_over_master"] = float(optimum[b] / master[b])
            row["optimum"] = float(optimum[b] / known[b])
            line += f"{optimum[b] / master[b]:12.3f}"
        rows.append(row)
        print(line)
    worst = {name: max(abs(row[name]["bias"]) for row in rows) for name in names}
    print(
        json.dumps(
            {
                "nside": nside,
                "fsky": float(observed.mean()),
                "skies": args.skies,
                "worst_bias": worst,
                "right": {name: bool(each < 3) for name, each in worst.items()},
                "seconds": seconds,
                "bins": rows,
            }
        )
    )


def shared_error(response: skyfill.spectra.Response) -> np.ndarray:
    """Give the standard error of the debiased bins that comes from the draws of the response."""
    undo = np.linalg.inv(response.matrix)
    variance = response.matrix_sigma**2 @ response.signal**2
    return np.sqrt(undo**2 @ variance)


if __name__ == "__main__":
    main()
