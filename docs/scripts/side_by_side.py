"""Hold the published networks beside each other and beside the optimum: one table, two pictures.

Two simulated skies, one for training and one to test on, and one mask. Every network is trained on
the same tiles, under the same masks, for the same minutes. (A run that is stopped goes on.) Then
each fills the same tiles of the other sky, by its mean or its only fill and, where it draws, by
draws: the errors of the CosmoVAE paper's protocol (whole tiles, truth from 0 to 1), the squared
error in the holes over that of the exact posterior mean of the tile, the power in the holes over
the truth's, the spread of draws and how often the truth lies within it. `exact` draws from the
exact posterior of a tile: a tile of the field, its own exact mean taken out.

The pictures: one hole filled by each, and C_l of the test sphere filled by each over the truth's.
The last line is JSON.

    python docs/scripts/side_by_side.py --minutes 15 --device cuda --width-factor 1
    python docs/scripts/side_by_side.py --minutes 2 --nside 128 --size 64 --pixel-arcmin 20
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path

import healpy as hp
import numpy as np

from skyfill import Inpainter, baselines, cosmovae, dataset, fidelity
from skyfill.dataset import TileGeometry
from skyfill.fidelity.optimum import dataset_mean
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask

MODELS = ("cosmovae", *baselines.MODELS)
#: Rings of wave numbers of the power in the holes; the largest scales and the middle are shown.
RINGS = 8


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15, help="of training of each network")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--width-factor", type=float, default=0.25)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--size", type=int, default=128, help="pixels along a tile")
    parser.add_argument("--pixel-arcmin", type=float, default=5)
    parser.add_argument("--beam-pixels", type=float, default=4, help="FWHM in pixels of a tile")
    parser.add_argument("--noise-uk-arcmin", type=float, default=60)
    parser.add_argument("--holes", type=int, default=250)
    parser.add_argument("--tiles", type=int, default=200, help="to test on")
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--work", type=Path, default=Path("side_by_side"), help="folder of the run")
    parser.add_argument("--no-sphere", action="store_true", help="without C_l of the sphere")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    prior = Prior(
        args.nside,
        lcdm(),
        fwhm=args.beam_pixels * args.pixel_arcmin * ARCMIN,
        noise_uk_arcmin=args.noise_uk_arcmin,
    )
    skies = [draw(prior, seed=args.seed, index=index, aliased=True) for index in range(2)]
    pixel_deg = args.pixel_arcmin / 60
    observed = simulate_mask(
        args.nside,
        kind="both",
        seed=args.seed,
        half_width=np.deg2rad(min(3.0, 0.3 * args.size * pixel_deg)),
        n_holes=args.holes,
        radii=(np.deg2rad(2.4 * pixel_deg), np.deg2rad(12 * pixel_deg)),
    )
    store = tiles_of(args, skies, observed, prior)
    seconds: dict[str, float] = {"tiles": time.perf_counter() - begun}
    fillers, cards = {}, {}
    for model in args.models:
        begun = time.perf_counter()
        fillers[model], cards[model] = trained(args, model, store)
        seconds[model] = time.perf_counter() - begun
        said = cards[model]["training"]
        print(
            f"{model}: {said['trained_steps']} steps, best after {said['best_step']},"
            f" {said['seconds']} s in all, {seconds[model]:.0f} s here",
            flush=True,
        )
        if not said["best_step"]:
            print(f"{model}: no epoch was finished, so what follows is untrained", flush=True)
    rows, fills, truth, seen = table(args, store, fillers)
    show(rows, cards)
    picture(args.work / "hole.png", fills, truth, seen)
    ratios = {}
    if not args.no_sphere:
        begun = time.perf_counter()
        ratios = on_the_sphere(args, skies[1], observed, prior)
        seconds["sphere"] = time.perf_counter() - begun
        draw_ratios(ratios, args.work / "cl.png")
    steps = {model: card["training"]["trained_steps"] for model, card in cards.items()}
    device = {model: card["training"]["device"] for model, card in cards.items()}
    print(
        json.dumps(
            {
                "minutes": args.minutes,
                "width_factor": args.width_factor,
                "steps": steps,
                "device": device,
                "rows": rows,
                "cl_over_truth": {name: [*map(float, each)] for name, each in ratios.items()},
                "seconds": seconds,
            }
        )
    )


def tiles_of(
    args: argparse.Namespace, skies: list[np.ndarray], observed: np.ndarray, prior: Prior
) -> dataset.TileDataset:
    """Cut the tiles, or open those of a run before."""
    step = args.size * args.pixel_arcmin / 60 / 3.5
    geometry = TileGeometry(
        args.nside,
        size=args.size,
        projection="gnomonic",
        pixel_arcmin=args.pixel_arcmin,
        spacing_deg=(step, step),
    )
    path = args.work / "tiles"
    try:
        return dataset.open_tiles(path)
    except (OSError, ValueError):
        return dataset.write_tiles(
            path, geometry, skies[0], observed, prior=prior, split="sky", test_values=skies[1]
        )


def trained(
    args: argparse.Namespace, model: str, store: dataset.TileDataset
) -> tuple[cosmovae.CosmoFiller | baselines.BaselineFiller, dict[str, dict[str, object]]]:
    """Train a network for the minutes, or what is left of them after an earlier run."""
    room = cosmovae if model == "cosmovae" else baselines
    words = {"width_factor": args.width_factor, "perceptual": "none", "seed": 1}
    if room is cosmovae:
        config = cosmovae.CosmoConfig(patience=10**6, **words)
    else:
        config = baselines.BaselineConfig(model, patience=10**6, **words)
    file = args.work / f"{model}.safetensors"
    if not file.exists():
        network, about = room.train(
            config, store, args.work / model, device=args.device, minutes=args.minutes
        )
        room.save(network, file, about=about)
    network, card = room.load(file)
    kind = cosmovae.CosmoFiller if room is cosmovae else baselines.BaselineFiller
    return kind(network, card, device=args.device), {"training": card.training}


def table(
    args: argparse.Namespace,
    store: dataset.TileDataset,
    fillers: dict[str, object],
) -> tuple[list[dict[str, object]], dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Fill the test tiles with everything; give the rows, the fills, the truth and the masks."""
    places, masks = store.pairs(args.tiles, seed=args.seed)
    truth, seen = store.tiles(places), store.observed(masks)

    def exact(tiles: np.ndarray) -> np.ndarray:
        return dataset_mean(store, places, tiles, seen, device=args.device)[0]

    best = exact(truth)
    optimum = fidelity.score_tiles(best, truth, seen).hole_rms_uk
    fills = {"exact": best}
    rows = []
    random = np.random.default_rng(args.seed)
    for name in ("exact", *fillers):
        if name == "exact":
            mean = best
            others = store.tiles(random.permutation(store.test)[: len(truth)])

            def made(index: int, others: np.ndarray = others) -> np.ndarray:
                # z + W (d - M z), with z a tile of the same field (Hoffman & Ribak 1991)
                field = np.roll(others, index, axis=0)
                return np.where(seen, truth, best + field - exact(field))

            draws = min(args.draws, 10)
        else:
            filler = fillers[name]
            mean = fills[name] = filler(truth, seen)
            draws = args.draws if name in ("cosmovae", "vaeac") else 0

            def made(index: int, filler: object = filler) -> np.ndarray:
                return filler(truth, seen, seed=(args.seed, index))

        found = fidelity.score_tiles(mean, truth, seen).as_dict()
        _, power = fidelity.hole_power(mean, truth, seen, bins=RINGS)
        row = {"fill": name, **found, "over_exact": (found["hole_rms_uk"] / optimum) ** 2}
        row["power"] = [*map(float, power)]
        if draws:
            row |= spread(made, draws, truth, seen)
        rows.append(row)
    return rows, fills, truth, seen


def spread(made: object, draws: int, truth: np.ndarray, seen: np.ndarray) -> dict[str, object]:
    """Give the scatter of draws, how often the truth lies within it, and the power of a draw."""
    total, squares, power = np.zeros(truth.shape), np.zeros(truth.shape), 0.0
    for index in range(draws):
        one = made(index)
        away = one - truth
        total += away
        squares += away.astype(float) ** 2
        power = power + fidelity.hole_power(one, truth, seen, bins=RINGS)[1] / draws
    mean = (total / draws)[~seen]
    variance = (squares[~seen] / draws - mean**2) * draws / (draws - 1)
    inside = np.abs(mean) < np.sqrt(np.maximum(variance * (1 + 1 / draws), 0))
    return {
        "draws": draws,
        "spread_uk": float(np.sqrt(variance.mean())),
        "inside_one_sigma": float(inside.mean()),
        "power_of_draws": [*map(float, power)],
    }


def show(rows: list[dict[str, object]], cards: dict[str, dict[str, object]]) -> None:
    """Print the table of docs/cosmovae.md."""
    print(
        "| | steps | MSE | MAE | PSNR | rms in the holes | squared, over the exact mean's | power"
    )
    for row in rows:
        card = cards.get(row["fill"])
        steps = "" if card is None else card["training"]["trained_steps"]
        power = row.get("power_of_draws", row["power"])
        line = f"| `{row['fill']}` | {steps} | {row['mse']:.5f} | {row['mae']:.4f} "
        line += f"| {row['psnr']:.1f} | {row['hole_rms_uk']:.1f} | {row['over_exact']:.3f} "
        line += f"| {power[0]:.2f}, {power[RINGS // 4]:.2f} "
        if "draws" in row:
            line += f"| {row['spread_uk']:.1f} | {row['inside_one_sigma']:.1%} |"
        else:
            line += "| | |"
        print(line)


def picture(path: Path, fills: dict[str, np.ndarray], truth: np.ndarray, seen: np.ndarray) -> None:
    """Draw the tile with the most missing, below half, filled by each."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    share = (~seen).mean(axis=(1, 2))
    number = int(np.argmax(np.where(share < 0.5, share, 0)))
    images = {"truth": truth[number], "mask": np.where(seen[number], truth[number], np.nan)}
    images |= {name: each[number] for name, each in fills.items()}
    figure, axes = plt.subplots(
        1, len(images), figsize=(2.1 * len(images), 2.5), layout="constrained"
    )
    most = float(np.abs(truth[number]).max())
    for axis, (name, image) in zip(axes, images.items(), strict=True):
        axis.imshow(image, cmap="coolwarm", vmin=-most, vmax=most, origin="lower")
        axis.contour(seen[number], levels=[0.5], colors="k", linewidths=0.5)
        axis.set(title=name, xticks=[], yticks=[])
    figure.savefig(path, dpi=110)


def on_the_sphere(
    args: argparse.Namespace, truth: np.ndarray, observed: np.ndarray, prior: Prior
) -> dict[str, np.ndarray]:
    """Fill the test sky with each, by a draw where there is one; give C_l over the truth's."""
    values = np.where(observed, truth, np.nan)
    known = binned(truth, args.nside)
    ratios = {}
    for name in ("gaussian", *args.models):
        given = {} if name == "gaussian" else {"weights": args.work / f"{name}.safetensors"}
        fitter = Inpainter(
            values, observed, method=name, prior=prior, device=args.device, seed=1, **given
        )
        fill = fitter.realization(0) if fitter.stochastic else fitter.mean()
        ratios[name] = binned(fitter.whole(fill), args.nside) / known
    return ratios


def edges_of(nside: int) -> np.ndarray:
    """Give the bins of C_l: an eighth of l wide and 20 at least, to 2 Nside."""
    edges = [2]
    while edges[-1] < 2 * nside:
        edges.append(edges[-1] + max(20, edges[-1] // 8))
    return np.array(edges[:-1])


def binned(sky: np.ndarray, nside: int) -> np.ndarray:
    """Give C_l averaged over the modes of each bin."""
    cl = hp.anafast(sky, lmax=2 * nside, pol=False)
    weight = 2.0 * np.arange(cl.size) + 1
    pairs = pairwise(edges_of(nside))
    return np.array([np.average(cl[a:b], weights=weight[a:b]) for a, b in pairs])


def draw_ratios(ratios: dict[str, np.ndarray], path: Path) -> None:
    """Draw C_l over the truth's."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, ratio in ratios.items():
        axes.plot(middles(len(ratio)), ratio, "o-", ms=3, label=name)
    axes.axhline(1, color="0.6", lw=1, zorder=0)
    axes.set(xlabel="multipole l", ylabel="C_l of the filled sphere over the truth's")
    axes.legend()
    figure.savefig(path, dpi=110)


def middles(bins: int) -> np.ndarray:
    """Give the middles of the first bins."""
    edges = [2]
    while len(edges) <= bins:
        edges.append(edges[-1] + max(20, edges[-1] // 8))
    return np.array([0.5 * (a + b) for a, b in pairwise(edges)])


if __name__ == "__main__":
    main()
