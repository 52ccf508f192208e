"""Fit the prior to simulated skies of known noise: how near the truth, how well, how fast.

    python docs/scripts/prior.py                      # 20 skies
    python docs/scripts/prior.py --patches            # the same, fitted by patches
    python docs/scripts/prior.py --coloured           # 1/f noise, and a bump of 9 times the power
    python docs/scripts/prior.py --masks              # from 30% to 95% of the sky, sharp and ragged
    python docs/scripts/prior.py --seconds 256 1024   # time of a fit
    python docs/scripts/prior.py --validate --skies 5 # z of held-out holes, beam not resolved

Skies are synthesised by healpy to 8 Nside, so that pixels show multipoles which they do not
resolve.
"""

from __future__ import annotations

import argparse
import math
import time
from concurrent.futures import ProcessPoolExecutor

import healpy as hp
import numpy as np
from skies import synthesised

import skyfill
from skyfill.prior import ARCMIN, Prior, fit, fitting

NSIDE, FWHM, NOISE = 128, 60.0, 200.0
COLOURED = ["1/f", "bump", "galaxy"]


def sky(
    seed: int,
    nside: int = NSIDE,
    fwhm: float = FWHM,
    noise: float = NOISE,
    extra: np.ndarray | None = None,
) -> np.ndarray:
    """Give a sky, µK, with the pixel window, a beam (arcmin), white noise and another spectrum."""
    prior = Prior(nside, skyfill.lcdm(), fwhm=fwhm * ARCMIN, noise_uk_arcmin=noise)
    return synthesised(prior, seed, extra)


def mask(seed: int, nside: int = NSIDE, half_width: float = 0.2) -> np.ndarray:
    """Give a ragged band with holes."""
    return skyfill.simulate_mask(nside, seed=seed, half_width=half_width, n_holes=nside // 2)


def told(found: Prior) -> str:
    """Say what was fitted."""
    return (
        f"noise {found.noise_uk_arcmin:6.1f}  beam {found.effective_fwhm / ARCMIN:5.2f}'  power"
        f" {found.calibration:.3f}  {'free part  ' if found.extra_cl.any() else ''}{found.quality}"
    )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skies", type=int, default=20)
    parser.add_argument("--patches", action="store_true")
    parser.add_argument("--coloured", nargs="*", choices=COLOURED)
    parser.add_argument("--workers", type=int, default=1, help="coloured skies at once")
    parser.add_argument("--masks", action="store_true")
    parser.add_argument("--seconds", type=int, nargs="*", metavar="NSIDE")
    parser.add_argument("--validate", action="store_true")
    args = parser.parse_args()
    if args.coloured is not None:
        coloured(args.coloured or COLOURED, args.workers)
    elif args.masks:
        masks()
    elif args.validate:
        validated(args.skies)
    elif args.seconds is not None:
        seconds(args.seconds or [256])
    else:
        noises(args.skies, patches=args.patches)


def noises(count: int, *, patches: bool) -> None:
    """Fit white noise, by bins or by patches."""
    if patches:
        fitting._ENOUGH_SKY = 2.0  # noqa: SLF001 - no window keeps so much
    found = []
    for seed in range(count):
        values, observed = sky(seed), mask(seed)
        each = fit(values, observed)
        found.append(each.noise_uk_arcmin)
        print(f"sky {seed:2d}, fsky {observed.mean():.2f}: {told(each)}", flush=True)
    print(
        f"noise {np.mean(found):.1f} ± {np.std(found, ddof=1):.1f}, from {min(found):.1f} to"
        f" {max(found):.1f}; true {NOISE:.0f}"
    )


def masks() -> None:
    """Fit with ragged bands, smooth bands, caps and holes of many sizes."""
    theta, _ = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))
    kinds = {
        "cap": lambda x: theta < math.acos(1 - 2 * x),
        "band": lambda x: abs(np.cos(theta)) > 1 - x,
        "ragged band": lambda x: mask(1, half_width=math.asin(1 - x)),
        "holes": lambda x: skyfill.simulate_mask(
            NSIDE, seed=1, kind="holes", n_holes=int(-6000 * math.log(x)), radii=(0.01, 0.03)
        ),
    }
    for name, make in kinds.items():
        for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.95):
            observed = make(share)
            begun = time.process_time()
            found = fit(sky(3), observed)
            print(
                f"{name:12s} fsky {observed.mean():.2f}: {told(found)}"
                f"  {time.process_time() - begun:.1f} s",
                flush=True,
            )


def coloured(names: list[str], workers: int) -> None:
    """Compare the spectrum of fits with the truth, and predictions of held-out holes."""
    ell = np.arange(1, 3 * NSIDE)
    white = (NOISE * ARCMIN) ** 2
    lcdm = Prior(NSIDE, skyfill.lcdm(), fwhm=FWHM * ARCMIN).signal_cl(4 * NSIDE)
    knee, bump, galaxy = (np.zeros(3 * NSIDE) for _ in range(3))
    knee[1:] = white * (100 / ell) ** 1.5
    bump[1:] = 8 * lcdm[200] * np.exp(-0.5 * ((ell - 200) / 20) ** 2)
    galaxy[1:] = 100.0 * (ell / 10.0) ** -2.7
    galaxy[1] = 0.0
    parts = {"1/f": knee, "bump": bump, "galaxy": galaxy}
    tasks = [(name, parts[name], seed) for name in names for seed in range(4)]
    with ProcessPoolExecutor(workers) as pool:
        for told_of in pool.map(one_coloured, tasks):
            print(told_of, flush=True)


def one_coloured(task: tuple[str, np.ndarray, int]) -> str:
    """Fit one such sky, and predict its held-out holes."""
    name, extra, seed = task
    lcdm = Prior(NSIDE, skyfill.lcdm(), fwhm=FWHM * ARCMIN).signal_cl(4 * NSIDE)
    truth = lcdm + (NOISE * ARCMIN) ** 2
    truth[: extra.size] += extra
    values, observed = sky(seed, extra=extra), mask(seed)
    found = fit(values, observed)
    whole = found.signal_cl(4 * NSIDE) + found.white_cl
    at = [20, 50, 100, 150, 200, 250, 300, 380]
    ratio = " ".join(f"{whole[i - 5 : i + 5].sum() / truth[i - 5 : i + 5].sum():.3f}" for i in at)
    tested = skyfill.fidelity.validate(
        values,
        observed,
        method="gaussian",
        realizations=12,
        prior=found,
        trust_prior=True,
        tolerance=1e-2,  # the bump lies where pixels begin to resolve no more
        threads=1,
    )
    z = tested.figures["z_width"]
    return (
        f"{name} {seed}: {told(found)}\n    C_l over truth at {at}: {ratio}\n"
        f"    z_width {z.value:.3f} ± {z.error:.3f}"
    )


def validated(count: int) -> None:
    """Predict held-out holes of skies whose beam the pixels do not resolve: 12.9' at Nside 256."""
    for method in ("gaussian", "vae"):
        found = []
        for seed in range(count):
            values, observed = sky(seed, 256, 12.9, 136.0), mask(seed, 256)
            tested = skyfill.fidelity.validate(values, observed, method=method, trust_prior=True)
            figures = {name: tested.figures[name] for name in ("z_width", "coverage_68")}
            found.append(figures["z_width"].value)
            said = "  ".join(f"{n} {f.value:.3f} ± {f.error:.3f}" for n, f in figures.items())
            print(f"{method} {seed}: {said}", flush=True)
        error = np.std(found, ddof=1) / math.sqrt(count)
        print(f"{method}: z_width {np.mean(found):.3f} ± {error:.3f}", flush=True)


def seconds(sides: list[int]) -> None:
    """Time fits."""
    for nside in sides:
        fwhm = 60.0 * NSIDE / nside
        values, observed = sky(1, nside, fwhm, 100.0), mask(1, nside)
        for _ in range(2):  # the first one compiles
            begun = time.process_time()
            found = fit(values, observed, threads=1)
            print(
                f"Nside {nside}: {time.process_time() - begun:.1f} CPU s, {told(found)}", flush=True
            )


if __name__ == "__main__":
    main()
