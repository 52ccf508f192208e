"""Factor many dense matrices at once, each in one thread.

BLAS divides a factorisation among threads of its own, which rounds in another way for each number
of them, is slow for matrices of some hundred rows, and very slow where other programs share the
cores. So BLAS gets one thread here, and several matrices are worked on at the same time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Condition, Lock
from typing import Any

import numba
import numpy as np
from numba.extending import get_cython_function_address
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

__all__ = ["factorise", "for_each", "invert"]

Map = NDArray[np.float64]

#: Entries of all matrices that are worked on at the same time, over those of the largest. The upper
#: triangle is never touched and takes no memory, so that this is one matrix of float64, and less
#: than `skyfill.gaussian.memory` counts for the largest.
_ROOM = 2
#: The number of BLAS's threads belongs to the whole process: one at a time changes it.
_BLAS = Lock()


def for_each(sizes: NDArray[np.int64], work: Callable[[int], None], *, threads: int = 0) -> None:
    """Work on matrices in several threads, the largest first, with BLAS in one thread.

    Parameters
    ----------
    sizes
        ``(n,)``, rows of each matrix.
    work
        Called once with the number of each. It writes to places that no other writes to, and has
        no other matrix in memory when it returns.
    threads
        How many; 0 for all there are.
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
                work(k)
            except BaseException:
                with gate:
                    waiting.clear()  # nobody will use what the others would go on to make
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
            try:
                for done in [pool.submit(take) for _ in range(threads)]:
                    done.result()
            finally:
                with gate:
                    waiting.clear()  # interrupted


def factorise(matrix: Map) -> bool:
    """Replace the lower triangle by its Cholesky factor; the upper one is not touched.

    Parameters
    ----------
    matrix
        ``(n, n)``, in Fortran's order.

    Returns
    -------
    Whether the matrix is positive; if not, the triangle is spoilt.
    """
    return _lower("dpotrf", matrix) == 0


def invert(matrix: Map) -> None:
    """Replace a Cholesky factor, see `factorise`, by the lower triangle of the matrix' inverse."""
    _lower("dpotri", matrix)


def _lower(name: str, matrix: Map) -> int:
    """Call a routine of LAPACK on a lower triangle, and give its ``info``."""
    if not matrix.flags.f_contiguous:
        raise ValueError("the matrix must be in Fortran's order")
    n, info, uplo = ctypes.c_int(matrix.shape[0]), ctypes.c_int(0), ctypes.c_char(b"L")
    pointers = (uplo, n, matrix.ctypes.data_as(ctypes.c_void_p), n, info)
    _lapack(name)(*(p if isinstance(p, ctypes.c_void_p) else ctypes.byref(p) for p in pointers))
    return info.value


@cache
def _lapack(name: str) -> Callable[..., Any]:
    """Find scipy's LAPACK; `scipy.linalg.lapack` itself holds Python's lock while it computes."""
    address = get_cython_function_address("scipy.linalg.cython_lapack", name)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5)(address)
