"""Read and write a network's weights, with their description, in one file.

The format is safetensors. Its metadata holds JSON: format, architecture, training configuration and
errors on held-out tiles. Next to each file is its model card with the file's SHA-256. Nothing is
unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from skyfill.files.atomic import atomic_write
from skyfill.vae.card import (
    ADVICE,
    DEFAULT,
    FORMAT,
    MODEL,
    WEIGHTS,
    ModelCard,
    card_of,
    opened,
    sha256_of,
)
from skyfill.vae.network import TileVAE
from skyfill.vae.unet import Architecture

__all__ = ["load", "read", "save", "write"]


Network = TypeVar("Network", bound=nn.Module)


def save(
    network: TileVAE,
    path: str | Path,
    *,
    name: str,
    training: dict[str, Any],
    measured: dict[str, Any],
    overwrite: bool = False,
) -> ModelCard:
    """Write weights, and their card next to them (``.json``).

    Parameters
    ----------
    network
        The network, on any device.
    path
        File to write; its name ends in ``.safetensors``.
    name, training, measured
        As in `ModelCard`.
    overwrite
        Whether to replace a file that exists.

    Raises
    ------
    FileExistsError
        The file exists and ``overwrite`` is not set.
    """
    card = ModelCard(name, "", training, measured)
    return write(network, path, card, network.arch.as_dict(), model=MODEL, overwrite=overwrite)


def write(
    network: nn.Module,
    path: str | Path,
    card: ModelCard,
    architecture: dict[str, object],
    *,
    model: str,
    overwrite: bool = False,
) -> ModelCard:
    """Write the weights of any network, as `save` does; return the card with the file's hash."""
    from safetensors.torch import save as to_bytes  # not needed for training itself

    path = Path(path)
    about = {
        "format": FORMAT,
        "model": model,
        "name": card.name,
        "architecture": architecture,
        "training": card.training,
        "measured": card.measured,
    }
    tensors = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
    with atomic_write(path, overwrite) as temporary:
        # Not `save_file`: its files are readable only by their owner.
        temporary.write_bytes(to_bytes(tensors, metadata={"skyfill": json.dumps(about)}))
    card = replace(card, sha256=sha256_of(path))
    with atomic_write(path.with_suffix(".json"), overwrite) as temporary:
        temporary.write_text(json.dumps(vars(card), indent=2) + "\n", encoding="utf-8")
    return card


def load(path: str | Path | None = None) -> tuple[TileVAE, ModelCard]:
    """Read weights strictly: all tensors, their shapes and the hash in the card must match.

    Parameters
    ----------
    path
        A file of weights, with its card next to it; the shipped weights if not given.

    Returns
    -------
    The network, ready for inference, and its card.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file was not written by skyfill, is damaged, or does not match its card.
    """
    path = WEIGHTS / f"{DEFAULT}.safetensors" if path is None else Path(path)
    return read(path, lambda fields: TileVAE(Architecture.of(fields)), model=MODEL)


def read(
    path: Path, build: Callable[[dict[str, Any]], Network], *, model: str
) -> tuple[Network, ModelCard]:
    """Read the weights of any network, as strictly as `load`.

    Parameters
    ----------
    path
        The file.
    build
        Builds the network from the fields of its architecture.
    model
        The kind of network that the file must hold.
    """
    about, tensors = _contents(path)
    card = card_of(path, about, model=model)
    try:
        with torch.device("meta"):  # shapes only: a bad header could ask for any amount of memory
            expected = build(about["architecture"]).state_dict()
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        raise ValueError(f"{path}: its architecture makes no network; {ADVICE}") from None
    for key in expected.keys() | tensors.keys():
        ours, theirs = (tuple(t[key].shape) if key in t else None for t in (expected, tensors))
        if ours != theirs:
            raise ValueError(f"{path}: tensor {key} has shape {theirs}, the network wants {ours}")
    network = build(about["architecture"])
    network.load_state_dict(tensors)
    network.requires_grad_(requires_grad=False)
    network.eval()
    return network, card


def _contents(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the header of a file of weights, and its tensors."""
    with opened(path, "pt") as (file, about):
        return about, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
