"""Few small holes: time and error of a fill from surroundings, and of one on the whole sphere.

    python docs/scripts/few_holes.py [--nside 1024] [--holes 50] [--radius 20] [--whole]

Without reading and writing, but with everything else: set-up, the checks of the map, the first
fill, a further realization, and another map of the same mask. With ``--whole`` it also solves on
the whole sphere, and gives the distance between both means.
"""

import argparse
import math
import time
import warnings

import numpy as np

import skyfill
from skyfill.holes.masks import discs
from skyfill.prior import draw


def fill(values: np.ndarray, observed: np.ndarray, **options: object) -> tuple:
    """Fill one map; return the fitter, its mean and the seconds."""
    start = time.perf_counter()
    fitter = skyfill.Inpainter(values, observed, method="gaussian", **options)
    mean = fitter.mean()
    return fitter, mean, time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nside", type=int, default=1024)
    parser.add_argument("--holes", type=int, default=50)
    parser.add_argument("--radius", type=float, default=20.0, help="of a hole, arcmin")
    parser.add_argument("--beam", type=float, default=10.0, help="FWHM, arcmin")
    parser.add_argument("--noise", type=float, default=40.0, help="uK.arcmin")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--whole", action="store_true", help="also solve on the whole sphere")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    prior = skyfill.Prior(
        args.nside,
        skyfill.lcdm(),
        fwhm=math.radians(args.beam / 60),
        noise_uk_arcmin=args.noise,
    )
    rng = np.random.default_rng(args.seed)
    lon = rng.uniform(0, 360, args.holes)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, args.holes)))
    observed = discs(args.nside, np.radians(lon), np.radians(lat), math.radians(args.radius / 60))
    first_sky, second_sky = (draw(prior, seed=args.seed + k) for k in (0, 1))
    # compile and load what a second run on this machine finds in its cache
    small = skyfill.Prior(64, skyfill.lcdm(), fwhm=math.radians(2.7), noise_uk_arcmin=400.0)
    hole = discs(64, 0.5, 0.5, 0.1)
    fill(draw(small, seed=0), hole, prior=small)

    fitter, mean, seconds = fill(first_sky, observed, prior=prior)
    print(f"certificate          {fitter.certificate}")
    print(f"first map            {seconds:6.2f} s")
    start = time.perf_counter()
    drawn = fitter.realization(0)
    print(f"further realization  {time.perf_counter() - start:6.2f} s")
    start = time.perf_counter()
    other = fitter.with_map(second_sky, seed=1)
    ready = time.perf_counter()
    other_mean = other.mean()
    end = time.perf_counter()
    print(f"further map          {end - start:6.2f} s, of which the fill is {end - ready:.2f} s")
    hidden = ~observed
    std = fitter.std()
    error = np.concatenate(
        [(first_sky[hidden] - mean) / std, (second_sky[hidden] - other_mean) / std]
    )
    drawn_width = np.std((drawn - mean) / std)
    print(f"z_width of the truth {np.std(error):.3f}, of a realization {drawn_width:.3f}")
    print(f"within 1 sigma       {np.mean(np.abs(error) < 1):.3f} (0.683)")
    whole = fitter.whole(mean)
    print(f"observed identical   {np.array_equal(whole[observed], first_sky[observed])}")
    if args.whole:
        exact, best, seconds = fill(first_sky, observed, prior=prior, tolerance=2.9e-3)
        noise = prior.white_cl * observed.size / (4 * math.pi)
        away = np.mean((mean - best) ** 2)
        share = away / (np.mean(std**2) - noise)
        print(f"whole sphere         {seconds:6.2f} s; {exact.certificate}")
        start = time.perf_counter()
        exact.realization(0)
        print(f"  realization        {time.perf_counter() - start:6.2f} s")
        print(f"rms distance of both {math.sqrt(away):.2f} uK: squared error {share:.2%} larger")


if __name__ == "__main__":
    main()
