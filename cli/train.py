"""Train a network for `skyfill inpaint` on simulated skies, on maps, or on a data set of tiles.

Training runs on a CPU or a GPU and keeps a checkpoint and a log in the folder of --run. With
--resume it continues from the checkpoint, with the same result as without the stop. `torchrun`
spreads it over several processes.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import skyfill

from . import options, reading, theory
from .progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["configure", "run"]

SHIPPED = "shipped"
#: Networks that are trained on a data set of tiles.
PUBLISHED = ("cosmovae", "pconv", "vaeac", "context-encoder")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    options.add_output(parser)
    parser.add_argument(
        "--model",
        choices=("vae", *PUBLISHED),
        default="vae",
        help="vae: skyfill's own network; cosmovae: the published one; pconv, vaeac, "
        "context-encoder: others, for comparison; all but vae need --tiles (default: vae)",
    )
    parser.add_argument(
        "--run",
        dest="folder",
        type=Path,
        metavar="DIR",
        help="folder of the checkpoint and the log (default: OUT.run)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue from the checkpoint; OUT is replaced"
    )
    parser.add_argument(
        "--weights", metavar="FILE", help=f"weights to start from; {SHIPPED!r} for the shipped ones"
    )
    parser.add_argument(
        "--steps",
        type=options.positive,
        metavar="N",
        help="number of training steps (default: as in the recipe)",
    )
    parser.add_argument(
        "--batch-size",
        type=options.positive,
        metavar="N",
        help="tiles in one step (default: as in the recipe; cosmovae 4)",
    )
    parser.add_argument(
        "--minutes",
        type=options.amount,
        default=math.inf,
        metavar="T",
        help="stop after T minutes and write OUT; --resume continues",
    )
    parser.add_argument(
        "--seed",
        type=options.whole,
        metavar="N",
        help="seed of the training (default: as in the recipe)",
    )
    parser.add_argument(
        "--nonlinear",
        action="store_true",
        help="train a network that is not linear in the data; for --maps of a non-Gaussian sky",
    )
    options.add_cosmovae(parser)
    maps = parser.add_argument_group("own maps", "Without --maps, skies are simulated from --cl.")
    maps.add_argument(
        "--maps",
        type=Path,
        nargs="+",
        default=[],
        metavar="MAP",
        help="maps from which training tiles are cut",
    )
    maps.add_argument(
        "--mask",
        type=Path,
        metavar="FILE",
        help="mask of the maps; only tiles without a masked pixel are used",
    )
    reading.add_mask(maps)
    reading.add_map(parser)
    theory.add_prior(
        parser,
        otherwise="With --maps, values that are not given are fitted to each map. Without --maps, "
        "only --cl applies.",
    )
    options.add_device(parser)
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    theory.check(args)
    _refuse(args)
    folder = args.folder or args.output.with_suffix(".run")
    _check_places(args, folder)
    skyfill.vae.pick_device(args.device, threads=args.threads or 0)
    if args.model in PUBLISHED:
        return _train_on_tiles(args, folder)
    training = skyfill.vae.training
    start = None
    if args.weights is not None:
        start, _ = skyfill.vae.load(None if args.weights == SHIPPED else args.weights)
    config = _config(args, training.TrainConfig(), start)
    cl = None if args.maps or not theory.has_file(args) else theory.given_cl(args)
    with progress(quiet=args.quiet or not training.first_process()) as listener:
        tiles = _own_tiles(args, config, listener)
        _forget(args, folder)
        network = training.train(
            config,
            folder,
            device=args.device,
            minutes=args.minutes,
            cl=cl,
            tiles=tiles,
            start=start,
            progress=listener,
        )
        if not training.first_process():
            return 0
        listener.stage("write")
        card = training.export(
            network,
            config,
            folder,
            args.output,
            data=_data(args),
            overwrite=args.overwrite or args.resume,
        )
        listener.done(f"{args.output}, excess {card.measured['excess']:.4g}")
    if args.json:
        print(json.dumps({"output": str(args.output), "run": str(folder), **vars(card)}))
    return 0


def _train_on_tiles(args: argparse.Namespace, folder: Path) -> int:
    """Train a published network on a data set of tiles."""
    dataset = skyfill.dataset.open_tiles(args.tiles)
    first = skyfill.vae.training.first_process()
    train = _trained_cosmovae if args.model == "cosmovae" else _trained_baseline
    with progress(quiet=args.quiet or not first) as listener:
        network, about, room = train(args, dataset, folder, listener)
        if not first:
            return 0
        listener.stage("write")
        card = room.save(network, args.output, about=about, overwrite=args.overwrite or args.resume)
        listener.done(f"{args.output}, {card.measured['held_out_rms_uk']:.1f} uK in held-out holes")
    if args.json:
        print(json.dumps({"output": str(args.output), "run": str(folder), **vars(card)}))
    return 0


def _trained_cosmovae(
    args: argparse.Namespace,
    dataset: skyfill.dataset.TileDataset,
    folder: Path,
    listener: skyfill.Progress,
) -> tuple[Any, dict[str, Any], Any]:
    """Train a CosmoVAE; give the network, its description and its room."""
    config = skyfill.cosmovae.CosmoConfig(
        seed=args.seed or 0,
        width_factor=args.width_factor or 1.0,
        batch=args.batch_size or skyfill.cosmovae.CosmoConfig.batch,
        max_steps=args.max_steps,
        perceptual=args.perceptual or "imagenet",
        regulariser=args.regulariser or "kl",
    )
    vgg = skyfill.cosmovae.load_vgg(args.vgg_weights) if config.perceptual == "imagenet" else None
    _forget(args, folder)
    network, about = skyfill.cosmovae.train(
        config,
        dataset,
        folder,
        cl=theory.given_cl(args) if theory.has_file(args) else None,
        vgg=vgg,
        device=args.device,
        minutes=args.minutes,
        progress=listener,
    )
    return network, about, skyfill.cosmovae


def _trained_baseline(
    args: argparse.Namespace,
    dataset: skyfill.dataset.TileDataset,
    folder: Path,
    listener: skyfill.Progress,
) -> tuple[Any, dict[str, Any], Any]:
    """Train one of the other networks; give the network, its description and its room."""
    config = skyfill.baselines.BaselineConfig(
        args.model,
        seed=args.seed or 0,
        width_factor=args.width_factor or 1.0,
        batch=args.batch_size or skyfill.baselines.BaselineConfig.batch,
        max_steps=args.max_steps,
        perceptual=args.perceptual or ("imagenet" if args.model == "pconv" else "none"),
    )
    vgg = skyfill.cosmovae.load_vgg(args.vgg_weights) if config.perceptual == "imagenet" else None
    _forget(args, folder)
    network, about = skyfill.baselines.train(
        config,
        dataset,
        folder,
        vgg=vgg,
        device=args.device,
        minutes=args.minutes,
        progress=listener,
    )
    return network, about, skyfill.baselines


def _forget(args: argparse.Namespace, folder: Path) -> None:
    """Delete an earlier run in the folder, except with --resume."""
    if not args.resume and skyfill.vae.training.first_process():
        for name in ("checkpoint.pt", "log.jsonl", "log.csv"):
            (folder / name).unlink(missing_ok=True)


def _refuse(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    if args.output.suffix != ".safetensors":
        raise ValueError(f"{args.output}: the name of a file of weights must end in .safetensors")
    _refuse_of_other_model(args)
    if not args.maps:
        about_maps = {
            "--mask": args.mask,
            "--unit": args.unit,
            "--hdu": args.hdu,
            "--missing": args.missing,
            "--nside": args.nside,
            "--frame": args.frame,
            "--beam-arcmin": args.beam_arcmin,
            "--noise-uk-arcmin": args.noise_uk_arcmin,
            "--pixel-window": args.pixel_window,
            "--nonlinear": args.nonlinear or None,
        }
        for option, value in about_maps.items():
            if value is not None:
                raise ValueError(f"{option} is an option of maps; pass --maps as well")
    reading.refuse_without_mask(args)


def _refuse_of_other_model(args: argparse.Namespace) -> None:
    """Refuse options that belong to the other model."""
    published = args.model in PUBLISHED
    ours = ("tiles", "width_factor", "max_steps", "perceptual", "vgg_weights", "regulariser")
    theirs = ("weights", "steps", "nonlinear", "maps", "mask")
    for name in theirs if published else ours:
        if getattr(args, name) not in (None, False, []):
            model = "vae" if published else "cosmovae"
            raise ValueError(f"--{name.replace('_', '-')} is for --model {model}; drop one of them")
    if published and args.tiles is None:
        raise ValueError(
            f"{args.model} is trained on tiles; pass --tiles DIR, made by `skyfill tiles`"
        )
    if published and args.model != "cosmovae":
        if args.regulariser is not None or theory.has_file(args):
            name = "--cl" if args.regulariser is None else "--regulariser"
            raise ValueError(f"{name} is for --model cosmovae; drop one of them")
        if args.model != "pconv" and (args.vgg_weights or args.perceptual == "imagenet"):
            raise ValueError(f"{args.model} has no perceptual term; drop --perceptual imagenet")
    if args.vgg_weights is not None and args.perceptual == "none":
        raise ValueError("--vgg-weights is for --perceptual imagenet; drop one of them")


def _check_places(args: argparse.Namespace, folder: Path) -> None:
    """Refuse outputs that cannot be written or that exist already."""
    replace = args.overwrite or args.resume
    skyfill.check_writable(args.output, overwrite=replace, kind="weights")
    skyfill.check_writable(args.output.with_suffix(".json"), overwrite=replace)
    checkpoint = folder / "checkpoint.pt"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give another one with --run")
    if args.resume and not checkpoint.exists():
        raise ValueError(f"{checkpoint}: no such checkpoint; drop --resume to start a new run")
    if checkpoint.exists() and not (args.resume or args.overwrite):
        raise ValueError(f"{checkpoint} exists already; pass --resume to continue, or --overwrite")


def _config(
    args: argparse.Namespace,
    recipe: skyfill.vae.training.TrainConfig,
    start: skyfill.vae.TileVAE | None,
) -> skyfill.vae.training.TrainConfig:
    """Apply the options to the recipe."""
    architecture = recipe.architecture if start is None else start.arch
    if args.nonlinear and start is not None and architecture.linear:
        raise ValueError(f"{args.weights} is linear; drop --nonlinear, or --weights")
    if args.nonlinear:
        architecture = replace(architecture, linear=False)
    chosen = {"steps": args.steps, "batch": args.batch_size, "seed": args.seed}
    changes = {key: value for key, value in chosen.items() if value is not None}
    return replace(recipe, architecture=architecture, **changes)


def _own_tiles(
    args: argparse.Namespace,
    config: skyfill.vae.training.TrainConfig,
    listener: skyfill.Progress,
) -> list[tuple[NDArray[np.float64], Any]]:
    """Cut the maps into tiles."""
    tiles = []
    observed = None if args.mask is None else reading.mask_of(args, args.mask)
    for path in args.maps:
        listener.stage("tiles")
        sky = reading.map_of(args, path, like=args.mask)
        try:
            cut = skyfill.owntiles.cut_tiles(
                sky.values,
                observed,
                prior=theory.given(args),
                side=config.side,
                seed=config.seed,
                threads=args.threads or 0,
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        tiles.append(cut)
        listener.done(f"{len(cut[0])} from {path.name}")
    return tiles


def _data(args: argparse.Namespace) -> str:
    """Describe the training data in words."""
    if args.maps:
        return f"tiles of {', '.join(path.name for path in args.maps)}"
    words = "LCDM spectrum shipped with skyfill" if not theory.has_file(args) else args.cl.name
    return f"simulated flat-sky tiles; {words}"
