"""Operations on vectors of pixels: arrays of float64, or tensors on a device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.healpix.jit import by_pieces, compiled, total_of

__all__ = [
    "Vector",
    "add",
    "advance",
    "alike",
    "copied",
    "dot",
    "finite",
    "like",
    "product",
    "project_out",
    "rms",
    "stack",
    "turn",
    "zeros_like",
]

#: Number of elements whose products are in memory at a time.
_AT_ONCE = 2**22

Map = NDArray[np.float64]
Vector = Any  # an array, or a tensor; which one decides where the work is done


def _is_array(values: Vector) -> bool:
    return isinstance(values, np.ndarray)


def zeros_like(values: Vector) -> Vector:
    """Return a vector of zeros."""
    return (
        np.zeros_like(values) if isinstance(values, np.ndarray) else values.new_zeros(len(values))
    )


def copied(values: Vector) -> Vector:
    """Copy a vector."""
    return values.copy() if _is_array(values) else values.clone()


def like(given: Vector, found: Vector) -> Vector:
    """Give a vector as another one is: as an array, or as a tensor on its device."""
    if _is_array(given):
        return found if _is_array(found) else np.asarray(found.cpu().numpy())
    if _is_array(found):
        import torch

        found = torch.from_numpy(found)
    return found.to(given.device)


def alike(a: Vector, b: Vector, within: float) -> bool:
    """Return whether two vectors of one kind differ by no more than this anywhere."""
    return bool((abs(a - b) <= within).all())  # not where one is NaN


def stack(rows: Sequence[Vector]) -> Vector:
    """Give vectors of one kind as rows."""
    if _is_array(rows[0]):
        return np.stack(rows)
    import torch

    return torch.stack(list(rows))


def finite(values: Vector) -> bool:
    """Return whether all values are finite."""
    return bool(np.all(np.isfinite(values)) if _is_array(values) else values.isfinite().all())


def add(out: Vector, values: Vector, factor: Vector | float) -> None:
    """Add a number, or a vector, times a vector to another one, in place, with no map besides."""

    def add_here(here: slice) -> None:
        out[here] += (factor if isinstance(factor, float) else factor[here]) * values[here]

    if _is_array(out):
        by_pieces(len(out), add_here)
    else:
        for start in range(0, len(out), _AT_ONCE):
            add_here(slice(start, start + _AT_ONCE))


def product(a: Vector, b: Vector) -> Vector:
    """Multiply two vectors."""
    if not _is_array(a):
        return a * b
    out = np.empty(len(a))
    by_pieces(len(out), lambda here: np.multiply(a[here], b[here], out=out[here]))
    return out


def dot(a: Vector, b: Vector) -> float:
    """Compute a dot product."""
    if not _is_array(a):
        return float(a @ b)
    return total_of(a.size, lambda here: _dot(a[here], b[here]))


def rms(values: Vector) -> float:
    """Compute the root mean square."""
    return float(np.sqrt(dot(values, values) / len(values)))


def advance(x: Vector, rest: Vector, direction: Vector, image: Vector, step: float) -> float:
    """Take a step along a direction: x grows, its residual shrinks; return the direction's rms."""
    if _is_array(x):
        square = total_of(
            x.size,
            lambda here: _advance(x[here], rest[here], direction[here], image[here], step),
        )
        return math.sqrt(square / x.size)
    x.add_(direction, alpha=step)
    rest.sub_(image, alpha=step)
    return rms(direction)


def turn(direction: Vector, z: Vector, factor: float) -> None:
    """Replace the direction by z + factor * direction."""
    if _is_array(z):
        by_pieces(z.size, lambda here: _turn(direction[here], z[here], factor))
    else:
        direction.mul_(factor).add_(z)


def project_out(out: Vector, values: Vector, modes: Vector, inverse: Vector) -> None:
    """Subtract modesᵀ (inverse (modes values)), in place."""
    if _is_array(out):
        factors = inverse @ np.array([dot(mode, values) for mode in modes])
        for factor, mode in zip(factors.tolist(), modes, strict=True):
            add(out, mode, -factor)
    else:
        out.sub_((inverse @ (modes @ values)) @ modes)


# Without BLAS: its idle threads would slow down the transforms.


@compiled
def _dot(a: Map, b: Map) -> float:
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@compiled
def _advance(x: Map, rest: Map, direction: Map, image: Map, step: float) -> float:
    """Do all in one pass through memory; return the direction's sum of squares."""
    total = 0.0
    for i in range(x.size):
        x[i] += step * direction[i]
        rest[i] -= step * image[i]
        total += direction[i] * direction[i]
    return total


@compiled
def _turn(direction: Map, z: Map, factor: float) -> None:
    for i in range(z.size):
        direction[i] = z[i] + factor * direction[i]
