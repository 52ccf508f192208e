"""Find values that other programs put where a map has no data.

Such a value is one number, repeated in many pixels, far outside the distribution of the others:
UNSEEN after a conversion of units, -1e30, -32768, -9999. It is told from the ends of real skies by
the gap between it and the next value, as a multiple of how far the other values reach on its side
of their median. In a clipped or saturated map the gap is small; two or three saturated pixels of a
skewed foreground can leave a large gap by chance, so that few pixels must lie farther out than
many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sentinel", "find_sentinel", "repeated_value"]

#: Gap of a value in many pixels. Foregrounds and clipped maps stay below 1 (see the tests).
_GAP = 3.0
#: In n pixels the gap must be 10^(6/n) at least: the n brightest pixels of a sky whose brightness
#: falls as slowly as 1/x leave such a gap in one of a million cases. Pixels that were one before
#: the map was upgraded count as one.
_CHANCE = 6.0
#: Gap of a value that programs use, in a single pixel.
_USUAL_GAP = 10.0
#: A gap so large that no sky has it, whatever the value: 180 dB.
_ABSURD = 1e9
#: Share of a repeated value's pixels that may lie between it and the others.
_STRAY = 0.05
_MOST_STRAY = 1000
_MOST_KINDS = 3  # different such values in one map that are looked through
#: Values that programs use, in whatever unit; and all powers of ten from 1e9, UNSEEN among them.
_USUAL = np.array(
    (
        *(9.0, 99.0, 99.99, 999.0, 999.9, 999.99, 9999.0, 9999.9, 99999.0, 999999.0, 1e6, 1e7, 1e8),
        *(88.0, 888.0, 8888.0, 255.0, 32767.0, 32768.0, 65535.0, 2147483647.0, 2147483648.0),
        *(
            4294967295.0,
            2.0**63,
            9.96921e36,
            2.0**14,
            2.0**20,
            2.0**128,
            2.0**1023 * (2 - 2.0**-52),
        ),
    )
)
_SAMPLE = 1 << 18  # pixels that show the distribution
_LEAST_SAMPLE = 4
_PART = 1 << 20  # pixels that are looked through at a time
_FEW = 16  # different values of flags and classes, which have no distribution
# A value in the midst of the others is conspicuous where all of these three hold.
#: It stands in at least this share of the pixels.
_SHARE = 0.005
#: It stands in at least so many pixels.
_LEAST = 8
#: It is at least so many times as frequent as the next value.
_OFTENER = 20
#: Where maps are clipped, the gap to the next value is smaller than this.
_CLIPPED = 0.3


@dataclass(frozen=True)
class Sentinel:
    """A value that stands where a map has no data."""

    value: float
    count: int
    """Pixels that hold it."""
    low: float
    """Smallest and largest of all other values."""
    high: float


def find_sentinel(values: NDArray[Any], ends: tuple[float, float] | None = None) -> Sentinel | None:
    """Find a value far outside the distribution of the others.

    Zero is none: in sums and counts it is a value. Flags and classes, a handful of different
    values, have no distribution, so only a value that programs use is found among them.

    Parameters
    ----------
    values
        (npix,), NaN where missing.
    ends
        The smallest and the largest value, where they are known.

    Returns
    -------
        The farthest one; None where there is none.

    """
    low, high = ends or _ends(values)
    step = max(1, values.size // _SAMPLE) | 1  # odd: no period of the pixels divides it
    sample = np.sort(values[::step][np.isfinite(values[::step])].astype(np.float64))
    if sample.size < _LEAST_SAMPLE or not low < high:
        return None
    found = [_beyond(values, sample, end, sign) for end, sign in ((low, -1.0), (high, 1.0))]
    far = [one for one in found if one is not None]
    if not far:
        return None
    value, count = max(far, key=lambda one: abs(one[0] - _median(sample)))
    return Sentinel(value, count, *_ends(values[values != values.dtype.type(value)]))


def _ends(values: NDArray[Any]) -> tuple[float, float]:
    """Return the smallest and the largest value; NaN where there is none."""
    return (
        float(np.fmin.reduce(values, initial=np.nan)),
        float(np.fmax.reduce(values, initial=np.nan)),
    )


def _median(ordered: NDArray[np.float64]) -> float:
    return float(ordered[ordered.size // 2])


def _beyond(
    values: NDArray[Any], sample: NDArray[np.float64], end: float, sign: float
) -> tuple[float, int] | None:
    """Return the value at one end of the distribution, and its pixels, if it lies far outside."""
    ordered = sample if sign > 0 else -sample[::-1]
    inner = ordered[ordered != sign * end]
    if inner.size < _LEAST_SAMPLE or not end:
        return None
    # Only what is farther out than most pixels is looked at, and only if the end is far from there.
    core = inner
    for _ in range(_MOST_KINDS - 1):  # other values of this kind do not count as pixels of the sky
        if core.size > _LEAST_SAMPLE and core[-1] == core[-2]:
            core = core[core != core[-1]]
    if core.size < _LEAST_SAMPLE:
        return None
    edge = core[max(0, core.size - 1 - max(20, core.size // 1000))]
    if not sign * end - edge > _GAP * _extent(core, edge):
        return None
    tail = sign * _outside(values, sign * edge, sign).astype(np.float64)
    counts: list[tuple[float, int]] = []
    for _ in range(_MOST_KINDS):
        top = float(tail.max()) if tail.size else float(inner[-1])
        rest = tail[tail != top]
        count = tail.size - rest.size
        if counts and count < max(2, _STRAY * counts[0][1]):
            break
        counts.append((top, count))
        inner = inner[inner != top]
        if inner.size < _LEAST_SAMPLE:
            break
        reach = _reach(rest, inner, min(int(_STRAY * count), _MOST_STRAY))
        if _is_far(top, count / _copies(rest), reach, inner):
            return sign * counts[0][0], counts[0][1]
        tail = rest
    return None


def _outside(values: NDArray[Any], edge: float, sign: float) -> NDArray[Any]:
    """Collect the values from an edge outwards."""
    parts = []
    for start in range(0, values.size, _PART):
        part = values[start : start + _PART]
        parts.append(part[part >= edge if sign > 0 else part <= edge])
    return np.concatenate(parts)


def _extent(inner: NDArray[np.float64], reach: float) -> float:
    """Return how far values go from their median, at least as far as the middle half of them."""
    spread = float(inner[inner.size * 3 // 4] - inner[inner.size // 4])
    return max(reach - _median(inner), spread)


def _reach(rest: NDArray[np.float64], inner: NDArray[np.float64], strays: int) -> float:
    """Return how far out the other values go, some strays aside."""
    if rest.size > strays:
        return float(np.partition(rest, rest.size - 1 - strays)[rest.size - 1 - strays])
    return float(inner[-1])


def _copies(rest: NDArray[np.float64]) -> float:
    """Return in how many pixels a value stands on average."""
    return rest.size / np.unique(rest).size if rest.size else 1.0


def _is_far(top: float, count: float, reach: float, inner: NDArray[np.float64]) -> bool:
    """Tell whether a value is far outside a distribution of which `inner` is a sample."""
    extent = _extent(inner, reach)
    if extent <= 0.0:
        return False
    gap = (top - reach) / extent
    usual = _is_usual(top)
    few = np.count_nonzero(np.diff(inner)) + 1
    if few <= _FEW and 4 * few < inner.size:
        return bool(usual and gap > 10 * _USUAL_GAP)
    if gap > _ABSURD or (usual and gap > _USUAL_GAP):
        return True
    return bool(count > 1 and gap > max(_GAP, 10.0 ** (_CHANCE / count)))


def _is_usual(value: float) -> bool:
    """Tell whether programs use a value for missing data."""
    size = abs(value)
    if (np.abs(_USUAL - size) <= 1e-6 * size).any():
        return True
    if size < 1e9:
        return False
    digits = size / 10.0 ** np.floor(np.log10(size))
    return bool(
        (np.abs(np.array([1.0, 1.6375, 9.99, 9.999, 10.0]) - digits) <= 1e-5 * digits).any()
    )


def repeated_value(values: NDArray[Any], observed: NDArray[np.bool_]) -> tuple[float, int] | None:
    """Find a value that many observed pixels share while the others are all different.

    Parameters
    ----------
    values
        (npix,), NaN where missing.
    observed
        (npix,), which pixels count.

    Returns
    -------
        The value and its pixels; None where none is that frequent, or it is where the map is
        clipped.

    """
    step = max(1, values.size // _SAMPLE) | 1
    sample = values[::step][observed[::step]]
    kinds, counts = np.unique(sample[np.isfinite(sample)], return_counts=True)
    if kinds.size < 2:
        return None
    frequent = max(_LEAST, _SHARE * counts.sum())
    for end, neighbour in ((0, 1), (-1, -2)):
        # In coarse numbers, others are frequent, too: then zero is told only far from all of them.
        reach = abs(float(kinds[neighbour]) - float(np.median(kinds)))
        if kinds[end] == 0.0 and counts[end] >= frequent and abs(kinds[neighbour]) > _GAP * reach:
            return 0.0, int(np.count_nonzero(observed & (values == 0)))
    largest = int(np.argmax(counts))
    most, second = counts[largest], np.partition(counts, -2)[-2]
    if most < max(frequent, _OFTENER * second):
        return None
    value = float(kinds[largest])
    if value and largest in (0, kinds.size - 1):
        beside = float(kinds[1 if largest == 0 else -2])
        if abs(value - beside) <= _CLIPPED * abs(beside - float(np.median(kinds))):
            return None
    return value, int(np.count_nonzero(observed & (values == kinds[largest])))
