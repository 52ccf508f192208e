"""The choice of a method by itself: ``auto`` becomes ``gaussian`` or ``vae``.

The exact solver is preferred where it takes no longer than ``vae`` (docs/measured.md, "Which
method"), or where ``vae`` cannot be used.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.gaussian.blocks import affordable
from skyfill.gaussian.local import local_bytes, worthwhile
from skyfill.gaussian.memory import (
    device_bytes,
    is_solvable,
    joint_bytes,
    joint_device_bytes,
    solve_bytes,
)
from skyfill.harmonics import device_for, device_memory
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes.runs import Runs
from skyfill.inpaint.fills import PROGRAM
from skyfill.inpaint.jointmean import joint_size
from skyfill.inpaint.options import AUTO, FillOptions

__all__ = ["Choice", "choose_at", "choose_method", "choose_stokes"]

Sizes = NDArray[np.int64]

#: Largest Nside at which an exact solve on the CPU takes no longer than ``vae``.
_AS_QUICK = 512
#: Largest multipole of the transforms in units of Nside, for their memory on a device.
_LMAX = 4
_LOG = logging.getLogger("skyfill")


@dataclass(frozen=True)
class Choice:
    """A method, and why it was chosen."""

    __repr__ = brief

    method: str
    """``gaussian`` or ``vae``; the given method if one is given."""
    reason: str | None
    """The reason in a few words; None if the method was given."""

    def applied(self, options: FillOptions) -> FillOptions:
        """Return the options with the chosen method."""
        return options if self.reason is None else replace(options, method=self.method)

    def __str__(self) -> str:
        return self.method if self.reason is None else f"{self.method}: {self.reason}"


def choose_method(
    options: FillOptions,
    observed: ArrayLike,
    *,
    mapped: bool = False,
    limit: float | None = None,
) -> Choice:
    """Choose the method of a fill whose options leave it open (``auto``).

    Parameters
    ----------
    options
        How the map is filled. Options that only one of the two methods has decide first:
        ``polish``, ``weights``, ``network``, ``refine`` and ``config`` choose ``vae``,
        ``tolerance`` chooses ``gaussian``.
    observed
        ``(npix,)``, RING, True where observed: the exact solver's memory depends on the holes.
    mapped
        Whether a noise map is given. ``vae`` then ends with an exact solve and is not quicker.
    limit
        Limit of memory, bytes; if not given, that of the machine.

    Examples
    --------
    >>> import numpy as np
    >>> from skyfill.inpaint import FillOptions, choose_method
    >>> observed = np.arange(12 * 16**2) > 100
    >>> print(choose_method(FillOptions(device="cpu"), observed))
    gaussian: exact, and no slower than vae up to Nside 512
    """
    if options.method != AUTO:
        return Choice(options.method, None)
    observed = as_mask(observed, taker="inpaint.choose_method")
    nside, sizes = nside_of(observed, "observed"), Runs.of(observed, False).regions[1]
    choice = choose_at(options, nside, sizes, mapped=mapped, limit=limit)
    _LOG.info("method %s", choice)
    return choice


def choose_at(
    options: FillOptions,
    nside: int,
    sizes: Sizes | None = None,
    *,
    mapped: bool = False,
    limit: float | None = None,
) -> Choice:
    """Choose as `choose_method` does, by Nside and the sizes of the holes, ``(n,)``, if known."""
    if options.method != AUTO:
        return Choice(options.method, None)
    sizes = np.empty(0, np.int64) if sizes is None else sizes
    return Choice(*_chosen(options, nside, sizes, mapped=mapped, limit=limit))


def choose_stokes(
    options: FillOptions,
    observed: Mapping[str, ArrayLike],
    *,
    mapped: bool = False,
    limit: float | None = None,
) -> Choice:
    """Choose as `choose_method` does for a fill of T, Q and U, or of Q and U.

    Parameters
    ----------
    options
        As for `choose_method`; ``vae`` does not fill Q and U alone.
    observed
        Of ``T`` and of ``P``, or of ``P``, ``(npix,)``, RING, True where observed.
    mapped
        Whether a noise of each pixel is given, which ``vae`` does not take with Q and U.
    limit
        Limit of memory, bytes; if not given, that of the machine.

    Examples
    --------
    >>> import numpy as np
    >>> from skyfill.inpaint import FillOptions, choose_stokes
    >>> observed = np.arange(12 * 16**2) > 100
    >>> print(choose_stokes(FillOptions(device="cpu"), {"T": observed, "P": observed}))
    gaussian: exact for T, Q and U, and no slower than vae up to Nside 512
    """
    if options.method != AUTO:
        return Choice(options.method, None)
    seen = {name: as_mask(each, taker="inpaint.choose_stokes") for name, each in observed.items()}
    choice = Choice(*_chosen_of_stokes(options, seen, mapped=mapped, limit=limit))
    _LOG.info("method %s", choice)
    return choice


def _implied(options: FillOptions) -> tuple[str, str] | None:
    """Return the only method that the options or the installation allow, and why; else None."""
    usual = FillOptions()
    for name in ("polish", "weights", "network", "refine", "config"):
        if getattr(options, name) != getattr(usual, name):
            return "vae", f"{name} is an option of vae"
    if options.tolerance != usual.tolerance:
        return "gaussian", "a tolerance is given for the exact solver"
    if find_spec("torch") is None:
        return "gaussian", "vae needs torch, which is not installed"
    return None


def _chosen(
    options: FillOptions, nside: int, sizes: Sizes, *, mapped: bool, limit: float | None
) -> tuple[str, str]:
    """Return the method, and the reason in at most 68 characters, as many as a header card has."""
    implied = _implied(options)
    if implied is not None:
        return implied
    if worthwhile(nside, sizes) and (limit is None or PROGRAM + local_bytes(sizes) <= limit):
        return "gaussian", "few small holes, each filled from the pixels around it"
    blocks = sizes[affordable(sizes, nside=nside)]
    holes = int(sizes.sum())
    device = device_for(options.device)
    if device is not None and limit is None:
        transforms, free = device_memory(device, nside, _LMAX * nside)
        if device_bytes(nside, holes, blocks, transforms) <= free:
            return "gaussian", f"the exact solver is quick on {device}"
    need = PROGRAM + solve_bytes(nside, holes, blocks)
    if limit is not None and need > limit:
        return "vae", f"the exact solver takes {need / 2**30:.1f} GiB, above the memory limit"
    if not is_solvable(nside, holes, blocks):
        return "vae", f"the exact solver takes {need / 2**30:.0f} GiB, too much for this machine"
    if nside <= _AS_QUICK:
        return "gaussian", f"exact, and no slower than vae up to Nside {_AS_QUICK}"
    if mapped:
        return "gaussian", "exact; with a noise map vae is no quicker"
    return "vae", f"quicker than the exact solver beyond Nside {_AS_QUICK} on a CPU"


def _chosen_of_stokes(
    options: FillOptions,
    seen: Mapping[str, NDArray[np.bool_]],
    *,
    mapped: bool,
    limit: float | None,
) -> tuple[str, str]:
    """Return the method of T, Q and U, or of Q and U, and the reason, as `_chosen` does."""
    if "T" not in seen:
        return "gaussian", "vae does not fill Q and U alone"
    implied = _implied(options)
    if implied is not None:
        return implied
    if mapped:
        return "gaussian", "vae takes no noise map with Q and U"
    nside = nside_of(seen["P"], "observed")
    size = joint_size({name: Runs.of(each, False).regions[1] for name, each in seen.items()})
    need = PROGRAM + joint_bytes(nside, *size)
    if limit is not None and need > limit:
        return "vae", f"the exact solver takes {need / 2**30:.1f} GiB, above the memory limit"
    if nside <= _AS_QUICK:
        return "gaussian", f"exact for T, Q and U, and no slower than vae up to Nside {_AS_QUICK}"
    device = device_for(options.device)
    if device is not None:
        transforms, free = device_memory(device, nside, _LMAX * nside, spin2=True)
        if joint_device_bytes(nside, *size, transforms, lmax=_LMAX * nside) <= free:
            return "gaussian", f"the exact solver is quick on {device}"
    return "vae", f"quicker than the exact solver beyond Nside {_AS_QUICK} on a CPU"
