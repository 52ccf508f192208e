"""Judge a network of tiles by tiles whose truth is known.

Clean tiles of a data set are covered with the masks of others, filled, and held against the truth:
errors of whole tiles that run from 0 to 1, as the CosmoVAE paper has them, and errors in the holes,
in µK.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import skyfill

from . import options
from .progress import progress

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
