"""Judge a network of tiles by tiles whose truth is known.

Clean tiles of a data set are covered with the masks of others, filled, and held against the truth:
errors of whole tiles that run from 0 to 1, as the CosmoVAE paper has them, and errors in the holes,
in µK.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import options
from .progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        "--tiles", type=Path, required=True, metavar="DIR", help="made by `skyfill tiles`"
    )
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="of a cosmovae")
    parser.add_argument(
        "--limit",
        type=options.positive,
        default=64,
        metavar="N",
        help="tiles to judge by, chosen at random (default: 64)",
    )
    parser.add_argument(
        "--sample", action="store_true", help="decode a sample of the latent vector, not its mean"
    )
    options.add_seed(parser)
    options.add_device(parser)
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    dataset = skyfill.dataset.open_tiles(args.tiles)
    skyfill.vae.pick_device(args.device, threads=args.threads or 0)
    network, card = skyfill.cosmovae.load(args.weights)
    with progress(quiet=args.quiet) as listener:
        listener.stage("fill")
        pairs = dataset.pairs(args.limit, seed=args.seed)
        truth, observed = dataset.tiles(pairs[0]), dataset.observed(pairs[1])
        filler = skyfill.cosmovae.CosmoFiller(network, card, device=args.device)
        filled = filler(truth, observed, seed=(args.seed,) if args.sample else None)
        scores = skyfill.fidelity.score_tiles(filled, truth, observed)
        _, ratio = skyfill.fidelity.hole_power(filled, truth, observed)
        listener.done(f"{scores.tiles} tiles, {scores.hole_share:.1%} of them holes")
        optimum = _optimum(args, dataset, truth, observed, listener)
    leak = dataset.split == "paper" and dataset.fingerprint == card.training["tiles_fingerprint"]
    result = {
        **scores.as_dict(),
        "hole_optimum_rms_uk": optimum,
        "ratio_to_optimum": None if optimum is None else (scores.hole_rms_uk / optimum) ** 2,
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
        ratio_of_squares = (scores.hole_rms_uk / optimum) ** 2
        print(f"the best that a tile lets one know: rms {optimum:.2f}; ", end="")
        print(f"squared error over that: {ratio_of_squares:.3f}")
    print("power in the holes over the truth's, from large scales to small: ", end="")
    print(" ".join(f"{x:.3f}" for x in ratio))
    if leak:
        print("these tiles were trained on: the paper's protocol, and a leak (see tiles --split)")
    return 0


def _optimum(
    args: argparse.Namespace,
    dataset: skyfill.dataset.TileDataset,
    truth: NDArray[np.float32],
    observed: NDArray[np.bool_],
    listener: skyfill.Progress,
) -> float | None:
    """Give the rms error of the exact mean in the holes; None where pixels are oblong."""
    geometry = dataset.geometry
    if geometry.projection != "gnomonic":
        return None
    listener.stage("optimum")
    best = skyfill.optimum.tile_mean(
        truth,
        observed,
        prior=dataset.prior,
        pixel=math.radians(geometry.pixel_arcmin / 60),
        device=args.device,
    )
    rms = skyfill.fidelity.score_tiles(best, truth, observed).hole_rms_uk
    listener.done(f"{rms:.2f} uK")
    return rms
