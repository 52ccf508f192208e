"""Read the model card of a baseline without loading torch."""

from __future__ import annotations

from pathlib import Path

from skyfill.vae import card
from skyfill.vae.card import ModelCard

__all__ = ["DRAWN", "MODELS", "read_card"]

MODELS = ("pconv", "vaeac", "context-encoder")
"""Names of the networks."""
DRAWN = ("vaeac",)
"""Those that draw fills; the others have one fill of a tile."""


def read_card(path: str | Path) -> ModelCard:
    """Read the model card of a file of weights, like `skyfill.vae.card.read_card`.

    Raises
    ------
    ValueError
        As there, or the weights are of another kind of network.
    """
    model = card.model_of(path)
    return card.read_card(path, model=model if model in MODELS else MODELS[0])
