"""Decorators that compile the package's loops with numba.

Kernels are plain loops over arrays that the caller provides.  They allocate nothing and check
nothing.  They do not use ``fastmath``, because NaN must be preserved.  Parallel kernels write to
disjoint places, so the number of threads does not change a result.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache, partial
from itertools import pairwise
from types import FunctionType
from typing import Any, TypeVar, cast

import numba
import numpy as np

#: Numbers in a piece of `by_pieces`, and pieces below which one thread is quicker.
PIECE = 2**15
_FEW = 8

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
    if number == 1 or getattr(_here, "busy", False):  # one that waits for others takes no part
        work(slice(0, size))
        return
    cuts = [size * k // number for k in range(number + 1)]
    parts = [_workers().submit(_busy, work, slice(*ends)) for ends in pairwise(cuts)]
    wait(parts)  # all, before an error of one comes back: what they write to may be lent again
    for part in parts:
        part.result()


def by_pieces(size: int, work: Callable[[slice], object]) -> None:
    """Call `work` for pieces of ``range(size)`` of a fixed length, in several threads.

    A piece of a few arrays fits into a core's own cache, so several operations on one piece after
    the other take little more time than one of them.
    """

    def some(part: slice) -> None:
        for k in range(part.start, part.stop):
            work(slice(k * PIECE, min((k + 1) * PIECE, size)))

    by_parts(-(-size // PIECE), some, least=_FEW)


def total_of(size: int, part: Callable[[slice], float]) -> float:
    """Add up a sum of each piece, as `by_pieces`: the number of threads changes no bit."""
    found = np.zeros(-(-size // PIECE))

    def work(here: slice) -> None:
        found[here.start // PIECE] = part(here)

    by_pieces(size, work)
    return float(sum(found.tolist()))


def _busy(work: Callable[[slice], object], part: slice) -> None:
    _here.busy = True
    try:
        work(part)
    finally:
        _here.busy = False


@lru_cache(maxsize=1)
def _workers() -> ThreadPoolExecutor:
    """Give threads that wait for work asleep."""
    return ThreadPoolExecutor(os.cpu_count() or 1, "skyfill")


_here = threading.local()
if hasattr(os, "register_at_fork"):  # threads do not come along
    os.register_at_fork(after_in_child=_workers.cache_clear)


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
