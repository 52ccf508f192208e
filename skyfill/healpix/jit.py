"""How this package compiles its loops: two decorators, typed, and nothing else.

Kernels are plain loops over arrays the caller gives.  They allocate nothing, check nothing and
never use ``fastmath`` (NaN travels through them); parallel ones write to disjoint places, so the
number of threads never changes a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a scalar function or a serial loop."""
    return cast("Function", numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def parallel(function: Function) -> Function:
    """Compile a loop whose ``prange`` iterations write to disjoint places."""
    return cast(
        "Function", numba.njit(cache=True, nogil=True, parallel=True, error_model="numpy")(function)
    )
