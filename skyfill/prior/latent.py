"""Draw the prior sky from which a realization is made, over the whole sphere."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skyfill.harmonics.spheres import DeviceSphere, Vector
from skyfill.prior import Prior, draw_signal, draw_white
from skyfill.prior.dipole import Dipole
from skyfill.prior.drawing import streams
from skyfill.prior.model import heard_lmax
from skyfill.prior.normals import normal_numbers

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
    sphere: DeviceSphere | None = None,
) -> tuple[Vector, Vector]:
    """Draw a map from the prior, and give the part of it that a realization has in the holes.

    The random numbers are the same on every device; the sky differs by rounding only. Signal is
    drawn up to the last multipole that is heard in the noise.

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
        Threads of the random numbers and of the transforms.
    sphere
        Transforms on a device, if the sky is drawn there.

    Returns
    -------
    ``(npix,)``, RING, with noise everywhere; and ``(nhole,)``, with noise if ``data_like``. µK.
    With ``sphere`` both are tensors on its device, else arrays.
    """
    first, index = seed
    lmax = _lmax(prior, noise_variance)
    if sphere is not None:
        return _latent_on(
            sphere,
            prior,
            holes,
            lmax=lmax,
            seed=seed,
            noise_variance=noise_variance,
            data_like=data_like,
            dipole=dipole,
            threads=threads,
        )
    latent = draw_signal(prior, seed=first, index=index, lmax=lmax, threads=threads)
    per_pixel = latent.size / (4 * math.pi)
    aliased = prior.aliased_cl * per_pixel
    noise: Map | float = prior.noise_cl * per_pixel
    rest = np.zeros(0 if data_like else int(np.count_nonzero(holes)))
    at = 0
    for part, white in draw_white(latent.size, seed=first, index=index, threads=threads):
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


def _lmax(prior: Prior, noise_variance: Map | None) -> int:
    """Give the last multipole that is heard in the noise, where it is lowest."""
    cl = prior.signal_cl()
    noise = prior.white_cl * 12 * prior.nside**2 / (4 * math.pi)
    if noise_variance is not None:
        noise = float(noise_variance.min())
    return heard_lmax((2 * np.arange(cl.size) + 1) / (4 * math.pi) * cl, noise)


def _latent_on(
    sphere: DeviceSphere,
    prior: Prior,
    holes: Mask,
    *,
    lmax: int,
    seed: tuple[int, int],
    noise_variance: Map | None,
    data_like: bool,
    dipole: Dipole | None,
    threads: int,
) -> tuple[Vector, Vector]:
    """Draw as `latent_sky` does: the numbers on the host, all else on a device."""
    of_signal, of_noise = streams(*seed)
    cl = prior.signal_cl(lmax)
    numbers = sphere.gathered(normal_numbers(of_signal, cl.size**2, threads=threads), cl.size**2)
    latent = sphere.synthesis(sphere.coloured(numbers, cl))
    white = sphere.gathered(normal_numbers(of_noise, holes.size, threads=threads), holes.size)
    per_pixel = holes.size / (4 * math.pi)
    aliased = prior.aliased_cl * per_pixel
    noise: Vector = prior.noise_cl * per_pixel
    if noise_variance is not None:
        noise = sphere.vector(noise_variance)
    where = sphere.vector(holes)
    rms = (aliased + noise) ** 0.5
    latent += white * rms
    if dipole is not None:
        latent -= sphere.synthesis(dipole.alm_on(sphere, latent))
    in_holes = latent[where]
    if not data_like:
        in_holes += math.sqrt(aliased) * white[where] - (white * rms)[where]
    return latent, in_holes
