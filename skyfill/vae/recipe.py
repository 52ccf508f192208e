"""Configuration of training: data, duration and architecture."""

from __future__ import annotations

from dataclasses import dataclass, field

from skyfill.vae.unet import Architecture

__all__ = ["NOISE_GROWTH", "TrainConfig"]

#: Noise at Nside n is that at Nside 2048 times (2048 / n)^x, with x drawn from this range.
NOISE_GROWTH = (-0.2, 1.0)


@dataclass(frozen=True)
class TrainConfig:
    """The configuration of a training run; stored in the model card.

    The shipped weights were trained with the defaults. Values are drawn uniformly from each range
    in the logarithm, for `pixel` linearly. Half of the priors have the large scales of the coarse
    level subtracted.

    Attributes
    ----------
    nside
        Smallest and largest Nside of the maps to which tiles belong.
    pixel
        Size of a tile pixel in units of the HEALPix pixel.
    beam
        FWHM in units of the HEALPix pixel.
    noise_uk_arcmin
        White noise at Nside 2048, µK·arcmin; for other resolutions see `NOISE_GROWTH`.
    elbo_weight
        Weight of the bound's data part (`objective.data_term`) in the loss, relative to the squared
        distance to the exact mean.
    exact
        Conjugate-gradient iterations from the network's output to the exact mean of a training
        tile, which is the target. The squared distance to it has the same mean gradient as the
        error against the truth, without the unpredictable part of the truth, which is only noise in
        the gradient.
    save_every
        Steps between checkpoints, each with a line in the log.
    held_out
        Number of tiles per mask family and resolution on which the log's errors are measured.
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
