"""Configuration of the training of a network for tiles (arXiv:2001.11651, III.C and IV.B)."""

from __future__ import annotations

from dataclasses import dataclass

from skyfill.brief import brief
from skyfill.healpix.checks import check_whole

__all__ = ["PERCEPTUAL", "REGULARISERS", "CosmoConfig", "Schedule"]

PERCEPTUAL = ("imagenet", "none")
REGULARISERS = ("kl", "gan", "wgan")


class Schedule:
    """What the configurations of all networks for tiles have; dataclasses derive from it.

    Defaults are the paper's: Adam, its rate and β₁, batches of four, up to 1,000 epochs.

    Attributes
    ----------
    seed
        Seed of the training.
    width_factor
        Factor by which the network's widths are multiplied.
    batch
        Tiles of a step.
    epochs
        Largest number of epochs.
    max_steps
        Largest number of steps, whatever the epoch; None for no limit.
    learning_rate, beta1
        Rate and first decay of Adam.
    clip
        Largest norm of a gradient; not in the paper. Without it and without a limit on the latent
        variance, a training diverged after 4,700 steps, because a latent variance grew without
        bound.
    perceptual
        ``imagenet``: terms of features of VGG-16; ``none``: without them.
    patience
        Training stops after this many epochs without a better held-out error.
    held_out
        Share of the training tiles on which this error is measured, and their largest number.
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
    perceptual: str = "none"
    patience: int = 20
    held_out: tuple[float, int] = (0.1, 64)
    save_every: int = 100

    def check(self, **words: tuple[str, ...]) -> None:
        """Refuse words that are unknown, and numbers with which nothing is trained or measured.

        Parameters
        ----------
        words
            The known words of each attribute that is a word.

        Raises
        ------
        ValueError
            A word is unknown, or a number is out of range.
        """
        for name, known in words.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name} {value!r} is unknown; choose one of {', '.join(known)}")
        for name in ("batch", "epochs", "max_steps", "patience", "save_every"):
            number = getattr(self, name)
            if number is not None or name != "max_steps":
                check_whole(number, name, least=1)
        share, most = self.held_out
        check_whole(most, "held_out[1]", least=1)
        if not 0 < share < 1:
            raise ValueError(
                f"held_out[0], a share of the tiles, must be between 0 and 1, got {share}"
            )


@dataclass(frozen=True)
class CosmoConfig(Schedule):
    """Network and schedule of a training; stored in the model card.

    Attributes
    ----------
    reconstruction, divergence, perceptual_weight, variation
        λ₁ to λ₄ of `skyfill.cosmovae.losses`.
    perceptual
        ``imagenet``: features of VGG-16; ``none``: no perceptual term.
    regulariser
        Term that pulls q(z | x) towards the prior: ``kl``, the divergence; ``gan`` or ``wgan``, a
        network that separates samples of q from samples of the prior (the paper's section V).
    seed, width_factor, batch, epochs, max_steps, learning_rate, beta1, clip
        As for `Schedule`.
    patience, held_out, save_every
        As for `Schedule`.

    Raises
    ------
    ValueError
        A word is unknown, or a number is out of range.
    """

    __repr__ = brief

    seed: int = Schedule.seed
    width_factor: float = Schedule.width_factor
    batch: int = Schedule.batch
    epochs: int = Schedule.epochs
    max_steps: int | None = Schedule.max_steps
    learning_rate: float = Schedule.learning_rate
    beta1: float = Schedule.beta1
    clip: float = Schedule.clip
    reconstruction: float = 1.0
    divergence: float = 1.0
    perceptual_weight: float = 0.01
    variation: float = 0.02
    perceptual: str = "imagenet"
    regulariser: str = "kl"
    patience: int = Schedule.patience
    held_out: tuple[float, int] = Schedule.held_out
    save_every: int = Schedule.save_every

    def __post_init__(self) -> None:
        self.check(perceptual=PERCEPTUAL, regulariser=REGULARISERS)
