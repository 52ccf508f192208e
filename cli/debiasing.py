"""Take the response of a fill out of its spectrum: `skyfill spectrum --debias`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import skyfill

from . import origin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["add", "refuse", "response_of", "response_of_stokes"]

_Prior = TypeVar("_Prior")

#: Methods whose mean is linear in the data.
LINEAR = ("gaussian", "vae", "diffuse")
#: Largest rms of what the holes of a map hold less the fill that its header describes, in units of
#: the rms of the fill. Two exact solves differ by their tolerance, 0.003 of the rms of the map.
_ANOTHER = 0.03


def add(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare --debias."""
    parser.add_argument(
        "--debias",
        action="store_true",
        help="also undo what the fill did to the spectra, for one mean fill (inpaint --mean) of "
        "--mask, as its header describes it; some hundred fills of simulated skies (with Q and U "
        "three times as many), which are kept in the cache for later maps",
    )


def refuse(args: argparse.Namespace) -> None:
    """Refuse options that do not go with --debias, before any map is read."""
    if not args.debias:
        return
    if args.mask is None:
        raise ValueError("--debias needs the mask that the map was filled with; pass --mask")
    if args.apodize_deg:
        raise ValueError(
            "--debias and --apodize-deg exclude each other: the response is of the filled holes;"
            " drop one of them"
        )
    if len(args.maps) > 1:
        raise ValueError(
            f"--debias takes one mean fill, got {len(args.maps)} maps; pass them one by one"
        )


def response_of(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    observed: NDArray[Any] | None,
    prior: skyfill.Prior,
    listener: skyfill.Progress,
) -> skyfill.spectra.Response | None:
    """Measure the response of the fill that the header of a map describes."""
    if not args.debias or observed is None:
        return None
    _refuse_weights(args.mask, observed)
    said = origin.keywords_of(sky)
    _refuse_others(sky.path, said)
    if "SFSTOKES" in said:
        raise ValueError(
            f"{sky.path}: {said['SFSTOKES']} were filled together (SFSTOKES), so the fill of one"
            f" follows from the others; pass --stokes {said['SFSTOKES']}"
        )
    if "SFNOIMAP" in said:
        raise ValueError(_not_white(sky.path))
    _refuse_holes(sky.path, said, observed)
    method = str(said["SFMETHOD"])
    polish = said.get("SFPOLISH")
    fill = skyfill.inpaint.LinearFill(
        observed,
        _filled_with(sky, method, polish),
        method=method,
        dipole=str(said.get("SFDIPOLE", "marginalise")),
        polish=polish if isinstance(polish, int) else None,
        accept=said.get("SFCONV") is False,
        threads=args.threads or 0,
    )
    try:
        _refuse_another(sky.path, sky.values, fill, observed)
        return skyfill.spectra.response_of(
            fill,
            observed,
            prior,
            lmax=args.lmax,
            bins=args.bins or args.binning,
            cache=True,
            threads=args.threads or 0,
            progress=listener,
        )
    except skyfill.inpaint.ConvergenceError:
        raise ValueError(_unconverged(sky.path)) from None


def response_of_stokes(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    masks: Sequence[NDArray[Any]],
    prior: skyfill.prior.PolarizedPrior,
    listener: skyfill.Progress,
) -> skyfill.spectra.StokesResponse | None:
    """Measure the response of the fill of T, Q and U that the header of a map describes."""
    if not args.debias:
        return None
    import numpy as np

    first, stokes = sky.skies[0], sky.stokes
    for path, mask in zip((args.mask, args.mask_pol), masks, strict=False):
        _refuse_weights(path, mask)
    said = origin.keywords_of(first)
    _refuse_others(first.path, said)
    filled = said.get("SFSTOKES")
    if filled != stokes:
        was = "one column was filled alone" if filled is None else f"{filled} were filled together"
        raise ValueError(
            f"{first.path}: {was}, and --debias undoes the fill of {', '.join(stokes)} together;"
            f" pass --stokes {filled or 'T'}, or fill the map with `skyfill inpaint MAP MASK"
            f" --stokes {stokes} --mean`"
        )
    if "SFNOIMAP" in said:
        raise ValueError(_not_white(first.path))
    seen = [masks[0], masks[-1]] if stokes == "TQU" else [masks[-1]]
    for mask, share in zip(seen, ("SFFILLED", "SFFILLEP")[-len(seen) :], strict=True):
        _refuse_holes(first.path, {"SFFILLED": said.get(share)}, mask)
    method = str(said["SFMETHOD"])
    fill = skyfill.inpaint.LinearStokesFill(
        masks[0],
        _stokes_prior(first, method),
        observed_pol=masks[-1],
        stokes=stokes,
        method=method,
        dipole=str(said.get("SFDIPOLE", "marginalise")),
        accept=said.get("SFCONV") is False,
        threads=args.threads or 0,
        engine=skyfill.inpaint.FillOptions(method="vae", network=False)
        if method == "vae"
        else None,
    )
    try:
        behind = np.array([seen[0], seen[-1], seen[-1]][-len(stokes) :])
        _refuse_another(first.path, sky.values, fill, behind)
        return skyfill.spectra.response_of_stokes(
            fill,
            masks[0],
            prior,
            observed_pol=masks[-1],
            stokes=stokes,
            lmax=args.lmax,
            bins=args.bins or args.binning,
            cache=True,
            threads=args.threads or 0,
            progress=listener,
        )
    except skyfill.inpaint.ConvergenceError:
        raise ValueError(_unconverged(first.path)) from None


def _refuse_weights(path: Path, observed: NDArray[Any]) -> None:
    """Refuse a mask of weights."""
    if observed.dtype != bool:
        raise ValueError(
            f"{path} holds weights, and --debias needs the mask of 0 and 1 that the map was"
            " filled with; pass --threshold X"
        )


def _refuse_others(path: Path, said: Mapping[str, object]) -> None:
    """Refuse maps whose fill is not linear, or not known from the header."""
    method = said.get("SFMETHOD")
    more = f" --stokes {said['SFSTOKES']}" if "SFSTOKES" in said else ""
    mend = f"fill the map with `skyfill inpaint MAP MASK{more} --method gaussian --mean`"
    if method is None:
        raise ValueError(f"{path} does not say how it was filled (no SFMETHOD); {mend}")
    if method not in LINEAR:
        raise ValueError(
            f"{path} was filled by {method}, which is not linear, so --debias cannot undo it;"
            f" {mend}"
        )
    if said.get("SFFILL") != "mean":
        raise ValueError(
            f"{path} holds {said.get('SFFILL', 'an unknown fill')}, and --debias undoes mean fills;"
            f" fill the map with `skyfill inpaint MAP MASK{more} --method {method} --mean`"
        )
    if "SFMODEL" in said:
        raise ValueError(
            f"{path} was filled by a network (SFMODEL), which --debias cannot do; {mend}"
        )


def _not_white(path: Path) -> str:
    """Say that the noise of the fill is not in the header."""
    return (
        f"{path} was filled with a noise map (SFNOIMAP), which --debias cannot do; fill the map"
        " without --noise-map"
    )


def _unconverged(path: Path) -> str:
    """Say that a fill has not converged."""
    return (
        f"{path}: the fill of a simulated sky has not converged, so the response of its"
        " fill is not known; fill the map with more noise in the prior (skyfill inpaint"
        " --noise-uk-arcmin), or with --method diffuse"
    )


def _refuse_holes(path: Path, said: Mapping[str, object], observed: NDArray[np.bool_]) -> None:
    """Refuse a mask with other holes than those that were filled."""
    other = origin.other_holes(said, observed)
    if other is not None:
        raise ValueError(f"{path}: {other}; pass the --mask that the map was filled with")


def _refuse_another(
    path: Path,
    values: NDArray[np.floating],
    fill: Callable[[NDArray[np.floating]], NDArray[np.float64]],
    seen: NDArray[np.bool_],
) -> None:
    """Refuse a map whose holes do not hold the fill of its header, mask and prior.

    The response that is undone would be that of another fill.
    """
    import numpy as np

    missing = int(np.count_nonzero(~np.isfinite(values)))
    if missing:
        raise ValueError(f"{path}: {missing} pixels are missing; fill them first (skyfill inpaint)")
    own = np.atleast_2d(fill(values))
    for held, filled, mask in zip(np.atleast_2d(values), own, np.atleast_2d(seen), strict=True):
        if mask.all():
            continue
        size = float(np.std(filled))
        off = float(np.sqrt(np.mean((held - filled)[~mask] ** 2)))
        if off > _ANOTHER * size:
            raise ValueError(
                f"{path}: its holes do not hold the fill that its header describes (they differ by"
                f" {off / size:.0%} of the rms of the map), so --debias would undo another fill;"
                " pass the mask that the map was filled with, or fill the map again"
            )


def _stokes_prior(sky: skyfill.SkyMap, method: str) -> skyfill.prior.PolarizedPrior | None:
    """Read the prior of the fill of T, Q and U; None for a method without one."""
    if method == "diffuse":
        return None
    prior = skyfill.prior.recorded_polarization(sky.path)
    if prior is None:
        raise ValueError(_no_prior(sky))
    return _of_its_nside(sky, prior, prior.temperature.nside)


def _of_its_nside(sky: skyfill.SkyMap, prior: _Prior, nside: int) -> _Prior:
    """Refuse a prior of another Nside than the map."""
    if nside != sky.nside:
        raise ValueError(
            f"{sky.path} has Nside {sky.nside}, and the prior in its header is of Nside {nside};"
            " fill the map again at its Nside"
        )
    return prior


def _no_prior(sky: skyfill.SkyMap) -> str:
    """Say that the header has no prior."""
    return f"{sky.path} does not hold the prior that it was filled with; fill the map again"


def _filled_with(sky: skyfill.SkyMap, method: str, polish: object) -> skyfill.Prior | None:
    """Read the prior of the fill; None for a method without one."""
    if method == "diffuse" and not polish:
        return None
    prior = skyfill.prior.recorded_prior(sky.path)
    if prior is None:
        raise ValueError(_no_prior(sky))
    return _of_its_nside(sky, prior, prior.nside)
