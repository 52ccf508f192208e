"""Take the response of a fill out of its spectrum: `skyfill spectrum --debias`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import skyfill

from . import origin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["add", "refuse", "response_of"]

#: Methods whose mean is linear in the data.
LINEAR = ("gaussian", "vae", "diffuse")


def add(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare --debias."""
    parser.add_argument(
        "--debias",
        action="store_true",
        help="also undo what the fill did to the spectrum, for one mean fill (inpaint --mean) of "
        "--mask, as its header describes it; some hundred fills of simulated skies, which are kept "
        "in the cache for later maps",
    )


def refuse(args: argparse.Namespace, stokes: str) -> None:
    """Refuse options that do not go with --debias, before any map is read."""
    if not args.debias:
        return
    if stokes != "T":
        raise ValueError(
            "--debias undoes the fill of T alone, EE, BB and TE cannot be debiased; pass --stokes T"
        )
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
    if observed.dtype != bool:
        raise ValueError(
            f"{args.mask} holds weights, and --debias needs the mask of 0 and 1 that the map was"
            " filled with; pass --threshold X"
        )
    said = origin.keywords_of(sky)
    _refuse_others(sky, said, observed)
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
        raise ValueError(
            f"{sky.path}: the fill of a simulated sky has not converged, so the response of its"
            " fill is not known; fill the map with more noise in the prior (skyfill inpaint"
            " --noise-uk-arcmin), or with --method diffuse"
        ) from None


def _refuse_others(
    sky: skyfill.SkyMap, said: Mapping[str, object], observed: NDArray[np.bool_]
) -> None:
    """Refuse maps whose fill is not linear, or not known from the header."""
    path, method = sky.path, said.get("SFMETHOD")
    mend = "fill the map with `skyfill inpaint MAP MASK --method gaussian --mean`"
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
            f" fill the map with `skyfill inpaint MAP MASK --method {method} --mean`"
        )
    for card, what in (
        ("SFNOIMAP", "with a noise map"),
        ("SFSTOKES", "together with Q and U"),
        ("SFMODEL", "by a network"),
    ):
        if card in said:
            raise ValueError(f"{path} was filled {what} ({card}), which --debias cannot do; {mend}")
    other = origin.other_holes(said, observed)
    if other is not None:
        raise ValueError(f"{path}: {other}; pass the --mask that the map was filled with")


def _filled_with(sky: skyfill.SkyMap, method: str, polish: object) -> skyfill.Prior | None:
    """Read the prior of the fill; None for a method without one."""
    if method == "diffuse" and not polish:
        return None
    prior = skyfill.prior.recorded_prior(sky.path)
    if prior is None:
        raise ValueError(
            f"{sky.path} does not hold the prior that it was filled with; fill the map again"
        )
    return prior
