"""Tell how much of a filled spectrum follows from the prior: α in words and as a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.report.findings import Finding
from skyfill.report.page import Plate
from skyfill.report.plates import canvas, png_of, share_stairs
from skyfill.spectra import StokesComparison

__all__ = ["PriorShare", "prior_share_of_bb", "prior_share_of_bins", "share_findings"]


@dataclass(frozen=True, eq=False)
class PriorShare:
    """The share α of each bin that follows from the prior, or why it is not known.

    Attributes
    ----------
    values
        ``(nbin,)``, 0 to 1; None if it is not known.
    edges
        ``(nbin + 1,)``: the first ell of each bin, then one past the last.
    kind
        ``realization``, or ``mean``, which lacks this share.
    of
        The spectrum: ``C_l`` or ``BB``.
    patch
        Share of the sky of which it is the pseudo-spectrum; 0 for the whole sky.
    more
        What the share does not count, a sentence; empty if nothing.
    why
        Why it is not known.

    Raises
    ------
    ValueError
        There is neither a share nor a reason, or the kind is unknown.
    """

    __repr__ = brief

    values: NDArray[np.float64] | None = None
    edges: NDArray[np.int64] | None = None
    kind: str = "realization"
    of: str = "C_l"
    patch: float = 0.0
    more: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        if self.values is None and not self.why:
            raise ValueError("a share that is not known needs a reason why")
        if self.values is not None and (
            self.edges is None or np.shape(self.edges) != (self.values.size + 1,)
        ):
            raise ValueError("a share needs the edges of its bins, one more than there are shares")
        if self.kind not in _SAID:
            raise ValueError(f"kind {self.kind!r} is unknown; choose one of {', '.join(_SAID)}")

    @property
    def span(self) -> str:
        """The least and the largest share in percent; empty if it is not known."""
        if self.values is None:
            return ""
        low, high = np.round(100 * np.array([self.values.min(), self.values.max()])).astype(int)
        return f"{low}% to {high}%"


#: Of each kind: what α is in a row of findings, the title, and what it does to the spectrum.
_SAID = {
    "realization": (
        "share of a bin's power that follows from the prior, α",
        "How much of the filled sky's spectrum follows from the prior",
        "{of} of the {sky} is on average (1 - α) {of} of the sky + α {of} of the prior",
    ),
    "mean": (
        "share of a bin's power that the mean lacks, α",
        "How much power the mean lacks",
        (
            "{of} of the {sky} is on average (1 - α) of that of the theory: a mean has nothing of "
            "what the observed pixels do not decide, and a realization takes it from the prior"
        ),
    ),
}
#: What the sky of a share is.
_PATCH = "patch of {share:.1%} of the sky, observed and filled pixels (pseudo-C_l)"
#: What a share does to the error bars.
_DIVIDED = "The filled sky's error bars are divided by 1 - α."


def share_findings(share: PriorShare) -> list[Finding]:
    """Describe in words how much follows from the prior, or why that is not known."""
    name = _SAID[share.kind][0]
    name += "" if share.of == "C_l" else f", {share.of}"
    if share.values is None:
        return [Finding(name, "not known", "", share.why)]
    reason = "from what realizations differ by"
    if share.of == "BB":
        reason = "from masks and noise alone"
    if share.patch:
        reason += f"; of the {_PATCH.format(share=share.patch)}"
    elif share.kind == "realization":
        reason += "; the filled sky's error bars are divided by 1 - α"
    else:
        reason += "; debiasing undoes it"
    return [Finding(name, share.span, "", reason)]


def prior_share_of_bins(share: PriorShare) -> Plate | None:
    """Draw α, the share of each bin that follows from the prior; None if it is not known."""
    if share.values is None or share.edges is None:
        return None
    figure = canvas(7.2, 3.2)
    axes = figure.subplots()
    share_stairs(axes, share.values, share.edges[:-1], share.edges[1:] - 1)
    _, title, does = _SAID[share.kind]
    sky = {"realization": "filled sky", "mean": "mean"}[share.kind]
    if share.patch:
        title = title.replace("filled sky", "filled patch")
        sky = _PATCH.format(share=share.patch)
    caption = does.format(of=share.of, sky=sky) + f"; α is {share.span}, from what realizations "
    caption += "differ by."
    if share.kind == "realization" and not share.patch:
        caption += f" {_DIVIDED}"
    caption += f" {share.more}" if share.more else ""
    return Plate(title, caption, png_of(figure), wide=True)


def prior_share_of_bb(comparison: StokesComparison, share: PriorShare) -> Plate | None:
    """Draw BB, and below it α, the share that follows from the prior; None if it is not known."""
    if share.values is None or share.edges is None:
        return None
    figure = canvas(7.2, 5.2)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[2, 1])
    comparison.draw([upper], ["BB"])
    upper.set_xlabel("")
    share_stairs(lower, share.values, share.edges[:-1], share.edges[1:] - 1)
    if share.kind == "mean":
        title = "BB, and how much of it the mean lacks"
        said = "BB of the mean is (1 - α) BB of the sky, plus what the fill makes of E and noise; "
    else:
        title = "BB, and how much of it follows from the prior"
        said = "BB of the filled sky is (1 - α) BB of the sky + α BB of the prior; "
    said += f"here α is {share.span}, from masks and noise alone."
    said += f" {_DIVIDED}" if share.kind == "realization" else ""
    said += " Divide nothing by α: measure r on the cut sky, or forward-model the fill."
    said += f" {share.more}" if share.more else ""
    return Plate(title, said, png_of(figure), wide=True)
