"""Install skyfill into fresh environments, and measure size and time of each.

    python docs/scripts/install.py --extras "" all

Each environment fills one simulated sky by the default method, twice, since the first run compiles
kernels, and measures its spectrum, without and with the mask. Seconds are those of the processor,
which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Beam and noise of the simulated sky: a beam of two pixels at Nside 256.
SKY = ("--beam-arcmin", "30", "--noise-uk-arcmin", "45")


def seconds(*words: str, folder: Path) -> float:
    """Run a command; give the seconds of its processor, and stop if it fails."""
    before = os.times()
    subprocess.run(words, cwd=folder, check=True, capture_output=True)  # noqa: S603 (our own words)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


def megabytes(folder: Path) -> float:
    """Give the size of a folder on disk."""
    files = (each.lstat() for each in folder.rglob("*"))
    return sum(each.st_blocks * 512 for each in files) / 2**20


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extras", nargs="+", default=[""], help="extras to install, '' for none")
    parser.add_argument("--nside", default="256")
    parser.add_argument("--folder", type=Path, default=Path("environments"))
    args = parser.parse_args()
    for extra in args.extras:
        home = (args.folder / (extra or "light")).resolve()
        home.mkdir(parents=True)
        subprocess.run([sys.executable, "-m", "venv", home / "env"], check=True)  # noqa: S603
        run = str(home / "env" / "bin" / "skyfill")
        what = f"{ROOT}[{extra}]" if extra else str(ROOT)
        pip = [str(home / "env" / "bin" / "python"), "-m", "pip", "install", "-q"]
        pip += ["-c", str(ROOT / "constraints.txt"), what]
        print(f"pip install '.[{extra}]'" if extra else "pip install .")
        print(f"  install   {seconds(*pip, folder=home):6.1f} s")
        (packages,) = (home / "env" / "lib").glob("python*/site-packages")
        print(f"  packages  {megabytes(packages):6.0f} MB")
        simulate = (run, "simulate")
        nside = ("--nside", args.nside, "--seed")
        seconds(*simulate, "sky", "-o", "sky.fits", *nside, "1", *SKY, folder=home)
        seconds(*simulate, "mask", "-o", "mask.fits", *nside, "2", folder=home)
        fill = (run, "inpaint", "sky.fits", "mask.fits", "-o")
        print(f"  inpaint   {seconds(*fill, 'a.fits', folder=home):6.1f} s, the first time")
        print(f"  inpaint   {seconds(*fill, 'b.fits', folder=home):6.1f} s")
        spectrum = (run, "spectrum", "b.fits")
        print(f"  spectrum  {seconds(*spectrum, folder=home):6.1f} s")
        print(
            f"  spectrum  {seconds(*spectrum, '--mask', 'mask.fits', folder=home):6.1f} s, --mask"
        )


if __name__ == "__main__":
    main()
