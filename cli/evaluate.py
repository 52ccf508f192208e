"""Compare filled maps, or the tiles that a network fills, with a known truth.

Maps: one or more realizations, or a mean (with --std), as `skyfill inpaint` writes them, are
compared with the true map. Without --truth the filled sky is tested for seams, isotropy and its
one-point distribution. With --exact it is compared with the exact fill of the same seed. With
--stokes, T, Q and U are compared with those of the truth, or tested without one, and each has
figures of its own.
Tiles: clean tiles of a data set are masked with the masks of other tiles, filled, and compared with
the truth. Errors are given for whole tiles scaled to 0-1, as in the CosmoVAE paper, and for the
holes in µK.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import judgement, options, origin, reading, stokes
from .progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from skyfill.fidelity import StokesCalibration, StokesScores

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
        help="standard deviation of a mean, as `inpaint --std` writes it",
    )
    maps.add_argument(
        "--optimum",
        type=Path,
        metavar="FILE",
        help="the exact mean (`inpaint --method gaussian --mean`): errors against --truth are "
        "compared with its errors",
    )
    maps.add_argument(
        "--exact",
        type=Path,
        nargs="?",
        const=True,
        metavar="FILE",
        help="compare the fill with the exact fill of the same seed (a mean with the exact mean), "
        "worst pixels included. FILE is written by `inpaint --method gaussian`; without FILE the "
        "exact fill is computed (for a map filled by vae, up to Nside 512)",
    )
    reading.add_map(parser)
    reading.add_mask(parser)
    stokes.add_columns(parser)
    tiles = parser.add_argument_group("tiles")
    tiles.add_argument(
        "--tiles", type=Path, metavar="DIR", help="data set of tiles, made by `skyfill tiles`"
    )
    tiles.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="weights of cosmovae, pconv, vaeac or context-encoder",
    )
    tiles.add_argument(
        "--limit",
        type=options.positive,
        metavar="N",
        help="number of tiles to fill, chosen at random (default: 64)",
    )
    tiles.add_argument(
        "--sample",
        action="store_true",
        help="decode a random latent vector instead of its mean",
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
            "there is nothing to evaluate; give filled maps and --mask, or --tiles and --weights"
        )
    if args.stokes is not None:
        raise ValueError("tiles hold T alone; drop --stokes, or give filled maps and --mask")
    return _tiles(args)


def _maps(args: argparse.Namespace) -> int:
    """Evaluate filled maps."""
    _refuse(args)
    begun = time.perf_counter()
    args = argparse.Namespace(**vars(args) | {"map": args.filled[0], "method": "gaussian"})
    if stokes.is_polarized(args):
        return _polarized(args, begun)
    args = stokes.of_one_column(args)
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


def _polarized(args: argparse.Namespace, begun: float) -> int:
    """Compare filled maps of T, Q and U, or of Q and U, with a truth, or test them without one."""
    for name in ("std", "optimum", "exact"):
        if vars(args)[name] is not None:
            raise ValueError(
                f"--stokes {args.stokes} does not take --{name}: give several realizations, or"
                f" compare T alone with --stokes T --{name}"
            )
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = stokes.sky_of(args)
        first = sky.skies[0]
        observed, observed_pol, masks = stokes.masks_of(args, first)
        truth = None
        if args.truth is not None:
            truth = skyfill.maps.read_stokes(
                args.truth, args.stokes, polcconv=args.polcconv, frame=args.frame, like=first
            )
        listener.done(f"nside {first.nside}, {', '.join(x.column for x in sky.skies)}{masks}")
        listener.stage("fills", len(args.filled))

        def skies() -> Iterator[NDArray[np.float64]]:
            for path in args.filled:
                other = argparse.Namespace(**vars(args) | {"map": path})
                yield (sky if path == args.filled[0] else stokes.sky_of(other)).values
                listener.advance()

        found: StokesCalibration | StokesScores
        if truth is None:
            found = skyfill.fidelity.score_stokes(
                skies(),
                observed,
                observed_pol,
                seed=args.seed,
                threads=args.threads or 0,
                progress=listener,
            )
        else:
            found = skyfill.fidelity.calibrate_stokes(
                skies(),
                observed,
                observed_pol=observed_pol,
                truth=truth.values,
                seed=args.seed,
                threads=args.threads or 0,
                progress=listener,
            )
    if args.json:
        named = {
            "filled": [str(path) for path in args.filled],
            "mask": str(args.mask),
            "mask_pol": str(args.mask_pol) if args.mask_pol else None,
            "truth": str(args.truth) if args.truth else None,
            "seconds": round(time.perf_counter() - begun, 2),
        }
        print(json.dumps(found.as_dict() | named))
        return 0
    told = "with" if args.truth else "without"
    maps = "1 filled map" if len(args.filled) == 1 else f"{len(args.filled)} filled maps"
    print(f"{maps} of {', '.join(sky.stokes)}, {told} a truth")
    print(judgement.tables(found.figures, found.verdict))
    if len(args.filled) == 1 and args.truth:
        print("no z-scores: one fill has no scatter; give several fills")
    return 0


def _print(found: skyfill.fidelity.SkyScores) -> None:
    """Print the figures as a table."""
    known = found.pixels.size
    told = f"{known} of them with a truth" if known else "without a truth"
    maps = "1 filled map" if found.realizations == 1 else f"{found.realizations} filled maps"
    print(f"{maps}, {found.hole_pixels} hole pixels, {told}")
    print(judgement.table(found.figures, found.verdict))
    if known and "z_width" not in found.figures:
        print("no z-scores: one fill has no scatter; give several fills, or a mean with --std")


def _refuse(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    if args.tiles or args.weights or args.limit or args.sample:
        raise ValueError("give either filled maps or --tiles and --weights, not both")
    if not args.filled and args.exact not in (None, True):
        raise ValueError(f"--exact took {args.exact} for the exact fill; give FILLED before it")
    if not args.filled or args.mask is None:
        raise ValueError(
            "evaluating filled maps needs their mask; give both, FILLED and --mask MASK"
        )
    if args.truth is None and (args.std or args.optimum):
        raise ValueError("--std and --optimum need the truth; pass --truth TRUTH")
    if args.exact and len(args.filled) > 1:
        raise ValueError(
            "--exact compares one fill with the exact fill of its seed; give one FILLED"
        )
    if args.std and len(args.filled) > 1:
        raise ValueError("--std belongs to a mean; drop --std, realizations show their own spread")


def _spread(
    args: argparse.Namespace, filled: skyfill.SkyMap
) -> tuple[NDArray[np.float64] | None, int | None]:
    """Read --std, in µK, and from its header the number of realizations it was computed from."""
    if args.std is None:
        return None, None
    sky = reading.beside_of(args, args.std, filled)
    said = origin.keywords_of(sky).get("SFDRAWS")
    return sky.values, said if isinstance(said, int) and said > 1 else None


def _filler(
    args: argparse.Namespace,
) -> skyfill.cosmovae.CosmoFiller | skyfill.baselines.BaselineFiller:
    """Load the network of --weights, of whichever kind."""
    if skyfill.vae.model_of(args.weights) in skyfill.baselines.MODELS:
        net, card = skyfill.baselines.load(args.weights)
        return skyfill.baselines.BaselineFiller(net, card, device=args.device)
    network, card = skyfill.cosmovae.load(args.weights)
    return skyfill.cosmovae.CosmoFiller(network, card, device=args.device)


def _tiles(args: argparse.Namespace) -> int:
    """Evaluate a network on tiles."""
    dataset = skyfill.dataset.open_tiles(args.tiles)
    skyfill.vae.pick_device(args.device, threads=args.threads or 0)
    filler = _filler(args)
    card = filler.card
    with progress(quiet=args.quiet) as listener:
        listener.stage("fill")
        pairs = dataset.pairs(args.limit or 64, seed=args.seed)
        truth, observed = dataset.tiles(pairs[0]), dataset.observed(pairs[1])
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
        print(f"exact posterior mean of each tile: rms {optimum:.2f}; ", end="")
        print(f"squared error over its own: {ratio_to_optimum:.3f} ({judged.sum()} tiles)")
    print("power in the holes over the power of the truth, large to small scales: ", end="")
    print(" ".join(f"{x:.3f}" for x in ratio))
    if leak:
        print(
            "the network was trained on these tiles, as in the paper, so the errors are too small "
            "(see `skyfill tiles --split`)"
        )
    return 0
