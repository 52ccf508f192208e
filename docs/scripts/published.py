"""Hold the published CosmoVAE against skyfill's own fills, on the tiles and on the sphere.

One simulated sky and one mask. Every method fills the sphere, by its mean and by one realization;
tiles are cut from the filled spheres at the places where something was missing, and scored as the
paper scores (whole tiles, truth from 0 to 1) and in the holes, in uK. `cosmovae, tiles` is the
network on the tiles themselves, without the sphere, and `exact mean, tiles` the best there is. The
ratio is that of the squared error in the holes to the exact mean's on the sphere. Then the spread
of latent samples of one network, and of the ensemble if several are given, and C_l of the
realizations over the truth's, by healpy's anafast, of a few skies.

    python docs/scripts/published.py --weights cosmovae-1.safetensors --plot published.png
    python docs/scripts/published.py --mask planck_like_mask_512.fits --skies 1
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path

import healpy as hp
import numpy as np

from skyfill import Inpainter, cosmovae, read_mask
from skyfill.dataset import TileGeometry
from skyfill.fidelity import score_tiles
from skyfill.fidelity.optimum import tile_mean
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask

METHODS = ("cosmovae", "vae", "gaussian", "diffuse")
EDGES = (2, 10, 30, 60, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 900, 1000)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, nargs="+", help="of a cosmovae")
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--beam-arcmin", type=float, default=20)
    parser.add_argument("--noise-uk-arcmin", type=float, default=60)
    parser.add_argument("--band-deg", type=float, default=3)
    parser.add_argument("--holes", type=int, default=250)
    parser.add_argument("--tiles", type=int, default=300, help="at most, with missing pixels")
    parser.add_argument("--draws", type=int, default=100, help="latent samples of each tile")
    parser.add_argument("--skies", type=int, default=4, help="behind C_l")
    parser.add_argument("--mask", type=Path, help="a real one, of this Nside, in place of those")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    prior = Prior(
        args.nside, lcdm(), fwhm=args.beam_arcmin * ARCMIN, noise_uk_arcmin=args.noise_uk_arcmin
    )
    if args.mask:
        observed = read_mask(args.mask)
        if observed.size != 12 * args.nside**2:
            raise SystemExit(f"{args.mask}: not of Nside {args.nside}")
    else:
        observed = simulate_mask(
            args.nside,
            kind="both",
            seed=args.seed,
            half_width=np.deg2rad(args.band_deg),
            n_holes=args.holes,
        )
    print(f"{1 - observed.mean():.1%} of the sky is masked", flush=True)
    powers = {method: [] for method in METHODS}
    for sky in range(args.skies):
        truth = draw(prior, seed=args.seed, index=sky, aliased=True)
        fills = fill_sphere(truth, observed, prior, args, seed=args.seed + sky)
        for method in METHODS:
            if f"{method}, realization" in fills:
                filled = fills[f"{method}, realization"]
                powers[method].append(binned(filled) / binned(truth))
        if sky == 0:
            report_tiles(truth, observed, fills, prior, args)
    ratios = {m: np.mean(p, axis=0) for m, p in powers.items() if p}
    for k, (low, high) in enumerate(pairwise(EDGES)):
        print(f"l {low:4d}-{high - 1:4d}", *(f"{m} {r[k]:.4f}" for m, r in ratios.items()))
    if args.plot:
        draw_ratios(ratios, args.plot)


def fill_sphere(
    truth: np.ndarray,
    observed: np.ndarray,
    prior: Prior,
    args: argparse.Namespace,
    *,
    seed: int,
) -> dict[str, np.ndarray]:
    """Fill by the mean of every method, and by a realization where there is one."""
    fills = {}
    for method in METHODS:
        given = {"weights": args.weights} if method == "cosmovae" else {}
        values = np.where(observed, truth, np.nan)
        fill = Inpainter(values, observed, method=method, prior=prior, seed=seed, **given)
        kinds = {"mean": fill.mean}
        if fill.stochastic:
            kinds["realization"] = fill.realization
        for kind, make in kinds.items():
            whole = truth.copy()
            whole[~observed] = make()
            fills[f"{method}, {kind}"] = whole
    return fills


def report_tiles(
    truth: np.ndarray,
    observed: np.ndarray,
    fills: dict[str, np.ndarray],
    prior: Prior,
    args: argparse.Namespace,
) -> None:
    """Print the scores of the tiles in which something was missing."""
    network, card = cosmovae.load((args.weights or cosmovae.shipped())[0])
    about = card.training
    shape = {key: about[key] for key in ("size", "projection", "pixel_arcmin")}
    geometry = TileGeometry(args.nside, **shape)
    lon, lat = geometry.centres()
    places = np.random.default_rng(args.seed).permutation(lon.size)
    tiles, seen, chosen = [], [], []
    for k in places:
        tile, known = geometry.cut(truth, observed, lon[[k]], lat[[k]])
        if 0.5 < known.mean() < 1 and len(chosen) < args.tiles:
            tiles.append(tile[0])
            seen.append(known[0])
            chosen.append(k)
    tile, known = np.array(tiles, dtype=float), np.array(seen)
    scored = {"cosmovae, tiles": cosmovae.CosmoFiller(network, card)(tile, known)}
    pixel = np.deg2rad(about["pixel_arcmin"] / 60)
    scored["exact mean, tiles"] = tile_mean(tile, known, prior=prior, pixel=pixel)
    for name, filled in fills.items():
        cut = geometry.cut(filled, observed, lon[chosen], lat[chosen])[0]
        scored[name] = np.where(known, tile, cut)
    best = score_tiles(scored["gaussian, mean"], tile, known).hole_rms_uk
    print(f"{len(chosen)} tiles, {1 - known.mean():.1%} of their pixels missing")
    for name, filled in scored.items():
        found = score_tiles(filled, tile, known).as_dict()
        found |= {"ratio": (found["hole_rms_uk"] / best) ** 2}
        print(json.dumps({"fill": name, **{k: round(v, 5) for k, v in found.items()}}), flush=True)
    files = args.weights or cosmovae.shipped()
    report_spread(tile, known, files[:1], args)
    if len(files) > 1:
        report_spread(tile, known, files, args)


def report_spread(
    tile: np.ndarray, known: np.ndarray, files: list[Path], args: argparse.Namespace
) -> None:
    """Print how far a hundred latent samples scatter, and the truth from their mean.

    Of several files each has its share of the samples: an ensemble.
    """
    fillers = [cosmovae.CosmoFiller(*cosmovae.load(path)) for path in files]
    total, squares = np.zeros(tile.shape), np.zeros(tile.shape)
    for draw_number in range(args.draws):
        filler = fillers[draw_number % len(fillers)]
        away = filler(tile, known, seed=(args.seed, draw_number)) - tile
        total += away
        squares += away**2
    mean = (total / args.draws)[~known]
    variance = (squares[~known] / args.draws - mean**2) * args.draws / (args.draws - 1)
    inside = np.abs(mean) < np.sqrt(np.maximum(variance, 0))
    found = {
        "draws": args.draws,
        "members": len(fillers),
        "spread_uk": float(np.sqrt(variance.mean())),
        "error_uk": float(np.sqrt(np.mean(mean**2))),
        "inside_one_sigma": float(inside.mean()),
    }
    print(json.dumps({key: round(value, 4) for key, value in found.items()}), flush=True)


def binned(sky: np.ndarray) -> np.ndarray:
    """Give C_l averaged over the modes of each bin."""
    cl = hp.anafast(sky, lmax=EDGES[-1], pol=False)
    weight = 2.0 * np.arange(cl.size) + 1
    return np.array([np.average(cl[a:b], weights=weight[a:b]) for a, b in pairwise(EDGES)])


def draw_ratios(ratios: dict[str, np.ndarray], path: Path) -> None:
    """Draw C_l over the truth's."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    middle = [0.5 * (a + b) for a, b in pairwise(EDGES)]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for method, ratio in ratios.items():
        axes.plot(middle, ratio, "o-", label=method)
    axes.axhline(1, color="0.6", lw=1, zorder=0)
    axes.set(xlabel="multipole l", ylabel="C_l of a realization over the truth's")
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
