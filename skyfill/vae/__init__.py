"""Fill tiles with a conditional variational autoencoder. The only room that knows torch.

It knows squares of pixels and their spectrum, not the sphere: `skyfill.inpaint` cuts the tiles.
Training is imported on first use: filling needs none of it, and it is a program of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyfill.vae.filler import TileFiller, pick_device
from skyfill.vae.network import TileVAE
from skyfill.vae.unet import Architecture
from skyfill.vae.weights import DEFAULT, ModelCard, load, model_of, save, shipped

if TYPE_CHECKING:
    from skyfill.vae import training as training

__all__ = [
    "DEFAULT",
    "Architecture",
    "ModelCard",
    "TileFiller",
    "TileVAE",
    "load",
    "model_of",
    "pick_device",
    "save",
    "shipped",
    "training",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import `training` on first use."""
        from importlib import import_module

        if name != "training":
            raise AttributeError(f"module 'skyfill.vae' has no attribute {name!r}")
        return import_module("skyfill.vae.training")
