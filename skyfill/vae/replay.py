"""Repeat the same work on other tensors: on CUDA recorded as a graph, and replayed from then on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["Replay"]

#: Runs before the recording: in these, libraries plan their transforms and allocate work space.
_BEFORE = 3


class Replay:
    """Work that consists of many short kernels, which take longer to launch than to run.

    Parameters
    ----------
    work
        Called with the given tensors. Recorded work must not wait for the device, nor copy from the
        host. What it keeps must be the same tensors in each run, changed in place.
    record
        Whether to record the work; else it is called each time.
    """

    def __init__(self, work: Callable[..., None], *, record: bool) -> None:
        self._work, self._record = work, record
        self._runs = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: Sequence[Tensor] = ()

    def __call__(self, *given: Tensor) -> None:
        """Do the work; tensors have the shapes of the first run."""
        if not self._record:
            self._work(*given)
        elif self._runs < _BEFORE:
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            here = torch.cuda.current_stream()
            side.wait_stream(here)
            with torch.cuda.stream(side):  # a recording runs on such a stream, too
                self._work(*given)
            here.wait_stream(side)
            self._runs += 1
        else:
            if self._graph is None:
                self._given = [each.clone() for each in given]
                self._graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graph):  # which records, and runs nothing
                    self._work(*self._given)
            for kept, new in zip(self._given, given, strict=True):
                kept.copy_(new)
            self._graph.replay()
