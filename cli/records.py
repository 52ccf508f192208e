"""What the files we write say of the sky's statistics, and reading it back."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

import skyfill

from . import options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["command_cards", "prior_cards", "prior_of", "recorded_prior", "write_mask"]

LCDM = "Planck 2018 LCDM"


def command_cards(args: argparse.Namespace) -> dict[str, tuple[str | int, str]]:
    """Record the version and, where there is one, the seed."""
    cards: dict[str, tuple[str | int, str]] = {
        "CREATOR": (f"skyfill {skyfill.__version__}", "program that made this file")
    }
    if "seed" in args:
        cards["SFSEED"] = (args.seed, "seed of the random numbers")
    return cards


def prior_cards(prior: skyfill.Prior, cl: str = LCDM) -> dict[str, tuple[str | float | bool, str]]:
    """Record the statistics of the sky; `cl` names the theory."""
    return {
        "SFCL": (cl, "theory C_ell"),
        "SFBEAM": (round(math.degrees(prior.fwhm) * 60, 4), "[arcmin] FWHM of the beam"),
        "SFNOISE": (round(prior.noise_uk_arcmin, 4), "[uK arcmin] white noise"),
        "SFCALIB": (round(prior.calibration, 5), "factor of the power of the theory"),
        "SFPIXWIN": (prior.pixel_window, "is the sky averaged over its pixels?"),
    }


def prior_of(args: argparse.Namespace, sky: skyfill.SkyMap) -> tuple[skyfill.Prior, str]:
    """Find the statistics of a whole sky, and describe them.

    They are what the options say, else what the header of the file records, else fitted to the sky
    itself.
    """
    if options.has_prior(args):
        prior = options.given_prior(args, sky.nside)
        return prior, skyfill.inpaint.describe_prior(prior)
    recorded = recorded_prior(sky)
    if recorded is not None:
        return recorded, f"by the header, {skyfill.inpaint.describe_prior(recorded)}"

    import numpy as np

    fitted = skyfill.prior.fit(sky.values, np.isfinite(sky.values))
    return fitted, skyfill.inpaint.describe_prior(fitted)


def write_mask(
    args: argparse.Namespace, observed: NDArray[np.bool_], coord: str | None = "G"
) -> None:
    """Write a mask where -o says, one byte a pixel."""
    skyfill.write_map(
        args.output,
        observed,
        column="TMASK",
        unit="",
        dtype="uint8",
        coord=coord,
        provenance=command_cards(args),
        history=[args.command],
        overwrite=args.overwrite,
    )


def recorded_prior(sky: skyfill.SkyMap) -> skyfill.Prior | None:
    """Read the cards of `prior_cards` back, if they are there and name a theory that we hold."""
    tables = skyfill.describe(sky.path).tables
    said = next((table.keywords for table in tables if table.hdu == sky.hdu), {})
    if said.get("SFCL") != LCDM:
        return None
    beam, noise = said.get("SFBEAM"), said.get("SFNOISE")
    if not isinstance(beam, float) or not isinstance(noise, float):
        return None
    return skyfill.Prior(
        sky.nside,
        skyfill.lcdm(),
        fwhm=math.radians(beam / 60),
        noise_uk_arcmin=noise,
        pixel_window=said.get("SFPIXWIN") is not False,
        calibration=float(str(said.get("SFCALIB", 1.0))),
    )
