"""Factor many dense matrices at the same time.

BLAS can divide a factorisation among its own threads. The rounding then depends on their number; it
is slow for matrices of a few hundred rows, and very slow if other programs share the cores. So BLAS
uses one thread here, and several matrices are factored at the same time. The few largest matrices
would keep all other threads waiting, so they are divided into tiles. The tiles do not depend on the
number of threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Condition, Lock
from typing import Any

import numba
import numpy as np
from numba.extending import get_cython_function_address
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

__all__ = ["Each", "factorise", "for_each", "invert", "regress"]

Map = NDArray[np.float64]
#: Calls a function with each of some values, and returns when all are done.
Each = Callable[[Callable[..., None], Iterable[Any]], None]

#: Limit on the entries of all matrices in work, in units of the largest matrix. Upper triangles are
#: never touched and take no memory, so the limit is the memory of one full float64 matrix, less
#: than `skyfill.gaussian.memory` counts for the largest.
_ROOM = 2
#: Rows from which a matrix is divided into tiles (0.3 s on one thread).
_LARGE = 4000
#: Rows of a tile.
_TILE = 512
#: The number of BLAS's threads is a setting of the whole process: only one caller may change it.
_BLAS = Lock()


def for_each(
    sizes: NDArray[np.int64], work: Callable[[int, Each], None], *, threads: int = 0
) -> None:
    """Process matrices in several threads, the largest first, with BLAS in one thread.

    Parameters
    ----------
    sizes
        ``(n,)``, rows of each matrix.
    work
        Called once for each matrix, with its index and with an `Each` that can distribute parts of
        the work over threads. Calls must not write to the same memory, nor keep a matrix.
    threads
        Number of threads; 0 for all cores.
    """
    waiting = np.argsort(sizes, kind="stable").tolist()
    threads = min(threads or numba.get_num_threads(), len(waiting))
    room = _ROOM * int(sizes.max(initial=0)) ** 2
    gate = Condition()

    def take() -> None:
        nonlocal room
        while True:
            with gate:
                if not waiting:
                    return
                k = waiting.pop()
                entries = int(sizes[k]) ** 2
                while entries > room:
                    gate.wait()
                room -= entries
            try:
                work(k, _in_turn)
            except BaseException:
                with gate:
                    waiting.clear()  # the remaining matrices are no longer needed
                raise
            finally:
                with gate:
                    room += entries
                    gate.notify_all()

    with _BLAS, threadpool_limits(1, user_api="blas"):
        if threads <= 1:
            take()
            return
        with ThreadPoolExecutor(threads) as pool:

            def share(do: Callable[..., None], values: Iterable[Any]) -> None:
                list(pool.map(do, values))

            while waiting and sizes[waiting[-1]] >= _LARGE:
                work(waiting.pop(), share)
            try:
                for done in [pool.submit(take) for _ in range(threads)]:
                    done.result()
            finally:
                with gate:
                    waiting.clear()  # interrupted


def _in_turn(do: Callable[..., None], values: Iterable[Any]) -> None:
    for value in values:
        do(value)


def factorise(matrix: Map, each: Each = _in_turn) -> bool:
    """Replace the lower triangle by its Cholesky factor; the upper triangle is not touched.

    Parameters
    ----------
    matrix
        ``(n, n)``, in Fortran order.
    each
        Distributes the work on a large matrix over threads.

    Returns
    -------
    Whether the matrix is positive definite. If not, the lower triangle holds no valid factor.
    """
    n = matrix.shape[0]
    if n < _LARGE:
        return _lower("dpotrf", matrix) == 0
    tiles = [slice(start, min(start + _TILE, n)) for start in range(0, n, _TILE)]
    for number, now in enumerate(tiles):
        if _lower("dpotrf", matrix[now, now]):
            return False
        below = tiles[number + 1 :]

        def solve(rows: slice, now: slice = now) -> None:
            _solve_right(matrix[now, now], matrix[rows, now])

        def subtract(pair: tuple[slice, slice], now: slice = now) -> None:
            i, j = pair
            if i == j:
                _subtract_square(matrix[i, now], matrix[pair])
            else:
                _subtract(matrix[i, now], matrix[j, now], matrix[pair])

        each(solve, below)
        each(subtract, [(i, j) for k, j in enumerate(below) for i in below[k:]])
    return True


def invert(matrix: Map) -> None:
    """Replace a Cholesky factor (see `factorise`) by the lower triangle of the inverse matrix."""
    _lower("dpotri", matrix)


def regress(matrix: Map, count: int) -> None:
    """Replace L₂₁ of a Cholesky factor by L₂₁ L₁₁⁻¹, the weights of the first variables.

    Parameters
    ----------
    matrix
        ``(n, n)``, from `factorise`.
    count
        Number of the first variables, from which the others are predicted.
    """
    first, rest = slice(0, count), slice(count, None)
    below = matrix[rest, first]
    sizes = below.shape
    _call("blas", "dtrsm", b"R", b"L", b"N", b"N", *sizes, 1.0, matrix[first, first], below)


def _lower(name: str, matrix: Map) -> int:
    """Call a LAPACK routine on a lower triangle, and return its ``info``."""
    info = ctypes.c_int(0)
    _call("lapack", name, b"L", matrix.shape[0], matrix, info)
    return info.value


def _solve_right(lower: Map, out: Map) -> None:
    """Replace X by X L⁻ᵀ."""
    _call("blas", "dtrsm", b"R", b"L", b"T", b"N", *out.shape, 1.0, lower, out)


def _subtract(left: Map, right: Map, out: Map) -> None:
    """Subtract A Bᵀ."""
    sizes = *out.shape, left.shape[1]
    _call("blas", "dgemm", b"N", b"T", *sizes, -1.0, left, right, 1.0, out)


def _subtract_square(left: Map, out: Map) -> None:
    """Subtract A Aᵀ from the lower triangle."""
    _call("blas", "dsyrk", b"L", b"N", *left.shape, -1.0, left, 1.0, out)


def _call(library: str, name: str, *arguments: bytes | float | Map | ctypes.c_int) -> None:
    """Call a routine; a matrix is passed as its address and its leading dimension."""
    given: list[Any] = []
    for one in arguments:
        if isinstance(one, np.ndarray):
            if one.strides[0] != one.itemsize or one.dtype != np.float64:
                raise ValueError("the matrix must be float64 in Fortran's order")
            given.append(one.ctypes.data_as(ctypes.c_void_p))
            given.append(ctypes.c_int(max(one.strides[1] // one.itemsize, 1)))
        elif isinstance(one, bytes):
            given.append(ctypes.c_char(one))
        elif isinstance(one, float):
            given.append(ctypes.c_double(one))
        else:
            given.append(ctypes.c_int(one) if isinstance(one, int) else one)
    _routine(library, name, len(given))(
        *(one if isinstance(one, ctypes.c_void_p) else ctypes.byref(one) for one in given)
    )


@cache
def _routine(library: str, name: str, arguments: int) -> Callable[..., Any]:
    """Find a routine of scipy's BLAS or LAPACK; `scipy.linalg` would hold Python's lock."""
    address = get_cython_function_address(f"scipy.linalg.cython_{library}", name)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(address)
