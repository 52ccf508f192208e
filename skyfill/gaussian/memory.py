"""Memory of an exact fill: one estimate, used by the plan and by the check before a solve."""

from __future__ import annotations

import math
import os
import warnings

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics

__all__ = [
    "block_bytes",
    "check_bytes",
    "check_joint_memory",
    "check_memory",
    "device_bytes",
    "fits",
    "has_device_memory",
    "has_joint_device_memory",
    "has_nested_device_memory",
    "is_solvable",
    "joint_bytes",
    "joint_device_bytes",
    "polish_bytes",
    "solve_bytes",
    "wide_bytes",
]

#: Bytes per map pixel and per hole pixel of a solve. Measured (docs/measured.md, "Memory") at Nside
#: 512 to 2048, with 1% to 55% of the sky in holes.
_SOLVE = (82.0, 165.0)
#: The same of a solve while its blocks are computed.
_MAKING = (66.0, 66.0)
#: The same of polish of small holes, measured up to Nside 4096.
_POLISH = (33.0, 16.0)
#: The same for polish of wide holes, measured at Nside 1024 and 2048 with 5% to 57% in holes.
_WIDE = (32.0, 140.0)
#: Bytes per map pixel and per hole pixel of a solve on a device, beside its transforms (measured at
#: Nside 512 and 2048 on an H100), and with the map, the masks and a fill that stay there.
_DEVICE = (102.0, 126.0)
#: Bytes of all blocks on a device over the sum of n²: padded, in float32.
_INVERSES = 5.5
#: Bytes of the blocks that are inverted at a time there.
_GROUP = 4e9
#: Bytes per element of a map and per element of the holes in a joint solve: measured at Nside 128
#: and 256, of T, Q and U and of Q and U alone, with 5% and 42% in holes.
_JOINT = (72.0, 110.0)
#: Bytes per pixel, and per square of lmax, of a `NestedSolver`, its data and its fill on a device.
_NESTED = (110.0, 160.0)
#: Number of sets of alm in a solve, those up to 3 Nside not counted (measured at Nside 512, with
#: lmax of 2 and of 4.3 Nside).
_ALMS = 4.6
#: Bytes of a solve that do not depend on the map.
_FIXED = 0.06e9
#: Bytes of a block of n hole pixels over n².
_BLOCK = 2.0
#: The same of the largest block while it is computed.
_LARGEST = 10.0
#: A fill is refused if this factor times the estimate exceeds the machine's memory. The margin is
#: for the program, for errors of the estimate and for the operating system.
_MARGIN = 1.25


def solve_bytes(nside: int, holes: int, blocks: NDArray[np.int64]) -> float:
    """Estimate the peak memory of a solve, bytes, without the program itself.

    Parameters
    ----------
    nside
        Nside of the map.
    holes
        Number of hole pixels.
    blocks
        ``(n,)``, number of pixels of each hole with a block, see
        `skyfill.gaussian.blocks.affordable`.
    """
    solve, making = (pixel * 12 * nside**2 + hole * holes for pixel, hole in (_SOLVE, _MAKING))
    kept, largest = block_bytes(blocks)
    return _FIXED + kept + max(solve, making + largest)


def polish_bytes(nside: int, holes: int, blocks: NDArray[np.int64]) -> float:
    """Estimate the peak memory of polish of small holes only, bytes; see `solve_bytes`."""
    return _POLISH[0] * 12 * nside**2 + _POLISH[1] * holes + sum(block_bytes(blocks))


def wide_bytes(nside: int, holes: int, blocks: NDArray[np.int64]) -> float:
    """Estimate the peak memory of polish of wide holes only, bytes; see `solve_bytes`."""
    return _WIDE[0] * 12 * nside**2 + _WIDE[1] * holes + sum(block_bytes(blocks))


def device_bytes(nside: int, holes: int, blocks: NDArray[np.int64], transforms: float) -> float:
    """Estimate the peak memory of a solve on a device, bytes.

    Parameters
    ----------
    nside, holes, blocks
        As for `solve_bytes`.
    transforms
        Memory of the transforms, bytes.
    """
    n = blocks.astype(np.float64)
    vectors = _DEVICE[0] * 12 * nside**2 + _DEVICE[1] * holes
    largest = 8.0 * 6 * float(n.max(initial=0.0)) ** 2
    making = max(min(_GROUP, 8.0 * 6 * float(n @ n)), largest)
    return transforms + _INVERSES * float(n @ n) + max(vectors, making)


def has_device_memory(
    device: str, nside: int, holes: int, blocks: NDArray[np.int64], lmax: int
) -> bool:
    """Tell whether a device has the memory for a solve; if not, warn that the CPU solves.

    Parameters
    ----------
    device
        Torch device.
    nside, holes, blocks
        As for `solve_bytes`.
    lmax
        Largest multipole of the transforms.
    """
    transforms, free = harmonics.device_memory(device, nside, lmax)
    need = device_bytes(nside, holes, blocks, transforms)
    if need > free:
        warnings.warn(
            f"the exact fill of {holes} pixels at Nside {nside} needs {need / 1e9:.1f} GB on"
            f" {device}, and {free / 1e9:.1f} GB are free there: it runs on the CPU",
            stacklevel=3,
        )
    return need <= free


def joint_device_bytes(
    nside: int,
    components: int,
    holes: int,
    blocks: NDArray[np.int64],
    transforms: float,
    *,
    lmax: int = 0,
) -> float:
    """Estimate the peak memory of a joint solve on a device, bytes.

    ``transforms`` are the bytes of its transforms; the other arguments are as for `joint_bytes`.
    """
    n = blocks.astype(np.float64)
    making = max(min(_GROUP, 8.0 * 20 * float(n @ n)), 8.0 * 20 * float(n.max(initial=0.0)) ** 2)
    vectors = joint_bytes(nside, components, holes, np.empty(0, np.int64), lmax=lmax)
    return transforms + _INVERSES * float(n @ n) + max(vectors, making)


def has_joint_device_memory(
    device: str,
    nside: int,
    components: int,
    holes: int,
    blocks: NDArray[np.int64],
    lmax: int,
) -> bool:
    """Tell whether a device has the memory for a joint solve; if not, warn that the CPU solves.

    ``components``, ``holes`` and ``blocks`` are as for `joint_bytes`.
    """
    transforms, free = harmonics.device_memory(device, nside, lmax, spin2=True)
    need = joint_device_bytes(nside, components, holes, blocks, transforms, lmax=lmax)
    if need > free:
        warnings.warn(
            f"the joint fill of {holes} values at Nside {nside} needs {need / 1e9:.1f} GB on"
            f" {device}, and {free / 1e9:.1f} GB are free there: it runs on the CPU",
            stacklevel=4,
        )
    return need <= free


def has_nested_device_memory(device: str, nside: int, lmax: int) -> bool:
    """Tell whether a device has the memory for a `NestedSolver`; if not, warn that the CPU solves.

    ``lmax`` is the largest multipole of the signal.
    """
    transforms, free = harmonics.device_memory(device, nside, lmax, spin2=True)
    need = transforms + _NESTED[0] * 12 * nside**2 + _NESTED[1] * (lmax + 1) ** 2
    if need > free:
        warnings.warn(
            f"the fill of Q and U at Nside {nside} needs {need / 1e9:.1f} GB on {device}, and"
            f" {free / 1e9:.1f} GB are free there: it runs on the CPU",
            stacklevel=3,
        )
    return need <= free


def block_bytes(blocks: NDArray[np.int64]) -> tuple[float, float]:
    """Return the memory of all blocks, and of the largest while it is computed, bytes."""
    n = blocks.astype(np.float64)
    return _BLOCK * float(n @ n), _LARGEST * float(n.max(initial=0.0)) ** 2


def check_memory(
    nside: int, holes: int, blocks: NDArray[np.int64], *, only: str | None, lmax: int = 0
) -> None:
    """Refuse a fill for which the machine has too little memory; lmax is that of the signal.

    Without this check the operating system would kill the process, perhaps after hours.

    Raises
    ------
    MemoryError
        The machine has less memory than 1.25 times the estimate.
    """
    law = {None: solve_bytes, "small": polish_bytes, "wide": wide_bytes}[only]
    beyond = 8.0 * _ALMS * max(lmax**2 - (3 * nside) ** 2, 0)
    check_bytes(law(nside, holes, blocks) + beyond, nside, holes)


def is_solvable(nside: int, holes: int, blocks: NDArray[np.int64]) -> bool:
    """Return whether `check_memory` accepts an exact fill on this machine; see `solve_bytes`."""
    return _MARGIN * solve_bytes(nside, holes, blocks) <= _machine_memory()


def joint_bytes(
    nside: int, components: int, holes: int, blocks: NDArray[np.int64], *, lmax: int = 0
) -> float:
    """Estimate the peak memory of a joint solve, bytes, without the program itself.

    Parameters
    ----------
    nside
        Nside of the map.
    components
        Number of Stokes parameters.
    holes
        Number of hole pixels, those of Q and of U counted apart.
    blocks
        ``(n,)``, number of elements of each hole with a block: twice its pixels for Q and U.
    lmax
        Largest multipole of the signal. Two sets of alm of each component are counted beyond
        3 Nside.
    """
    kept, largest = block_bytes(blocks)
    beyond = 16.0 * components * max(lmax**2 - (3 * nside) ** 2, 0)
    vectors = _JOINT[0] * 12 * nside**2 * components + _JOINT[1] * holes
    return _FIXED + kept + largest + vectors + beyond


def check_joint_memory(
    nside: int, components: int, holes: int, blocks: NDArray[np.int64], *, lmax: int = 0
) -> None:
    """Refuse a joint fill as `check_memory` does, see `joint_bytes`."""
    need = joint_bytes(nside, components, holes, blocks, lmax=lmax)
    check_bytes(need, nside, holes, instead="lower the resolution")


def check_bytes(
    need: float,
    nside: int,
    holes: int,
    *,
    fill: str = "an exact fill",
    instead: str = "use `method='vae'`, or lower the resolution",
) -> None:
    """Refuse a fill that needs so many bytes if the machine has fewer.

    Parameters
    ----------
    need
        Estimated peak memory, bytes.
    nside, holes
        Nside of the map, and its number of hole pixels.
    fill, instead
        What needs the memory, and what to do where there is too little.

    Raises
    ------
    MemoryError
        The machine has less memory than 1.25 times the estimate.
    """
    need *= _MARGIN
    have = _machine_memory()
    if need > have:
        raise MemoryError(
            f"{fill} of {holes} pixels at Nside {nside} takes up to {need / 2**30:.0f} GiB, "
            f"this machine has {have / 2**30:.0f}: {instead}"
        )


def fits(nside: int, holes: int) -> bool:
    """Return whether this machine has the memory to polish this map, not counting blocks."""
    return _MARGIN * polish_bytes(nside, holes, np.empty(0, np.int64)) <= _machine_memory()


def _machine_memory() -> float:
    """Return the machine's memory, bytes; infinite if the system does not report it."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf
