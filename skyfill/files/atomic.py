"""Write files atomically: a file appears complete or not at all."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

__all__ = ["atomic_write", "check_ending", "check_writable"]

Kind = Literal["map", "table", "picture", "page", "weights", "prior"]

_UNFINISHED = re.compile(r"\.skyfill-[0-9a-f]{12}(\..+)?")
#: Age in seconds after which an unfinished file counts as left over from a killed run.
_FORGOTTEN = 3600.0


#: Allowed endings of file names, by content. A name without an ending is also allowed; the ending
#: of another format is refused, because it would mislead the reader of the file.
_MAPS = tuple(f".{end}{gz}" for end in ("fits", "fit", "fts") for gz in ("", ".gz"))
_ENDINGS: dict[Kind, tuple[str, tuple[str, ...]]] = {
    "map": ("a FITS map", _MAPS),
    "table": ("a table, ECSV, FITS or npz", (".ecsv", ".txt", ".dat", ".npz", *_MAPS)),
    "picture": ("a picture, PNG or PDF", (".png", ".pdf")),
    "page": ("a page, HTML", (".html", ".htm")),
    "weights": ("weights, safetensors", (".safetensors",)),
    "prior": ("a prior, JSON", (".json",)),
}


def check_ending(path: str | os.PathLike[str], kind: Kind) -> None:
    """Refuse a file name that has the ending of another format.

    Parameters
    ----------
    path
        The destination.
    kind
        What will be written: a map, table, picture, page, weights or a prior.

    Raises
    ------
    ValueError
        The name has the ending of another format. A name without an ending is accepted.

    """
    name = Path(path).name.lower()
    ending = Path(name).suffix
    words, endings = _ENDINGS[kind]
    # `map_v1.2` ends in a version number, not in the ending of a format.
    if not name.endswith(endings) and not re.fullmatch(r"(\.\d+)?", ending):
        shown = ", ".join(endings[:6] if kind == "map" else endings)
        raise ValueError(
            f"cannot write {path}: the output is {words}; its name must end in {shown}"
        )


def check_writable(
    path: str | os.PathLike[str], *, overwrite: bool = False, kind: Kind | None = None
) -> Path:
    """Refuse a destination that cannot be written, before any work is done.

    Parameters
    ----------
    path
        File to be written.
    overwrite
        Whether an existing file may be replaced.
    kind
        What will be written, ``map``, ``table``, ``picture``, ``page``, ``weights`` or ``prior``:
        the name must not have the ending of another format. Not checked if None.

    Returns
    -------
        The destination, with symbolic links resolved.

    Raises
    ------
    FileExistsError
        The file exists and `overwrite` is false.
    OSError
        The folder is missing or cannot be written to, or the path is not a regular file.
    ValueError
        The name has the ending of another format.

    """
    if kind is not None:
        check_ending(path, kind)
    target = Path(path).resolve()
    if target.exists():
        if not target.is_file():
            # A rename would silently turn a device such as /dev/null into a plain file.
            raise OSError(f"cannot write {path}: it exists and is not a regular file")
        if not overwrite:
            raise FileExistsError(f"{path} exists already; pass `overwrite=True` to replace it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {target.parent}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write {path}: no permission in folder {target.parent}")
    return target


@contextmanager
def atomic_write(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` and move it there when the block succeeds.

    The temporary file is flushed to disk before it is renamed, so that `path` always holds either
    the old or the complete new content. It has the suffixes of `path`, by which many writers choose
    a format. If the block raises, the temporary file is removed and `path` is unchanged. Temporary
    files that killed runs left in the folder more than an hour ago are removed as well.

    Parameters
    ----------
    path
        The destination.
    overwrite
        Whether an existing file may be replaced.

    Yields
    ------
        The temporary path, an empty file; the block may write to it or replace it.

    Raises
    ------
    FileExistsError, OSError
        As for `check_writable`; or the disk is full, or writing failed for another reason.

    """
    target = check_writable(path, overwrite=overwrite)
    suffix = "".join(target.suffixes[-2:])
    temporary = target.parent / f".skyfill-{secrets.token_hex(6)}{suffix}"
    _sweep(target.parent)
    try:
        # `tempfile` is not used because its files are private (0600); these follow the umask.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        _flush(temporary)
        check_writable(path, overwrite=overwrite)  # the block may have taken hours
        _put_in_place(temporary, target, path, overwrite=overwrite)
        with suppress(OSError):  # some network file systems cannot flush a folder
            _flush(target.parent)
    except OSError as error:
        # Name the destination. Errors about other files (an input read inside the block) and
        # errors with a message of our own are raised unchanged.
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _put_in_place(
    temporary: Path, target: Path, path: str | os.PathLike[str], *, overwrite: bool
) -> None:
    """Rename; without `overwrite`, only one of two concurrent runs succeeds."""
    if not overwrite:
        try:
            target.hardlink_to(temporary)  # unlike a rename, fails if the file exists
        except FileExistsError:
            raise FileExistsError(
                f"{path} has been written by another run meanwhile; pass `overwrite=True` to "
                "replace it"
            ) from None
        except OSError:  # no hard links here: rely on the check before
            pass
        else:
            temporary.unlink()
            return
    temporary.replace(target)


def _sweep(folder: Path) -> None:
    """Remove the unfinished files of runs that were killed."""
    with suppress(OSError):
        old = time.time() - _FORGOTTEN
        for entry in list(os.scandir(folder)):
            if _UNFINISHED.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if entry.stat().st_mtime < old:
                        Path(entry.path).unlink()


def _flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
