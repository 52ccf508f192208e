"""Plot the spectra of T, E and B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from os import PathLike, fspath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skyfill.files.atomic import atomic_write
from skyfill.lazy import needs
from skyfill.prior.multipoles import draw_multipoles
from skyfill.spectra.bandpowers import COUNTED, RangeTest
from skyfill.spectra.figure import CUT, DARK, FULL
from skyfill.spectra.stokes import StokesPowers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Panel", "draw", "save", "thumbnail"]

#: What the error bars are.
_BARS = "bars: cosmic variance and noise, of a whole sky and of the cut sky"
_BARS_BB = "; those of the filled sky's BB over 1 - prior's share"
#: Bins are left out if their error is this many times the height of what else is shown.
_LOST = 3.0


@dataclass(frozen=True, eq=False)
class Panel:
    """What is shown of one spectrum."""

    name: str
    theory_dl: NDArray[np.float64]
    full: StokesPowers
    cut: StokesPowers | None
    tests: Mapping[str, RangeTest] = field(default_factory=dict)
    """By what is shown, the χ² of the last range of ell."""

    @property
    def title(self) -> str:
        """The name, and below it the χ² with their probabilities to exceed."""
        lines = [self.name]
        for sky, test in self.tests.items():
            lines.append(rf"{sky}: $\chi^2$ {test.chi2:.1f} / {test.bins}, PTE {test.pte:.2g}")
        return "\n".join(lines)


def save(
    panels: Sequence[Panel],
    ell: NDArray[np.float64],
    ell_min: NDArray[np.int64],
    ell_max: NDArray[np.int64],
    path: str | PathLike[str],
    *,
    overwrite: bool = False,
) -> None:
    """Save a panel of D_ell for each spectrum, three in a row, as PDF or PNG."""
    from matplotlib.figure import Figure  # without pyplot, which may need a display

    kind = "pdf" if fspath(path).lower().endswith(".pdf") else "png"
    rows = len(panels) // 3
    picture = Figure(figsize=(11.0, 3.1 * rows + 0.3), layout="constrained")
    draw(panels, ell, ell_min, ell_max, np.ravel(picture.subplots(rows, 3, sharex=True)).tolist())
    shared = any(panel.full.prior_share is not None for panel in panels)
    said = _BARS + (_BARS_BB if shared else "")
    counted = any(len(panel.tests) > 1 for panel in panels)
    picture.suptitle(
        said + ("\n" + COUNTED.replace("chi2", r"$\chi^2$") if counted else ""), fontsize=8
    )
    with atomic_write(path, overwrite) as temporary:
        picture.savefig(temporary, format=kind, dpi=160)


def thumbnail(
    panels: Sequence[Panel],
    ell: NDArray[np.float64],
    ell_min: NDArray[np.int64],
    ell_max: NDArray[np.int64],
) -> bytes:
    """Draw small panels, three in a row, PNG."""
    needs("matplotlib")
    from matplotlib.figure import Figure

    rows = len(panels) // 3
    picture = Figure(figsize=(9.0, 2.6 * rows), layout="constrained")
    draw(panels, ell, ell_min, ell_max, np.ravel(picture.subplots(rows, 3, sharex=True)).tolist())
    stream = BytesIO()
    picture.savefig(stream, format="png", dpi=70)
    return stream.getvalue()


def draw(
    panels: Sequence[Panel],
    ell: NDArray[np.float64],
    ell_min: NDArray[np.int64],
    ell_max: NDArray[np.int64],
    axes: Sequence[Axes],
) -> None:
    """Plot a panel of D_ell for each spectrum; the lowest three name the multipole."""
    width = np.array([ell - ell_min, ell_max - ell])
    for number, (panel, own) in enumerate(zip(panels, axes, strict=True)):
        _draw(panel, ell, width, own)
        draw_multipoles(own, int(ell_max[-1]), label=number >= len(panels) - 3)
    if len(panels) == 1:
        axes[0].legend(frameon=False, fontsize=8)
        return
    lines = axes[0].get_legend_handles_labels()  # below the panels, which it would cover
    axes[0].figure.legend(*lines, loc="outside lower center", ncols=3, frameon=False, fontsize=8)


def _draw(panel: Panel, ell: NDArray[np.float64], width: NDArray[np.float64], axes: Axes) -> None:
    """Plot one spectrum with its theory."""
    every = np.arange(2, panel.theory_dl.size)
    axes.plot(every, panel.theory_dl[2:], color=DARK, lw=1.2, label="theory")
    low, high = panel.theory_dl.min(), panel.theory_dl.max()
    shown = [(panel.full, FULL, "filled sky", -1 if panel.cut else 0)]
    if panel.cut is not None:
        shown.append((panel.cut, CUT, r"cut sky: pseudo-$C_\ell$, coupling corrected", 1))
    # Where the theory is zero (EB, TB) the smallest error sets the scale.
    errors = np.concatenate([band.dl_error for band, *_ in shown])
    errors = errors[np.isfinite(errors)]
    reach = max(high - low, 3 * float(np.median(errors)) if errors.size else 0.0)
    for band, style, label, side in shown:
        aside = side * np.maximum(0.12 * np.minimum(*width), 0.01 * ell)
        bars = np.maximum(width + np.array([[1], [-1]]) * aside, 0.0)
        told = np.isfinite(band.dl) & (band.dl_error < _LOST * reach)
        axes.errorbar(
            (ell + aside)[told],
            band.dl[told],
            band.dl_error[told],
            bars[:, told],
            label=label,
            **style,
        )
        low = min(low, float(np.min((band.dl - band.dl_error)[told], initial=0.0)))
        high = max(high, float(np.max((band.dl + band.dl_error)[told], initial=0.0)))
    room = 0.05 * (high - low) or 1.0
    axes.set_ylim(low - room, high + room)
    axes.set_title(panel.title, fontsize=9)
    axes.set_ylabel(r"$D_\ell\ [\mu\mathrm{K}^2]$")
