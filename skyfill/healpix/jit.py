"""Decorators that compile the package's loops with numba.

Kernels are plain loops over arrays that the caller provides.  They allocate nothing and check
nothing.  They do not use ``fastmath``, because NaN must be preserved.  Parallel kernels write to
disjoint places, so the number of threads does not change a result.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from types import FunctionType
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

#: numba's stubs do not know the options that leave out entrances: from C callbacks, which nothing
#: here uses, and from Python. Each takes some hundredths of a second to compile.
_njit = cast("Any", partial(numba.njit, cache=True, nogil=True, error_model="numpy"))


def compiled(function: Function) -> Function:
    """Compile a scalar function or a serial loop."""
    return cast("Function", _njit(no_cfunc_wrapper=True)(function))


def inner(function: Function) -> Function:
    """Compile a function that only other kernels call: without the entrance from Python."""
    return cast("Function", _njit(no_cfunc_wrapper=True, no_cpython_wrapper=True)(function))


def parallel(function: Function) -> Function:
    """Compile a loop whose ``prange`` iterations write to disjoint places."""
    return cast("Function", _njit(no_cfunc_wrapper=True, parallel=True)(function))


def by_parts(size: int, work: Callable[[slice], object], *, least: int) -> None:
    """Call `work` for parts of ``range(size)`` in several threads.

    A `compiled` loop over arrays that is called so takes a third of the time that `parallel` takes
    to compile. ``least`` is the length below which one thread is quicker.
    """
    number = min(numba.get_num_threads(), max(size // least, 1))
    cuts = [size * k // number for k in range(number + 1)]
    parts = [slice(*ends) for ends in pairwise(cuts)]
    if number == 1:
        work(parts[0])
        return
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(work, parts))


def parallel_beyond(number: int) -> Callable[[Function], Callable[[int], Function]]:
    """Compile a ``prange`` loop twice: serial for up to `number` iterations, parallel for more.

    Waiting threads spin and occupy cores that others need, so short loops run on one thread.
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
    """Copy a function under another name, since numba's disk cache identifies functions by name."""
    if not isinstance(function, FunctionType):
        raise TypeError(f"{function!r} is not a function")
    twin = FunctionType(function.__code__, function.__globals__, f"{function.__name__}_parallel")
    twin.__qualname__ = f"{function.__qualname__}_parallel"
    twin.__module__ = function.__module__
    return cast("Function", twin)
