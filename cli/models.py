"""List networks: the place of their weights, their training and their measured accuracy.

The sha256 of each file is compared with its model card. A file without a card is read as `skyfill
inpaint` reads it, which checks every tensor and its shape.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import skyfill

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        "files", type=Path, nargs="*", metavar="FILE", help="weights (default: all shipped ones)"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    models = []
    for path in args.files or [*skyfill.vae.shipped(), *skyfill.cosmovae.shipped()]:
        model = skyfill.vae.model_of(path)
        room = skyfill.cosmovae if model == "cosmovae" else skyfill.vae
        if model in skyfill.baselines.MODELS:
            room = skyfill.baselines
        beside = path.with_suffix(".json").exists()
        # The hash on the card verifies every tensor. Without a card they are read, with torch.
        card = room.read_card(path) if beside else room.load(path)[1]
        models.append(
            {
                "path": str(path),
                "bytes": path.stat().st_size,
                "card": beside,
                **vars(card),
            }
        )
    print(json.dumps({"models": models}) if args.json else "\n\n".join(map(_as_text, models)))
    return 0


def _as_text(model: dict[str, object]) -> str:
    """Write the description of one network as text."""
    training, measured = (dict(model[key]) for key in ("training", "measured"))  # type: ignore[call-overload]
    verified = "agrees with its card" if model["card"] else "no card to compare with"
    lines = [
        str(model["name"]),
        f"  file      {model['path']}, {model['bytes']} bytes",
        f"  sha256    {model['sha256']}, {verified}",
        *(f"  trained   {key}: {_plain(value)}" for key, value in training.items()),
        *(f"  measured  {line}" for line in _measured(measured)),
    ]
    return "\n".join(lines)


def _measured(errors: dict[str, object]) -> Iterator[str]:
    """Write one error a line, grouped by kind of tile."""
    for key, value in errors.items():
        if isinstance(value, dict):
            yield from (f"{key} {kind}: {_plain(inner)}" for kind, inner in value.items())
        else:
            yield f"{key}: {_plain(value)}"


def _plain(value: object) -> str:
    """Write a value of a card without brackets."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
