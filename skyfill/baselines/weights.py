"""Write and read the weights of a baseline, like those of `skyfill.vae`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skyfill.baselines.card import MODELS
from skyfill.baselines.contextencoder import ContextEncoder
from skyfill.baselines.partialconv import PConvNet
from skyfill.baselines.size import BaselineNet, Size
from skyfill.baselines.vaeac import VAEAC
from skyfill.vae.card import ModelCard, model_of
from skyfill.vae.weights import read, write

__all__ = ["load", "network_of", "save"]

_CLASSES: dict[str, type[PConvNet | VAEAC | ContextEncoder]] = {
    "pconv": PConvNet,
    "vaeac": VAEAC,
    "context-encoder": ContextEncoder,
}


def network_of(model: str, arch: Size) -> BaselineNet:
    """Build a network by the name of its model, with the errors of its class."""
    return _CLASSES[model](arch)


def save(
    network: BaselineNet, path: str | Path, *, about: dict[str, Any], overwrite: bool = False
) -> ModelCard:
    """Write weights, and their card beside them (``.json``), as `skyfill.cosmovae.save`.

    Raises
    ------
    FileExistsError
        The file exists and ``overwrite`` is not set.
    ValueError
        The description is that of a training of another kind of network.
    """
    card = ModelCard(Path(path).stem, "", about["training"], about["measured"])
    model = about["training"]["model"]
    if type(network) is not _CLASSES.get(model):
        raise ValueError(
            f"the description is of a {model}, the network is a {type(network).__name__}; pass the"
            " description that came with this network"
        )
    return write(network, path, card, network.arch.as_dict(), model=model, overwrite=overwrite)


def load(path: str | Path, *, model: str | None = None) -> tuple[BaselineNet, ModelCard]:
    """Read weights strictly, with the errors of `skyfill.vae.load`.

    Parameters
    ----------
    path
        The file.
    model
        The kind of network that the file must hold; any baseline if None.
    """
    if model is None:
        found = model_of(path)
        model = found if found in MODELS else MODELS[0]
    return read(Path(path), lambda fields: network_of(model, Size.of(fields)), model=model)
