"""Read from the header of a filled map how it was filled, and reconstruct the fill from that."""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import skyfill

from . import reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["exact_of", "keywords_of", "other_holes", "tiles_of"]

#: Largest Nside at which `--exact` computes the exact fill, which takes about a minute there.
_AFFORDABLE = 512
#: Largest relative difference of two fits to one map with different numbers of threads.
_SAME = 1e-4
#: The same for free parts, which are known less well.
_FREE = 1e-2
#: Rounding error of SFFILLED, which has six decimals, with a margin.
_ROUNDED = 0.51e-6


def keywords_of(sky: skyfill.SkyMap) -> Mapping[str, object]:
    """Give the header keywords of the table that a map was read from."""
    tables = skyfill.describe(sky.path).tables
    return next((table.keywords for table in tables if table.hdu == sky.hdu), {})


def exact_of(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    observed: NDArray[np.bool_],
    prior: skyfill.Prior | None,
    listener: skyfill.Progress,
) -> NDArray[np.float64] | None:
    """Read the map of --exact, or compute it; ``(npix,)`` in µK, None without --exact."""
    if args.exact is None:
        return None
    if args.exact is True:
        return _solved(args, sky, observed, prior, listener)
    other = reading.beside_of(args, args.exact, sky, field=args.field)
    _refuse_another(sky, prior, other)
    return other.values


def _solved(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    observed: NDArray[np.bool_],
    prior: skyfill.Prior | None,
    listener: skyfill.Progress,
) -> NDArray[np.float64]:
    """Compute the exact fill with the seed and index of the map."""
    import numpy as np

    said = keywords_of(sky)
    method, path = said.get("SFMETHOD"), sky.path
    mend = f"write it with `{_command(said)}`, and pass --exact FILE"
    if method == "gaussian":
        raise ValueError(f"{path} is the exact fill already; drop --exact")
    if method != "vae" or prior is None:
        raise ValueError(
            f"{path} is not a map that skyfill filled by vae and that holds its prior, so its exact"
            f" fill cannot be computed; {mend}"
        )
    if sky.nside > _AFFORDABLE:
        raise ValueError(
            f"{path} has Nside {sky.nside}, and --exact computes exact fills up to Nside"
            f" {_AFFORDABLE}; {mend}"
        )
    other = other_holes(said, observed)
    if other is not None:
        raise ValueError(
            f"{path}: {other}; pass the --mask that the map was filled with, or {mend} (with the"
            " same map and mask)"
        )
    index = _index(said)
    seed = said.get("SFSEED")
    if index is None or (index >= 0 and not isinstance(seed, int)):
        raise ValueError(
            f"{path} does not say which realization it is: SFFILL or SFSEED is missing in its"
            f" header; {mend}"
        )
    fitter = skyfill.Inpainter(
        np.where(observed, sky.values, np.nan),
        observed,
        method="gaussian",
        prior=prior,
        trust_prior=True,  # the fill itself has warned about the prior already
        holes="all",
        fill=str(said.get("SFLIKE", "data")),
        dipole=str(said.get("SFDIPOLE", "marginalise")),
        seed=seed if isinstance(seed, int) else 0,
        threads=args.threads or 0,
        progress=listener,
    )
    try:
        fill = fitter.mean() if index < 0 else fitter.realization(index)
    except skyfill.inpaint.ConvergenceError:
        raise ValueError(
            f"{path}: its exact fill has not converged; try a larger --tolerance: {mend}"
        ) from None
    exact = sky.values.astype(np.float64)
    exact[fitter.holes] = fill
    return exact


def _refuse_another(
    sky: skyfill.SkyMap, prior: skyfill.Prior | None, other: skyfill.SkyMap
) -> None:
    """Refuse a map for --exact that is not the exact fill of the same map, mask and seed."""
    if other.path.resolve() == sky.path.resolve():
        raise ValueError(f"--exact {other.path} is the filled map itself; give its exact fill")
    ours, theirs = keywords_of(sky), keywords_of(other)
    mend = f"write it with `{_command(ours)}`"
    method = theirs.get("SFMETHOD", "gaussian")
    if method != "gaussian":
        raise ValueError(f"--exact {other.path} was filled by {method}, not exactly; {mend}")
    names = ["SFFILL", "SFFILLED"]
    if _index(ours) != -1:  # a realization
        names += ["SFSEED", "SFLIKE"]
    for name in names:
        one, two = ours.get(name), theirs.get(name)
        if one is not None and two is not None and one != two:
            raise ValueError(
                f"--exact {other.path} is another fill: its {name} is {two}, and {one} in"
                f" {sky.path}; {mend}"
            )
    one, two = (each.get("SFDIPOLE", "marginalise") for each in (ours, theirs))
    if "SFMETHOD" in ours and "SFMETHOD" in theirs and one != two:
        raise ValueError(
            f"--exact {other.path} was filled with --dipole {two}, {sky.path} with --dipole {one};"
            f" {mend}"
        )
    known = skyfill.prior.recorded_prior(other.path)
    if prior is not None and known is not None and not _alike(prior, known):
        raise ValueError(
            f"--exact {other.path} was filled with another prior than {sky.path}; {mend}"
            f" --prior {sky.path}"
        )


def tiles_of(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    observed: NDArray[np.bool_],
    prior: skyfill.Prior | None,
    listener: skyfill.Progress,
) -> NDArray[np.int64] | None:
    """Find the tile of each filled pixel, ``(npix,)``; None if the map was not made from tiles."""
    said = keywords_of(sky)
    if said.get("SFMETHOD") != "vae" or prior is None or "SFHOLES" in said:
        return None
    other = other_holes(said, observed)
    if other is not None:
        warnings.warn(
            f"{sky.path}: {other}; the borders of its tiles are not evaluated", stacklevel=2
        )
        return None
    made, now = said.get("CREATOR"), f"skyfill {skyfill.__version__}"
    if made != now:
        warnings.warn(
            f"{sky.path} was written by {made}; its tiles are reconstructed by {now}, whose tiles"
            " may have other borders",
            stacklevel=2,
        )
    return skyfill.mosaic.planned_regions(
        observed,
        prior,
        polished="SFPOLISH" in said,
        threads=args.threads or 0,
        progress=listener,
    )


def other_holes(said: Mapping[str, object], observed: NDArray[np.bool_]) -> str | None:
    """Say why the mask's holes are not those that were filled; None if they may be."""
    if "SFHOLES" in said:
        return f"only some of its holes were filled (SFHOLES is {said['SFHOLES']})"
    share, filled = float((~observed).mean()), said.get("SFFILLED")
    if isinstance(filled, float | int) and abs(share - filled) > _ROUNDED:
        return (
            f"{filled:.4%} of the sky was filled (SFFILLED), but the holes of the mask cover"
            f" {share:.4%}"
        )
    return None


def _index(said: Mapping[str, object]) -> int | None:
    """Give the index of a realization, -1 for a mean, None if SFFILL is missing."""
    word, _, number = str(said.get("SFFILL", "")).partition(" ")
    if word == "mean":
        return -1
    return int(number) if word == "realization" and number.isdecimal() else None


def _command(said: Mapping[str, object]) -> str:
    """Give the command that writes the exact fill with the same seed and index."""
    words = "skyfill inpaint MAP MASK --method gaussian"
    index = _index(said)
    if index == -1:
        words += " --mean"
    elif index is not None:
        words += f" --seed {said.get('SFSEED', 'SEED')}"
        if index:
            words += f" --realizations {index + 1}"
    if said.get("SFLIKE") == "signal":
        words += " --fill signal"
    if "SFDIPOLE" in said:
        words += f" --dipole {said['SFDIPOLE']}"
    return f"{words} -o FILE"


def _alike(one: skyfill.Prior, two: skyfill.Prior) -> bool:
    """Tell whether two priors agree within the rounding of a fit."""
    import numpy as np

    numbers = ("fwhm", "noise_uk_arcmin", "calibration")
    return (
        (one.pixel_window, one.noise_map) == (two.pixel_window, two.noise_map)
        and one.beam == two.beam
        and one.cl.shape == two.cl.shape
        and np.allclose(one.cl, two.cl, rtol=_SAME, atol=0.0)
        and one.extra_cl.shape == two.extra_cl.shape
        and np.allclose(one.extra_cl, two.extra_cl, rtol=_FREE, atol=_FREE * one.cl.max())
        and all(math.isclose(getattr(one, x), getattr(two, x), rel_tol=_SAME) for x in numbers)
    )
