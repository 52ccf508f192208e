"""Header cards of the outputs: program, version, command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import skyfill

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["command_cards", "method_cards", "write_mask"]


def command_cards(args: argparse.Namespace) -> dict[str, tuple[str | int, str]]:
    """Record the version and the seed, if the verb has one."""
    cards: dict[str, tuple[str | int, str]] = {
        "CREATOR": (f"skyfill {skyfill.__version__}", "program that made this file")
    }
    if "seed" in args:
        cards["SFSEED"] = (args.seed, "seed of the random numbers")
    return cards


def method_cards(args: argparse.Namespace) -> dict[str, tuple[str | int, str]]:
    """Record the method, and the reason if it was chosen by `auto`."""
    cards: dict[str, tuple[str | int, str]] = {
        "SFMETHOD": (args.method, "how the holes were filled")
    }
    if args.why is not None:
        cards["SFAUTO"] = (args.why, "")
    return cards


def write_mask(
    args: argparse.Namespace, observed: NDArray[np.bool_], coord: str | None = "G"
) -> None:
    """Write a mask to the file of -o, one byte a pixel."""
    skyfill.write_map(
        args.output,
        observed,
        column="TMASK",
        unit="",
        dtype="uint8",
        coord=coord,
        provenance=command_cards(args),
        history=[args.command],
        overwrite=args.overwrite,
    )
