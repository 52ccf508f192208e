"""Whole skies in one call, in the order, the unit and the type that the caller has."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix import reorder, ring_to_nest
from skyfill.healpix.arrays import as_map, as_mask, as_stokes_map, as_stokes_mask, size_in_uk
from skyfill.healpix.checks import check_whole
from skyfill.healpix.stokes import nside_of
from skyfill.inpaint.inpainter import Inpainter
from skyfill.inpaint.options import AUTO
from skyfill.inpaint.polarized import PolarizedInpainter
from skyfill.inpaint.transformed import TransformedInpainter
from skyfill.maps import SkyMap, unit_in_uk
from skyfill.prior import NoiseEstimate
from skyfill.progress import Progress, Silent, shown

__all__ = ["fill"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


def fill(
    map: Any,  # noqa: A002, ANN401 (healpy's word for it; as many types as `as_map` takes)
    mask: ArrayLike,
    nest: bool = False,
    unit: str = "uK",
    mean: bool = False,
    seed: int = 0,
    n: int = 1,
    *,
    progress: Progress | bool = True,
    **options: Any,  # noqa: ANN401 (see Inpainter for their types)
) -> Any:  # noqa: ANN401 (the type of ``map``)
    """Fill the holes of a map, and return whole skies.

    Parameters
    ----------
    map
        ``(npix,)``: a list, an array, a masked array, an astropy Quantity or a `SkyMap`; NaN, inf,
        UNSEEN or masked where missing. Or ``(3, npix)``: T, Q and U, which are filled together,
        with the sign of U of HEALPix; Q and U have the holes of both.
    mask
        ``(npix,)``, True or 1 where observed, in the same order as the map. For T, Q and U also
        ``(3, npix)``, with one mask for Q and U.
    nest
        Whether map and mask are in NESTED order; if not, both are in RING order. A `SkyMap` is in
        RING order always.
    unit
        Unit of the numbers in ``map``: K, mK or uK. It is not guessed: a map in K that is taken for
        µK is refused. A Quantity and a `SkyMap` have units of their own.
    mean
        Whether to return the posterior mean, which has less power than the sky, instead of
        realizations. ``diffuse`` has only its one fill.
    seed
        Seed of the realizations; the same seed gives the same skies.
    n
        Number of realizations.
    progress
        Whether progress is shown, in a terminal or in a notebook; or a listener for it.
    options
        Other arguments of `Inpainter`: method, prior, noise_rms, holes, footprint, ... For T, Q and
        U those of `PolarizedInpainter`. With ``transform``, those of `TransformedInpainter`, with
        ``shift`` in the unit of the map. Maps among them (``noise_rms``, ``footprint``,
        ``observed_pol``) are in the order of the map, ``noise_rms`` in its unit, and
        ``noise_variance`` in that unit, squared.

    Returns
    -------
    The sky in the shape, order, unit and type of ``map``; with n > 1 one axis more, ``(n, ...)``,
    or a list of `SkyMap`. Pixels that are not filled keep their bits. Integers become float64.

    Raises
    ------
    ValueError
        As for `Inpainter`; or ``mean`` is combined with several realizations, or the unit is
        unknown or contradicts the map's own.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> prior = skyfill.Prior(32, skyfill.lcdm(), fwhm=0.08, noise_uk_arcmin=500.0)
    >>> sky = skyfill.prior.draw(prior, seed=1, index=0, aliased=True)
    >>> observed = skyfill.simulate_mask(32, seed=2, n_holes=10)
    >>> whole = skyfill.fill(np.where(observed, sky, np.nan), observed, prior=prior)
    >>> whole.shape, bool(np.isfinite(whole).all())
    ((12288,), True)
    >>> bool((whole[observed] == sky[observed]).all())  # observed pixels keep their bits
    True
    """
    n = check_whole(n, "n", least=1)
    if mean and n > 1:
        raise ValueError("there is only one mean: drop `mean=True` or `n`")
    if nest and isinstance(map, SkyMap):
        raise ValueError("a SkyMap is in RING order, whatever its file has: drop nest=True")
    size = _size_of_unit(map, unit)
    skies = _in_ring(_scaled(as_stokes_map(map, "map"), map, size), nest)
    options = _in_our_form(options, size, nest)
    with _listener(progress) as listener:
        options |= {"seed": seed, "progress": listener}
        filler: Inpainter | PolarizedInpainter
        if skies.ndim == 2 and len(skies) == 3:
            filler = _polarized(skies, mask, nest, options)
            holes = filler.holes
        else:
            observed = _in_ring(as_mask(mask, "mask", taker="fill"), nest)
            kind = Inpainter if options.get("transform") is None else TransformedInpainter
            filler = kind(skies.reshape(-1), observed, **options)
            holes = [filler.holes]
        single = not filler.stochastic
        if single and n > 1:
            method = filler.options.method if isinstance(filler, Inpainter) else filler.method
            raise ValueError(f"{method} has one fill and no realizations: drop `n`")
        places = [np.flatnonzero(each) for each in holes]
        if nest:
            places = [ring_to_nest(nside_of(holes[0], "map"), each) for each in places]
        found = []
        for index in range(n):
            drawn = filler.mean() if mean or single else filler.realization(index)
            fills = drawn if isinstance(drawn, list) else [drawn]
            found.append(_pasted(map, places, [each / size for each in fills]))
    if n == 1 or isinstance(map, SkyMap):
        return found[0] if n == 1 else found
    return np.ma.stack(found) if isinstance(map, np.ma.MaskedArray) else np.stack(found)


def _listener(progress: Progress | bool) -> AbstractContextManager[Progress]:
    """Choose who listens to the progress."""
    if isinstance(progress, bool):
        return shown() if progress else nullcontext(Silent())
    return nullcontext(progress)


def _size_of_unit(values: object, unit: str) -> float:
    """Return the size in µK of the unit of a caller's map."""
    given = unit_in_uk(unit)
    own = size_in_uk(values, "map")
    if own is None:
        return given
    if given != 1.0 and not math.isclose(given, own):  # µK is the default, and may not be meant
        raise ValueError(f"the map has a unit of its own, which is not {unit}: drop `unit`")
    return own


def _scaled(values: Map, given: object, size: float) -> Map:
    """Convert a map to µK, unless that has been done because it has a unit of its own."""
    return values if size == 1.0 or size_in_uk(given, "map") is not None else values * size


def _in_ring(values: NDArray[Any], nest: bool) -> NDArray[Any]:
    """Bring a map or a mask to RING order."""
    return reorder(values, nest_in=True, nest_out=False) if nest else values


def _in_our_form(options: dict[str, Any], size: float, nest: bool) -> dict[str, Any]:
    """Bring the maps among the options to RING order and to µK."""
    options = dict(options)
    for name in ("footprint", "observed_pol"):
        if options.get(name) is not None:
            options[name] = _in_ring(as_mask(options[name], name, taker="fill"), nest)
    if options.get("noise_variance") is not None:
        given = np.asarray(options["noise_variance"])
        rows = [as_map(row, "noise_variance") for row in np.atleast_2d(given)]
        rows = [_in_ring(row * size**2, nest) for row in rows]
        options["noise_variance"] = np.stack(rows).reshape(given.shape)
    if options.get("shift") is not None:
        options["shift"] = options["shift"] * size
    noise = options.get("noise_rms")
    if noise is not None and not isinstance(noise, str | NoiseEstimate):
        noise_map = as_map(noise, "noise_rms", taker="fill")
        options["noise_rms"] = _in_ring(_scaled(noise_map, noise, size), nest)
    return options


def _polarized(
    skies: Map, mask: ArrayLike, nest: bool, options: dict[str, Any]
) -> PolarizedInpainter:
    """Prepare the fill of T, Q and U."""
    observed = _in_ring(as_stokes_mask(mask, "mask"), nest)
    if observed.ndim == 2 and len(observed) == 3:
        if "observed_pol" in options:
            raise ValueError("the mask has three components already: drop `observed_pol`")
        options["observed_pol"] = observed[1] & observed[2]
        observed = observed[0]
    return PolarizedInpainter(skies, observed.reshape(-1), **{"method": AUTO} | options)


def _pasted(given: Any, places: list[NDArray[np.int64]], fills: list[Map]) -> Any:  # noqa: ANN401
    """Return a copy of the caller's map with its holes filled.

    Parameters
    ----------
    given
        The map, of any type that `fill` takes.
    places
        For each component the pixels that are filled, ``(nhole,)``, in the order of the map.
    fills
        Their values, in the unit of the map.
    """
    if isinstance(given, SkyMap):
        return replace(given, values=_pasted(given.values, places, fills))
    masked = isinstance(given, np.ma.MaskedArray)
    if hasattr(given, "unit") and hasattr(given, "to_value"):
        whole = given.copy()
        fills = [fill * given.unit for fill in fills]
    else:
        whole = np.array(given.data if masked else given)
        if whole.dtype.kind != "f":
            whole = whole.astype(np.float64)
    missing = np.array(np.ma.getmaskarray(given)) if masked else None
    for component, (at, values) in enumerate(zip(places, fills, strict=True)):
        where = (at,) if whole.ndim == 1 else (component, at)
        whole[where] = values
        if missing is not None:
            missing[where] = False
    if missing is None:
        return whole
    return np.ma.array(whole, mask=missing, fill_value=given.fill_value)
