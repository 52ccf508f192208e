"""Fill a simulated sky from the command line and draw what came of it.

    make demo            (or: python examples/demo.py [--nside 512] [--folder demo])

Everything is made here, nothing is downloaded: a ΛCDM sky with a 10' beam and some noise, and a mask
with a ragged Galactic band and 400 holes. The commands printed are the ones you would type.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import healpy
import numpy as np
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

import skyfill

RANGE = 300.0  # µK, of the colour scale
GREY = "#8a8a8a"


def main() -> None:
    """Simulate, fill, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    sky, mask, filled, spectrum, picture = (
        args.folder / name
        for name in ("sky.fits", "mask.fits", "filled.fits", "spectrum.ecsv", "skyfill.png")
    )
    beam = ["--beam-arcmin", "10", "--noise-uk-arcmin", "40"]
    again = ["--seed", "1", "--overwrite"]

    run("simulate", "sky", "-o", sky, "--nside", args.nside, *beam, *again)
    run("simulate", "mask", "-o", mask, "--nside", args.nside, *again)
    run("inpaint", sky, mask, "-o", filled, *again)
    run("spectrum", filled, "-o", spectrum, *beam, "--overwrite", "-q")
    draw(sky, mask, filled, picture)

    print(f"\nfilled map  {filled}\nspectrum    {spectrum}\npicture     {picture}")


def run(*arguments: object) -> None:
    """Say a command and run it."""
    words = [str(argument) for argument in arguments]
    print("\n$ skyfill", shlex.join(words), flush=True)
    subprocess.run([sys.executable, "-m", "skyfill.cli", *words], check=True)


def draw(sky: Path, mask: Path, filled: Path, picture: Path) -> None:
    """Draw the sky before and after, the mask, a close look at the band's edge, and the spectrum."""
    observed = skyfill.read_mask(mask)
    before = np.where(observed, skyfill.read_map(sky).values, np.nan)
    after = skyfill.read_map(filled)
    theory = skyfill.Prior(
        cl=skyfill.lcdm(),
        beam_fwhm=np.radians(BEAM / 60),
        pixel_window=True,
        noise_uk_arcmin=NOISE,
        nside=after.nside,
    )
    comparison = skyfill.spectra.compare(after.values, theory.total_cl())

    figure = Figure(figsize=(13, 8.4), layout="constrained", facecolor="white")
    rows = figure.add_gridspec(2, 1, height_ratios=[1, 1.65])
    skies = rows[0].subgridspec(1, 3)
    below = rows[1].subgridspec(2, 3, width_ratios=[1, 1, 2.3], height_ratios=[3, 1])

    signal = {"cmap": PLANCK, "vmin": -RANGE, "vmax": RANGE}
    maps = [("before", before, signal), ("mask", observed, {"cmap": "Greys_r", "vmin": -1})]
    for column, (title, values, style) in enumerate([*maps, ("after", after.values, signal)]):
        axes = figure.add_subplot(skies[column], title=title)
        drawn = axes.imshow(mollweide(values.astype(float)), origin="lower", **style)
        axes.axis("off")
    figure.colorbar(drawn, ax=axes, label="µK", shrink=0.7)

    for column, (title, values) in enumerate([("before", before), ("after", after.values)]):
        axes = figure.add_subplot(below[:, column], title=f"{title}, a closer look")
        axes.imshow(close_up(values, rim(observed)), origin="lower", **signal)
        axes.axis("off")

    upper = figure.add_subplot(below[0, 2], title="spectrum of the filled sky")
    comparison.draw(upper, figure.add_subplot(below[1, 2], sharex=upper))
    figure.savefig(picture, dpi=130)


def mollweide(values: np.ndarray, height: int = 700) -> np.ndarray:
    """Sample a RING map on a Mollweide image, longitude 0 in the middle, growing to the left."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -2 : 2 : 2 * height * 1j]
    inside = x**2 / 4 + y**2 < 1
    theta = np.arcsin(y[inside])
    lat = np.arcsin((2 * theta + np.sin(2 * theta)) / np.pi)
    lon = -np.pi * x[inside] / (2 * np.cos(theta))
    image = np.full(x.shape, np.nan)
    nside = healpy.npix2nside(values.size)
    image[inside] = values[healpy.ang2pix(nside, np.pi / 2 - lat, lon)]
    return image


if __name__ == "__main__":
    main()
