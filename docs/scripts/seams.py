r"""Hold the fill of `--method vae` against the exact one: its tail, its borders, its linearity.

*Excess* is the mean squared distance to the exact mean over that one's mean squared error in the
holes. *Border* is the mean squared step of the filled sky across tile borders in holes over that
elsewhere in holes, *border of the error* the same of the distance. Seeds are given, so that none is
one that a default was chosen on; beam and noise are 5' and 30 uK.arcmin at Nside 2048, and as many
pixels at others.

    python docs/scripts/seams.py --nside 512 --kind holes band both --seeds 61 62 --as-beyond
    python docs/scripts/seams.py --nside 1024 --linearity --picture worst.png
    python docs/scripts/seams.py --nside 1024 --devices cpu cuda
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np

from skyfill import Inpainter
from skyfill.fidelity import border_seams
from skyfill.mosaic import MosaicConfig
from skyfill.prior import ARCMIN, Prior, lcdm
from skyfill.prior.simulate import simulate_mask

#: How deep the digit is that is changed.
_DIGIT = 1e-12


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=1024)
    parser.add_argument("--kind", nargs="+", default=["both"], choices=("holes", "band", "both"))
    parser.add_argument("--seeds", type=int, nargs=2, default=(61, 62), help="of mask and sky")
    parser.add_argument("--tolerance", type=float, default=3e-4, help="of the exact mean")
    parser.add_argument("--no-exact", action="store_true", help="without the exact mean")
    parser.add_argument("--polish", type=int)
    parser.add_argument(
        "--as-beyond", action="store_true", help="with the settings of Nside 1024 and more"
    )
    parser.add_argument("--linearity", action="store_true")
    parser.add_argument("--devices", nargs=2, help="compare the fills of two")
    parser.add_argument("--picture", type=Path, help="the three worst places")
    args = parser.parse_args()
    for kind in args.kind:
        print(json.dumps(run(kind, args)), flush=True)


def run(kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """Fill one sky, and measure."""
    nside, size = args.nside, 2048 / args.nside
    prior = Prior(nside, lcdm(), fwhm=5 * size * ARCMIN, noise_uk_arcmin=30 * size)
    observed = simulate_mask(
        nside,
        kind=kind,
        seed=args.seeds[0],
        half_width=np.deg2rad(12.5),
        n_holes=int(4000 / size**2),
        radii=tuple(np.deg2rad(np.array([6, 30]) * size / 60)),
    )
    # As far as the sky goes, not as far as our own cut: the pixels alias what is beyond.
    sky = sky_of(prior, args.seeds[1])
    settings: dict[str, Any] = {"prior": prior, "polish": args.polish, "trust_prior": True}
    if args.as_beyond:
        settings["config"] = MosaicConfig(polished_nside=256)
    found: dict[str, Any] = {"nside": nside, "kind": kind, "seeds": args.seeds}
    found["masked"] = round(1 - observed.mean(), 4)
    fitter, found["first_s"] = timed(lambda: filled(sky, observed, settings))
    fill, found["further_s"] = timed(fitter.mean)
    if not args.no_exact:
        found |= against_exact(fitter, fill, sky, prior, args)
    if args.linearity:
        found |= linearity(fitter, fill, sky, observed, prior, settings)
    if args.devices:
        one, other = (
            filled(sky, observed, settings | {"device": device}).mean() for device in args.devices
        )
        found["devices_rms"], found["devices_worst"] = distance(one, other)
    return found


def sky_of(prior: Prior, seed: int) -> np.ndarray:
    """Synthesise a sky by healpy, to 8 Nside or the end of the table."""
    lmax = min(8 * prior.nside, lcdm().size - 1)
    np.random.seed(seed)  # noqa: NPY002 - what healpy draws from
    cl = prior.cl[: lmax + 1] * hp.gauss_beam(prior.fwhm, lmax) ** 2
    sky = hp.synfast(cl, prior.nside, lmax=lmax, new=True)
    noise = np.sqrt(prior.noise_cl * sky.size / (4 * np.pi))
    return sky + noise * np.random.default_rng(seed).standard_normal(sky.size)


def filled(sky: np.ndarray, observed: np.ndarray, settings: dict[str, Any]) -> Inpainter:
    """Prepare, and fill once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitter = Inpainter(sky, observed, **settings)
        fitter.mean()
    return fitter


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Give a result and its seconds."""
    begun = time.perf_counter()
    return work(), round(time.perf_counter() - begun, 1)


def distance(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Give the rms and the largest difference."""
    away = one - other
    return float(np.std(away)), float(np.abs(away).max())


def against_exact(
    fitter: Inpainter, fill: np.ndarray, sky: np.ndarray, prior: Prior, args: argparse.Namespace
) -> dict[str, Any]:
    """Compare with the exact mean of the same map."""
    observed = fitter.observed
    exact = Inpainter(
        sky, observed, method="gaussian", prior=prior, tolerance=args.tolerance, trust_prior=True
    )
    best = exact.mean()
    away = fill - best
    found = {
        "excess": float(np.mean(away**2) / np.mean((best - sky[~observed]) ** 2)),
        "rms": float(np.std(away)),
        "percentiles_99_99.9": np.quantile(np.abs(away), [0.99, 0.999]).round(2).tolist(),
        "worst": float(np.abs(away).max()),
    }
    regions = fitter.tile_regions()
    if regions is not None:
        for name, values in (
            ("border", fill),
            ("border_of_the_exact_fill", best),
            ("border_of_the_error", away),
        ):
            whole = np.zeros(sky.size)
            whole[~observed] = values
            step = border_seams(whole, regions)["border_step"]
            found[name] = [round(step.value, 4), round(step.error, 4)]
    if args.picture:
        whole = np.zeros(sky.size)
        whole[~observed] = away
        draw_worst(whole, observed, args.picture)
    return found


def linearity(
    fitter: Inpainter,
    fill: np.ndarray,
    sky: np.ndarray,
    observed: np.ndarray,
    prior: Prior,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Say how far the fill is from linear, and what rounding, batches and threads change."""
    other = sky_of(prior, 99)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        second = fitter.with_map(other).mean()
        both = fitter.with_map(sky + other).mean()
        rng = np.random.default_rng(7)
        near = fitter.with_map(sky * (1 + _DIGIT * rng.standard_normal(sky.size))).mean()
        found = {
            "nonlinear_over_rms": distance(both, fill + second)[0] / float(np.std(both)),
            "digit": distance(near, fill),
        }
        for name, change in (
            ("batch_2", {"batch_size": 2}),
            ("batch_64", {"batch_size": 64}),
            ("threads_1", {"threads": 1}),
        ):
            found[name] = distance(filled(sky, observed, settings | change).mean(), fill)
    return found


def draw_worst(away: np.ndarray, observed: np.ndarray, path: Path) -> None:
    """Draw the distance to the exact mean about its three largest values."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    nside = hp.npix2nside(away.size)
    figure = plt.figure(figsize=(12, 4))
    left = np.abs(away)
    for number in range(3):
        centre = int(np.argmax(left))
        vector = np.array(hp.pix2vec(nside, centre))
        lon, lat = hp.vec2ang(vector, lonlat=True)
        left[hp.query_disc(nside, vector, 60 * hp.nside2resol(nside))] = 0
        hp.gnomview(
            np.where(observed, hp.UNSEEN, away),
            rot=(float(lon[0]), float(lat[0])),
            reso=np.degrees(hp.nside2resol(nside)) * 60 * 0.75,
            xsize=240,
            min=-40,
            max=40,
            title=f"{away[centre]:.1f} uK at {lon[0]:.1f}, {lat[0]:.1f}",
            sub=(1, 3, number + 1),
            notext=True,
            fig=figure.number,
        )
    plt.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
