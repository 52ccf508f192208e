"""The layers of VGG-16 that the perceptual loss looks through (Simonyan & Zisserman 2015).

The weights are ImageNet's, as torchvision publishes them; they are not shipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["VGG_FILE", "VGG_URL", "VGGFeatures", "load_vgg", "vgg_path"]

VGG_FILE = "vgg16-397923af.pth"
VGG_URL = f"https://download.pytorch.org/models/{VGG_FILE}"
#: Layers by their numbers in torchvision's ``features``; each block ends with a pooling.
_BLOCKS = (
    ((0, 3, 64), (2, 64, 64)),
    ((5, 64, 128), (7, 128, 128)),
    ((10, 128, 256), (12, 256, 256), (14, 256, 256)),
)
#: Means of the three colours in the pictures that VGG16 was trained on (ImageNet).
_MEAN = (0.485, 0.456, 0.406)
#: Their standard deviations.
_STD = (0.229, 0.224, 0.225)
#: A picture's grey runs from 0 to 1: a field of unit rms is shown from -4 to 4.
_CONTRAST = 8.0


class VGGFeatures(nn.Module):
    """Give pool1, pool2 and pool3 of a grey picture of a field.

    Parameters
    ----------
    state
        The state dict of torchvision's ``vgg16``, of which the first seven convolutions are taken.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for block in _BLOCKS:
            for number, _, _ in block:
                self.register_buffer(f"weight{number}", state[f"features.{number}.weight"])
                self.register_buffer(f"bias{number}", state[f"features.{number}.bias"])
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(_STD)[:, None, None])

    def forward(self, field: Tensor) -> list[Tensor]:
        """Look at fields of unit rms, ``(batch, 1, ny, nx)``, at least eight pixels wide."""
        grey = 0.5 + field / _CONTRAST
        x = (grey - self.mean) / self.std
        pooled = []
        for block in _BLOCKS:
            for number, _, _ in block:
                weight, bias = getattr(self, f"weight{number}"), getattr(self, f"bias{number}")
                x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
            x = functional.max_pool2d(x, 2)
            pooled.append(x)
        return pooled


def vgg_path(path: str | Path | None = None) -> Path:
    """Name the file of weights: the one given, else torch hub's in its cache."""
    return Path(path) if path is not None else Path(torch.hub.get_dir()) / "checkpoints" / VGG_FILE


def load_vgg(path: str | Path | None = None) -> VGGFeatures:
    """Read ImageNet's VGG-16 from a file that torchvision publishes.

    Parameters
    ----------
    path
        The file; `vgg_path` says which if it is not given.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It does not hold the weights of a VGG-16.
    """
    path = vgg_path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file; fetch {VGG_URL} and pass it with `vgg_weights`, or train with "
            "`perceptual='none'`"
        )
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what it likes  # noqa: BLE001
        raise ValueError(f"{path}: no weights ({type(error).__name__}); fetch {VGG_URL}") from None
    for block in _BLOCKS:
        for number, inputs, outputs in block:
            for key, shape in (
                (f"features.{number}.weight", (outputs, inputs, 3, 3)),
                (f"features.{number}.bias", (outputs,)),
            ):
                found = state.get(key) if isinstance(state, dict) else None
                if not isinstance(found, Tensor) or found.shape != shape:
                    raise ValueError(f"{path}: {key} is not VGG-16's; fetch {VGG_URL}")
    return VGGFeatures({key: value.float() for key, value in state.items()})
