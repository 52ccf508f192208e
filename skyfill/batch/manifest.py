"""Record finished maps on disk, so that a run can continue after another was killed.

The file consists of lines of JSON, which are appended and never changed. Each run begins with a
line of status ``begun``, with the settings and the names of its outputs; a `Record` follows for
each map. An incomplete line, left by a killed process, is ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from skyfill.batch.task import Output, Record, Task, sha256_of, stat_of

__all__ = ["Manifest", "digest_of"]

#: How `skyfill.files.atomic.atomic_write` begins the names of unfinished files.
_UNFINISHED = ".skyfill-*"


def digest_of(settings: Mapping[str, Any]) -> str:
    """Give a short hash of settings, the same on every machine."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Manifest:
    """The file ``manifest.jsonl`` of a folder, which one run at a time may write to.

    Parameters
    ----------
    folder
        Folder of the outputs; created if missing.
    settings
        Everything that affects an output, except input and seed of the map; JSON values.
    overwrite
        Whether maps filled with other settings, and other files, may be replaced.

    Raises
    ------
    ValueError
        The folder was filled with other settings, or the file is something else.
    OSError
        The folder cannot be written to, or another run is at work in it.
    """

    NAME = "manifest.jsonl"
    SETUP = ".setup"
    """Folder in which workers share arrays that all maps have in common."""

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder} is a file; -o takes a folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._path = folder / self.NAME
        self._settings = dict(settings)
        self._overwrite = overwrite
        self.digest = digest_of(settings)
        self._records: dict[str, Record] = {}
        self._ours: set[str] = set()
        self._stream = self._path.open("ab+")
        try:
            self._lock()
            self._read()
        except BaseException:
            self._stream.close()
            raise
        self.clean()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clean()
        self._stream.close()

    def pending(self, tasks: Sequence[Task]) -> list[Task]:
        """Choose the maps that are still to be filled.

        A map is done if its outputs and its input are unchanged: they have the recorded size and
        time, or else the recorded sha256.

        Raises
        ------
        ValueError
            A map had another seed, because its position among the inputs has changed.
        FileExistsError
            An output would replace a file that this batch has not written.
        """
        left = [task for task in tasks if not self._is_done(task)]
        for task in left if not self._overwrite else ():
            record = self._records.get(task.name)
            if record and record.settings == self.digest and record.seed != task.seed:
                raise ValueError(
                    f"{task.name} was number {record.index} of the inputs and is number "
                    f"{task.index} now, which gives it another seed; give new maps names that sort "
                    "last, or pass `overwrite=True` to fill all whose number has changed again"
                )
            for path in task.outputs:
                if path.name not in self._ours and path.exists():
                    raise FileExistsError(
                        f"{path} exists already and is not of this batch; pass `overwrite=True` to "
                        "replace it"
                    )
        return left

    def begin(self, tasks: Iterable[Task]) -> None:
        """Record the names of the outputs before any of them is written."""
        names = [path.name for task in tasks for path in task.outputs]
        self._append({"status": "begun", "settings": self._settings, "outputs": names})

    def add(self, record: Record) -> Record:
        """Append the record of a map; it is on disk when this returns.

        Fills of the map by other settings that are not replaced are removed.
        """
        record = replace(record, settings=self.digest)
        self._append(asdict(record))
        former = self._records.get(record.name)
        if former is not None and record.status == "done":
            names = {one.name for one in record.outputs}
            for one in former.outputs:
                path = self._folder / one.name
                if one.name not in names and _unchanged(path, one.stat, one.sha256):
                    path.unlink()
        self._records[record.name] = record
        return record

    def done(self, tasks: Iterable[Task]) -> list[Record]:
        """Give the last records of the maps that are done with these settings."""
        found = [self._records.get(task.name) for task in tasks]
        return [one for one in found if one and (one.status, one.settings) == ("done", self.digest)]

    def clean(self) -> None:
        """Remove the unfinished files of runs that were killed."""
        for folder in (self._folder, self._folder / self.SETUP):
            for path in folder.glob(_UNFINISHED):
                if path.is_dir():  # of the columns of one map, see `write_filled_stokes`
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove the arrays that workers share, at the end of a batch."""
        shutil.rmtree(self._folder / self.SETUP, ignore_errors=True)

    def _is_done(self, task: Task) -> bool:
        record = self._records.get(task.name)
        return (
            record is not None
            and (record.status, record.settings, record.seed) == ("done", self.digest, task.seed)
            and _unchanged(task.input, record.input_stat, record.input_sha256)
            and [one.name for one in record.outputs] == [path.name for path in task.outputs]
            and all(_unchanged(self._folder / o.name, o.stat, o.sha256) for o in record.outputs)
        )

    def _lock(self) -> None:
        """Lock the folder; the system releases the lock when the process ends."""
        try:
            import fcntl
        except ImportError:  # not on Unix
            return
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"another skyfill batch is at work in {self._folder}") from None
        except OSError:  # a file system without locks
            return

    def _read(self) -> None:
        self._stream.seek(0)
        content = self._stream.read()
        self._torn = bool(content) and not content.endswith(b"\n")
        former: dict[str, Any] | None = None
        known = {one.name for one in fields(Record)}
        for line in content.split(b"\n"):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if not isinstance(entry, dict) or "status" not in entry:
                raise ValueError(f"{self._path} is no manifest of skyfill batch; pass another -o")
            if entry["status"] == "begun":
                former = entry["settings"]
                self._ours.update(entry["outputs"])
            else:
                record = Record(**{key: entry[key] for key in entry if key in known})
                self._records[record.name] = replace(record, outputs=_outputs(entry))
        if former is not None and former != self._settings and not self._overwrite:
            names = sorted({*former, *self._settings})
            changed = [name for name in names if former.get(name) != self._settings.get(name)]
            raise ValueError(
                f"{self._folder} was filled with other settings ({', '.join(changed)}); pass "
                "another folder, or `overwrite=True` to fill its maps again"
            )

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        self._stream.write(b"\n" + line if self._torn else line)
        self._torn = False
        self._stream.flush()
        with suppress(OSError):  # some file systems cannot
            os.fsync(self._stream.fileno())


def _outputs(entry: Mapping[str, Any]) -> list[Output]:
    """Read the outputs of a line; lines of older versions have one, with the map's name."""
    if "output_sha256" not in entry:
        return [Output(**one) for one in entry["outputs"]]
    if entry["output_sha256"] is None:
        return []
    return [
        Output(entry["name"], entry["output_sha256"], entry["output_stat"], entry.get("cl", []))
    ]


def _unchanged(path: Path, stat: list[int], sha256: str | None) -> bool:
    """Tell whether a file is unchanged since it was recorded."""
    try:
        return stat_of(path) == stat or sha256_of(path) == sha256
    except OSError:
        return False
