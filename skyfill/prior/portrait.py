"""A small picture of spectra, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from skyfill.lazy import needs

__all__ = ["draw_spectra"]

#: Colours of the lines, in the order of the spectra.
_COLOURS = ("#2a7f9e", "#777777", "#8a6d00")
#: Smallest value shown, in units of the largest.
_LEAST = 1e-5


def draw_spectra(spectra: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Draw D_l of some spectra, PNG.

    Parameters
    ----------
    spectra
        Names, and C_l from l = 0, ``(lmax + 1,)``, µK².
    """
    needs("matplotlib")
    # without pyplot, which has global state and may need a display
    from matplotlib.figure import Figure

    picture = Figure(figsize=(3.2, 1.8), layout="constrained")
    axes = picture.subplots()
    top = 0.0
    for colour, (name, cl) in zip(_COLOURS, spectra.items(), strict=False):
        ell = np.arange(2, cl.size)
        dl = ell * (ell + 1) / (2 * np.pi) * cl[2:]
        if dl.size and dl.max() > 0:
            axes.plot(ell, dl, color=colour, lw=1.2, label=name)
            top = max(top, float(dl.max()))
    if top > 0:
        axes.set(xscale="log", yscale="log", ylim=(_LEAST * top, 3 * top))
        axes.legend(frameon=False, fontsize=7)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.xaxis.set_minor_formatter("")
    axes.set_xlabel(r"$\ell$", fontsize=8)
    axes.set_ylabel(r"$D_\ell\ [\mu\mathrm{K}^2]$", fontsize=8)
    axes.tick_params(labelsize=7)
    stream = BytesIO()
    picture.savefig(stream, format="png", dpi=100)
    return stream.getvalue()
