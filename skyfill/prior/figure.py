"""Plot the spectrum of an observed sky over that of a prior, with its parts and the residuals."""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skyfill.files.atomic import atomic_write
from skyfill.lazy import needs
from skyfill.prior.model import Prior
from skyfill.prior.multipoles import draw_multipoles
from skyfill.prior.pseudospectrum import Pseudo

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_fit", "save_fit"]

Map = NDArray[np.float64]

_POINTS: dict[str, Any] = {"fmt": "o", "ms": 3.0, "lw": 1.0, "color": "#c1440e"}
_MODEL = "#1f3b57"
#: Names, colours and line styles of the parts of a prior, in the order of `Pseudo.parts`.
_PARTS = {
    "sky": ("#2a7f9e", "-"),
    "noise": ("#777777", "--"),
    "free part": ("#8a6d00", ":"),
}


def save_fit(
    path: str | PathLike[str], measured: Pseudo, prior: Prior, *, overwrite: bool = False
) -> None:
    """Save the plot as PDF or PNG, by the ending of the name.

    Parameters
    ----------
    path
        The file to write.
    measured
        The binned spectrum of the observed sky, from `skyfill.prior.assess`.
    prior
        The prior.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    OSError
        The file exists already or cannot be written.
    """
    needs("matplotlib")
    # without pyplot, which has global state and may need a display
    from matplotlib.figure import Figure

    kind = "pdf" if fspath(path).lower().endswith(".pdf") else "png"
    picture = Figure(figsize=(7.2, 5.2), layout="constrained")
    upper, lower = picture.subplots(2, sharex=True, height_ratios=[3, 1])
    draw_fit(measured, prior, upper, lower)
    with atomic_write(path, overwrite) as temporary:
        picture.savefig(temporary, format=kind, dpi=160)


def draw_fit(measured: Pseudo, prior: Prior, upper: Axes, lower: Axes) -> None:
    """Plot the pseudo-spectrum and what the prior expects of it; below, the residuals.

    Both are divided by the mean square of the window. What the mask and the pixels do to the
    spectrum, leakage and aliasing, is in both, so that they may be compared bin by bin.
    """
    first, last = measured.edges[:-1], measured.edges[1:] - 1
    ell = np.sqrt(first * np.maximum(last, first).astype(float))
    scale = ell * (ell + 1) / (2 * np.pi) / measured.white
    expected = measured.expected(prior)
    bars = np.array([ell - first, last - ell])
    error = expected * np.sqrt(2 / np.maximum(measured.freedom, 1e-9))
    told = error < expected  # bins that the mask has filled from elsewhere tell nothing
    upper.errorbar(
        ell[told],
        (scale * measured.data)[told],
        (scale * error)[told],
        bars[:, told],
        label="observed sky: pseudo-$C_\\ell$ over the mean square of the mask\n"
        "bars: scatter of skies drawn from the prior",
        **_POINTS,
    )
    upper.plot(ell, scale * expected, color=_MODEL, lw=1.4, label="prior")
    for name, part in measured.parts(prior).items():
        if part.any():
            colour, line = _PARTS[name]
            upper.plot(ell, scale * part, color=colour, ls=line, lw=1.0, label=name)
    residual = (measured.data - expected) / error
    lower.axhspan(-1, 1, color=_MODEL, alpha=0.12, lw=0)
    lower.axhline(0, color=_MODEL, lw=1.2)
    lower.errorbar(ell, residual, None, bars, **_POINTS)
    high = float(np.max(scale * np.maximum(measured.data, expected)))
    low = float(np.min(scale * np.minimum(measured.data, expected)))
    upper.set(yscale="log", ylim=(max(low / 2, 1e-6 * high), 2 * high))
    upper.set_ylabel(r"$D_\ell$ on the map $[\mu\mathrm{K}^2]$")
    upper.legend(frameon=False, fontsize=8)
    if prior.quality is not None:
        fit = prior.quality
        upper.set_title(
            rf"$\chi^2$ {fit.chi2:.1f} / {fit.freedom} degrees of freedom, PTE {fit.pte:.2g}",
            fontsize=9,
        )
    reach = max(3.5, 1.1 * float(np.max(np.abs(residual))))
    lower.set(ylim=(-reach, reach))
    lower.set_ylabel(r"(sky - prior) / $\sigma$", fontsize=8)
    for axes in (upper, lower):
        draw_multipoles(axes, int(last[-1]), label=axes is lower)
