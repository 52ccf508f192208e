"""Keep on disk arrays that take long to make, so that other processes find them.

Each thing is one array in a file of its own: the bytes, then the key, a sha256 of all that decides
them, by which the file is named, then their crc32. The key fixes dtype and shape, nothing in a file
is parsed or run, and what is not as it was written is made anew. Files are mapped: processes of one
machine share their memory.
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
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import DTypeLike, NDArray

from skyfill.files.atomic import atomic_write

__all__ = ["Kept", "cache_folder"]

#: To be raised where the same inputs come to mean another array.
_VERSION = 1
#: What computes: another version may round in another way.
_PROGRAMS = ("skyfill", "numpy", "scipy", "numba", "ducc0")
#: Of what is free on the disk, one file takes this share at most: it is there for other things.
_SHARE = 0.1


def cache_folder() -> Path:
    """Give the folder of this user's cache: ``SKYFILL_CACHE``, or that of the system."""
    given = os.environ.get("SKYFILL_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("skyfill"))


class Kept:
    """A folder of arrays, found again by what decides them.

    Parameters
    ----------
    folder
        Made at its first use; None keeps nothing.
    passing
        Names of inputs that will not come again: arrays that need one of them are not kept.
    """

    def __init__(self, folder: str | Path | None = None, *, passing: Collection[str] = ()) -> None:
        self._folder = None if folder is None else Path(folder)
        self._passing = frozenset(passing)
        self._key = hashlib.sha256(b"" if folder is None else _programs())

    def of(self, *deciding: object) -> Kept:
        """Give the same folder for what these arrays and values decide, beside others."""
        if self._folder is None:
            return self
        other = Kept(self._folder, passing=self._passing)
        other._key = self._key.copy()
        for one in deciding:
            _add(other._key, one)
        return other

    def needing(self, name: str) -> Kept:
        """Give the same folder for arrays that need a named input; none where it is passing."""
        return Kept() if name in self._passing else self

    def array(
        self,
        name: str,
        make: Callable[[], NDArray[Any]],
        *,
        dtype: DTypeLike,
        shape: tuple[int, ...],
    ) -> NDArray[Any]:
        """Find an array, or make and keep it; it is not to be changed.

        Parameters
        ----------
        name
            What it is, for the name of the file.
        make
            Computes the array from the keyed inputs only.
        dtype, shape
            Of it; -1 for a length that only `make` knows.
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
            found = _read(path, key.digest(), made.dtype, made.shape)  # shared with others
        return made if found is None else found


@cache
def _programs() -> bytes:
    """Name what computes."""
    return repr((_VERSION, [metadata.version(name) for name in _PROGRAMS])).encode()


def _add(key: hashlib._Hash, one: object) -> None:
    """Hash a value too, told from any other."""
    if isinstance(one, np.ndarray):
        _add(key, (one.dtype.str, one.shape))
        key.update(np.ascontiguousarray(one).data)
    else:
        text = repr(one).encode()
        key.update(b"%d:%s" % (len(text), text))


def _read(
    path: Path, key: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any] | None:
    """Map a file that was kept; None where there is none, or it is not what was written."""
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
    """Keep an array for others; where that cannot be, it is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if made.nbytes > _SHARE * shutil.disk_usage(path.parent).free:
            return
        # Whoever is first has it: all processes are to map the same file.
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            made.tofile(stream)
            stream.write(key + zlib.crc32(made.data).to_bytes(4))
    except OSError:
        return
