"""Draw the prior sky from which a realization is made, over the whole sphere."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skyfill.prior import Prior, draw_signal, draw_white
from skyfill.prior.dipole import Dipole

__all__ = ["latent_seed", "latent_sky"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Separates the random numbers of latent skies from those of `skyfill.simulate`.
_LATENT = 0x5F111


def latent_seed(seed: int) -> int:
    """Give the seed of latent skies; with that of a simulated sky the fill would be the truth."""
    return int(np.random.SeedSequence([seed, _LATENT]).generate_state(1, np.uint64)[0])


def latent_sky(
    prior: Prior,
    holes: Mask,
    *,
    seed: tuple[int, int],
    noise_variance: Map | None = None,
    data_like: bool = True,
    dipole: Dipole | None = None,
    threads: int = 0,
) -> tuple[Map, Map]:
    """Draw a map from the prior, and give the part of it that a realization has in the holes.

    Parameters
    ----------
    prior
        The model of the sky.
    holes
        ``(npix,)``, RING, True in the holes.
    seed
        Seed from `latent_seed`, and an index.
    noise_variance
        ``(npix,)``, µK², replaces the white noise of the prior.
    data_like
        Whether the holes get noise.
    dipole
        Removes monopole and dipole, if given.
    threads
        Threads of the transforms.

    Returns
    -------
    ``(npix,)``, RING, with noise everywhere; and ``(nhole,)``, with noise if ``data_like``. µK.
    """
    first, index = seed
    latent = draw_signal(prior, seed=first, index=index, threads=threads)
    per_pixel = latent.size / (4 * math.pi)
    aliased = prior.aliased_cl * per_pixel
    noise: Map | float = prior.noise_cl * per_pixel
    rest = np.zeros(0 if data_like else int(np.count_nonzero(holes)))
    at = 0
    for part, white in draw_white(latent.size, seed=first, index=index):
        if noise_variance is not None:
            noise = noise_variance[part]
        total = white * np.sqrt(aliased + noise)
        latent[part] += total
        if not data_like:
            unlike = math.sqrt(aliased) * white - total
            chosen = unlike[holes[part]]
            rest[at : at + chosen.size] = chosen
            at += chosen.size
    # monopole and dipole were removed from d before, so z must not have them
    if dipole is not None:
        for part, low in dipole.parts(dipole.alm(latent)):
            latent[part] -= low
    in_holes = latent[holes]
    if not data_like:
        in_holes += rest
    return latent, in_holes
