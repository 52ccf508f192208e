"""Masks and weights of pixels: tell them apart, turn them to another frame, change their Nside."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix import pixel_directions, pixels_towards, reorder
from skyfill.healpix.arrays import MASK_ROUNDING
from skyfill.healpix.checks import check_nside
from skyfill.healpix.stokes import by_component, one_component, sky_shape
from skyfill.maps.frames import frame_of_word
from skyfill.maps.table import missing

__all__ = ["By", "frame_letter", "mask_or_weights", "regrade_mask", "rotate_mask"]

Mask = NDArray[np.bool_]
Weights = NDArray[np.float64]
By = Literal["centres", "harmonics"]

#: Pixels that are turned at a time.
_AT_ONCE = 1 << 22
#: Share of the observed sky that a pixel's smoothed mask holds where the edge runs through its
#: centre: this limit keeps the area of what is observed.
_HALF = 0.5


def frame_letter(word: str) -> str:
    """Give G, E or C for the name of a frame.

    Raises
    ------
    ValueError
        No frame is called so.

    """
    letter = frame_of_word(word)
    if letter is None:
        raise ValueError(
            f"no frame is called {word!r}: give G (Galactic), C (equatorial) or E (ecliptic)"
        )
    return letter


def mask_or_weights(
    values: ArrayLike, what: str = "`observed`", *, taker: str = "", stokes: bool = False
) -> Mask | Weights:
    """Give booleans for a mask of 0 and 1 of any type, and float64 for weights.

    Parameters
    ----------
    values
        (npix,) or (1, npix): booleans, or numbers. Missing ones (masked, UNSEEN, NaN, inf) have no
        weight.
    what
        What they are, for messages.
    taker
        The function that takes one component, for the refusal of three.
    stokes
        Whether three components are taken, (3, npix); the shape is kept then.

    Returns
    -------
        (npix,), booleans where all numbers are 0 and 1 to within 1e-4, else weights of 0 or more.

    Raises
    ------
    ValueError
        They are no numbers, or some are negative.

    """
    given = values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    if stokes:
        sky_shape(given, what)
    else:
        given = one_component(given, what, taker)
    masked = np.ma.getmaskarray(given) if isinstance(given, np.ma.MaskedArray) else None
    array = np.ma.getdata(given)
    if array.dtype.kind == "b":
        return array if masked is None else array & ~masked
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{what} must be booleans or numbers, got {array.dtype}")
    weights = array.astype(np.float64)
    weights[missing(weights)] = 0.0
    if masked is not None:
        weights[masked] = 0.0
    low, high = float(weights.min(initial=0.0)), float(weights.max(initial=0.0))
    if low < -MASK_ROUNDING * (high or 1.0):
        raise ValueError(
            f"{what} holds {low:.6g} to {high:.6g}; a mask is 0 and 1, weights are 0 or more"
        )
    np.maximum(weights, 0.0, out=weights)
    zero, one = weights <= MASK_ROUNDING, np.abs(weights - 1) <= MASK_ROUNDING
    # Weights that are all small are weights: inverse variances, for one.
    if np.all(zero | one) and (one.any() or high == 0):
        return np.asarray(weights > _HALF)
    return weights


def rotate_mask(
    observed: ArrayLike, from_frame: str, to_frame: str, *, by: By | None = None
) -> Mask | Weights:
    """Turn a mask, or weights, from one frame of the sky to another.

    By centres, a pixel is observed where its centre falls in an observed pixel, and where it holds
    the centre of no masked one: so no hole is lost, however small. Edges move by up to a pixel.

    In harmonics (to 2 nside), weights are turned as a smooth function, which keeps an apodised
    edge smooth. Where their support, turned by centres, is masked, they are 0: ringing puts no
    weight in a hole. A mask of 0 and 1 rings by up to a half there; it is cut at 0.5, which keeps
    its area, and then by centres where that has a hole.

    Parameters
    ----------
    observed
        (npix,), RING, or one for each Stokes component, (3, npix): true or 1 where observed; or
        weights of 0 or more.
    from_frame, to_frame
        G (Galactic), C (equatorial) or E (ecliptic), or such words.
    by
        centres or harmonics; centres for a mask of 0 and 1 and harmonics for weights where not
        given. Weights by centres take the value of the pixel that the centre falls in.

    Returns
    -------
        In the shape of `observed`, RING, booleans for a mask and float64 for weights, as given.

    Raises
    ------
    ValueError
        A frame or a way is unknown, the length is no 12 nside², or a weight is negative.

    """
    given = mask_or_weights(observed, stokes=True)
    nside = sky_shape(given, "`observed`").nside
    start, end = frame_letter(from_frame), frame_letter(to_frame)
    if by not in (None, "centres", "harmonics"):
        raise ValueError(f"`by` must be 'centres' or 'harmonics', got {by!r}")
    if start == end:
        return given.copy()
    import healpy  # takes a second to load

    turn = healpy.Rotator(coord=[start, end])
    return by_component(lambda each: _rotated(nside, each, turn, by), given)


def _rotated(nside: int, given: Mask | Weights, turn: Any, by: By | None) -> Mask | Weights:  # noqa: ANN401 (a healpy.Rotator, loaded late)
    """Turn one component."""
    binary = given.dtype == np.bool_
    if by == "centres" or (by is None and binary):
        return _by_centres(nside, given, turn.mat)
    kept = _by_centres(nside, given > 0, turn.mat)
    # Beyond 2 nside sums over pixels are inexact: with more, poles are off by a per cent.
    smooth = turn.rotate_map_alms(given.astype(np.float64), use_pixel_weights=False, lmax=2 * nside)
    if binary:
        return np.asarray(kept & (smooth > _HALF))
    return np.asarray(np.where(kept, np.clip(smooth, 0.0, given.max()), 0.0))


def _by_centres(nside: int, given: Mask | Weights, turn: NDArray[np.float64]) -> Mask | Weights:
    """Take what pixels' centres fall in, and mask those that a masked one's centre falls in."""
    out = np.empty_like(given)
    for start in range(0, given.size, _AT_ONCE):
        pixels = np.arange(start, min(start + _AT_ONCE, given.size))
        # The inverse of a rotation is its transpose. einsum is some times faster than @, whose
        # threads cost more than three products.
        back = np.einsum("ij,jk->ik", pixel_directions(nside, pixels), turn)
        out[pixels] = given[pixels_towards(nside, back)]
    masked = np.flatnonzero(given == 0)
    for start in range(0, masked.size, _AT_ONCE):
        here = pixel_directions(nside, masked[start : start + _AT_ONCE])
        there = np.einsum("ij,kj->ik", here, turn)
        out[pixels_towards(nside, there)] = 0
    return out


def regrade_mask(observed: ArrayLike, nside: int, *, share: float = 1.0) -> Mask | Weights:
    """Bring a mask, or weights, to another Nside.

    A coarse pixel is observed where at least a share of the fine ones in it are; it then has the
    mean of their weights. By default all must be, so that nothing masked gets in. A fine pixel
    takes what the coarse one has.

    Parameters
    ----------
    observed
        (npix,), RING, or one for each Stokes component, (3, npix): true or 1 where observed; or
        weights of 0 or more.
    nside
        The new resolution.
    share
        Above 0 and at most 1: 0.5 keeps the area where holes are larger than a coarse pixel, and
        forgets smaller ones.

    Returns
    -------
        (12 nside²,) or (3, 12 nside²), RING, booleans for a mask and float64 for weights, as given.

    Raises
    ------
    ValueError
        The length or `nside` is none of HEALPix, the share is out of range, or a weight is
        negative.

    """
    given = mask_or_weights(observed, stokes=True)
    old = sky_shape(given, "`observed`").nside
    check_nside(nside, what="`nside`")
    if not 0 < share <= 1:
        raise ValueError(f"`share` must be above 0 and at most 1, got {share}")
    if nside == old:
        return given.copy()
    return by_component(lambda each: _regraded(old, each, nside, share), given)


def _regraded(old: int, given: Mask | Weights, nside: int, share: float) -> Mask | Weights:
    """Bring one component to another Nside."""
    nested: NDArray[Any] = reorder(given, nest_in=False, nest_out=True)
    if nside > old:
        return reorder(np.repeat(nested, (nside // old) ** 2), nest_in=True, nest_out=False)
    children = nested.reshape(12 * nside**2, -1)
    # A share of 0.8 of 5 is no more than 4: rounding must not ask for one more.
    kept = np.count_nonzero(children, axis=1) >= share * children.shape[1] * (1 - 1e-12)
    if given.dtype == np.bool_:
        return reorder(kept, nest_in=True, nest_out=False)
    mean: Weights = np.where(kept, children.mean(axis=1, dtype=np.float64), 0.0)
    return reorder(mean, nest_in=True, nest_out=False)
