"""Configuration of the training of a baseline."""

from __future__ import annotations

from dataclasses import dataclass

from skyfill.baselines.card import MODELS
from skyfill.brief import brief
from skyfill.cosmovae.recipe import PERCEPTUAL

__all__ = ["BaselineConfig"]


@dataclass(frozen=True)
class BaselineConfig:
    """Network and schedule of a training; stored in the model card.

    Schedule and optimiser are those of `skyfill.cosmovae.CosmoConfig`, for a fair comparison. The
    weights of the terms of each loss are those of the papers.

    Attributes
    ----------
    model
        ``pconv``, ``vaeac`` or ``context-encoder``.
    width_factor
        Factor by which the network's widths are multiplied.
    perceptual
        Of ``pconv``. ``imagenet``: the terms of features of VGG-16, perceptual and style; ``none``:
        without them.
    batch, epochs, max_steps, learning_rate, beta1, clip, patience, held_out, save_every
        As for `skyfill.cosmovae.CosmoConfig`.

    Raises
    ------
    ValueError
        A name is unknown; the perceptual terms are of another network; or a batch of one tile has
        no variance to normalise with.
    """

    __repr__ = brief

    model: str
    seed: int = 0
    width_factor: float = 1.0
    batch: int = 4
    epochs: int = 1000
    max_steps: int | None = None
    learning_rate: float = 2e-4
    beta1: float = 0.5
    clip: float = 1.0
    perceptual: str = "none"
    patience: int = 20
    held_out: tuple[float, int] = (0.1, 64)
    save_every: int = 100

    def __post_init__(self) -> None:
        for name, value, known in (
            ("model", self.model, MODELS),
            ("perceptual", self.perceptual, PERCEPTUAL),
        ):
            if value not in known:
                raise ValueError(f"{name} {value!r} is unknown; choose one of {', '.join(known)}")
        if self.perceptual != "none" and self.model != "pconv":
            raise ValueError(
                f"{self.model} has no perceptual term; pass `perceptual='none'`, or drop it"
            )
        if self.batch < 2:
            raise ValueError(
                f"{self.model} normalises over its batch, which needs 2 tiles or more; pass"
                " `batch_size=4`"
            )
