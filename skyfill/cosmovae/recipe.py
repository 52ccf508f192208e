"""Configuration of the training of a CosmoVAE (arXiv:2001.11651, sections III.C and IV.B)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PERCEPTUAL", "REGULARISERS", "CosmoConfig"]

PERCEPTUAL = ("imagenet", "none")
REGULARISERS = ("kl", "gan", "wgan")


@dataclass(frozen=True)
class CosmoConfig:
    """Network and schedule of a training; stored in the model card.

    Defaults are those of the paper: Adam, its rate and β₁, batches of four, up to 1,000 epochs.

    Attributes
    ----------
    width_factor
        Of the network's widths.
    max_steps
        Stop after so many steps, whatever the epoch; None for all.
    clip
        Largest norm of a gradient; not in the paper. Without it, and with samples of any width, a
        training diverged after 4,700 steps, when a latent variance ran away.
    reconstruction, divergence, perceptual_weight, variation
        λ₁ to λ₄ of `skyfill.cosmovae.losses`.
    perceptual
        ``imagenet`` for the features of VGG-16, ``none`` for no such term.
    regulariser
        What draws q(z | x) to the prior: ``kl``, the divergence; ``gan`` or ``wgan``, a network
        that tells samples of q from samples of the prior (the paper's section V).
    patience
        Epochs without a better held-out error after which to stop.
    held_out
        Share of the training tiles that this error is measured on, and at most how many.
    save_every
        Steps between checkpoints.
    """

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
