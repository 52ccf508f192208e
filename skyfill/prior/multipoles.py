"""The axis of multipoles of a plot: logarithmic at low ones, linear above."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_multipoles"]

#: Where the axis turns from logarithmic to linear, as in the plots of Planck (2018 results V).
_TURN = 30
#: Left end of the axis: a little below the quadrupole.
_FIRST = 1.8
#: Share of the width for the logarithmic part.
_SHARE = 0.3
#: Last multipole, in units of the turn, below which the axis is logarithmic throughout.
_SHORT = 3
#: Ticks with a label in the logarithmic part.
_LOW = (2, 3, 5, 10)
#: Number of ticks of the linear part, at most.
_COUNT = 7


def draw_multipoles(axes: Axes, lmax: int, *, label: bool = True) -> None:
    """Make the x axis one of multipoles: logarithmic below 30, linear above, with a line at 30.

    Up to lmax = 90 it is logarithmic throughout.

    Parameters
    ----------
    axes
        Matplotlib axes.
    lmax
        Last multipole.
    label
        Whether the axis says what it is.
    """
    last = 1.05 * lmax
    if lmax < _SHORT * _TURN:
        axes.set_xscale("log")
        axes.set_xlim(_FIRST, last)
        axes.set_xticks([ell for ell in (*_LOW, 20, 50) if ell < last])
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.xaxis.set_minor_formatter("")
        if label:
            axes.set_xlabel(r"multipole $\ell$")
        return

    def place(ell: ArrayLike) -> NDArray[np.float64]:
        """Give where a multipole stands, in units of the width."""
        ell = np.maximum(np.asarray(ell, dtype=np.float64), 1e-3)
        low = _SHARE * np.log(ell / _FIRST) / math.log(_TURN / _FIRST)
        high = _SHARE + (1 - _SHARE) * (ell - _TURN) / (last - _TURN)
        return np.where(ell < _TURN, low, high)

    def ell_at(where: ArrayLike) -> NDArray[np.float64]:
        """Give the multipole that stands there."""
        where = np.asarray(where, dtype=np.float64)
        low = _FIRST * np.exp(np.minimum(where / _SHARE, 1) * math.log(_TURN / _FIRST))
        high = _TURN + (where - _SHARE) / (1 - _SHARE) * (last - _TURN)
        return np.where(where < _SHARE, low, high)

    axes.set_xscale("function", functions=(place, ell_at))
    axes.set_xlim(_FIRST, last)
    step = _step(lmax)
    linear = np.arange(step, last, step / 2)
    linear = linear[linear > _TURN + step / 4]
    major = linear % step == 0
    axes.set_xticks([*_LOW, _TURN, *linear[major]])
    axes.set_xticks([4, 6, 7, 8, 9, 20, *linear[~major]], minor=True)  # 20 would touch 30
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.axvline(_TURN, color="#777777", lw=0.6, ls=":")
    if label:
        axes.set_xlabel(rf"multipole $\ell$, logarithmic below {_TURN}")


def _step(lmax: int) -> int:
    """Give the distance of ticks of the linear part: 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(lmax / _COUNT))
    steps = [factor * power for factor in (1, 2, 5, 10)]
    return int(next(step for step in steps if lmax / step <= _COUNT))
