"""Hold the spectrum of a filled real sky, and of what its mask leaves, against Planck's.

    python docs/scripts/real_sky.py map.fits mask.fits --planck planck2018_TT_binned_R3.01.txt

Fills the map, draws D_l of the whole and of the cut sky beside Planck's measured TT and the theory,
and prints the ratios of both to Planck's, bin by bin. The files are not ours, and are not here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import skyfill


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("map", type=Path)
    parser.add_argument("mask", type=Path)
    parser.add_argument("--planck", type=Path, required=True, help="l, D_l, errors, one bin a line")
    parser.add_argument("--realizations", type=int, default=4)
    parser.add_argument("--lmax", type=int, default=400, help="the last l that the map is good for")
    parser.add_argument("--plot", type=Path, default=Path("real_sky.png"))
    args = parser.parse_args()
    sky, observed = skyfill.read_map(args.map), skyfill.read_mask(args.mask)
    filler = skyfill.Inpainter(sky.values, observed, seed=1)

    def whole(index: int) -> np.ndarray:
        filled = sky.values.copy()
        filled[filler.holes] = filler.realization(index)
        return filled

    found = skyfill.spectra.compare(
        np.array([whole(k) for k in range(args.realizations)]),
        filler.prior,
        observed=observed,
        bins="planck",
        lmax=args.lmax,
        apodize=np.radians(1),
    )
    planck = np.loadtxt(args.planck)[:, :4]
    planck = planck[planck[:, 0] < found.ell_max[-2]]
    bins = np.searchsorted(found.ell_max, planck[:, 0])
    print("   l        Planck's D_l [uK^2]    filled/Planck's   cut/Planck's   (error)")
    for k, (ell, dl, low, high) in zip(bins, planck, strict=True):
        error, filled, cut = 0.5 * (low + high), found.full.dl[k] / dl, found.cut.dl[k] / dl
        print(f"{ell:7.1f} {dl:12.1f} ± {error:6.1f}", end="")
        print(f"{filled:12.4f} {cut:12.4f} {error / dl:10.4f}")
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    found.draw(upper, lower)
    dots = {"fmt": "^", "ms": 4, "color": "k", "label": "Planck 2018"}
    upper.errorbar(planck[:, 0], planck[:, 1], planck[:, 2:4].T, **dots)
    upper.legend(frameon=False)
    figure.savefig(args.plot, dpi=130)


if __name__ == "__main__":
    main()
