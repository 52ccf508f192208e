"""Know what a file of CosmoVAE's weights says of itself, without torch."""

from __future__ import annotations

from pathlib import Path

from skyfill.vae import card
from skyfill.vae.card import ModelCard

__all__ = ["MODEL", "read_card", "shipped"]

MODEL = "cosmovae"
_WEIGHTS = Path(__file__).parent / "weights"


def shipped() -> list[Path]:
    """Name the files of weights that come with skyfill."""
    return sorted(_WEIGHTS.glob("*.safetensors"))


def read_card(path: str | Path) -> ModelCard:
    """Read what a file of weights says of itself, as `skyfill.vae.card.read_card` does."""
    return card.read_card(path, model=MODEL)
