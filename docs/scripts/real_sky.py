"""Hold a filled real sky against Planck's spectrum, and against what held-out discs hold.

    python docs/scripts/real_sky.py map.fits mask.fits --planck planck2018_TT_binned_R3.01.txt
    python docs/scripts/real_sky.py map.fits mask.fits --discs 120

Fills the map, draws D_l of the whole and of the cut sky beside Planck's measured TT and the theory,
and prints the ratios of both to Planck's, bin by bin. With --discs, discs of clean sky are held out
and filled by the exact solver: with the fitted prior, and with priors of several noises, whose beam
is fitted. The files are not ours, and are not here.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import skyfill

#: Radius of a held-out disc, and distance of their centres from each other and from the mask.
_RADIUS, _APART = np.radians(1), np.radians(2.5)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("map", type=Path)
    parser.add_argument("mask", type=Path)
    parser.add_argument("--planck", type=Path, help="l, D_l, errors, one bin a line")
    parser.add_argument("--discs", type=int, help="number of discs of 1 degree to hold out")
    parser.add_argument("--noise", type=float, nargs="*", default=(), help="noises, uK.arcmin")
    parser.add_argument("--realizations", type=int, default=4)
    parser.add_argument("--lmax", type=int, default=400, help="the last l that the map is good for")
    parser.add_argument("--plot", type=Path, default=Path("real_sky.png"))
    args = parser.parse_args()
    sky, observed = skyfill.read_map(args.map), skyfill.read_mask(args.mask)
    if args.discs:
        hold_out(sky.values, observed, args.discs, (None, *args.noise), args.realizations)
    if args.planck:
        against_planck(args, sky, observed)


def hold_out(
    values: np.ndarray,
    observed: np.ndarray,
    count: int,
    noises: tuple[float | None, ...],
    realizations: int,
) -> None:
    """Fill held-out discs with priors of several noises, and print errors beside their spread."""
    nside = int((values.size / 12) ** 0.5)
    clean = np.flatnonzero(skyfill.masks.distance_to_edge(observed, of_observed=True) > _APART)
    where = skyfill.healpix.pixel_directions(nside, clean)
    order = np.random.default_rng(1).permutation(clean.size)
    hidden = np.zeros(values.size, dtype=bool)
    centres: list[np.ndarray] = []
    for k in order:
        if all(where[k] @ other < np.cos(_APART) for other in centres):
            centres.append(where[k])
        if len(centres) == count:
            break
    every = skyfill.healpix.pixel_directions(nside, np.arange(values.size))
    for centre in centres:
        hidden |= every @ centre > np.cos(_RADIUS)
    print(f"{len(centres)} discs, {hidden.sum()} pixels held out")
    for noise in noises:
        given = skyfill.prior.Given(noise_uk_arcmin=noise)
        prior = skyfill.prior.for_map(given, values, observed & ~hidden)
        begun = time.perf_counter()
        filler = skyfill.Inpainter(
            values, observed & ~hidden, method="gaussian", prior=prior, seed=1
        )
        mean = filler.whole(filler.mean())[hidden]
        seconds, certificate = time.perf_counter() - begun, filler.certificate
        drawn = [filler.whole(filler.realization(k))[hidden] for k in range(realizations)]
        error = np.sqrt(np.mean((mean - values[hidden]) ** 2))
        spread = np.sqrt(np.mean((np.array(drawn) - mean) ** 2))
        print(
            f"{skyfill.inpaint.describe_prior(prior)}\n    {prior.quality}\n"
            f"    error of the mean {error:.1f} uK, spread {spread:.1f} uK, ratio"
            f" {error / spread:.3f}; {seconds:.1f} s, {certificate}",
            flush=True,
        )


def against_planck(args: argparse.Namespace, sky: skyfill.SkyMap, observed: np.ndarray) -> None:
    """Print and draw the spectra of the filled and of the cut sky beside Planck's."""
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
