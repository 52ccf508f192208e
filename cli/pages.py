"""Make the report pages of `inpaint` and `validate`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import filling, records

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from skyfill.fidelity import SkyScores, Validation
    from skyfill.report import Plate, Report

__all__ = ["add_report", "check_report", "fill_page", "validation_page"]

#: Largest Nside at which the report has a cut-sky spectrum: beyond, it takes 30 s, 1 GiB or more.
CUT_NSIDE = 512


def add_report(parser: argparse.ArgumentParser) -> None:
    """Declare --report."""
    parser.add_argument(
        "--report",
        type=Path,
        metavar="HTML",
        help="also write a page that shows whether the fill can be trusted",
    )


def check_report(args: argparse.Namespace) -> None:
    """Refuse --report before the fill, if its libraries are missing or its file cannot be made."""
    if args.report:
        skyfill.report.check_libraries()
        skyfill.check_writable(args.report, overwrite=args.overwrite, kind="page")


def fill_page(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    fitter: skyfill.Inpainter,
    filled: NDArray[np.float64],
    std: NDArray[np.float64] | None,
    draws: int,
    scores: SkyScores,
    cards: Mapping[str, tuple[object, str]],
) -> Report:
    """Make the page of a fill; maps are ``(npix,)``, µK, RING; ``std`` is from so many draws."""
    import numpy as np

    report = skyfill.report
    before = np.where(fitter.observed, sky.values, np.nan)
    part = not np.all(np.isfinite(filled))  # a partial sky has no full-sky spectrum
    kind = "mean" if args.mean else "realization"
    if args.method in ("diffuse", *filling.NETWORKS):
        kind = "guess"
    images = {"before": before, "filled": filled}
    if std is not None:
        images["uncertainty"] = std
    judged = kind == "realization"
    comparison = None if part else _spectrum(args, sky, fitter, filled)
    theory_cl = None if comparison is None else comparison.theory_cl
    found = report.findings(scores.figures, judged=judged, theory_cl=theory_cl)
    statistics = _one_point(scores)
    if comparison is not None:
        found += report.chi2_findings(comparison, judged=judged)
        statistics = [report.spectrum(comparison), *statistics]
    share = f"{fitter.holes.mean():.2%}, {int(fitter.holes.sum())} pixels"
    plates = {
        "The sky": report.skies(before, filled, std, frame=sky.coord or "", draws=draws),
        "The deepest places": report.close_ups(~fitter.holes, images),
        **({"Statistics": statistics} if statistics else {}),
    }
    return report.Report(
        title=f"{args.map.name}, filled",
        subtitle=f"skyfill {skyfill.__version__}, method {args.method}; the true sky in the holes "
        "is unknown: `skyfill validate` tests the fill where it is known",
        facts=_facts(args, sky, fitter, cards, filling.drawn(args, draws)),
        plates=plates,
        findings=[report.Finding("filled share of the sky", share), *found],
        allowed=report.uses(kind)[0],
        forbidden=report.uses(kind)[1],
    )


def validation_page(args: argparse.Namespace, sky: skyfill.SkyMap, found: Validation) -> Report:
    """Make the page of a validation."""
    import numpy as np

    report, copies = skyfill.report, found.holes
    hidden = np.where(found.observed, sky.values, np.nan)
    filled = hidden.copy()
    filled[~found.filler.observed] = np.nan
    filled[found.filler.holes] = found.filler.realization(0)
    whole = bool(np.all(np.isfinite(filled)))
    images = {"hidden": hidden, "filled": filled, "observed": sky.values}
    z = {} if found.scores.calibration is None else {"held-out holes": found.scores.calibration.z}
    plates = {
        "Held-out holes": report.close_ups(~copies.held_out, images),
        "The sky": report.skies(hidden, filled, None, frame=sky.coord or ""),
        "Statistics": [
            report.histogram(
                "Z-scores",
                "Observed values minus the mean of the realizations, divided by their spread, in "
                "the held-out holes. A histogram wider than the normal curve means that the error "
                "bars are too small.",
                z,
                label="z",
                normal=True,
                bins=np.linspace(-5, 5, 61).tolist(),
            ),
            *_one_point(found.scores),
            *([report.spectrum(_spectrum(args, sky, found.filler, filled))] if whole else []),
        ],
    }
    share = (
        f"{len(copies.sizes)} copies of holes, {int(copies.sizes.sum())} pixels, "
        f"{args.realizations} realizations"
    )
    return report.Report(
        title=f"{args.map.name}, validated",
        subtitle=f"skyfill {skyfill.__version__}, method {args.method}; copies of the mask's holes "
        "were placed on observed sky, filled, and compared with the observed values",
        facts=_facts(args, sky, found.filler, records.command_cards(args)),
        plates=plates,
        findings=[report.Finding("held out", share), *report.findings(found.figures)],
        allowed=report.uses("realization")[0],
        forbidden=report.uses("realization")[1],
    )


def _spectrum(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    fitter: skyfill.Inpainter,
    filled: NDArray[np.float64],
) -> skyfill.SpectrumComparison:
    """Compare the C_l of the filled sky with the prior, or with a fitted one if it has none."""
    threads = args.threads or 0
    prior = skyfill.prior.for_map(fitter.prior, sky.values, fitter.observed, threads=threads)
    return skyfill.spectra.compare(
        filled,
        prior,
        lmax=min(2 * sky.nside, prior.cl.size - 1),
        observed=fitter.observed if sky.nside <= CUT_NSIDE else None,
        threads=threads,
    )


def _one_point(scores: SkyScores) -> list[Plate]:
    """Draw the one-point distributions inside and outside the holes."""
    found = scores.one_point
    if found is None:  # a partial sky
        return []
    title = "Values in the holes and outside"
    caption = (
        "Temperatures of pixels of the first fill, monopole and dipole removed. A fill that is too "
        "smooth is narrower in the holes; a shift of a band is cosmic variance of large scales."
    )
    samples = {"in the holes": found.sample_inside, "outside": found.sample_outside}
    return [skyfill.report.histogram(title, caption, samples, label="temperature, µK")]


def _facts(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    fitter: skyfill.Inpainter,
    cards: Mapping[str, tuple[object, str]],
    drawn: str = "",
) -> dict[str, dict[str, str]]:
    """List the command, the files and the prior."""
    run = {
        "command": args.command,
        "map": f"{args.map.name}, column {sky.column}, {sky.unit}",
        "Nside": f"{sky.nside}, {'NESTED' if sky.nest else 'RING'}",
        "mask": args.mask.name,
        "seed": str(args.seed),
        **({"uncertainty": drawn} if drawn else {}),
    }
    prior = {"theory": "none: this method has no prior"}
    if fitter.prior is not None:
        prior = {"statistics": skyfill.inpaint.describe_prior(fitter.prior)}
    if fitter.prior is not None and fitter.prior.quality is not None:
        prior["fit"] = str(fitter.prior.quality)
    if fitter.plausibility is not None:
        prior["check"] = f"{fitter.plausibility.verdict}: {fitter.plausibility}"
    if fitter.card is not None:
        prior["weights"] = f"{fitter.card.name}, sha256 {fitter.card.sha256}"
    recorded = records.as_rows(cards)
    return {"Run": run, "Prior": prior, "Recorded in the files": recorded}
