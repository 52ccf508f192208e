"""Tasks of a batch: one map each, with its outputs and seed, and how it is run."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import threading
import time
import warnings
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from skyfill.batch.summary import binned_cl, binned_pol
from skyfill.brief import brief
from skyfill.gaussian import ConvergenceWarning
from skyfill.healpix.checks import check_seed
from skyfill.healpix.stokes import nside_of

__all__ = [
    "Job",
    "Output",
    "Record",
    "Task",
    "fill_one",
    "inputs_of",
    "outputs_of",
    "seed_of",
    "sha256_of",
    "tasks_of",
]

#: Endings of the FITS files that skyfill writes.
_FITS_NAME = re.compile(r"(?i)\.(fits|fit|fts)(\.gz)?$")
#: Separates the seeds of a batch from other numbers derived from a seed and an index.
_BATCH = 0x5BA7C
#: Number of bits of a seed, so that every JSON reader represents it exactly.
_BITS = 53

#: A process fills one map at a time, because the arrays that maps share serve only one.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Task:
    """One map to fill."""

    __repr__ = brief

    index: int
    """Position among the sorted inputs."""
    input: Path
    output: Path
    """Output; with several fills the name from which theirs are derived, see `outputs_of`."""
    seed: int
    """Seed of its realizations, from `seed_of`."""
    realizations: int = 1

    @property
    def name(self) -> str:
        """Name of the output, which identifies the map in the manifest."""
        return self.output.name

    @property
    def outputs(self) -> list[Path]:
        """The files to be written."""
        return outputs_of(self.output, self.realizations)


class Job(Protocol):
    """How one map is filled; must be picklable."""

    def __call__(self, task: Task) -> Iterable[NDArray[np.float64]]:
        """Fill ``task.input``, write each of ``task.outputs``, and yield its sky, µK, RING.

        The sky is ``(npix,)``, or ``(k, npix)``: T, Q and U, or Q and U. It is NaN where it is
        neither observed nor filled. A generator may return a dict of further information for the
        manifest (``about``).
        """


@dataclass(frozen=True)
class Output:
    """An output file."""

    __repr__ = brief

    name: str
    sha256: str
    stat: list[int]
    """As `Record.input_stat`."""
    cl: list[float]
    """Binned spectrum of the filled map, see `binned_cl`; empty for a partial sky, or without T."""
    cl_pol: dict[str, list[float]] = field(default_factory=dict)
    """Binned EE, BB and TE of the filled map, see `binned_pol`; empty for T alone."""


@dataclass(frozen=True)
class Record:
    """Result of one map: a line of the manifest."""

    __repr__ = brief

    status: str
    """``done`` or ``failed``."""
    name: str
    index: int
    seed: int
    input: str
    seconds: float
    error: str | None = None
    warnings: list[str] = field(default_factory=list)
    nside: int | None = None
    input_sha256: str | None = None
    input_stat: list[int] = field(default_factory=list)
    """Size in bytes and time of the last change in ns; while they agree, the file is not hashed."""
    outputs: list[Output] = field(default_factory=list)
    """One for each realization."""
    about: dict[str, Any] = field(default_factory=dict)
    """Further information of the job: the prior and its check."""
    converged: bool | None = True
    """False if a fill that has not converged was accepted; None if the map failed."""
    settings: str = ""
    """Hash of the settings, see `Manifest`."""


def seed_of(seed: int, index: int) -> int:
    """Give the seed of one map; `Inpainter` with this seed gives the same fill.

    It depends only on the seed of the batch and on the map's position among the sorted inputs, not
    on the workers or on the order or number of runs.
    """
    seed, index = check_seed(seed), check_seed(index, what="index")
    state = np.random.SeedSequence([seed, index, _BATCH]).generate_state(1, np.uint64)
    return int(state[0]) >> (64 - _BITS)


def inputs_of(patterns: Sequence[str]) -> list[Path]:
    """Find the maps.

    Parameters
    ----------
    patterns
        Files, or patterns of the shell (``sims/*.fits``).

    Returns
    -------
    The files, sorted by name, without duplicates.

    Raises
    ------
    ValueError
        Nothing matches a pattern.
    """
    found: set[Path] = set()
    for pattern in patterns:
        # A file with exactly this name comes first, since names may contain brackets.
        names = [pattern] if Path(pattern).exists() else glob.glob(pattern, recursive=True)  # noqa: PTH207 - of Path, it takes no absolute pattern
        files = [Path(name).absolute() for name in names if not Path(name).is_dir()]
        if not files:
            raise ValueError(f"no file matches {pattern!r}")
        found.update(files)
    return sorted(found, key=lambda path: (path.name, path))


def outputs_of(path: Path, realizations: int) -> list[Path]:
    """Name the files of several fills OUT_000.fits, OUT_001.fits, ..., or of one fill OUT.fits."""
    if realizations == 1:
        return [path]
    found = _FITS_NAME.search(path.name)
    stem, ending = (path.name[: found.start()], found[0]) if found else (path.name, "")
    return [path.with_name(f"{stem}_{index:03d}{ending}") for index in range(realizations)]


def _output_name(name: str) -> str:
    """Name an output after its input, with a FITS ending."""
    if _FITS_NAME.search(name):
        return name
    packed = re.sub(r"(?i)\.(bz2|fz|xz|z|zip)$", "", name)
    return packed if _FITS_NAME.search(packed) else f"{packed}.fits"


def tasks_of(
    inputs: Sequence[Path], folder: Path, *, seed: int, realizations: int = 1
) -> list[Task]:
    """Name the outputs after the inputs, and give each map its seed.

    Raises
    ------
    ValueError
        Two inputs have the same name, or an output would replace an input.
    """
    names = Counter(_output_name(path.name) for path in inputs)
    twice = [name for name, n in names.items() if n > 1]
    if twice:
        raise ValueError(
            f"{twice[0]} is the name of several inputs, and can be that of one output only; "
            "rename them, or fill them into folders of their own"
        )
    for path in inputs:
        if path.parent.resolve() == folder.resolve():
            raise ValueError(
                f"{folder} is the folder of the input {path.name}; pass another `output`"
            )
    return [
        Task(
            index,
            path.absolute(),
            folder.resolve() / _output_name(path.name),
            seed_of(seed, index),
            realizations,
        )
        for index, path in enumerate(inputs)
    ]


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stat_of(path: Path) -> list[int]:
    """Give size and time of the last change."""
    stat = os.stat(path)  # noqa: PTH116 - Path.stat would do the same
    return [stat.st_size, stat.st_mtime_ns]


def failure(task: Task, error: BaseException | str, seconds: float = 0.0) -> Record:
    """Record that a map could not be filled."""
    text = str(error)
    if isinstance(error, BaseException) and not (
        text and isinstance(error, ValueError | OSError | MemoryError)
    ):
        text = f"{type(error).__name__}: {text}"  # no message of ours: it needs its kind
    line = " ".join(text.split())
    return Record(
        "failed",
        task.name,
        task.index,
        task.seed,
        str(task.input),
        round(seconds, 2),
        line,
        converged=None,
    )


_Telling = Generator[NDArray[np.float64], None, dict[str, Any] | None]


def _skies(job: Job, task: Task, about: dict[str, Any]) -> Iterator[NDArray[np.float64]]:
    """Yield the skies of a job, and store what it returns."""
    about |= (yield from cast("_Telling", job(task))) or {}


def _spectra_of(sky: NDArray[np.float64]) -> tuple[list[float], dict[str, list[float]]]:
    """Give the spectra of a filled map for the manifest: of T, and of P."""
    if not np.all(np.isfinite(sky)):
        return [], {}
    rounded = {name: _rounded(cl) for name, cl in (binned_pol(sky) if sky.ndim > 1 else {}).items()}
    if len(sky) == 2:
        return [], rounded
    return _rounded(binned_cl(sky if sky.ndim == 1 else sky[0])), rounded


def _rounded(cl: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.6e}") for value in cl]


def fill_one(job: Job, task: Task) -> Record:
    """Fill one map, in any process; errors are stored in the record."""
    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        begun = time.perf_counter()
        try:
            stat = stat_of(task.input)
            sha256 = sha256_of(task.input)
            outputs = []
            nside = None
            about: dict[str, Any] = {}
            for path, sky in zip(task.outputs, _skies(job, task, about), strict=True):
                nside = nside_of(sky if sky.ndim == 1 else sky[0], str(task.input))
                outputs.append(Output(path.name, sha256_of(path), stat_of(path), *_spectra_of(sky)))
            record = Record(
                "done",
                task.name,
                task.index,
                task.seed,
                str(task.input),
                round(time.perf_counter() - begun, 2),
                nside=nside,
                input_sha256=sha256,
                input_stat=stat,
                outputs=outputs,
                about=about,
            )
        except Exception as error:  # noqa: BLE001 - no error may stop the other maps
            record = failure(task, error, time.perf_counter() - begun)
    if record.status == "done" and any(
        issubclass(one.category, ConvergenceWarning) for one in caught
    ):
        record = replace(record, converged=False)
    return replace(record, warnings=[" ".join(str(one.message).split()) for one in caught])
