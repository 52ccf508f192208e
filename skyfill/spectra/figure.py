"""Plot a comparison of spectra."""

from __future__ import annotations

from io import BytesIO
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from skyfill.files.atomic import atomic_write
from skyfill.lazy import needs
from skyfill.prior.multipoles import draw_multipoles
from skyfill.spectra.bandpowers import COUNTED, BandPowers
from skyfill.spectra.compared import ComparedSpectra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw", "save", "thumbnail"]

DARK = "#1f3b57"
FULL: dict[str, Any] = {"fmt": "o", "ms": 3.5, "lw": 1.0, "color": "#c1440e"}
CUT: dict[str, Any] = {"fmt": "s", "ms": 3.5, "lw": 1.0, "color": "#2a7f9e", "mfc": "white"}

#: Most ranges of ell with their χ² in the title: the width of the plot.
_TITLED = 3
#: What the error bars are: of a whole sky, of a filled one whose prior's share is known, of a cut
#: sky.
_BARS = "bars: cosmic variance and noise of a whole sky"
_BARS_FILLED = f"{_BARS},\nover 1 - prior's share"
_BARS_CUT = "bars: cosmic variance and noise of the cut sky"


def save(
    comparison: ComparedSpectra, path: str | PathLike[str], *, overwrite: bool = False
) -> None:
    """Save the plot as PDF or PNG, by the ending of the name."""
    needs("matplotlib")
    # without pyplot, which has global state and may need a display
    from matplotlib.figure import Figure

    kind = "pdf" if fspath(path).lower().endswith(".pdf") else "png"
    picture = Figure(figsize=(7.2, 5.6), layout="constrained")
    upper, lower = picture.subplots(2, sharex=True, height_ratios=[3, 1])
    draw(comparison, upper, lower)
    with atomic_write(path, overwrite) as temporary:
        picture.savefig(temporary, format=kind, dpi=160)


def thumbnail(comparison: ComparedSpectra) -> bytes:
    """Draw a small plot, PNG."""
    needs("matplotlib")
    from matplotlib.figure import Figure

    picture = Figure(figsize=(4.4, 3.2), layout="constrained")
    upper, lower = picture.subplots(2, sharex=True, height_ratios=[3, 1])
    draw(comparison, upper, lower, words=False)
    stream = BytesIO()
    picture.savefig(stream, format="png", dpi=90)
    return stream.getvalue()


def draw(comparison: ComparedSpectra, upper: Axes, lower: Axes, *, words: bool = True) -> None:
    """Plot D_ell with error bars on one pair of axes and residuals on the other.

    Error bars are those of a measurement: of the filled sky, they allow for the part that follows
    from the prior, if it is known.

    Bins whose error exceeds the whole theory appear in the residuals only.

    Parameters
    ----------
    comparison
        The spectra.
    upper, lower
        The axes.
    words
        Whether the legend says what the error bars are, and the title gives the χ².
    """
    every = np.arange(2, comparison.lmax + 1)
    theory = comparison.theory_dl[2:]
    count = comparison.realizations
    name = "filled sky" if count == 1 else f"filled sky, mean of {count}"
    bars_of = _BARS if comparison.full.prior_share is None else _BARS_FILLED
    shown = [(comparison.full, FULL, f"{name}\n{bars_of}", -1 if comparison.cut else 0)]
    if comparison.cut is not None:
        label = r"cut sky: pseudo-$C_\ell$, coupling corrected"
        shown.append((comparison.cut, CUT, f"{label}\n{_BARS_CUT}", 1))
    width = np.array([comparison.ell - comparison.ell_min, comparison.ell_max - comparison.ell])
    lower.axhspan(-1, 1, color=DARK, alpha=0.12, lw=0)
    lower.axhline(0, color=DARK, lw=1.2)
    upper.plot(every, theory, color=DARK, lw=1.2, label="theory")
    top, reach = float(theory.max()), 3.5
    for band, style, label, side in shown:
        # The points are shifted within the bin, so that they do not overlap.
        aside = side * np.maximum(0.12 * np.minimum(*width), 0.01 * comparison.ell)
        ell = comparison.ell + aside
        bars = np.maximum(width + np.array([[1], [-1]]) * aside, 0.0)
        told = _told(band, float(theory.max()))
        said = label if words else label.partition("\n")[0]
        upper.errorbar(
            ell[told], band.dl[told], band.dl_error[told], bars[:, told], label=said, **style
        )
        lower.errorbar(ell, band.residual, 1.0, bars, **style)
        top = max(top, float(np.max(band.dl[told], initial=0.0)))
        reach = max(reach, 1.1 * float(np.max(np.abs(band.residual))) + 1)
    upper.set_ylim(0, 1.15 * top)
    upper.set_ylabel(r"$D_\ell\ [\mu\mathrm{K}^2]$")
    upper.legend(frameon=False, fontsize=8)
    if words:
        upper.set_title(_title(comparison), fontsize=8)
    lower.set(ylim=(-reach, reach))
    lower.set_ylabel(r"(sky - theory) / $\sigma$" if words else r"$/\ \sigma$", fontsize=8)
    for axes in (upper, lower):
        draw_multipoles(axes, comparison.lmax, label=axes is lower)


def _title(comparison: ComparedSpectra) -> str:
    """Give the χ² of the ranges of ell with their probabilities to exceed, a line a sky."""
    lines = []
    for sky, tests in (("cut", comparison.cut_tests), ("filled", comparison.full_tests)):
        said = [
            rf"$\ell$ {test.ell_min}–{test.ell_max}: {test.chi2:.1f} / {test.bins} ({test.pte:.2g})"
            for test in tests[-_TITLED:]
        ]
        if said:
            lines.append(rf"{sky}, $\chi^2$ / bins (PTE): " + ",  ".join(said))
    if comparison.cut_tests:
        lines.append(COUNTED.replace("chi2", r"$\chi^2$"))
    return "\n".join(lines)


def _told(band: BandPowers, largest: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell which bins are worth plotting."""
    return np.isfinite(band.dl) & (band.dl_error < largest)
