"""Draw the pictures of the page: the sky, its deepest holes, the spectrum, distributions."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.healpix import pixel_directions
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes import distance_to_edge, label_holes
from skyfill.inpaint import relative_error
from skyfill.lazy import needs
from skyfill.prior.multipoles import draw_multipoles
from skyfill.report.page import Plate
from skyfill.report.pictures import close_up, mollweide, show, show_sky
from skyfill.spectra import SpectrumComparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DIFFERENCE",
    "Place",
    "canvas",
    "close_ups",
    "edge_of",
    "edge_words",
    "hardest",
    "histogram",
    "of_draws",
    "places",
    "png_of",
    "reach_apart",
    "reach_of",
    "share_stairs",
    "skies",
    "spectrum",
    "whole_sky",
    "zoom",
]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Width of a close-up in units of the depth of its hole.
_WIDTH = 6.0
#: Width of the narrowest close-up, radians: some sky around the hole is to be seen.
_NARROWEST = math.radians(2)
#: Width of the widest close-up, radians: a flat picture of more would be distorted.
_WIDEST = math.radians(40)
#: Images in a row of a close-up beyond which it takes the whole width of the page.
_BESIDE = 3
DIFFERENCE = "difference of two"
"""Name of the image of what two realizations differ by, in a close-up."""
#: Colours of such differences, unlike those of the sky and of uncertainties.
_OF_DIFFERENCE = "PuOr_r"
#: Titles of the maps of the whole sky.
_SKIES = ("Before", "Filled", "Uncertainty", "Difference of two realizations")
#: Names of the frames of coordinates.
_FRAMES = {"G": "Galactic", "E": "Ecliptic", "C": "Equatorial"}


def skies(
    before: ArrayLike,
    filled: ArrayLike,
    std: ArrayLike | None,
    *,
    unit: str = "µK",
    name: str = "",
    frame: str = "",
    draws: int = 0,
    difference: ArrayLike | None = None,
) -> list[Plate]:
    """Draw the whole sky before and after, the uncertainty, and what two realizations differ by.

    Parameters
    ----------
    before
        ``(npix,)``, RING, NaN in the holes.
    filled
        ``(npix,)``, the whole sky; NaN where it is neither observed nor filled.
    std
        ``(npix,)``, standard deviation, zero where observed; None if it is unknown.
    unit
        Unit of the maps.
    name
        Stokes parameter of the maps, for the titles.
    frame
        Letter of the frame, ``G``, ``E`` or ``C``, for the captions; empty if it is not known.
    draws
        Number of realizations that ``std`` was computed from; 0 if it is not known, or exact.
    difference
        ``(npix,)``, one realization minus another, zero where observed; None if there are none.
    """
    before, filled = (
        as_map(before, "before", taker="report"),
        as_map(filled, "filled", taker="report"),
    )
    std = None if std is None else as_map(std, "std", taker="report")
    reach = reach_of(before)
    part = not np.all(np.isfinite(filled))
    after = "Holes outside of the patch stay as they are, grey." if part else "The whole sky."
    titles = [f"{name}, {word.lower()}" if name else word for word in _SKIES]
    seen = f"As observed; holes are grey. {_lines_of(frame)}"
    plates = [
        whole_sky(titles[0], seen, before, unit, vmin=-reach, vmax=reach),
        whole_sky(titles[1], after, filled, unit, vmin=-reach, vmax=reach),
    ]
    if std is not None:
        caption = "Standard deviation in the holes; nothing where observed." + of_draws(draws)
        shown = np.where(std > 0, std, np.nan)
        plates.append(whole_sky(titles[2], caption, shown, unit, **_of_spread(shown)))
    if difference is not None:
        apart = as_map(difference, "difference", taker="report")
        apart = np.where(apart == 0, np.nan, apart)
        reach = reach_of(apart)
        style: dict[str, Any] = {"cmap": _OF_DIFFERENCE, "vmin": -reach, "vmax": reach}
        plates.append(whole_sky(titles[3], _APART, apart, unit, **style))
    return plates


#: What the difference of two realizations is.
_APART = (
    "The second realization minus the first: what the observed sky does not decide. It has √2 times"
    " the uncertainty, and a colour scale of its own."
)


#: The same of a close-up.
_APART_HERE = (
    " The difference is the second realization minus the first, with the colours of the whole sky's"
    " difference."
)


def _lines_of(frame: str) -> str:
    """Say what the lines of a map are."""
    named = f"{_FRAMES[frame]} coordinates: l" if frame in _FRAMES else "L"
    return f"{named}ongitude 0 in the middle, growing to the left; a line every 30°."


def of_draws(draws: int) -> str:
    """Say how many realizations a standard deviation is from, and how well they tell it."""
    if draws < 2:
        return ""
    return (
        f" From {draws} realizations, so that a pixel's value is known to"
        f" {relative_error(draws):.0%}."
    )


def close_ups(
    observed: ArrayLike, images: Mapping[str, ArrayLike], *, count: int = 4, unit: str = "µK"
) -> list[Plate]:
    """Draw the deepest places: the pixel of each hole that is farthest from observed ones.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, False in the holes.
    images
        Maps to show, ``(npix,)`` each; those called ``uncertainty`` and `DIFFERENCE` are shown as
        in `skies`.
    count
        Largest number of places. If there are fewer holes, wide holes are shown in several places.
    unit
        Unit of the images.
    """
    observed = as_mask(observed, taker="report")
    shown = {name: as_map(values, name, taker="report") for name, values in images.items()}
    reach = reach_of(next(iter(shown.values())))
    apart = reach_apart([shown[DIFFERENCE]]) if DIFFERENCE in shown else None
    plates = []
    for place in places(observed, count):
        views = {
            name: close_up(values, place.lon, place.lat, width=place.width)
            for name, values in shown.items()
        }
        edge = edge_of(observed, place)
        plates.append(zoom(place, [views], reach, unit, edge=edge, apart=apart))
    return plates


def reach_apart(differences: Sequence[Map]) -> float:
    """Give the end of the colour scale of differences of realizations, zero where observed."""
    every = np.array(differences)
    return reach_of(np.where(every == 0, np.nan, every))


def edge_of(observed: Mask, place: Place) -> Map:
    """Give the mask around a place, as an image whose contour at one half is the edge of holes."""
    seen = observed.astype(np.float64)
    return close_up(seen, place.lon, place.lat, width=place.width)


@dataclass(frozen=True)
class Place:
    """A place in a hole to look at.

    Attributes
    ----------
    lon, lat
        Longitude and latitude, degrees.
    depth, width
        Distance to the nearest observed pixel, and width of view, radians.
    pixels
        Number of pixels of its hole.
    """

    __repr__ = brief

    lon: float
    lat: float
    depth: float
    width: float
    pixels: int


def places(observed: Mask, count: int) -> list[Place]:
    """Give the deepest places in holes, with the width of a picture of each."""
    nside = nside_of(observed, "observed")
    holes = label_holes(observed)
    found = []
    for pixel, depth in hardest(observed, count):
        x, y, z = pixel_directions(nside, [pixel])[0]
        lon, lat = math.degrees(math.atan2(y, x)) % 360, math.degrees(math.asin(z))
        width = min(max(_WIDTH * depth, _NARROWEST), _WIDEST)
        found.append(Place(lon, lat, depth, width, int(holes.sizes[holes.labels[pixel]])))
    return found


def zoom(
    place: Place,
    rows: Sequence[Mapping[str, Map]],
    reach: float,
    unit: str,
    more: str = "",
    *,
    edge: Map | None = None,
    apart: float | None = None,
) -> Plate:
    """Draw images of one place, ``(n, n)`` each, a row below the other.

    Parameters
    ----------
    place
        The place.
    rows
        For each row the images by their titles; those that end in ``uncertainty`` and in
        `DIFFERENCE` are shown as in `skies`.
    reach
        End of the colour scale.
    unit
        Unit of the images.
    more
        End of the caption.
    edge
        Image whose contour at one half is drawn, see `edge_of`.
    apart
        End of the colour scale of differences; None if there are none.
    """
    figure = canvas(3.2 * len(rows[0]), 3.5 * len(rows))
    every = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    half = math.degrees(place.width) / 2
    for line, views in zip(every, rows, strict=True):
        for axes, (name, look) in zip(line, views.items(), strict=True):
            style: dict[str, Any] = {"vmin": -reach, "vmax": reach}
            if name.endswith("uncertainty"):
                look = np.where(look > 0, look, np.nan)
                style = _of_spread(look)
            elif apart is not None and name.endswith(DIFFERENCE):
                look = np.where(look == 0, np.nan, look)
                style = {"cmap": _OF_DIFFERENCE, "vmin": -apart, "vmax": apart}
            image = show(axes, look, style | {"extent": (half, -half, -half, half)})
            axes.set_axis_on()
            axes.tick_params(labelsize=7, length=2)
            if edge is not None and 0 < edge.mean() < 1:
                at = np.linspace(half, -half, edge.shape[1])
                axes.contour(at, -at, edge, [0.5], colors="black", linewidths=0.6)
            axes.set_title(name, fontsize=11)
            figure.colorbar(
                image, ax=axes, orientation="horizontal", label=unit, pad=0.02, shrink=0.8
            )
    caption = (
        f"A hole of {place.pixels} pixels, black its edge; the middle is"
        f" {math.degrees(place.depth):.2f}° from the nearest observed pixel. Axes: degrees from the"
        f" middle, on a flat (gnomonic) sky, north up, longitude growing to the left.{more}"
    )
    if apart is not None:
        caption += _APART_HERE
    title = f"Longitude {place.lon:.1f}°, latitude {place.lat:+.1f}°"
    return Plate(title, caption, png_of(figure), wide=True, full=len(rows[0]) > _BESIDE)


def hardest(observed: ArrayLike, count: int) -> list[tuple[int, float]]:
    """Find the deepest pixel of each hole; further ones of wide holes if there are few holes.

    Pixels of one hole are at least the width of a picture apart.

    Returns
    -------
    Pixels in RING order, the deepest first, and their distances from the nearest observed one,
    radians.
    """
    observed = as_mask(observed, taker="report")
    nside = nside_of(observed, "observed")
    holes = np.flatnonzero(~observed)
    depth = np.asarray(distance_to_edge(observed))[holes]
    where = pixel_directions(nside, holes)
    falling = np.argsort(-depth, kind="stable")
    _, first = np.unique(label_holes(observed).labels[holes[falling]], return_index=True)
    deepest = falling[np.sort(first)]  # of every hole, the deepest hole first
    found: list[tuple[int, float]] = []
    far = np.ones(holes.size, dtype=bool)
    for left in (deepest, falling):
        left = left[far[left] & (depth[left] > 0)]
        while left.size and len(found) < count:
            k = left[0]
            found.append((int(holes[k]), float(depth[k])))
            apart = min(max(_WIDTH * depth[k], _NARROWEST), _WIDEST)
            far &= where @ where[k] <= math.cos(apart)
            left = left[far[left]]
    return sorted(found, key=lambda one: -one[1])


#: What the error bars of the filled sky are, by the kind of the fill.
_ERRORS = {
    "realization": (
        "The filled sky's error bars are those of a whole sky that was observed: its holes hold "
        "the prior's power, so they are no errors of a measurement. skyfill spectrum gives these."
    ),
    "mean": (
        "The filled sky is a mean and lacks power in its holes. Its error bars are those of a whole"
        " sky that was observed, no errors of a measurement: debiased spectra have these."
    ),
    "guess": (
        "The filled sky has not the right power in its holes. Its error bars are those of a whole "
        "sky that was observed, no errors of a measurement."
    ),
}
#: What they are where the share of the prior is known.
_SHARED = "The filled sky's error bars allow for the part that follows from the prior."
#: What the dashed line is.
_LACKING = " Dashed: (1 - α) of the power of signal and noise, which a mean has on average."
#: What the points and error bars of the cut sky are.
_CUT = (
    " The cut sky has pseudo-C_l with the coupling by the mask corrected (MASTER); its error bars, "
    "cosmic variance and noise of the cut sky, are errors of a measurement. {edge}"
)


def edge_words(settings: Mapping[str, str | float]) -> str:
    """Say how the mask of a cut sky was apodised, from the settings of a comparison."""
    edge = str(settings.get("apodization", "none"))
    return "Its mask is not apodised." if edge == "none" else f"Its mask is apodised: {edge}."


def spectrum(
    comparison: SpectrumComparison,
    *,
    unit: str = "µK",
    more: str = "",
    kind: str = "realization",
    lacking: NDArray[np.float64] | None = None,
) -> Plate:
    """Draw the spectrum with the theory.

    Parameters
    ----------
    comparison
        The spectra.
    unit
        Unit of the map, if the numbers are not in µK.
    more
        End of the caption.
    kind
        Kind of the fill, as for `uses`.
    lacking
        ``(nbin,)``: the share α of each bin that a mean lacks, to draw what is left of the theory;
        None if it is not known.
    """
    figure = canvas(7.2, 5.6)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    comparison.draw(upper, lower)
    if lacking is not None:
        _draw_left(upper, lower, comparison, lacking)
    if unit != "µK":
        upper.set_ylabel(f"$D_\\ell$ [({unit})²]" if " " in unit else f"$D_\\ell$ [{unit}²]")
    return Plate(
        "Spectrum of the filled sky",
        "D_l of the sky: noise is subtracted, beam and pixel window are divided out; below, the "
        "distance from the theory in units of the cosmic variance and noise of one sky. "
        f"{_ERRORS[kind] if comparison.full.prior_share is None else _SHARED}"
        + ("" if lacking is None else _LACKING)
        + (_CUT.format(edge=edge_words(comparison.settings)) if comparison.cut is not None else "")
        + more,
        png_of(figure),
        wide=True,
    )


def _draw_left(
    upper: Axes, lower: Axes, comparison: SpectrumComparison, lacking: NDArray[np.float64]
) -> None:
    """Draw what a mean has of the theory, a dashed step in each bin."""
    full, low, high = comparison.full, comparison.ell_min - 0.5, comparison.ell_max + 0.5
    style: dict[str, Any] = {"color": "#c1440e", "lw": 1.2, "linestyle": "dashed"}
    left = ((1 - lacking) * full.theory - full.noise) * full.dl_per_cl
    known = np.isfinite(left)
    upper.hlines(left[known], low[known], high[known], label="theory, less α", **style)
    lower.hlines(-lacking * full.theory / full.sigma, low, high, **style)
    upper.legend(frameon=False, fontsize=8)


def share_stairs(
    axes: Axes,
    share: NDArray[np.float64],
    ell_min: NDArray[np.int64],
    ell_max: NDArray[np.int64],
) -> None:
    """Draw the prior's share of each bin, ``(nbin,)``, between its first and last ell."""
    edges = np.append(ell_min, ell_max[-1] + 1)
    axes.stairs(share, edges, fill=True, color="#c1440e", alpha=0.35)
    axes.stairs(share, edges, color="#c1440e", lw=1.4)
    draw_multipoles(axes, int(ell_max[-1]))
    axes.set(ylim=(0, 1), ylabel=r"$\alpha$")


def histogram(
    title: str,
    caption: str,
    samples: Mapping[str, NDArray[np.float64]],
    *,
    label: str,
    normal: bool = False,
    bins: int | Sequence[float] = 60,
) -> Plate:
    """Draw several distributions in one plot.

    Parameters
    ----------
    title, caption
        Title and caption of the picture.
    samples
        Samples by name.
    label
        Label of the axis.
    normal
        Whether to add a standard normal distribution.
    bins
        As for numpy.histogram, over all samples together.
    """
    figure = canvas(7.2, 3.6)
    axes = figure.subplots()
    edges = np.histogram_bin_edges(np.concatenate(list(samples.values())), bins)
    for name, values in samples.items():
        axes.hist(values, edges.tolist(), density=True, histtype="step", lw=1.6, label=name)
    if normal:
        x = np.linspace(edges[0], edges[-1], 300)
        axes.plot(x, np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi), "k:", lw=1.2, label="expected")
    axes.set(xlabel=label, ylabel="density")
    axes.legend(frameon=False)
    return Plate(title, caption, png_of(figure), wide=True)


def _of_spread(values: Map) -> dict[str, Any]:
    """Give colours from 0 to the largest standard deviation, unlike those of the sky."""
    known = values[np.isfinite(values)]
    return {"cmap": "viridis", "vmin": 0, "vmax": float(known.max(initial=0.0)) or 1.0}


def whole_sky(
    title: str,
    caption: str,
    values: Map,
    unit: str,
    *,
    edge: Mask | None = None,
    **style: object,
) -> Plate:
    """Draw a map of the whole sky; ``edge`` is a mask, ``(npix,)``, whose border is drawn."""
    figure = canvas(6.4, 3.7)
    axes = figure.subplots()
    image = show_sky(axes, values, style)
    if edge is not None:
        axes.contour(mollweide(edge.astype(float)), [0.5], colors="black", linewidths=0.6)
    figure.colorbar(image, ax=axes, orientation="horizontal", label=unit, shrink=0.6, pad=0.03)
    return Plate(title, caption, png_of(figure))


def reach_of(before: Map) -> float:
    """Give the end of the colour scale: three standard deviations of the observed pixels."""
    return 3 * float(np.nanstd(before)) or 1.0


def canvas(width: float, height: float) -> Figure:
    """Start a figure of so many inches."""
    needs("matplotlib")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def png_of(figure: Figure) -> bytes:
    """Give a figure as PNG of 256 colours, a quarter of the bytes; no colour is visibly another."""
    from PIL import Image

    drawn, buffer = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120)
    whole = Image.open(drawn).convert("RGB")
    few = whole.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(buffer, "png", optimize=True)
    return buffer.getvalue()
