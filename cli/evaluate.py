"""Judge filled maps, or a network of tiles, by a truth that is known.

Maps: what `skyfill inpaint` wrote, several realizations, one, or a mean (with --std its spread), is
held against the true map; without --truth it is judged by what a filled sky says of itself, and
with --exact by its distance from the exact fill of the same draw.
Tiles: clean tiles of a data set are covered with the masks of others, filled, and held against the
truth: errors of whole tiles that run from 0 to 1, as the CosmoVAE paper has them, and errors in the
holes, in µK.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import judgement, options, origin, reading
from .progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    maps = parser.add_argument_group("maps")
    maps.add_argument(
        "filled",
        type=Path,
        nargs="*",
        metavar="FILLED",
        help="filled maps: realizations of one map, or one mean",
    )
    maps.add_argument("--mask", type=Path, metavar="MASK", help="its mask, 1 = observed")
    maps.add_argument(
        "--truth",
        type=Path,
        metavar="TRUTH",
        help="the true map, with noise as in the realizations",
    )
    maps.add_argument(
        "--std",
        type=Path,
        metavar="FILE",
        help="the spread of a mean, as `inpaint --std` writes it",
    )
    maps.add_argument(
        "--optimum",
        type=Path,
        metavar="FILE",
        help="the exact mean, by `inpaint --method gaussian --mean`, which errors against --truth "
        "are compared with",
    )
    maps.add_argument(
        "--exact",
        type=Path,
        nargs="?",
        const=True,
        metavar="FILE",
        help="how far the fill is from the exact one of the same seed (its mean from the exact "
        "mean), worst pixels included: FILE by `inpaint --method gaussian`, or, without FILE, "
        "solved for here (a map filled by vae, up to Nside 512)",
    )
    reading.add_map(parser)
    reading.add_mask(parser)
    tiles = parser.add_argument_group("tiles")
    tiles.add_argument("--tiles", type=Path, metavar="DIR", help="made by `skyfill tiles`")
    tiles.add_argument("--weights", type=Path, metavar="FILE", help="of a cosmovae")
    tiles.add_argument(
        "--limit",
        type=options.positive,
        metavar="N",
        help="tiles to judge by, chosen at random (default: 64)",
    )
    tiles.add_argument(
        "--sample", action="store_true", help="decode a sample of the latent vector, not its mean"
    )
    options.add_seed(parser)
    options.add_device(parser)
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    if args.filled or args.mask or args.truth or args.std or args.optimum or args.exact:
        return _maps(args)
    if args.tiles is None or args.weights is None:
        raise ValueError(
            "there is nothing to judge; give filled maps and --mask, or --tiles and --weights"
        )
    return _tiles(args)


def _maps(args: argparse.Namespace) -> int:
    """Judge filled maps."""
    _refuse(args)
    begun = time.perf_counter()
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = reading.map_of(args, args.filled[0], like=args.mask)
        prior = skyfill.prior.recorded_prior(sky.path)
        observed = reading.mask_of(args, args.mask, like=sky)
        truth, optimum = (
            None if path is None else reading.beside_of(args, path, sky, field=args.field).values
            for path in (args.truth, args.optimum)
        )
        std, draws = _spread(args, sky)
        more = (*args.filled[1:], args.mask, args.truth, args.std, args.optimum)
        more += () if args.exact is True else (args.exact,)
        listener.done(f"nside {sky.nside}, {sky.unit}{reading.assumed(args, sky, *more)}")
        exact = origin.exact_of(args, sky, observed, prior, listener)
        tiles = origin.tiles_of(args, sky, observed, prior, listener)
        listener.stage("fills", len(args.filled))

        def skies() -> Iterator[NDArray[np.float64]]:
            for path in args.filled:
                each = sky if path == args.filled[0] else reading.map_of(args, path, like=sky)
                yield each.values
                listener.advance()

        found = skyfill.fidelity.score_sky(
            skies(),
            observed,
            truth=truth,
            std=std,
            std_draws=draws,
            optimum=optimum,
            exact=exact,
            tiles=tiles,
            seed=args.seed,
            threads=args.threads or 0,
            progress=listener,
        )
    if args.json:
        import numpy as np

        named = {
            "filled": [str(path) for path in args.filled],
            "prior": None if prior is None else skyfill.inpaint.describe_prior(prior),
            "mask": str(args.mask),
            "truth": str(args.truth) if args.truth else None,
            "exact": "solved" if args.exact is True else str(args.exact) if args.exact else None,
            "tiles": None if tiles is None else int(np.unique(tiles[tiles >= 0]).size),
            "seconds": round(time.perf_counter() - begun, 2),
        }
        print(json.dumps(found.as_dict() | named))
        return 0
    if prior is not None:
        print(f"prior    {skyfill.inpaint.describe_prior(prior)}")
    _print(found)
    return 0


def _print(found: skyfill.fidelity.SkyScores) -> None:
    """Lay the figures out for reading."""
    known = found.pixels.size
    told = f"{known} of them with a truth" if known else "without a truth"
    print(f"{found.realizations} filled maps, {found.hole_pixels} hole pixels, {told}")
    print(judgement.table(found.figures, found.verdict))
    if known and "z_width" not in found.figures:
        print("one fill has no scatter, so no z-scores: give several, or a mean with --std")


def _refuse(args: argparse.Namespace) -> None:
    """Refuse options that say nothing together."""
    if args.tiles or args.weights or args.limit or args.sample:
        raise ValueError("filled maps and tiles are judged one at a time; drop one or the other")
    if not args.filled and args.exact not in (None, True):
        raise ValueError(f"--exact took {args.exact} for the exact fill; give FILLED before it")
    if not args.filled or args.mask is None:
        raise ValueError(
            "filled maps are judged with their mask; give both, FILLED and --mask MASK"
        )
    if args.truth is None and (args.std or args.optimum):
        raise ValueError("--std and --optimum are held against the truth; pass --truth TRUTH")
    if args.exact and len(args.filled) > 1:
        raise ValueError("--exact is compared with one fill, that of its seed; give one FILLED")
    if args.std and len(args.filled) > 1:
        raise ValueError("--std belongs to one mean; realizations have their own spread, drop it")


def _spread(
    args: argparse.Namespace, filled: skyfill.SkyMap
) -> tuple[NDArray[np.float64] | None, int | None]:
    """Read --std, µK, and how many realizations its header says it is from."""
    if args.std is None:
        return None, None
    sky = reading.beside_of(args, args.std, filled)
    said = origin.keywords_of(sky).get("SFDRAWS")
    return sky.values, said if isinstance(said, int) and said > 1 else None


def _tiles(args: argparse.Namespace) -> int:
    """Judge a network of tiles."""
    dataset = skyfill.dataset.open_tiles(args.tiles)
    skyfill.vae.pick_device(args.device, threads=args.threads or 0)
    network, card = skyfill.cosmovae.load(args.weights)
    with progress(quiet=args.quiet) as listener:
        listener.stage("fill")
        pairs = dataset.pairs(args.limit or 64, seed=args.seed)
        truth, observed = dataset.tiles(pairs[0]), dataset.observed(pairs[1])
        filler = skyfill.cosmovae.CosmoFiller(network, card, device=args.device)
        filled = filler(truth, observed, seed=(args.seed,) if args.sample else None)
        scores = skyfill.fidelity.score_tiles(filled, truth, observed)
        _, ratio = skyfill.fidelity.hole_power(filled, truth, observed)
        listener.done(f"{scores.tiles} tiles, {scores.hole_share:.1%} of them holes")
        listener.stage("optimum")
        best, judged = skyfill.optimum.dataset_mean(
            dataset, pairs[0], truth, observed, device=args.device
        )
        optimum = ratio_to_optimum = None
        if judged.any():
            optimum, ours = (
                skyfill.fidelity.score_tiles(each, truth[judged], observed[judged]).hole_rms_uk
                for each in (best[judged], filled[judged])
            )
            ratio_to_optimum = (ours / optimum) ** 2
            listener.done(f"{optimum:.2f} uK in {judged.sum()} tiles")
    leak = dataset.split == "paper" and dataset.fingerprint == card.training["tiles_fingerprint"]
    result = {
        **scores.as_dict(),
        "hole_optimum_rms_uk": optimum,
        "optimum_tiles": int(judged.sum()),
        "ratio_to_optimum": ratio_to_optimum,
        "hole_power_ratio": [round(float(x), 4) for x in ratio],
        "split": dataset.split,
        "seen_in_training": leak,
        "weights": card.name,
    }
    if args.json:
        print(json.dumps(result))
        return 0
    print(f"whole tiles, 0 to 1: MSE {scores.mse:.5f}, MAE {scores.mae:.5f}, ", end="")
    print(f"PSNR {scores.psnr:.3f} dB, SSIM {scores.ssim:.4f}")
    print(
        f"in the holes: rms {scores.hole_rms_uk:.2f} uK, mean {scores.hole_mae_uk:.2f} uK; ", end=""
    )
    print(f"the truth's own rms {scores.hole_truth_rms_uk:.2f}")
    if optimum is not None:
        print(f"the best that a tile lets one know: rms {optimum:.2f}; ", end="")
        print(f"squared error over that: {ratio_to_optimum:.3f} ({judged.sum()} tiles)")
    print("power in the holes over the truth's, from large scales to small: ", end="")
    print(" ".join(f"{x:.3f}" for x in ratio))
    if leak:
        print("these tiles were trained on: the paper's protocol, and a leak (see tiles --split)")
    return 0
