"""Bias and scatter of debiased spectra beside MASTER and beside the optimum of a cut sky.

Skies are synthesised by healpy to 8 Nside, with beam and pixel window, and have white noise. Each
is filled by the mean of every method; the response of the fill is measured once, from fills of
drawn skies, and undone (Gruetjen et al. 2015). Beside stands the pseudo-spectrum of the mask,
apodised and not, and the optimum: the least error that any estimator can have on this cut sky
(Fisher matrix), which follows from the response of the exact mean. The last line is JSON.

    python docs/scripts/debias.py                                 # Nside 64, 20 skies
    python docs/scripts/debias.py --nside 128 --skies 100 --draws 40

    python docs/scripts/debias.py --stokes TQU --nside 32         # TT, EE, BB, TE, EB, TB

With --stokes TQU the masks of T and of P differ, and MASTER is that for spin 0 and 2.

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
from polar_skies import synthesised as synthesised_stokes
from skies import synthesised

import skyfill
from skyfill.inpaint import LinearFill, LinearStokesFill
from skyfill.prior import ARCMIN, LCDM, PolarizedPrior, Prior, lcdm
from skyfill.spectra import CutSky, FullSky, apodized, bin_edges, expectation
from skyfill.spectra.binning import averaged
from skyfill.spectra.debiasing import debiased
from skyfill.spectra.stokes import FullStokes, StokesExpectation
from skyfill.spectra.stokescut import CutStokes
from skyfill.spectra.stokesdebiasing import debiased_stokes


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
    parser.add_argument("--stokes", choices=("T", "TQU"), default="T")
    parser.add_argument("--noise-pol-uk-arcmin", type=float, default=5.0)
    args = parser.parse_args()
    if args.stokes == "TQU":
        polarized(args)
    else:
        of_temperature(args)


def of_temperature(args: argparse.Namespace) -> None:
    """Measure the spectrum of T."""
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


def polarized(args: argparse.Namespace) -> None:
    """Measure the six spectra."""
    nside = args.nside
    noise = args.noise_uk_arcmin or 9600 / nside
    pixel = math.sqrt(4 * math.pi / 12) / nside
    of_t = Prior(nside, lcdm(), args.beam_pixels * pixel, noise, theory=LCDM)
    prior = PolarizedPrior.of(of_t, args.noise_pol_uk_arcmin)
    masks = [
        skyfill.simulate_mask(nside, kind="both", seed=seed, half_width=width, n_holes=args.holes)
        for seed, width in ((1, 0.7 * args.half_width), (2, args.half_width))
    ]
    lmax = skyfill.harmonics.quadrature_lmax(nside)
    edges = bin_edges(None, lmax)
    expected = StokesExpectation.of(prior, lmax, 3)
    known = np.array([averaged(expected.total_cl[pair], edges) for pair in expected.pairs.values()])
    print(
        f"Nside {nside}, fsky {masks[0].mean():.3f} and {masks[1].mean():.3f}, beam"
        f" {of_t.fwhm / ARCMIN:.0f}', {args.skies} skies",
        flush=True,
    )
    seconds: dict[str, float] = {}
    fills, responses = {}, {}
    for method in args.methods:
        begun = time.process_time()
        fills[method] = LinearStokesFill(
            masks[0], prior, observed_pol=masks[1], method=method, threads=1
        )
        responses[method] = skyfill.spectra.response_of_stokes(
            fills[method],
            masks[0],
            prior,
            observed_pol=masks[1],
            draws=args.draws,
            skies=args.covariance_skies,
            cache=True,
            threads=1,
        )
        seconds[f"response, {method}"] = time.process_time() - begun
        print(f"response of {method}: {seconds[f'response, {method}']:.0f} s of CPU", flush=True)
    soft = [apodized(mask, math.radians(args.apodize_deg), kind="C2") for mask in masks]
    cut = {
        "MASTER": CutStokes(
            [mask.astype(np.float64) for mask in masks], expected, edges, threads=1
        ),
        "MASTER, apodised": CutStokes(soft, expected, edges, threads=1),
    }
    whole = FullStokes(expected, edges, threads=1)
    found: dict[str, list[np.ndarray]] = {name: [] for name in (*cut, *fills)}
    begun = time.process_time()
    for index in range(args.skies):
        sky = synthesised_stokes(nside, prior, 3000 + index)
        for name, estimator in cut.items():
            found[name].append(estimator.powers(sky))
        for method, fill in fills.items():
            found[method].append(debiased_stokes(whole.powers(fill(sky)), responses[method]).cl)
    seconds["skies"] = time.process_time() - begun
    truth = dict.fromkeys(found, known)
    for name, estimator in cut.items():  # its bins are flat, and its theory is binned alike
        bands = estimator.band_powers(found[name])
        truth[name] = np.array([each.theory for each in bands.values()])
    scatter = {name: np.std(values, axis=0, ddof=1) for name, values in found.items()}
    rows: dict[str, dict[str, object]] = {}
    for name, values in found.items():
        off = (np.mean(values, axis=0) - truth[name]) / scatter[name] * math.sqrt(args.skies)
        rows[name] = {}
        for at, spectrum in enumerate(expected.pairs):
            ratio = scatter[name][at] / scatter["MASTER"][at]
            row = {"bias": off[at].tolist(), "over_master": ratio.tolist()}
            words = f"{name:18s} {spectrum}: worst {np.abs(off[at]).max():4.1f}, over MASTER"
            words += "".join(f" {each:.2f}" for each in ratio)
            if name in responses:
                response = responses[name]
                said = debiased_stokes(0 * known, response).sigma[at]
                chance = shared_error(response).reshape(known.shape)[at]
                row["scatter_over_sigma"] = (scatter[name][at] / said).tolist()
                row["from_response"] = (chance / scatter[name][at] * args.skies**0.5).tolist()
                words += f"; over its sigma {np.mean(row['scatter_over_sigma']):.2f}, error of the"
                words += f" response {max(row['from_response']):.2f}"
            rows[name][spectrum] = row
            print(words)
    print(json.dumps({"edges": edges.tolist(), "skies": args.skies, "seconds": seconds, **rows}))


def shared_error(
    response: skyfill.spectra.Response | skyfill.spectra.StokesResponse,
) -> np.ndarray:
    """Give the standard error of the debiased bins that comes from the draws of the response."""
    undo = np.linalg.inv(response.matrix)
    variance = response.matrix_sigma**2 @ response.signal**2
    return np.sqrt(undo**2 @ variance)


if __name__ == "__main__":
    main()
