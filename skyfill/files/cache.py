"""Cache arrays on disk that take long to compute, for other maps and processes.

Each file holds one array: its bytes, then the key, then the crc32 of the bytes. The key is a sha256
of all inputs of the array, and the file is named after it. The key also fixes dtype and shape.
Nothing in a file is parsed or executed, and a damaged file is computed again. Files are
memory-mapped, so that processes on one machine share the memory.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import shutil
import zlib
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import DTypeLike, NDArray

from skyfill.files.atomic import atomic_write

__all__ = ["Kept", "cache_folder"]

#: Version of the cached arrays; raise it if the same inputs give another array.
_VERSION = 1
#: Packages that compute the arrays; another version may round differently.
_PROGRAMS = ("skyfill", "numpy", "scipy", "numba", "ducc0")
#: Largest share of the free disk space that one file may take.
_SHARE = 0.1


def cache_folder() -> Path:
    """Give the folder of this user's cache: ``SKYFILL_CACHE``, or that of the system."""
    given = os.environ.get("SKYFILL_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("skyfill"))


class Kept:
    """A folder of cached arrays, found by a key of their inputs.

    Parameters
    ----------
    folder
        Created when first used; None caches nothing.
    passing
        Names of inputs that no other map shares; arrays that depend on one of them are not cached.
    """

    def __init__(self, folder: str | Path | None = None, *, passing: Collection[str] = ()) -> None:
        self._folder = None if folder is None else Path(folder)
        self._passing = frozenset(passing)
        self._key = hashlib.sha256(b"" if folder is None else _programs())

    def of(self, *deciding: object) -> Kept:
        """Give the cache for arrays that also depend on these arrays and values."""
        if self._folder is None:
            return self
        other = Kept(self._folder, passing=self._passing)
        other._key = self._key.copy()
        for one in deciding:
            _add(other._key, one)
        return other

    def needing(self, name: str) -> Kept:
        """Give the cache for arrays that depend on a named input; none if that is `passing`."""
        return Kept() if name in self._passing else self

    def array(
        self,
        name: str,
        make: Callable[[], NDArray[Any]],
        *,
        dtype: DTypeLike,
        shape: tuple[int, ...],
    ) -> NDArray[Any]:
        """Load an array, or compute and store it. The result must not be changed.

        Parameters
        ----------
        name
            Name of the array, part of the file name.
        make
            Computes the array from the keyed inputs only.
        dtype, shape
            Type and shape of the array; -1 for a length that only `make` knows.
        """
        if self._folder is None:
            return make()
        key = self._key.copy()
        _add(key, (name, np.dtype(dtype).str, shape))
        path = self._folder / f"{name}-{key.hexdigest()[:32]}"
        found = _read(path, key.digest(), np.dtype(dtype), shape)
        if found is None:
            made = np.ascontiguousarray(make(), dtype=dtype)
            _write(path, key.digest(), made)
            found = _read(path, key.digest(), made.dtype, made.shape)  # map it, to share memory
        return made if found is None else found


@cache
def _programs() -> bytes:
    """Give the versions of the packages that compute the arrays."""
    return repr((_VERSION, [metadata.version(name) for name in _PROGRAMS])).encode()


def _add(key: hashlib._Hash, one: object) -> None:
    """Add a value to the key, so that different values give different keys."""
    if isinstance(one, np.ndarray):
        _add(key, (one.dtype.str, one.shape))
        key.update(np.ascontiguousarray(one).data)
    elif is_dataclass(one):  # its repr may leave something out
        _add(key, type(one).__qualname__)
        for each in fields(one):
            _add(key, getattr(one, each.name))
    else:
        text = repr(one).encode()
        key.update(b"%d:%s" % (len(text), text))


def _read(
    path: Path, key: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any] | None:
    """Map a cached file; None if it is missing or damaged."""
    if not path.is_file():
        return None
    row = dtype.itemsize * math.prod(n for n in shape if n >= 0)
    with suppress(OSError, ValueError), path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size - len(key) - 4
        if size >= 0 and (size % max(row, 1) == 0 if -1 in shape else size == row):
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            with memoryview(content) as view, view[:size] as values:
                if view[size:] == key + zlib.crc32(values).to_bytes(4):
                    whole = np.frombuffer(content, dtype, size // dtype.itemsize)
                    return whole.reshape(shape)
    with suppress(OSError):
        path.unlink()
    return None


def _write(path: Path, key: bytes, made: NDArray[Any]) -> None:
    """Store an array; a failure to store is not an error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if made.nbytes > _SHARE * shutil.disk_usage(path.parent).free:
            return
        # The first process to finish stores the file, so that all processes map the same one.
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            made.tofile(stream)
            stream.write(key + zlib.crc32(made.data).to_bytes(4))
    except OSError:
        return
