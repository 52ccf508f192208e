"""The noise of each pixel of T, Q and U, as a fill of polarization takes it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.gaussian.pixelnoise import checked_variance
from skyfill.harmonics import DeviceSphere
from skyfill.harmonics.spheres import Vector
from skyfill.prior import PolarizedPrior, draw_polarization
from skyfill.prior.model import heard_lmax

__all__ = ["aliased", "coloured", "latent_polarization", "noise_of_fields"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


def noise_of_fields(given: ArrayLike | None, seen: list[Mask]) -> list[Map | None]:
    """Divide the noise of each pixel into that of T and that of P.

    Parameters
    ----------
    given
        µK², RING: ``(4, npix)``, II, QQ, QU and UU; ``(3, npix)``, QQ, QU and UU; ``(npix,)``, II
        alone, or, without T, QQ and UU alike; or None.
    seen
        Observed pixels of T, if it is there, and of P.

    Returns
    -------
    For each field its variance, ``(npix,)`` of T and ``(3, npix)`` of P, or None. In its holes
    missing numbers are replaced by the median.

    Raises
    ------
    ValueError
        The shape is another one; or a number is missing, negative or zero in an observed pixel, or
        QU² exceeds QQ UU.
    """
    if given is None:
        return [None] * len(seen)
    maps = np.asarray(given, dtype=np.float64)
    has_t, npix = len(seen) == 2, seen[0].size
    if maps.shape == (npix,):
        fields: list[Map | None] = [maps, None] if has_t else [maps]
    elif maps.shape == (3, npix):
        fields = [None, maps] if has_t else [maps]
    elif maps.shape == (4, npix) and has_t:
        fields = [maps[0], maps[1:]]
    else:
        raise ValueError(
            f"noise_variance must be (4, {npix}), II, QQ, QU and UU; (3, {npix}), QQ, QU and UU; or"
            f" ({npix},), II; got {maps.shape}"
        )
    out: list[Map | None] = []
    for number, (own, observed) in enumerate(zip(fields, seen, strict=True)):
        name, planes = ("T", "P")[number - len(seen)], 1 if has_t and not number else 2
        out.append(None if own is None else _filled(own, observed, name, planes))
    return out


def _filled(own: Map, observed: Mask, name: str, planes: int) -> Map:
    """Check the noise of one field, and replace what is missing in its holes."""
    found = checked_variance(own, planes, observed, name)
    powers = np.atleast_2d(found if planes == 1 else found[[0, 2]])
    known = np.all(np.isfinite(powers) & (powers > 0), axis=0)
    nothing = int(np.count_nonzero(~known & observed))
    if nothing:
        raise ValueError(
            f"the noise variance of {name} is 0 in {nothing} observed pixels: mask them, or put"
            " their noise into the map"
        )
    if planes == 1:
        return np.where(known, found, np.median(found[observed]))
    known &= np.isfinite(found[1]) & (found[1] ** 2 <= found[0] * found[2])
    return np.where(known, found, np.median(found[:, observed], axis=1)[:, None])


def aliased(own: Map | None, prior: PolarizedPrior) -> Map | None:
    """Add signal that the pixels do not resolve to the noise of each pixel of T or of P."""
    if own is None:
        return None
    per_pixel = own.shape[-1] / (4 * np.pi)
    if own.ndim == 1:
        return np.asarray(own + prior.temperature.aliased_cl * per_pixel)
    more = prior.aliased_pol_cl * per_pixel
    return np.asarray(own + np.array([[more], [0.0], [more]]))


def coloured(white: Map, covariance: Map) -> Map:
    """Give noise of Q and U with the covariance of each pixel, from noise of unit variance.

    Parameters
    ----------
    white
        ``(2, npix)``.
    covariance
        ``(3, npix)``, QQ, QU and UU, µK².
    """
    qq, qu, uu = covariance
    q = np.sqrt(qq)
    below = np.divide(qu, q, out=np.zeros_like(q), where=q > 0)
    rest = np.sqrt(np.maximum(uu - below**2, 0))
    return np.stack([q * white[0], below * white[0] + rest * white[1]])


def latent_polarization(
    prior: PolarizedPrior,
    holes: Mask,
    *,
    seed: tuple[int, int],
    noise_variance: Map | None,
    data_like: bool,
    threads: int,
    sphere: DeviceSphere | None = None,
) -> tuple[Vector, list[Vector]]:
    """Draw Q and U from the prior, and give what of them a realization has in the holes.

    Signal is drawn up to the last multipole that is heard in the noise.

    Parameters
    ----------
    prior
        The model of the sky.
    holes
        ``(npix,)``, RING, True in the holes of Q and U.
    seed
        Seed from `skyfill.prior.latent.latent_seed`, and an index.
    noise_variance
        ``(3, npix)``, QQ, QU and UU of the noise with aliased signal, µK²; None for white noise.
    data_like
        Whether the holes get noise.
    threads
        Threads of the random numbers and of the transforms.
    sphere
        Transforms on a device, if the sky is drawn there.

    Returns
    -------
    ``(2, npix)``, RING, with noise everywhere; and Q and U in the holes, with noise if
    ``data_like``. µK. With ``sphere`` all are tensors on its device, else arrays.
    """
    first, index = seed
    sky, white = draw_polarization(
        prior,
        seed=first,
        index=index,
        lmax=_lmax(prior, noise_variance),
        threads=threads,
        sphere=sphere,
    )
    where: Vector = holes if sphere is None else sphere.vector(holes)
    area = 4 * math.pi / holes.size
    own: list[Map] = []
    if not data_like:
        rest = math.sqrt(prior.aliased_pol_cl / area)
        own = [a[where] + b[where] * rest for a, b in zip(sky, white, strict=True)]
    if noise_variance is None:
        white *= math.sqrt(prior.white_cl[1] / area)
    elif sphere is None:
        white = coloured(white, noise_variance)
    else:  # on the host, since few maps have such noise
        white = sphere.vector(coloured(sphere.array(white), noise_variance))
    white += sky  # in place, since these are whole maps
    return white, own or [each[where] for each in white]


def _lmax(prior: PolarizedPrior, noise_variance: Map | None) -> int:
    """Give the last multipole of E and B that is heard in the noise, where it is lowest."""
    cl = prior.signal_cl()
    power = (2 * np.arange(cl.shape[2]) + 1) / (8 * math.pi) * (cl[1, 1] + cl[2, 2])
    noise = prior.white_cl[1] * 12 * prior.temperature.nside**2 / (4 * math.pi)
    if noise_variance is not None:
        qq, qu, uu = noise_variance
        noise = float(np.min(0.5 * (qq + uu) - np.hypot(0.5 * (qq - uu), qu)))
    return heard_lmax(power, max(noise, 0.0))
