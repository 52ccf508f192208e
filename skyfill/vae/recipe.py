"""Say what a network is trained on, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field

from skyfill.vae.unet import Architecture

__all__ = ["NOISE_GROWTH", "TrainConfig"]

#: Noise at Nside n is that of Nside 2048 times (2048 / n)^x, x drawn from between these.
NOISE_GROWTH = (-0.2, 1.0)


@dataclass(frozen=True)
class TrainConfig:
    """Say what to train on and for how long; kept in the model card.

    The defaults are the recipe of the shipped weights. Ranges are drawn from uniformly in the
    logarithm, but for `pixel`. Tiles of every kind come with and without the part of the sky that a
    coarse level knows.

    Attributes
    ----------
    nside
        Smallest and largest resolution of the maps that tiles are cut from.
    pixel
        Tile pixel in units of the HEALPix pixel.
    beam
        FWHM in units of the HEALPix pixel.
    noise_uk_arcmin
        White noise at Nside 2048; at other resolutions see `NOISE_GROWTH`.
    elbo_weight
        Weight of the bound's data part (`objective.data_term`) beside the distance to the exact
        mean.
    exact
        Conjugate-gradient steps from the network's answer to the exact mean of a training tile. Its
        distance has the same mean gradient as the error against the truth, without the noise of
        what nobody can know.
    save_every
        Steps between checkpoints, each with a line in the log.
    held_out
        Tiles of every mask family and resolution that the log's errors are measured on.
    """

    seed: int = 1
    steps: int = 5000
    batch: int = 16
    side: int = 128
    guard: int = 24
    learning_rate: float = 1.5e-3
    clip: float = 0.5
    ema: float = 0.998
    elbo_weight: float = 0.04
    exact: int = 40
    nside: tuple[int, int] = (256, 4096)
    pixel: tuple[float, float] = (0.6, 1.1)
    beam: tuple[float, float] = (0.7, 10.0)
    noise_uk_arcmin: tuple[float, float] = (1.0, 100.0)
    save_every: int = 250
    held_out: int = 6
    architecture: Architecture = field(default_factory=Architecture)
