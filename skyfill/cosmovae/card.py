"""Read the model card of a CosmoVAE without loading torch."""

from __future__ import annotations

from pathlib import Path

from skyfill.vae import card
from skyfill.vae.card import ModelCard

__all__ = ["MODEL", "read_card", "shipped"]

MODEL = "cosmovae"
_WEIGHTS = Path(__file__).parent / "weights"


def shipped() -> list[Path]:
    """List the files of weights shipped with skyfill."""
    return sorted(_WEIGHTS.glob("*.safetensors"))


def read_card(path: str | Path) -> ModelCard:
    """Read the model card of a file of weights, like `skyfill.vae.card.read_card`."""
    return card.read_card(path, model=MODEL)
