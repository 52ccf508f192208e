"""Fill fields that are not Gaussian, with and without a transform, and compare with the truth.

Of each sky a band and discs, 20%, are masked. The Gaussian field under it has a spectrum that is
smoothed with a beam of 110' at Nside 128, and of as many pixels at others.

    lognormal   exp(G) of standard deviation 0.7 of G, mean 0
    noisy       the same, with white noise of a tenth of its standard deviation
    shells      the mean of two such fields with other spectra and standard deviations 0.5 and 0.9
    dust        exp(G) of a steep spectrum, times a profile that falls with latitude

The way `known` is `log` with the bound and with the spectrum of the true, whole logarithm: what a
better fit could gain.

    python docs/scripts/fields.py --skies 10 --json fields.json

Spectrum, profile and mask may be set otherwise (--slope, --knee, --sigma, --dust, --band, --discs,
--radii), to compare with a table of other skies.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import healpy
import numpy as np
from scipy import stats

import skyfill

NSIDE = 128
#: Beam at Nside 128.
BEAM = np.radians(110 / 60)
#: Multipoles over which the power is compared, in units of Nside.
BANDS = {"P low": (50 / 128, 100 / 128), "P high": (180 / 128, 2.0)}
#: Signal to noise of the noisy case.
CLEAN = 10.0
#: Noise with which a field without noise is solved, in units of its standard deviation.
FLOOR = 0.01


@dataclass(frozen=True)
class Setting:
    """What may be set otherwise: the spectrum of the Gaussian fields, and the mask."""

    slope: float | None
    knee: float | None
    sigma: float
    dust: tuple[float, float]
    band: float
    discs: int
    radii: tuple[float, float]


def gaussian(
    slope: float, knee: float, sigma: float, seed: int, nside: int, set_to: Setting
) -> np.ndarray:
    """Draw a smooth Gaussian field of a standard deviation."""
    slope = slope if set_to.slope is None else set_to.slope
    knee = knee if set_to.knee is None else set_to.knee
    ell = np.arange(3 * nside + 1)
    beam = BEAM * NSIDE / nside
    cl = np.where(ell > 0, (ell + knee) ** slope, 0.0)
    cl *= np.exp(-ell * (ell + 1.0) * beam**2 / (8 * np.log(2)))
    cl *= sigma**2 * 4 * np.pi / np.sum((2 * ell + 1) * cl)
    np.random.seed(seed)  # noqa: NPY002 (healpy's own generator)
    return np.asarray(healpy.synfast(cl, nside, lmax=3 * nside))


def field(case: str, seed: int, nside: int, set_to: Setting) -> tuple[np.ndarray, float]:
    """Draw a field of mean zero; also give the standard deviation of its noise."""
    noise = 0.0
    if case in ("lognormal", "noisy"):
        sigma = set_to.sigma
        x = np.exp(gaussian(-1.2, 10.0, sigma, seed, nside, set_to)) / np.exp(sigma**2 / 2) - 1
    elif case == "shells":
        near = np.exp(gaussian(-0.8, 5.0, 0.9, seed, nside, set_to)) / np.exp(0.9**2 / 2)
        far = np.exp(gaussian(-1.5, 30.0, 0.5, seed + 10_000, nside, set_to)) / np.exp(0.5**2 / 2)
        x = (near + far) / 2 - 1
    else:
        sine = np.abs(np.cos(healpy.pix2ang(nside, np.arange(12 * nside**2))[0]))
        sigma, floor = set_to.dust
        x = np.exp(gaussian(-2.6, 1.0, sigma, seed, nside, set_to)) / (sine + floor)
        x = x / x.mean() - 1
    if case == "noisy":
        noise = float(x.std()) / CLEAN
        x = x + noise * np.random.default_rng(seed).standard_normal(x.size)
    return x, noise


def mask(seed: int, nside: int, set_to: Setting) -> np.ndarray:
    """Mask a band, and discs; by default a fifth of the sky."""
    observed = skyfill.simulate_mask(
        nside, seed=seed, n_holes=set_to.discs, radii=np.radians(set_to.radii)
    )
    if set_to.band == 0:
        return observed
    return observed & skyfill.simulate_mask(
        nside, kind="band", seed=seed, half_width=np.radians(set_to.band)
    )


def ways(case: str) -> dict[str, dict[str, object]]:
    """Name the ways of filling a case."""
    found: dict[str, dict[str, object]] = {"linear": {}, "log": {"transform": "log"}}
    if case in ("lognormal", "noisy"):
        found["log"]["shift"] = 1.0
    found |= {"rank": {"transform": "rank"}, "asinh": {"transform": "asinh"}}
    return found if case in ("noisy", "shells") else found | {"known": {"known": True}}


class Known:
    """Fill the logarithm of a field whose bound is -1, with the spectrum of its truth."""

    def __init__(self, truth: np.ndarray, observed: np.ndarray) -> None:
        g = np.log(truth + 1)
        self.scale = 100 / float(np.std(g[observed]))
        g = self.scale * (g - g.mean())
        self.low = float(np.mean(self.scale * np.log(truth + 1)))
        level = FLOOR * 100 * np.sqrt(4 * np.pi / g.size) * 60 * 180 / np.pi
        nside = healpy.get_nside(g)
        cl = healpy.anafast(g, lmax=3 * nside - 1)
        prior = skyfill.Prior(nside, cl, noise_uk_arcmin=level, pixel_window=False)
        words = {"method": "gaussian", "fill": "signal", "trust_prior": True}
        self.inner = skyfill.Inpainter(
            np.where(observed, g, np.nan), observed, prior=prior, **words
        )
        self.masked = np.where(observed, truth, np.nan)

    def back(self, g: np.ndarray, variance: np.ndarray | float = 0.0) -> np.ndarray:
        """Give the mean field of a g with this variance."""
        return np.exp((g + self.low) / self.scale + variance / (2 * self.scale**2)) - 1

    def mean(self) -> np.ndarray:
        """Give the posterior mean; the variance of g is from 20 realizations."""
        mean = self.inner.mean()
        away = [self.inner.realization(index) - mean for index in range(20)]
        return self.back(mean, np.mean(np.square(away), axis=0))

    def realization(self, index: int) -> np.ndarray:
        """Draw from the posterior."""
        return self.back(self.inner.realization(index))

    def whole(self, fill: np.ndarray) -> np.ndarray:
        """Give the whole sky of a fill."""
        sky = self.masked.copy()
        sky[self.inner.holes] = fill
        return sky


def scores(
    truth: np.ndarray, observed: np.ndarray, noise: float, words: dict[str, object], draws: int
) -> dict[str, float]:
    """Fill one sky, and compare the fill with the truth."""
    holes = ~observed
    level = noise * np.sqrt(4 * np.pi / truth.size) * 60 * 180 / np.pi
    masked = np.where(observed, truth, np.nan)
    bent = "transform" in words
    prior = skyfill.prior.Given(cl="map", noise_uk_arcmin=level)
    if (
        not bent and not noise and "known" not in words
    ):  # the exact solver needs some; the fit does not
        some = FLOOR * float(np.std(truth)) * np.sqrt(4 * np.pi / truth.size) * 60 * 180 / np.pi
        prior = replace(prior.of_map(masked, observed), noise_uk_arcmin=some)
        words = {"fill": "signal", "trust_prior": True}
    begun = time.perf_counter()
    kind = skyfill.inpaint.TransformedInpainter if bent else skyfill.Inpainter
    if "known" in words:
        filler = Known(truth, observed)
    else:
        filler = kind(masked, observed, method="gaussian", prior=prior, **words)
    mean = filler.mean()
    seconds = time.perf_counter() - begun
    power = healpy.anafast(truth, lmax=2 * healpy.get_nside(truth))
    below = np.zeros(mean.size)
    rows = []
    for index in range(draws):
        fill = filler.realization(index)
        below += fill < truth[holes]
        if index < 2:
            own = healpy.anafast(filler.whole(fill), lmax=power.size - 1) / power
            nside = healpy.get_nside(truth)
            rows.append(
                {
                    "KS": stats.ks_2samp(fill, truth[holes]).statistic,
                    "skewness": stats.skew(fill),
                    "least": fill.min(),
                }
                | {
                    name: own[int(low * nside) : int(high * nside) + 1].mean()
                    for name, (low, high) in BANDS.items()
                }
            )
    out = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    slots = draws + 1
    for share in (0.683, 0.954):
        tail = round(slots * (1 - share) / 2)
        inside = np.mean((below >= tail) & (below <= draws - tail))
        out[f"covered {1 - 2 * tail / slots:.3f}"] = float(inside)
    return out | {
        "true skewness": float(stats.skew(truth[holes])),
        "true least": float(truth[holes].min()),
        "rms": float(np.std(mean - truth[holes]) / np.std(truth)),
        "bias": float(np.mean(mean - truth[holes]) / np.std(truth)),
        "filled": float(holes.mean()),
        "seconds": seconds,
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skies", type=int, default=10)
    parser.add_argument("--nside", type=int, default=NSIDE)
    parser.add_argument("--draws", type=int, default=39, help="realizations for the coverage")
    parser.add_argument("--cases", nargs="+", default=["lognormal", "noisy", "shells", "dust"])
    parser.add_argument(
        "--ways",
        nargs="+",
        default=["linear", "log", "rank", "asinh"],
        help="linear, log, rank, asinh or known",
    )
    parser.add_argument("--slope", type=float, help="of every Gaussian field: (l + knee)^slope")
    parser.add_argument("--knee", type=float, help="of every Gaussian field")
    parser.add_argument("--sigma", type=float, default=0.7, help="of the lognormal fields")
    parser.add_argument(
        "--dust",
        type=float,
        nargs=2,
        default=(1.0, 0.5),
        metavar=("SIGMA", "FLOOR"),
        help="of the dust-like field, whose profile is 1 / (|sin b| + FLOOR)",
    )
    parser.add_argument("--band", type=float, default=7.0, help="half its width, deg; 0 for none")
    parser.add_argument("--discs", type=int, default=90, help="their number")
    parser.add_argument("--radii", type=float, nargs=2, default=(1.0, 5.0), help="of discs, deg")
    parser.add_argument(
        "--fills",
        type=int,
        help="how often the spectrum of a transformed field is fitted to a filled sky; 0: to the"
        " observed part alone (default: until it changes little)",
    )
    parser.add_argument(
        "--floor",
        type=float,
        help="noise with which a transformed field without noise is solved, in units of its"
        " standard deviation",
    )
    parser.add_argument("--json", type=Path, help="also write every number there")
    args = parser.parse_args()
    set_to = Setting(
        *(args.slope, args.knee, args.sigma, tuple(args.dust)),
        *(args.band, args.discs, tuple(args.radii)),
    )
    if args.fills is not None:
        skyfill.inpaint.fieldspectrum._FILLS = args.fills  # noqa: SLF001
    if args.floor is not None:
        skyfill.inpaint.transformed._FLOORS = args.floor, args.floor  # noqa: SLF001
    warnings.simplefilter("ignore")
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for case in args.cases:
        for way, words in ways(case).items():
            if way not in args.ways:
                continue
            rows = found.setdefault(case, {}).setdefault(way, [])
            for seed in range(1, args.skies + 1):
                truth, noise = field(case, seed, args.nside, set_to)
                observed = mask(seed, args.nside, set_to)
                rows.append(scores(truth, observed, noise, words, args.draws))
                if args.json:  # after each sky, so that a run that is stopped leaves its numbers
                    args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            told = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
            said = "  ".join(f"{name} {value:.3g}" for name, value in told.items())
            print(f"{case:10s}{way:7s}{said}", flush=True)


if __name__ == "__main__":
    main()
