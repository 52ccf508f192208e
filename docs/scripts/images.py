"""Images in CAR: distance of fills to a dense answer, widths of realizations, time of many holes.

    python docs/scripts/images.py accuracy [--dec 60] [--vary 1.5]
    python docs/scripts/images.py many [--holes 1000] [--threads 2]

An ACT-like patch: pixels of 0.5', a beam of 1.4', 10 uK.arcmin, round holes. The sky is drawn as
a_lm by healpy and summed at the pixels by ducc0, on the sphere; nothing of it comes from skyfill.
``accuracy`` solves three holes densely, from every observed pixel within a ring, with Legendre sums
of numpy: the distance is that of the mean to this answer, rms over a hole, over the posterior's
standard deviation of the signal. ``--vary 1.5`` gives the noise an inverse variance between
e^-1.5 and e^1.5 of the uniform one.

``many`` writes image, mask and inverse variance and runs ``skyfill inpaint``; it compares the width
of (truth - mean) with that of (realization - mean), with noise and without the part of the noise.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ducc0
import healpy as hp
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from scipy.interpolate import CubicSpline
from scipy.linalg import cho_solve, cholesky

import skyfill

ARCMIN = math.pi / 180 / 60
PIXEL, BEAM, NOISE = 0.5, 1.4, 10.0
LMAX = 6000
#: Rows that are synthesised together: 43,200 columns of the whole sky each.
ROWS = 200


def spectrum() -> np.ndarray:
    """Give the spectrum of the signal in the image."""
    return skyfill.lcdm(LMAX) * hp.gauss_beam(BEAM * ARCMIN, LMAX) ** 2


def header(dec: float, ny: int, nx: int) -> fits.Header:
    """Give the header of a patch around a declination."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---CAR", "DEC--CAR"], [-PIXEL / 60, PIXEL / 60]
    wcs.wcs.crval = [0.0, 0.0]
    wcs.wcs.crpix = [nx / 2, ny / 2 - dec * 60 / PIXEL]
    return wcs.to_header()


def sky(dec: float, ny: int, nx: int, seed: int) -> np.ndarray:
    """Draw a sky and give it at the pixels."""
    np.random.seed(seed)  # noqa: NPY002 - healpy draws with it
    alm = hp.synalm(spectrum(), lmax=LMAX)
    row = np.arange(ny)
    theta = np.pi / 2 - np.radians(dec + (row + 1 - ny / 2) * PIXEL / 60)
    whole = round(360 * 60 / PIXEL)
    out = np.empty((ny, nx))
    for start in range(0, ny, ROWS):
        here = theta[start : start + ROWS]
        rings = ducc0.sht.synthesis(
            alm=alm[None],
            theta=here,
            nphi=np.full(here.size, whole, np.uint64),
            phi0=np.zeros(here.size),
            ringstart=np.arange(here.size, dtype=np.uint64) * whole,
            lmax=LMAX,
            spin=0,
            nthreads=1,
        )[0].reshape(here.size, whole)
        # longitude falls along the columns
        out[start : start + here.size] = rings[:, (nx / 2 - 1 - np.arange(nx)).astype(int) % whole]
    return out


def discs(dec: float, shape: tuple[int, int], middles: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Mask discs of radii in arcmin around rows and columns, 1 = observed."""
    rows, columns = np.indices(shape)
    cosine = np.cos(np.radians(dec + (rows + 1 - shape[0] / 2) * PIXEL / 60))
    mask = np.ones(shape, bool)
    for (row, column), radius in zip(middles, radii, strict=True):
        reach = int(radius / PIXEL / cosine[int(row), 0]) + 2
        box = tuple(slice(max(int(x) - reach, 0), int(x) + reach + 1) for x in (row, column))
        apart = np.hypot(rows[box] - row, (columns[box] - column) * cosine[box]) * PIXEL
        mask[box] &= apart > radius
    return mask


def dense(
    dec: float, data: np.ndarray, mask: np.ndarray, variance: np.ndarray, ring: float
) -> tuple:
    """Solve the one hole of a cut densely; give its mean and the signal's standard deviation."""
    rows, columns = np.indices(data.shape)
    lat = np.radians(dec + (rows + 1 - data.shape[0] / 2) * PIXEL / 60)
    lon = -columns * PIXEL * ARCMIN
    vectors = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    hole = ~mask
    tree_radius = ring * ARCMIN
    middle = vectors[hole].mean(axis=0)
    middle /= np.linalg.norm(middle)
    apart = np.arccos(np.clip(vectors @ middle, -1, 1))
    near = mask & (apart < apart[hole].max() + tree_radius)
    ell = np.arange(LMAX + 1)
    chord = np.linspace(0, 2.2 * (apart[hole].max() + tree_radius), 6000)
    sums = np.polynomial.legendre.legval(1 - chord**2 / 2, (2 * ell + 1) * spectrum() / (4 * np.pi))
    covariance = CubicSpline(chord, sums)

    def between(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        out = np.empty((len(one), len(two)))
        for start in range(0, len(one), 200):
            part = np.linalg.norm(one[start : start + 200, None] - two[None], axis=2)
            out[start : start + 200] = covariance(part)
        return out

    matrix = between(vectors[near], vectors[near])
    matrix[np.diag_indices_from(matrix)] += variance[near]
    factor = cholesky(matrix, lower=True, overwrite_a=True, check_finite=False), True
    cross = between(vectors[hole], vectors[near])
    solved = cho_solve(factor, np.stack([data[near], np.ones(near.sum())], 1))
    offset = solved[:, 0].sum() / solved[:, 1].sum()
    mean = cross @ (solved[:, 0] - offset * solved[:, 1]) + offset
    left = covariance(0.0) - np.einsum("ij,ji->i", cross, cho_solve(factor, cross.T))
    return mean, np.sqrt(left), int(near.sum())


def accuracy(args: argparse.Namespace) -> None:
    """Compare the means of three holes with dense answers."""
    wide = 1 / math.cos(math.radians(args.dec))
    ny, nx = 150, round(480 * wide / 2) * 2
    truth = sky(args.dec, ny, nx, args.seed)
    rng = np.random.default_rng(args.seed)
    rows, columns = np.indices((ny, nx))
    area = PIXEL**2 * np.cos(np.radians(args.dec + (rows + 1 - ny / 2) * PIXEL / 60))
    variance = NOISE**2 / area
    variance *= np.exp(args.vary * np.sin(columns / wide / 20 + 0.3) * np.cos(rows / 15))
    data = truth + np.sqrt(variance) * rng.standard_normal(truth.shape)
    middles = np.array([[74, round(nx * x)] for x in (1 / 6, 1 / 2, 5 / 6)])
    mask = discs(args.dec, (ny, nx), middles, np.array(args.radii))
    start = time.process_time()
    found = skyfill.images.solve(
        data,
        mask,
        header(args.dec, ny, nx),
        model=skyfill.images.Model(fwhm=BEAM * ARCMIN),
        ivar=1 / variance,
        std=True,
        threads=1,
    )
    print(f"{found} {time.process_time() - start:.1f} s of CPU")
    mean, std = (np.full((ny, nx), np.nan) for _ in range(2))
    mean[tuple(found.pixels.T)], std[tuple(found.pixels.T)] = found.mean, found.std
    for (_, column), radius in zip(middles, args.radii, strict=True):
        half = round((radius + args.ring) * wide / PIXEL) + 8
        low = max(column - half, 0)
        cut = slice(None), slice(low, column + half + 1)
        exact, left, points = dense(args.dec, data[cut], mask[cut], variance[cut], args.ring)
        hole = ~mask[cut]
        distance = np.sqrt(np.mean((mean[cut][hole] - exact) ** 2) / np.mean(left**2))
        own = np.sqrt(std[cut][hole] ** 2 - variance[cut][hole])
        case = f"dec {args.dec:g}, noise e^+-{args.vary:g}, radius {radius:g}'"
        rms = np.sqrt(np.mean(left**2))
        print(f"{case}: distance {distance:.3f} of {rms:.2f} uK, ", end="")
        print(f"std {np.mean(own / left):.4f} of the dense ({points} pixels)", flush=True)


def many(args: argparse.Namespace) -> None:
    """Fill many holes by the command, and compare widths."""
    side = args.side
    truth = sky(0.0, side, side, args.seed)
    rng = np.random.default_rng(args.seed)
    noise = NOISE / PIXEL
    data = (truth + noise * rng.standard_normal(truth.shape)).astype(np.float32)
    grid = round(math.sqrt(args.holes) + 0.4999)
    places = np.stack(np.meshgrid(*[np.arange(grid)] * 2), -1).reshape(-1, 2)[: args.holes]
    step = side / grid
    middles = (places + 0.5) * step + rng.uniform(-0.15, 0.15, places.shape) * step
    mask = discs(0.0, truth.shape, middles, rng.uniform(2, 8, len(middles)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        top = header(0.0, side, side)
        top["BUNIT"] = "uK"
        fits.PrimaryHDU(data, top).writeto(folder / "map.fits")
        fits.PrimaryHDU(mask.astype(np.uint8), top).writeto(folder / "mask.fits")
        results = []
        for out, more in (("mean", ["--mean"]), ("draw", ["--seed", "5"])):
            words = ["inpaint", "map.fits", "mask.fits", "-o", f"{out}.fits", "-q", "--json"]
            words += ["--beam-arcmin", f"{BEAM}", "--noise-uk-arcmin", f"{NOISE}", *more]
            words += ["--threads", f"{args.threads}"]
            program = str(Path(sys.executable).with_name("skyfill"))
            start = time.perf_counter()
            said = subprocess.run(  # noqa: S603
                [program, *words], cwd=folder, capture_output=True, text=True, check=True
            )
            seconds = time.perf_counter() - start
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            results.append(fits.getdata(folder / f"{out}.fits"))
            print(f"{out}: {seconds:.1f} s, {json.loads(said.stdout)}")
            print(f"CPU so far: {used.ru_utime + used.ru_stime:.1f} s", flush=True)
    mean, draw = (each.astype(float) for each in results)
    for one in results:
        same = np.array_equal(
            one[mask].view(np.uint32), data[mask].astype(one.dtype).view(np.uint32)
        )
        print("observed pixels identical:", same)
    hole = ~mask
    new = truth[hole] + noise * rng.standard_normal(hole.sum())
    off, spread = np.mean((new - mean[hole]) ** 2), np.mean((draw - mean)[hole] ** 2)
    clean = np.mean((truth - mean)[hole] ** 2)
    print(f"{hole.sum()} pixels in {args.holes} holes")
    print(f"width of truth over that of realizations: {math.sqrt(off / spread):.4f}")
    print(f"the same of the signal alone: {math.sqrt(clean / (spread - noise**2)):.4f}")


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("accuracy", "many"))
    parser.add_argument("--dec", type=float, default=0.0, help="declination, degrees")
    parser.add_argument("--vary", type=float, default=0.0, help="log range of the noise variance")
    parser.add_argument("--radii", type=float, nargs=3, default=(2.0, 4.0, 8.0), help="arcmin")
    parser.add_argument("--ring", type=float, default=16.0, help="of the dense answer, arcmin")
    parser.add_argument("--holes", type=int, default=1000)
    parser.add_argument("--side", type=int, default=2400, help="pixels along the patch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    accuracy(args) if args.what == "accuracy" else many(args)


if __name__ == "__main__":
    main()
