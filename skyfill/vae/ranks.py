"""Distribute training over processes started by `torchrun`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from skyfill.vae.filler import pick_device

__all__ = ["Ranks", "first_process", "joined"]


@dataclass(frozen=True)
class Ranks:
    """Rank of this process, and number of processes."""

    rank: int = 0
    number: int = 1

    def part(self, tensor: Tensor) -> Tensor:
        """Return this process's part of a batch."""
        size = len(tensor) // self.number
        return tensor[self.rank * size : (self.rank + 1) * size]

    def mean(self, value: Tensor) -> Tensor:
        """Compute the mean over the processes, in place; gradients are averaged in the same way."""
        if self.number > 1:
            distributed.all_reduce(value)
            value /= self.number
        return value

    def agree(self, stop: bool, device: torch.device) -> bool:
        """Return the first process's decision, so that all stop at the same step."""
        if self.number == 1:
            return stop
        flag = torch.tensor(float(stop), device=device)
        distributed.broadcast(flag, 0)
        return bool(flag)


def first_process() -> bool:
    """Return whether this process is the one that writes files."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the processes started by `torchrun`; without `torchrun`, use this process only."""
    if "WORLD_SIZE" not in os.environ:
        yield Ranks(), pick_device(device)
        return
    where = pick_device(device)
    if where.type == "cuda":
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    distributed.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size()), where
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
