"""The Stokes axis of maps. Only this module derives a resolution from an array.

A map is ``(npix,)``, one component, or ``(components, npix)`` with a leading Stokes axis: one
component (I) or three (I, Q, U). Masks have the same shapes. The harmonic coefficients of three
components are T, E and B: T is the transform of I with spin 0, E and B are the transform of Q and U
with spin 2. U has the sign of HEALPix (COSMO), not of the IAU.

Code for one component calls `nside_of`, which refuses any leading axis. Code for one or three
components calls `sky_shape`. No other code may infer the resolution from the size of an array: four
stacked maps of Nside 64 have as many numbers as one map of Nside 128.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.healpix.checks import check_nside

__all__ = [
    "INTENSITY",
    "POLARIZED",
    "SkyShape",
    "Stokes",
    "by_component",
    "nside_of",
    "nside_of_length",
    "one_component",
    "same_sky",
    "sky_shape",
]


@dataclass(frozen=True)
class Stokes:
    """The components of a map, their spins, and their harmonic coefficients."""

    components: tuple[str, ...]
    """Stokes parameters along the leading axis of a map."""
    harmonics: tuple[str, ...]
    """Coefficients along the leading axis of alm, one row for each component."""
    spins: tuple[int, ...]
    """Spin of each row. Neighbouring rows of spin 2 are transformed together."""

    def __len__(self) -> int:
        """Count the components."""
        return len(self.components)

    def __str__(self) -> str:
        """Name them for messages: ``1 component (I)`` or ``3 components (I, Q, U)``."""
        count = len(self)
        return f"{count} component{'s' * (count > 1)} ({', '.join(self.components)})"

    def rows(self) -> tuple[tuple[int, slice], ...]:
        """List each spin with the rows that are transformed together, in order.

        Examples
        --------
        >>> POLARIZED.rows()
        ((0, slice(0, 1, None)), (2, slice(1, 3, None)))

        """
        out, first = [], 0
        while first < len(self):
            stop = first + (2 if self.spins[first] else 1)
            out.append((self.spins[first], slice(first, stop)))
            first = stop
        return tuple(out)


INTENSITY = Stokes(("I",), ("T",), (0,))
"""One component: the temperature, I."""
POLARIZED = Stokes(("I", "Q", "U"), ("T", "E", "B"), (0, 2, 2))
"""Three components: temperature and linear polarization."""

#: Components by the length of the leading axis.
_BY_LENGTH = {len(each): each for each in (INTENSITY, POLARIZED)}


@dataclass(frozen=True)
class SkyShape:
    """Components and resolution of a map, from its shape."""

    stokes: Stokes
    nside: int
    axis: bool
    """Whether the array has the leading axis, which is optional for one component."""

    @property
    def npix(self) -> int:
        """Number of pixels of a component, 12 nside²."""
        return 12 * self.nside**2

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array, ``(npix,)`` or ``(components, npix)``."""
        return (len(self.stokes), self.npix) if self.axis else (self.npix,)


def nside_of_length(npix: int, what: str) -> int:
    """Return the resolution of a full sky of `npix` pixels.

    Parameters
    ----------
    npix
        Number of pixels of one component, 12 nside².
    what
        Name of the argument or file, for the error message.

    Raises
    ------
    ValueError
        `npix` is not 12 nside² for a power of two.

    Examples
    --------
    >>> nside_of_length(49152, "map.fits")
    64

    """
    nside = isqrt(max(npix, 0) // 12)
    if nside == 0 or 12 * nside * nside != npix:
        raise ValueError(f"{what}: a full sky has 12 Nside² pixels, got {npix}")
    return check_nside(nside, what=what, of_map=True)


def sky_shape(values: NDArray[Any], what: str) -> SkyShape:
    """Return the components and the resolution of a map or a mask.

    Parameters
    ----------
    values
        ``(npix,)``, ``(1, npix)`` or ``(3, npix)``; only the shape is looked at.
    what
        Name of the argument, for the error message.

    Raises
    ------
    ValueError
        There are more than two axes, the length of the leading axis is neither 1 nor 3, or npix is
        not 12 nside².

    Examples
    --------
    >>> found = sky_shape(np.zeros((3, 49152)), "values")
    >>> found.nside, str(found.stokes)
    (64, '3 components (I, Q, U)')

    """
    shape = _leading(values.shape, what)
    stokes = _BY_LENGTH[shape[0]] if len(shape) == 2 else INTENSITY
    return SkyShape(stokes, nside_of_length(shape[-1], what), len(shape) == 2)


def nside_of(values: NDArray[Any], what: str) -> int:
    """Return the resolution of one component, ``(npix,)``.

    Parameters
    ----------
    values
        ``(npix,)``; only the shape is looked at.
    what
        Name of the argument, for the error message.

    Raises
    ------
    ValueError
        The array has a leading axis, or npix is not 12 nside².

    """
    shape = _leading(values.shape, what)
    if len(shape) == 2:
        raise ValueError(_one_wanted(_BY_LENGTH[shape[0]], what, ""))
    return nside_of_length(shape[0], what)


def one_component(values: NDArray[Any], what: str, taker: str = "") -> NDArray[Any]:
    """Return a map of one component without its leading axis; refuse three components.

    The number of pixels is not checked.

    Parameters
    ----------
    values
        ``(n,)`` or ``(1, n)``.
    what
        Name of the argument, for the error message.
    taker
        Name of the calling function, for the error message.

    Returns
    -------
        ``(n,)``, a view.

    Raises
    ------
    ValueError
        There are three components, or the leading axis is not a Stokes axis.

    """
    shape = _leading(values.shape, what)
    if len(shape) == 1:
        return values
    if shape[0] > 1:
        raise ValueError(_one_wanted(_BY_LENGTH[shape[0]], what, taker))
    first: NDArray[Any] = values[0]
    return first


def same_sky(values: NDArray[Any], observed: NDArray[Any]) -> NDArray[Any]:
    """Return a mask in the shape of its map: one for all components, or one for each.

    Parameters
    ----------
    values
        The map, ``(npix,)``, ``(1, npix)`` or ``(3, npix)``.
    observed
        The mask: ``(npix,)`` for all components, or with the leading axis of the map.

    Returns
    -------
        The mask in the shape of the map. If one mask serves several components, this is a
        read-only view of `observed`.

    Raises
    ------
    ValueError
        The resolutions differ, or the mask has more components than the map.

    """
    sky, seen = sky_shape(values, "values"), sky_shape(observed, "observed")
    if sky.nside != seen.nside:
        raise ValueError(
            f"the map has Nside {sky.nside}, the mask has Nside {seen.nside}; give a pair"
        )
    if len(seen.stokes) not in (1, len(sky.stokes)):
        raise ValueError(f"the map has {sky.stokes}, the mask has {seen.stokes}; give a pair")
    if sky.shape == seen.shape:
        return observed
    if not sky.axis:
        return one_component(observed, "observed")
    return np.broadcast_to(observed, sky.shape)


def by_component(
    function: Callable[[NDArray[Any]], NDArray[Any]], values: NDArray[Any]
) -> NDArray[Any]:
    """Apply a function of one component to each component; keep the leading axis, if any.

    Use it only for functions that may treat Q and U separately, since they move, count or compare
    pixels. To interpolate or average Q and U, rotate them to common axes first.

    Parameters
    ----------
    function
        From ``(npix,)`` to ``(n,)``, any n.
    values
        ``(npix,)`` or ``(components, npix)``.

    Returns
    -------
        ``(n,)`` or ``(components, n)``.

    """
    if values.ndim == 1:
        return function(values)
    return np.stack([function(each) for each in values])


def _leading(shape: tuple[int, ...], what: str) -> tuple[int, ...]:
    """Return the shape of a map; raise ValueError if no map has this shape."""
    if len(shape) == 1 or (len(shape) == 2 and shape[0] in _BY_LENGTH):
        return shape
    if len(shape) == 2 and shape[1] in _BY_LENGTH:
        raise ValueError(
            f"{what}: it has the shape {shape}, but the Stokes axis comes first, (components, npix)"
            f"; pass {_bare(what)}.T"
        )
    if len(shape) == 2:
        raise ValueError(
            f"{what}: it has the shape {shape}; a leading axis holds {INTENSITY} or {POLARIZED}, "
            f"not {shape[0]}. Give one map, (npix,): {_bare(what)}[0] for the first"
        )
    raise ValueError(f"{what}: it has the shape {shape}; give one map, (npix,)")


def _one_wanted(stokes: Stokes, what: str, taker: str) -> str:
    """Return the error message about components that are not handled."""
    name = _bare(what)
    named = f"`{name}`" if name.isidentifier() else what
    takes = f"{taker} takes one" if taker else "(npix,) is wanted"
    return f"{named} has {stokes}: {takes}; pass {name}[0]"


def _bare(what: str) -> str:
    return what.strip("`")
