"""Header cards of the outputs: program, version, command, accuracy."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import skyfill

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["accuracy_cards", "as_rows", "command_cards", "method_cards", "write_mask"]


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


def as_rows(cards: Mapping[str, tuple[object, str]]) -> dict[str, str]:
    """Give cards as the rows of a report: keyword and comment, and the value."""
    return {
        f"{name}: {comment}" if comment else name: str(value)
        for name, (value, comment) in cards.items()
    }


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


def accuracy_cards(
    certificates: dict[str, skyfill.gaussian.Certificate],
) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record in header cards how near the fill is to the exact mean."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {}
    for name, found in certificates.items():
        cards["SFITER"] = (found.iterations, "iterations on the holes")
        cards["SFCORR"] = (found.corrections, "corrections on the whole sphere")
        if math.isfinite(found.residual):
            words = f"residual of {name}, relative"
            cards[f"SFRESID{name}"[:8]] = (float(f"{found.residual:.3e}"), words)
        if math.isfinite(found.distance):
            words = f"[uK] estimated rms of {name} from exact mean"
            cards[f"SFDIST{name}"] = (float(f"{found.distance:.3e}"), words)
        if found.leakage:
            words = "B still to come over BB of the prior"
            cards["SFBLEAK"] = (float(f"{max(found.leakage):.3e}"), words)
    return cards
