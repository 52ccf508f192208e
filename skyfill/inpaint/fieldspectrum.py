"""Fit the spectrum of a field with holes, by filling them.

Power of the largest scales leaks through a mask to the smallest ones. Where a spectrum is steep, it
covers them, and the fit to the observed part alone is too high there. Nothing leaks on a whole sky.
So the holes are filled with a posterior draw for the fitted spectrum, a spectrum is fitted to that
sky, and so on until it changes little: expectation-maximisation (Dempster, Laird & Rubin 1977) with
a draw for the expectation (Celeux & Diebolt 1985).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skyfill.inpaint.inpainter import Inpainter
from skyfill.prior import ARCMIN, Given, Prior, assess
from skyfill.prior.dipole import Dipole

__all__ = ["fitted_spectrum"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Share of the modes with power of their own from which on leakage does not matter.
_OWN = 0.5
#: Largest number of fills.
_FILLS = 5
#: Rms change of the logarithm of C_l at which they end. Another draw changes it by half of this.
_CHANGE = 0.1
#: Noise in units of the field below which decorrelated pixels tell nothing.
_CLEAN = 0.03
#: Last multipole that is fitted to fills, in units of Nside.
_REACH = 2


def fitted_spectrum(
    data: Map,
    seen: Mask,
    rms: float,
    inpaint: Callable[[Prior], Inpainter],
    *,
    threads: int,
) -> Prior:
    """Fit a spectrum of free form to a field.

    The fits take the noise that the data have: with more, the spectrum would be too low.

    Parameters
    ----------
    data
        ``(npix,)``, µK, RING. Unobserved pixels are not read.
    seen
        ``(npix,)``, RING, True where observed.
    rms
        Standard deviation of the noise in a pixel, µK.
    inpaint
        Prepares the fill of the data, without noise in the holes, with a prior whose noise is that
        of the data.
    threads
        Threads of the transforms.

    Returns
    -------
    The prior, with the noise of the data; ``quality`` is that of the observed part.
    """
    pixel = math.sqrt(4 * math.pi / data.size) / ARCMIN
    bare = np.where(seen, data, 0.0)
    bare -= np.where(seen, Dipole(seen, threads=threads).of(bare), 0.0)
    found = Given(cl="map", noise_uk_arcmin=rms * pixel).fitted_to(bare, seen, threads=threads)
    last = _REACH * found.nside + 1
    # There steps of a fill at the edges of holes would be taken for power of the field.
    beyond = found.cl[last:] / found.cl[last - 1]
    leaks = found.quality is not None and found.quality.known < _OWN and not seen.all()
    for _ in range(_FILLS if leaks else 0):
        before = found.signal_cl()
        with warnings.catch_warnings():  # of a guess: the fill itself is judged
            warnings.simplefilter("ignore")
            filler = inpaint(found)
            sky = filler.whole(filler.realization())
        whole = np.isfinite(sky)
        noise = rms * pixel * math.sqrt(np.mean(seen) / np.mean(whole))  # there is none in holes
        found = Given(cl="map", noise_uk_arcmin=noise).of_map(sky, whole, threads=threads)
        cl = found.cl[:last]
        found = replace(found, cl=np.concatenate([cl, cl[-1] * beyond]))
        change = np.log(found.signal_cl()[2:last] / before[2:last])
        if math.sqrt(np.mean(change**2)) < _CHANGE:
            break
    found = replace(found, noise_uk_arcmin=rms * pixel, quality=None)
    _, quality = assess(bare, seen, found, threads=threads)
    # Patches differ, since the noise of g does. Without noise decorrelated pixels of a smooth field
    # are rounding errors.
    whitened = quality.whitened if rms >= _CLEAN * float(np.std(bare[seen])) else None
    quality = replace(quality, whitened=whitened, varies=None, beams=None)
    return replace(found, quality=quality)
