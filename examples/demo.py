"""Fill a simulated sky from the command line and draw what came of it.

    make demo            (or: python examples/demo.py [--nside 512] [--folder demo])

Everything is made here, nothing is downloaded: a ΛCDM sky with a 10' beam and some noise, and a
mask with a ragged Galactic band and 400 holes. The commands it prints are those you would type.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import healpy
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Circle
from numpy.typing import NDArray

import skyfill

BEAM_ARCMIN = 10.0
NOISE_UK_ARCMIN = 40.0
GREY = "#9a9a9a"
PLANCK = LinearSegmentedColormap.from_list(  # the colours of Planck's own maps
    "planck", ["#0000ff", "#00ddff", "#ffedd9", "#ffb400", "#ff4b00", "#640000"]
).with_extremes(bad=GREY)
SIGNAL = {"cmap": PLANCK, "vmin": -300, "vmax": 300, "origin": "lower"}


def main() -> None:
    """Simulate, fill, compare, draw."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    sky, mask, filled, spectrum, picture = (
        args.folder / name
        for name in ("sky.fits", "mask.fits", "filled.fits", "spectrum.ecsv", "skyfill.png")
    )
    blur = ["--beam-arcmin", BEAM_ARCMIN, "--noise-uk-arcmin", NOISE_UK_ARCMIN]

    run("simulate", "sky", "-o", sky, "--nside", args.nside, *blur, "--seed", 1, "--overwrite")
    run("simulate", "mask", "-o", mask, "--nside", args.nside, "--seed", 1, "--overwrite")
    run("inpaint", sky, mask, "-o", filled, "--seed", 1, "--overwrite")
    run("spectrum", filled, "-o", spectrum, *blur, "--overwrite")
    draw(sky, mask, filled, picture)

    print(f"\nfilled map  {filled}\nspectrum    {spectrum}\npicture     {picture}")


def run(*arguments: object) -> None:
    """Say a command and run it."""
    words = [str(argument) for argument in arguments]
    print("\n$ skyfill", shlex.join(words), flush=True)
    subprocess.run([sys.executable, "-m", "skyfill.cli", *words], check=True)


def draw(sky: Path, mask: Path, filled: Path, picture: Path) -> None:
    """Draw the sky before and after, the mask, a closer look, and the spectrum."""
    observed = skyfill.read_mask(mask)
    before = np.where(observed, skyfill.read_map(sky).values, np.nan)
    after = skyfill.read_map(filled).values
    theory = skyfill.Prior(
        healpy.npix2nside(after.size),
        skyfill.lcdm(),
        fwhm=np.radians(BEAM_ARCMIN / 60),
        noise_uk_arcmin=NOISE_UK_ARCMIN,
    )

    figure = Figure(figsize=(13, 8.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.7])
    black_and_white = {"cmap": "Greys_r", "vmin": -0.8, "vmax": 1.15, "origin": "lower"}
    whole = top.subplots(1, 3)
    for axes, title, values, style in [
        (whole[0], "before", before, SIGNAL),
        (whole[1], "mask", observed.astype(float), black_and_white),
        (whole[2], "after", after, SIGNAL),
    ]:
        image = show(axes, title, mollweide(values), style)
        image.set_clip_path(Circle((0.5, 0.5), 0.5, transform=axes.transAxes))  # an ellipse there
    top.colorbar(image, ax=list(whole), label="µK", shrink=0.75, pad=0.01)

    left, right = bottom.subfigures(1, 2, width_ratios=[1, 2.2])
    close = left.subplots(2, 1)
    show(close[0], "before, 30° × 20° of it", close_up(before), SIGNAL)
    show(close[1], "after, the same", close_up(after), SIGNAL)
    upper, lower = right.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    skyfill.spectra.compare(after, theory.total_cl()).draw(upper, lower)
    upper.set_title("spectrum of the filled sky")
    figure.savefig(picture, dpi=130)


def show(axes: Axes, title: str, image: NDArray[np.float64], style: dict[str, object]) -> AxesImage:
    """Show an image without a frame."""
    axes.set_title(title)
    axes.axis("off")
    return axes.imshow(image, **style)


def mollweide(values: NDArray[np.float64], height: int = 600) -> NDArray[np.float64]:
    """Sample a RING map on a Mollweide image: longitude 0 in the middle, growing to the left."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -2 : 2 : 2 * height * 1j]
    inside = x**2 / 4 + y**2 < 1
    theta = np.arcsin(y[inside])
    lat = np.arcsin((2 * theta + np.sin(2 * theta)) / np.pi)
    lon = -np.pi * x[inside] / (2 * np.cos(theta))
    image = np.full(x.shape, np.nan)
    image[inside] = sample(values, lon, lat)
    return image


def close_up(
    values: NDArray[np.float64], lon: float = 70.0, lat: float = 14.0
) -> NDArray[np.float64]:
    """Sample a RING map on 30° × 20° around a direction, in degrees, by plate carrée."""
    y, x = np.radians(np.mgrid[-10:10:400j, 15:-15:600j])
    lat_, lon_ = np.radians(lat) + y, np.radians(lon) + x / np.cos(np.radians(lat))
    return sample(values, lon_, lat_)


def sample(
    values: NDArray[np.float64], lon: NDArray[np.float64], lat: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Take the nearest pixels of a RING map."""
    return values[healpy.ang2pix(healpy.npix2nside(values.size), np.pi / 2 - lat, lon)]


if __name__ == "__main__":
    main()
