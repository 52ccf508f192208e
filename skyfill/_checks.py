"""Check the resolution of a sky; the only place that words these errors."""

from __future__ import annotations

from math import isqrt

__all__ = ["MAX_NSIDE", "check_nside", "nside_of"]

MAX_NSIDE = 8192
"""The largest resolution that skyfill is tested at (805 million pixels)."""


def check_nside(nside: int, *, what: str = "nside") -> int:
    """Return `nside`, or raise ValueError if it is not a power of two from 1 to 8192.

    Parameters
    ----------
    nside
        HEALPix resolution.
    what
        What the number is, for the error message: an argument or a file.

    """
    if not 1 <= nside <= MAX_NSIDE or nside & (nside - 1):
        raise ValueError(f"{what}: Nside must be a power of two from 1 to {MAX_NSIDE}, got {nside}")
    return int(nside)


def nside_of(npix: int, what: str) -> int:
    """Return the resolution of a full sky of `npix` pixels.

    Parameters
    ----------
    npix
        Number of pixels, 12 nside².
    what
        What has this number of pixels, for the error message: an argument or a file.

    Raises
    ------
    ValueError
        `npix` is not 12 nside² for a power of two.

    """
    nside = isqrt(max(npix, 0) // 12)
    if nside == 0 or 12 * nside * nside != npix:
        raise ValueError(f"{what}: a full sky has 12 Nside² pixels, got {npix}")
    return check_nside(nside, what=what)
