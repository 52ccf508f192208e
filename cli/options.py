"""Options that several verbs share, and the functions that read their values."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

__all__ = [
    "add_cosmovae",
    "add_device",
    "add_dipole",
    "add_engine",
    "add_memory",
    "add_output",
    "add_quiet",
    "add_seed",
    "add_threads",
    "amount",
    "arcmin",
    "field",
    "fraction",
    "latitude",
    "positive",
    "set_threads",
    "size",
    "whole",
]


def add_output(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declare -o and --overwrite."""
    parser.add_argument(
        "-o", "--output", type=Path, required=required, metavar="OUT", help="file to write"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Declare --json and -q."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")


def add_device(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare --device."""
    parser.add_argument(
        "--device",
        default="auto",
        metavar="DEVICE",
        help="where solver and networks run: auto (a GPU if there is one, the default), cpu, cuda",
    )


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Declare the options of solver and network: --tolerance, --weights, --device, --batch-size."""
    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--tolerance",
        type=fraction,
        default=0.003,
        metavar="X",
        help="gaussian: stop when the estimated rms distance to the exact mean is X times the rms "
        "of the map (default: 0.003)",
    )
    engine.add_argument(
        "--weights",
        type=Path,
        action="append",
        metavar="FILE",
        help="vae: network that refines the tiles after their iterations (default: none); "
        "cosmovae: its network (default: shipped); pconv, vaeac, context-encoder: theirs. Given "
        "several times, realizations use the networks in turn",
    )
    add_device(engine)
    engine.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="tiles at once (default: what free memory allows)",
    )


def add_memory(parser: argparse.ArgumentParser) -> None:
    """Declare --memory-limit."""
    parser.add_argument(
        "--memory-limit",
        type=size,
        metavar="SIZE",
        help="limit of memory, for example 8G: fewer tiles are held at once, or the fill is "
        "refused if its estimate is above the limit (default: no limit)",
    )


def add_dipole(parser: argparse.ArgumentParser) -> None:
    """Declare --dipole."""
    parser.add_argument(
        "--dipole",
        choices=("marginalise", "fit", "prior"),
        default="marginalise",
        help="marginalise: the uncertainty of monopole and dipole is carried into the holes; fit: "
        "the fitted values are taken as exact, which costs 15 to 76%% in squared error; prior: "
        "nothing is fitted, they have C_0 and C_1 of the prior, for simulations (default: "
        "marginalise)",
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Declare --seed."""
    parser.add_argument(
        "--seed",
        type=whole,
        default=0,
        metavar="N",
        help="seed of the random numbers; the same seed gives the same sky (default: 0)",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Declare --threads."""
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="number of threads (default: all cores)"
    )


def add_cosmovae(parser: argparse.ArgumentParser) -> None:
    """Declare the options that only the training of a CosmoVAE has."""
    group = parser.add_argument_group(
        "cosmovae",
        "Options of cosmovae, pconv, vaeac and context-encoder. --cl sets the latent prior of "
        "cosmovae.",
    )
    group.add_argument(
        "--tiles", type=Path, metavar="DIR", help="training tiles, made by `skyfill tiles`"
    )
    group.add_argument(
        "--width-factor",
        type=fraction,
        metavar="F",
        help="multiply the number of channels of every layer by F (default: 1)",
    )
    group.add_argument(
        "--max-steps", type=positive, metavar="N", help="stop after N steps (default: 1,000 epochs)"
    )
    group.add_argument(
        "--perceptual",
        choices=("imagenet", "none"),
        help="imagenet: add a loss of VGG-16 features; none: leave it out; cosmovae and pconv only "
        "(default: imagenet)",
    )
    group.add_argument(
        "--vgg-weights",
        type=Path,
        metavar="FILE",
        help="weights of VGG-16 (default: those in the cache of torch hub)",
    )
    group.add_argument(
        "--regulariser",
        choices=("kl", "gan", "wgan"),
        help="how the latent vector is kept near its prior: kl: the divergence; gan, wgan: an "
        "adversarial network; cosmovae only (default: kl)",
    )


def set_threads(threads: int | None) -> None:
    """Set the number of threads of every library, loaded or not yet loaded."""
    if threads is None:
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "numba" in sys.modules:  # numba reads the variable only when it is imported
        numba = sys.modules["numba"]
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    else:
        os.environ["NUMBA_NUM_THREADS"] = str(threads)


def field(text: str) -> int | str:
    """Read a column: a number or a name."""
    return int(text) if text.isdecimal() else text


def whole(text: str) -> int:
    """Read a whole number, 0 or more."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text}")
    return value


def positive(text: str) -> int:
    """Read a whole number, 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return value


def size(text: str) -> float:
    """Read an amount of memory in bytes: 8G, 500M, 2.5GiB."""
    word = text.strip().upper().removesuffix("B").removesuffix("I")
    power = "KMGT".find(word[-1:]) + 1 if word else 0
    value = float(word[:-1] if power else word)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be above 0, for example 8G, got {text}")
    return value * 1024.0**power


def fraction(text: str) -> float:
    """Read a number above 0 and at most 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, got {text}")
    return value


def amount(text: str) -> float:
    """Read a finite number, 0 or more."""
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"must be finite and 0 or more, got {text}")
    return value


def latitude(text: str) -> float:
    """Read an angle in degrees, from 0 to 90."""
    value = amount(text)
    if value > 90:
        raise argparse.ArgumentTypeError(f"must be at most 90 degrees, got {text}")
    return value


def arcmin(text: str) -> float:
    """Read an angle in arcminutes, 0 or more and below a hemisphere."""
    value = amount(text)
    if value >= 90 * 60:
        raise argparse.ArgumentTypeError(f"must be below 5400 arcmin, got {text}")
    return value
