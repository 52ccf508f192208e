"""How this package compiles its loops: three decorators, typed, and nothing else.

Kernels are plain loops over arrays the caller gives.  They allocate nothing, check nothing and
never use ``fastmath`` (NaN travels through them); parallel ones write to disjoint places, so the
number of threads never changes a result.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
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


def parallel_beyond(number: int) -> Callable[[Function], Callable[[int], Function]]:
    """Compile a ``prange`` loop twice: serial for up to so many iterations, parallel for more.

    Threads that wait for work spin and hold cores that others need, so that short loops run on one.
    The loop is called with its number of iterations first: ``loop(n)(...)``.
    """

    def decorate(function: Function) -> Callable[[int], Function]:
        short = compiled(function)
        long = parallel(_twin(function))

        def choose(size: int) -> Function:
            return long if size > number else short

        return choose

    return decorate


def _twin(function: Function) -> Function:
    """Copy a function under another name: numba's cache on disk tells functions by their names."""
    if not isinstance(function, FunctionType):
        raise TypeError(f"{function!r} is no function")
    twin = FunctionType(function.__code__, function.__globals__, f"{function.__name__}_parallel")
    twin.__qualname__ = f"{function.__qualname__}_parallel"
    twin.__module__ = function.__module__
    return cast("Function", twin)
