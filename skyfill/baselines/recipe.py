"""Configuration of the training of a baseline."""

from __future__ import annotations

from dataclasses import dataclass

from skyfill.baselines.card import MODELS
from skyfill.brief import brief
from skyfill.cosmovae.recipe import PERCEPTUAL, Schedule

__all__ = ["BaselineConfig"]


@dataclass(frozen=True)
class BaselineConfig(Schedule):
    """Network and schedule of a training; stored in the model card.

    Schedule and optimiser are those of `skyfill.cosmovae.CosmoConfig`, for a fair comparison. The
    weights of the terms of each loss are those of the papers.

    Attributes
    ----------
    model
        ``pconv``, ``vaeac`` or ``context-encoder``.
    perceptual
        Of ``pconv``. ``imagenet``: the terms of features of VGG-16, perceptual and style; ``none``:
        without them.
    seed, width_factor, batch, epochs, max_steps, learning_rate, beta1, clip
        As for `skyfill.cosmovae.CosmoConfig`.
    patience, held_out, save_every
        As for `skyfill.cosmovae.CosmoConfig`.

    Raises
    ------
    ValueError
        A word is unknown, or a number is out of range; the perceptual terms are of another network;
        or a batch of one tile has no variance to normalise with.
    """

    __repr__ = brief

    model: str
    seed: int = Schedule.seed
    width_factor: float = Schedule.width_factor
    batch: int = Schedule.batch
    epochs: int = Schedule.epochs
    max_steps: int | None = Schedule.max_steps
    learning_rate: float = Schedule.learning_rate
    beta1: float = Schedule.beta1
    clip: float = Schedule.clip
    perceptual: str = Schedule.perceptual
    patience: int = Schedule.patience
    held_out: tuple[float, int] = Schedule.held_out
    save_every: int = Schedule.save_every

    def __post_init__(self) -> None:
        self.check(model=MODELS, perceptual=PERCEPTUAL)
        if self.perceptual != "none" and self.model != "pconv":
            raise ValueError(
                f"{self.model} has no perceptual term; pass `perceptual='none'`, or drop it"
            )
        if self.batch < 2:
            raise ValueError(
                f"{self.model} normalises over its batch, which needs 2 tiles or more; pass"
                " `batch_size=4`"
            )
