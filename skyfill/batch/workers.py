"""Run the tasks of a batch: in this process, in several, or on a Dask cluster."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from skyfill.batch.task import Job, Record, Task, failure, fill_one

__all__ = ["Cluster", "Crew", "Here", "Processes", "fill_all"]


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Crew(Protocol):
    """A crew that fills maps."""

    @property
    def ahead(self) -> int:
        """Number of maps submitted at once."""

    def hire(self) -> Executor:
        """Start the workers."""

    def dismiss(self) -> None:
        """Stop the workers at once."""


def fill_all(tasks: Sequence[Task], job: Job, crew: Crew) -> Generator[Record]:
    """Fill maps, and yield the record of each as soon as it is done.

    A failed map does not stop the others. If the process of a map dies, the map is filled again
    after the others, alone; if the process dies again, the map has failed. Closing the generator
    stops the work at once.

    Warns
    -----
    UserWarning
        A process has died, and its map will be filled again.
    """
    try:
        died = yield from _fill(tasks, job, crew)
        if died:
            for task in (yield from _fill(died, job, crew, again=True)):
                yield failure(
                    task,
                    "its process died twice, the second time with no other map in work; there may "
                    "be too little memory",
                )
    finally:
        crew.dismiss()


def _fill(
    tasks: Sequence[Task], job: Job, crew: Crew, *, again: bool = False
) -> Generator[Record, None, list[Task]]:
    """Fill maps, the second time one by one; return those whose process died."""
    ahead = 1 if again else crew.ahead
    waiting = deque(tasks)
    running: dict[Future[Record], Task] = {}
    died: list[Task] = []
    executor = crew.hire()
    finished = False
    try:
        while waiting or running:
            while waiting and len(running) < ahead:
                task = waiting.popleft()
                running[executor.submit(fill_one, job, task)] = task
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                try:
                    record = future.result()
                except BrokenExecutor:
                    died.append(task)
                    if not again:
                        _warn_of_death(task)
                    continue
                except Exception as error:  # noqa: BLE001 - a cluster has many ways to fail
                    record = failure(task, error)
                yield record
        finished = True
    finally:
        executor.shutdown(wait=finished)
    return died


class Here:
    """Fill in this process, one map after the other."""

    ahead = 1

    def hire(self) -> Executor:
        """Give an executor that runs each call immediately."""
        return _Direct()

    def dismiss(self) -> None:
        """Do nothing: the exception has already stopped the work."""


class _Direct(Executor):
    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        future: Future[Result] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class _Pool(ProcessPoolExecutor):
    """Start processes that ignore Ctrl-C from the beginning."""

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        if not hasattr(signal, "pthread_sigmask"):
            return super().submit(fn, *args, **kwargs)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Pools(Executor):
    """Processes in pools of one, so that a dying process breaks only its own pool."""

    def __init__(self, make: Callable[[int], ProcessPoolExecutor]) -> None:
        self._make = make
        self._pools: list[ProcessPoolExecutor] = []
        self._last: list[Future[Any]] = []

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Submit work to the first idle process, or to a new one."""
        k = next((k for k, last in enumerate(self._last) if last.done()), len(self._last))
        if k == len(self._pools):
            self._pools.append(self._make(k))
        try:
            future = self._pools[k].submit(fn, *args, **kwargs)
        except BrokenExecutor:  # by what it did last
            self._pools[k].shutdown(wait=False)
            self._pools[k] = self._make(k)
            future = self._pools[k].submit(fn, *args, **kwargs)
        self._last[k:] = [future, *self._last[k + 1 :]]
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut all processes down at the same time, since each takes a moment."""

        def end(pool: Executor) -> None:
            pool.shutdown(wait, cancel_futures=cancel_futures)

        with ThreadPoolExecutor() as threads:
            threads.map(end, self._pools)


class Processes:
    """Several processes on this machine, each with its own GPU if there are enough.

    They inherit the environment of this process, which sets the numbers of threads.
    """

    def __init__(self, workers: int) -> None:
        self.ahead = workers
        self._context = multiprocessing.get_context("spawn")  # threads of libraries do not fork
        self._others: set[BaseProcess] = set()

    def hire(self) -> Executor:
        """Start the processes, one by one as there is work."""
        self._others = set(multiprocessing.active_children())
        devices = _devices()

        def make(k: int) -> ProcessPoolExecutor:
            device = devices[k % len(devices)] if devices else None
            return _Pool(1, self._context, initializer=_serve, initargs=(device,))

        return _Pools(make)

    def dismiss(self) -> None:
        """Kill them."""
        mine = set(multiprocessing.active_children()) - self._others
        for process in mine:
            process.kill()
        for process in mine:
            process.join()


class Cluster:
    """A Dask cluster that runs already.

    Parameters
    ----------
    address
        Address of the scheduler, or the scheduler file with its address.

    Raises
    ------
    ValueError
        dask.distributed is not installed, or the address cannot be one.
    OSError
        No scheduler answers.
    """

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError:
            raise ValueError(
                'a Dask cluster needs dask.distributed: pip install "skyfill[cluster]"'
            ) from None
        place = _address_in(Path(address)) if Path(address).is_file() else address
        try:  # with a wrong address, closing the client would hang for a minute
            distributed.comm.get_address_host_port(place)
        except ValueError as error:
            raise ValueError(
                f"{address} is neither the address of a Dask scheduler (tcp://host:8786) nor a "
                f"file that one has written: {error}"
            ) from None
        try:
            self._client = distributed.Client(place, set_as_default=False)
        except OSError as error:
            raise OSError(f"no Dask scheduler answers at {address}: {error}") from None
        self.ahead = 1_000_000  # the scheduler keeps them

    def hire(self) -> Executor:
        """Give the cluster as an executor."""
        executor: Executor = self._client.get_executor(pure=False)
        return executor

    def dismiss(self) -> None:
        """Disconnect; the cluster drops tasks that have not begun."""
        self._client.close()


def _address_in(path: Path) -> str:
    """Read a scheduler file."""
    try:
        return str(json.loads(path.read_text())["address"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path} is no scheduler file of Dask; give the one that dask scheduler has written "
            "(its option scheduler-file)"
        ) from None


def _warn_of_death(task: Task) -> None:
    warnings.warn(
        f"the process that was at {task.name} died, for want of memory perhaps; the map is filled "
        "again after the others, with nothing beside it",
        stacklevel=2,
    )


def _serve(device: str | None) -> None:
    """Prepare a process: it ends with its parent and uses its own GPU."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be held back
    threading.Thread(target=_follow, daemon=True).start()
    if device is not None:  # must be set before torch is loaded
        os.environ["CUDA_VISIBLE_DEVICES"] = device


def _follow() -> None:
    """End this process when its parent ends; otherwise processes of a pool would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _devices() -> list[str]:
    """Name the GPUs of this machine."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name]
    folder = Path("/proc/driver/nvidia/gpus")
    return [str(i) for i, _ in enumerate(folder.iterdir())] if folder.is_dir() else []
