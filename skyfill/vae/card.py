"""Read the header of a file of weights, without torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skyfill.brief import brief

__all__ = ["DEFAULT", "ModelCard", "model_of", "read_card", "shipped"]

FORMAT = 1
MODEL = "tilevae"
DEFAULT = "tilevae-2"
ADVICE = "give a .safetensors file that skyfill wrote"
WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ModelCard:
    """Description of a file of weights.

    Attributes
    ----------
    name
        Name of the model.
    sha256
        Hash of the file.
    training
        Training data, configuration and duration.
    measured
        Errors on held-out tiles, in units of the prior's variance: of all tiles, and by mask family
        and resolution.
    """

    __repr__ = brief

    name: str
    sha256: str
    training: dict[str, Any] = field(repr=False)
    measured: dict[str, Any]

    def outside(self, *, nside: int, fwhm: float, noise_uk_arcmin: float) -> str | None:
        """Describe in one line how a map lies outside the training ranges; None if inside.

        Less noise than in training is accepted: the power of the tile is then below the floor that
        `skyfill.flatsky` adds.

        Parameters
        ----------
        nside
            Nside of the map.
        fwhm
            FWHM of its beam with the pixel window, radians.
        noise_uk_arcmin
            White noise of the map, µK·arcmin.
        """
        from skyfill.vae.recipe import NOISE_GROWTH  # imports torch

        if "nside" not in self.training:  # trained on the user's own maps: no ranges
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
            f"{self.name} was not trained for {' and '.join(said)}; pass `method='gaussian'`, or "
            "train weights with skyfill train"
        )


def shipped() -> list[Path]:
    """List the files of weights that come with skyfill."""
    return sorted(WEIGHTS.glob("*.safetensors"))


def read_card(path: str | Path, *, model: str = MODEL) -> ModelCard:
    """Read the header of a file of weights, without its tensors.

    If there is a card (``.json``) next to the file, its hash must match the file.

    Parameters
    ----------
    path
        A file of weights.
    model
        The kind of network that the file must hold.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file was not written by skyfill, or does not match its card.
    """
    with opened(Path(path), "numpy") as (_, about):
        pass
    return card_of(Path(path), about, model=model)


def model_of(path: str | Path) -> str:
    """Return the kind of network in a file of weights; the default kind if it names none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return str(json.loads((file.metadata() or {})["skyfill"]).get("model", MODEL))
    except (SafetensorError, OSError, KeyError, AttributeError, TypeError, ValueError):
        return MODEL


@contextmanager
def opened(path: Path, framework: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Open a file of weights and yield it with its header; reword errors."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights")
    try:
        with safe_open(path, framework=framework) as file:
            yield file, dict(json.loads((file.metadata() or {})["skyfill"]))
    except OSError as error:
        raise OSError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: no skyfill weights ({error}); {ADVICE}") from None


def card_of(path: Path, about: dict[str, Any], *, model: str) -> ModelCard:
    """Build the card of a file from its header, or refuse the file."""
    if about.get("format") != FORMAT:
        raise ValueError(f"{path}: format {about.get('format')}, this skyfill reads {FORMAT}")
    if missing := {"name", "architecture", "training", "measured"} - about.keys():
        raise ValueError(f"{path}: its header has no {', '.join(sorted(missing))}; {ADVICE}")
    if (kind := about.get("model", MODEL)) != model:
        raise ValueError(f"{path}: weights of a {kind}, not of a {model}; give another file")
    sha256 = sha256_of(path)
    beside = path.with_suffix(".json")
    if beside.exists() and _hash_in(beside) != sha256:
        raise ValueError(f"{path}: not the file that {beside.name} describes; fetch it again")
    return ModelCard(about["name"], sha256, about["training"], about["measured"])


def _hash_in(card: Path) -> object:
    """Return the hash in a model card; None if the file is not a model card."""
    try:
        return json.loads(card.read_text(encoding="utf-8"))["sha256"]
    except (KeyError, TypeError, ValueError):
        return None


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
