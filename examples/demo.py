"""Fill a simulated sky from the command line and draw the result.

    make demo            (or: python examples/demo.py [--nside 512] [--folder demo])

Nothing is downloaded. The script simulates a ΛCDM sky with a 10' beam and some noise, and a
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
from matplotlib.figure import Figure

import skyfill
from skyfill.pictures import close_up, show, show_sky

BEAM_ARCMIN = 10.0
NOISE_UK_ARCMIN = 40.0


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
    black_and_white = {"cmap": "Greys_r", "vmin": -0.8, "vmax": 1.15}
    whole = top.subplots(1, 3)
    for axes, title, values, style in [
        (whole[0], "before", before, {}),
        (whole[1], "mask", observed.astype(float), black_and_white),
        (whole[2], "after", after, {}),
    ]:
        image = show_sky(axes, values, style, height=600)
        axes.set_title(title)
    top.colorbar(image, ax=list(whole), label="µK", shrink=0.75, pad=0.01)

    left, right = bottom.subfigures(1, 2, width_ratios=[1, 2.2])
    close = left.subplots(2, 1)
    for axes, title, values in [(close[0], "before", before), (close[1], "after", after)]:
        look = close_up(values, 70.0, 14.0, width=np.radians(25), pixels=500)
        show(axes, look[80:-80])
        axes.set_title(f"{title}, 25° of it")
    upper, lower = right.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    skyfill.spectra.compare(after, theory).draw(upper, lower)
    upper.set_title(f"spectrum of the filled sky\n{upper.get_title()}", fontsize=10)
    figure.savefig(picture, dpi=130)


if __name__ == "__main__":
    main()
