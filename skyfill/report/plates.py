"""Draw the pictures of the page: the sky, its hardest holes, the spectrum, distributions."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix import pixel_directions
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes import distance_to_edge
from skyfill.lazy import needs
from skyfill.report.page import Plate
from skyfill.report.pictures import close_up, mollweide, show
from skyfill.spectra import SpectrumComparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["close_ups", "hardest", "histogram", "skies", "spectrum"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Width of a close-up in units of the depth of its hole.
_WIDTH = 6.0
#: Width of the narrowest close-up, radians: some sky around the hole is to be seen.
_NARROWEST = math.radians(2)
#: Width of the widest close-up, radians: a flat picture of more would be distorted.
_WIDEST = math.radians(40)
_SPREAD: dict[str, Any] = {"cmap": "viridis", "vmin": 0}


def skies(
    before: ArrayLike, filled: ArrayLike, std: ArrayLike | None, *, unit: str = "µK"
) -> list[Plate]:
    """Draw the whole sky before and after, and the uncertainty.

    Parameters
    ----------
    before
        ``(npix,)``, RING, NaN in the holes.
    filled
        ``(npix,)``, the whole sky; NaN where it is neither observed nor filled.
    std
        ``(npix,)``, standard deviation, zero where observed; None if it is unknown.
    """
    before, filled = (
        as_map(before, "before", taker="report"),
        as_map(filled, "filled", taker="report"),
    )
    std = None if std is None else as_map(std, "std", taker="report")
    reach = _reach(before)
    part = not np.all(np.isfinite(filled))
    after = "Holes outside of the patch stay as they are, grey." if part else "The whole sky."
    plates = [
        _sky("Before", "As observed; holes are grey.", before, unit, vmin=-reach, vmax=reach),
        _sky("Filled", after, filled, unit, vmin=-reach, vmax=reach),
    ]
    if std is not None:
        caption = "Standard deviation in the holes; nothing where observed."
        plates.append(_sky("Uncertainty", caption, np.where(std > 0, std, np.nan), unit, **_SPREAD))
    return plates


def close_ups(
    observed: ArrayLike, images: Mapping[str, ArrayLike], *, count: int = 4, unit: str = "µK"
) -> list[Plate]:
    """Draw the hardest holes: those whose centres are farthest from observed pixels.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, False in the holes.
    images
        Maps to show, ``(npix,)`` each; one called ``uncertainty`` is shown as in `skies`.
    count
        Largest number of holes.
    unit
        Unit of the images.
    """
    observed = as_mask(observed, taker="report")
    shown = {name: as_map(values, name, taker="report") for name, values in images.items()}
    nside = nside_of(observed, "observed")
    reach = _reach(next(iter(shown.values())))
    plates = []
    for pixel, depth in hardest(observed, count):
        x, y, z = pixel_directions(nside, [pixel])[0]
        lon, lat = math.degrees(math.atan2(y, x)) % 360, math.degrees(math.asin(z))
        width = min(max(_WIDTH * depth, _NARROWEST), _WIDEST)
        figure = _figure(3.2 * len(shown), 3.1)
        every = np.atleast_1d(figure.subplots(1, len(shown)))
        for axes, (name, values) in zip(every, shown.items(), strict=True):
            look = close_up(values, lon, lat, width=width)
            style = {"vmin": -reach, "vmax": reach}
            if name == "uncertainty":
                style, look = _SPREAD, np.where(look > 0, look, np.nan)
            image = show(axes, look, style)
            axes.set_title(name, fontsize=11)
            figure.colorbar(image, ax=axes, orientation="horizontal", pad=0.02, shrink=0.8)
        caption = (
            f"{math.degrees(width):.1f}° across; the middle is {math.degrees(depth):.2f}° from the "
            f"nearest observed pixel; {unit}."
        )
        title = f"Hole at longitude {lon:.1f}°, latitude {lat:+.1f}°"
        plates.append(Plate(title, caption, _png(figure), wide=True))
    return plates


def hardest(observed: ArrayLike, count: int) -> list[tuple[int, float]]:
    """Find the pixels deepest in holes, at least the width of a picture apart.

    Returns
    -------
    Pixels in RING order, and their distances from the nearest observed one, radians.
    """
    observed = as_mask(observed, taker="report")
    nside = nside_of(observed, "observed")
    depth = distance_to_edge(observed)
    holes = np.flatnonzero(~observed)
    where = pixel_directions(nside, holes)
    left = np.array(depth[holes])
    found: list[tuple[int, float]] = []
    while left.size and left.max() > 0 and len(found) < count:
        k = int(left.argmax())
        found.append((int(holes[k]), float(left[k])))
        apart = min(max(_WIDTH * found[-1][1], _NARROWEST), _WIDEST)
        left[where @ where[k] > math.cos(apart)] = 0
    return found


#: What the error bars of the filled sky are: without and with the prior's share.
_ERRORS = (
    (
        "The filled sky's error bars are those of a whole sky that was observed: its holes hold "
        "the prior's power, so they are no errors of a measurement. skyfill spectrum gives these."
    ),
    "The filled sky's error bars allow for the part that follows from the prior.",
)


def spectrum(comparison: SpectrumComparison) -> Plate:
    """Draw the spectrum with the theory."""
    figure = _figure(7.2, 5.2)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    comparison.draw(upper, lower)
    return Plate(
        "Spectrum of the filled sky",
        "Noise and beam are removed; below, the difference to the theory in units of the cosmic "
        f"variance and noise of one sky. {_ERRORS[comparison.full.prior_share is not None]}",
        _png(figure),
        wide=True,
    )


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
    figure = _figure(7.2, 3.6)
    axes = figure.subplots()
    edges = np.histogram_bin_edges(np.concatenate(list(samples.values())), bins)
    for name, values in samples.items():
        axes.hist(values, edges.tolist(), density=True, histtype="step", lw=1.6, label=name)
    if normal:
        x = np.linspace(edges[0], edges[-1], 300)
        axes.plot(x, np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi), "k:", lw=1.2, label="expected")
    axes.set(xlabel=label, ylabel="density")
    axes.legend(frameon=False)
    return Plate(title, caption, _png(figure), wide=True)


def _sky(title: str, caption: str, values: Map, unit: str, **style: object) -> Plate:
    figure = _figure(6.4, 3.7)
    axes = figure.subplots()
    image = show(axes, mollweide(values), style)
    needs("matplotlib")
    from matplotlib.patches import Ellipse

    image.set_clip_path(Ellipse((0.5, 0.5), 1, 1, transform=axes.transAxes))
    figure.colorbar(image, ax=axes, orientation="horizontal", label=unit, shrink=0.6, pad=0.03)
    return Plate(title, caption, _png(figure))


def _reach(before: Map) -> float:
    """Give the end of the colour scale: three standard deviations of the observed pixels."""
    return 3 * float(np.nanstd(before)) or 1.0


def _figure(width: float, height: float) -> Figure:
    needs("matplotlib")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
