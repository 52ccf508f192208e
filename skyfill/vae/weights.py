"""Keep a network's weights and what must be known of them in one file.

A safetensors file whose metadata holds JSON: format, architecture, how it was trained, how good it
was on held-out tiles. Beside each shipped file lies its model card, which names the file's sha256.
Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from skyfill._files import atomic_write
from skyfill.vae.network import TileVAE
from skyfill.vae.recipe import NOISE_GROWTH
from skyfill.vae.unet import Architecture

__all__ = ["DEFAULT", "ModelCard", "load", "model_of", "read", "save", "shipped", "write"]

FORMAT = 1
MODEL = "tilevae"
DEFAULT = "tilevae-2"
_ADVICE = "give a .safetensors file that skyfill wrote"
_WEIGHTS = Path(__file__).parent / "weights"

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class ModelCard:
    """Say what a file of weights is.

    Attributes
    ----------
    name
        Of the model.
    sha256
        Of the file.
    training
        What it was trained on, and for how long.
    measured
        Errors on held-out tiles, in units of the prior's variance; of all and of some kinds.
    """

    name: str
    sha256: str
    training: dict[str, Any] = field(repr=False)
    measured: dict[str, Any]

    def outside(self, *, nside: int, fwhm: float, noise_uk_arcmin: float) -> str | None:
        """Say in one line how a map lies outside what the network was trained on; None if inside.

        Less noise than in training is no fault: what it leaves of a tile's power lies below the
        floor that `skyfill.flatsky` puts under it.

        Parameters
        ----------
        nside
            Resolution of the map.
        fwhm
            Of its beam, radians, with the pixel window.
        noise_uk_arcmin
            Its white noise.
        """
        if "nside" not in self.training:  # tiles of somebody's own maps, which have no ranges
            return None
        pixel = math.sqrt(4 * math.pi / 12) / nside
        growth = max((2048 / nside) ** exponent for exponent in NOISE_GROWTH)
        low_nside, high_nside = self.training["nside"]
        low_beam, high_beam = self.training["beam"]
        loudest = self.training["noise_uk_arcmin"][1] * growth
        beam = fwhm / pixel
        said = []
        if not low_nside <= nside <= high_nside:
            said.append(f"Nside {nside} (trained on {low_nside} to {high_nside})")
        if not low_beam <= beam <= high_beam:
            said.append(f"a beam of {beam:.2g} pixels (trained on {low_beam:g} to {high_beam:g})")
        if noise_uk_arcmin > loudest:
            said.append(f"noise of {noise_uk_arcmin:.3g} µK·arcmin (trained up to {loudest:.3g})")
        if not said:
            return None
        return (
            f"{self.name} does not know {' and '.join(said)}; pass `method='gaussian'`, or train "
            "weights with skyfill train"
        )


def save(
    network: TileVAE,
    path: str | Path,
    *,
    name: str,
    training: dict[str, Any],
    measured: dict[str, Any],
    overwrite: bool = False,
) -> ModelCard:
    """Write weights, and their card beside them (``.json``).

    Parameters
    ----------
    network
        The network, on any device.
    path
        A name that ends in ``.safetensors``.
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
    """Write the weights of any network, as `save` does; give the card with the file's hash."""
    from safetensors.torch import save as to_bytes  # training runs where only torch and numpy are

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
        # Not `save_file`, whose files only their owner may read.
        temporary.write_bytes(to_bytes(tensors, metadata={"skyfill": json.dumps(about)}))
    card = replace(card, sha256=_sha256(path))
    with atomic_write(path.with_suffix(".json"), overwrite) as temporary:
        temporary.write_text(json.dumps(vars(card), indent=2) + "\n", encoding="utf-8")
    return card


def shipped() -> list[Path]:
    """Name the files of weights that come with skyfill."""
    return sorted(_WEIGHTS.glob("*.safetensors"))


def load(path: str | Path | None = None) -> tuple[TileVAE, ModelCard]:
    """Read weights strictly: every tensor, its shape, and the hash in the card must fit.

    Parameters
    ----------
    path
        A file of weights with its card beside it; the shipped ones if not given.

    Returns
    -------
    The network, ready for inference, and its card.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is not skyfill's, is damaged, or is not the one that its card describes.
    """
    path = _WEIGHTS / f"{DEFAULT}.safetensors" if path is None else Path(path)
    return read(path, lambda fields: TileVAE(Architecture.of(fields)), model=MODEL)


def read(
    path: Path, build: Callable[[dict[str, Any]], Network], *, model: str
) -> tuple[Network, ModelCard]:
    """Read the weights of any network as strictly as `load` does.

    Parameters
    ----------
    path
        The file.
    build
        Makes the network of its architecture.
    model
        Which kind of network it must be.
    """
    about, tensors = _contents(path)
    if about.get("format") != FORMAT:
        raise ValueError(f"{path}: format {about.get('format')}, this skyfill reads {FORMAT}")
    if missing := {"name", "architecture", "training", "measured"} - about.keys():
        raise ValueError(f"{path}: its header has no {', '.join(sorted(missing))}; {_ADVICE}")
    if (kind := about.get("model", MODEL)) != model:
        raise ValueError(f"{path}: weights of a {kind}, not of a {model}; give others")
    sha256 = _sha256(path)
    beside = path.with_suffix(".json")
    if beside.exists() and _hash_in(beside) != sha256:
        raise ValueError(f"{path}: not the file that {beside.name} describes; fetch it again")
    try:
        with torch.device("meta"):  # shapes alone: what a header asks for may fill any memory
            expected = build(about["architecture"]).state_dict()
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        raise ValueError(f"{path}: its architecture makes no network; {_ADVICE}") from None
    for key in expected.keys() | tensors.keys():
        ours, theirs = (tuple(t[key].shape) if key in t else None for t in (expected, tensors))
        if ours != theirs:
            raise ValueError(f"{path}: tensor {key} has shape {theirs}, the network wants {ours}")
    network = build(about["architecture"])
    network.load_state_dict(tensors)
    network.requires_grad_(requires_grad=False)
    network.eval()
    return network, ModelCard(about["name"], sha256, about["training"], about["measured"])


def model_of(path: str | Path) -> str:
    """Say what kind of network a file of weights is of, as far as it says so itself."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return str(json.loads((file.metadata() or {})["skyfill"]).get("model", MODEL))
    except (SafetensorError, OSError, KeyError, AttributeError, TypeError, ValueError):
        return MODEL


def _contents(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what a file of weights says of itself, and its tensors."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights")
    try:
        with safe_open(path, framework="pt") as file:
            about = dict(json.loads((file.metadata() or {})["skyfill"]))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise OSError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: no skyfill weights ({error}); {_ADVICE}") from None
    return about, tensors


def _hash_in(card: Path) -> object:
    """Give the hash that a model card names; None where it is no such card."""
    try:
        return json.loads(card.read_text(encoding="utf-8"))["sha256"]
    except (KeyError, TypeError, ValueError):
        return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
