"""Write and read the weights of a CosmoVAE, like those of `skyfill.vae`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from skyfill.cosmovae.card import MODEL
from skyfill.cosmovae.network import CosmoArchitecture, CosmoVAE
from skyfill.vae.card import ModelCard
from skyfill.vae.weights import read, write

__all__ = ["load", "save"]


def save(
    network: CosmoVAE, path: str | Path, *, about: dict[str, Any], overwrite: bool = False
) -> ModelCard:
    """Write weights and latent prior, and their card beside them (``.json``).

    Parameters
    ----------
    network
        The network, on any device.
    path
        File that ends in ``.safetensors``. Its name without the ending is the model's name.
    about
        Description of the training, from `train`.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    FileExistsError
        The file exists and ``overwrite`` is not set.
    """
    card = ModelCard(Path(path).stem, "", about["training"], about["measured"])
    return write(network, path, card, network.arch.as_dict(), model=MODEL, overwrite=overwrite)


def load(path: str | Path) -> tuple[CosmoVAE, ModelCard]:
    """Read weights strictly, with the errors of `skyfill.vae.load`."""

    def build(fields: dict[str, Any]) -> CosmoVAE:
        arch = CosmoArchitecture.of(fields)
        return CosmoVAE(arch, torch.ones(arch.latent, device="cpu"))  # even on "meta"

    return read(Path(path), build, model=MODEL)
