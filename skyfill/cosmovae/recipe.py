"""Configuration of the training of a CosmoVAE (arXiv:2001.11651, sections III.C and IV.B)."""

from __future__ import annotations

from dataclasses import dataclass

from skyfill.brief import brief

__all__ = ["PERCEPTUAL", "REGULARISERS", "CosmoConfig"]

PERCEPTUAL = ("imagenet", "none")
REGULARISERS = ("kl", "gan", "wgan")


@dataclass(frozen=True)
class CosmoConfig:
    """Network and schedule of a training; stored in the model card.

    Defaults are the paper's: Adam, its rate and β₁, batches of four, up to 1,000 epochs.

    Attributes
    ----------
    width_factor
        Factor by which the network's widths are multiplied.
    max_steps
        Largest number of steps, whatever the epoch; None for no limit.
    clip
        Largest norm of a gradient; not in the paper. Without it and without a limit on the latent
        variance, a training diverged after 4,700 steps, because a latent variance grew without
        bound.
    reconstruction, divergence, perceptual_weight, variation
        λ₁ to λ₄ of `skyfill.cosmovae.losses`.
    perceptual
        ``imagenet``: features of VGG-16; ``none``: no perceptual term.
    regulariser
        Term that pulls q(z | x) towards the prior: ``kl``, the divergence; ``gan`` or ``wgan``, a
        network that separates samples of q from samples of the prior (the paper's section V).
    patience
        Training stops after this many epochs without a better held-out error.
    held_out
        Share of the training tiles on which this error is measured, and their largest number.
    save_every
        Steps between checkpoints.
    """

    __repr__ = brief

    seed: int = 0
    width_factor: float = 1.0
    batch: int = 4
    epochs: int = 1000
    max_steps: int | None = None
    learning_rate: float = 2e-4
    beta1: float = 0.5
    clip: float = 1.0
    reconstruction: float = 1.0
    divergence: float = 1.0
    perceptual_weight: float = 0.01
    variation: float = 0.02
    perceptual: str = "imagenet"
    regulariser: str = "kl"
    patience: int = 20
    held_out: tuple[float, int] = (0.1, 64)
    save_every: int = 100

    def __post_init__(self) -> None:
        for name, value, known in (
            ("perceptual", self.perceptual, PERCEPTUAL),
            ("regulariser", self.regulariser, REGULARISERS),
        ):
            if value not in known:
                raise ValueError(f"{name} {value!r} is unknown; choose one of {', '.join(known)}")
