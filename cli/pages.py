"""Make the report pages of `inpaint` and `validate`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import filling, records, transforms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from skyfill.fidelity import SkyScores, Validation
    from skyfill.report import Plate, Report

__all__ = ["add_report", "check_report", "fill_page", "validation_page"]

#: Headline of the page on such a field.
_UNJUDGED = (
    "This fill has no verdicts, because they are for Gaussian fields: skyfill validate --transform "
    "judges it."
)
#: What is said below the spectrum of a field that is not Gaussian.
_OF_X = (
    " The theory is a spectrum of free form fitted to the observed field. The scatter of a field "
    "that is not Gaussian is larger than that of the error bars."
)
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
    """Make the page of a fill; maps are ``(npix,)``, µK, RING; ``std`` is that of ``draws`` fills.

    The scores, and the page, are in the unit of `transforms.own_unit`.
    """
    import numpy as np

    report, unit = skyfill.report, transforms.own_unit(args, sky)
    bent = isinstance(fitter, skyfill.inpaint.TransformedInpainter)
    before = np.where(fitter.observed, sky.values, np.nan) / unit.uk
    filled = filled / unit.uk
    std = None if std is None else std / unit.uk
    part = not np.all(np.isfinite(filled))  # a partial sky has no full-sky spectrum
    kind = "mean" if args.mean else "realization"
    if args.method in ("diffuse", *filling.NETWORKS):
        kind = "guess"
    images = {"before": before, "filled": filled}
    if std is not None:
        images["uncertainty"] = std
    judged = kind == "realization" and not bent
    comparison = None if part else _spectrum(args, sky, fitter, filled, unit)
    theory_cl = None if comparison is None else comparison.theory_cl
    found = report.findings(scores.figures, judged=judged, theory_cl=theory_cl)
    statistics = _one_point(scores, unit.name)
    if comparison is not None:
        if not bent:  # χ² is that of a Gaussian field
            found += report.chi2_findings(comparison, judged=judged)
        more = _OF_X if bent else ""
        statistics = [report.spectrum(comparison, unit=unit.name, more=more), *statistics]
    found = [replace(each, name=each.name.replace("µK", unit.name)) for each in found]
    share = f"{fitter.holes.mean():.2%}, {int(fitter.holes.sum())} pixels"
    frame = sky.coord or ""
    plates = {
        "The sky": report.skies(before, filled, std, unit=unit.name, frame=frame, draws=draws),
        "The deepest places": report.close_ups(~fitter.holes, images, unit=unit.name),
        **({"Statistics": statistics} if statistics else {}),
    }
    return report.Report(
        title=f"{args.map.name}, filled",
        subtitle=f"skyfill {skyfill.__version__}, method {args.method}{_space(fitter, unit)}; the "
        "true sky in the holes is unknown: `skyfill validate` tests the fill where it is known",
        facts=_facts(args, sky, fitter, cards, filling.drawn(args, draws)),
        plates=plates,
        findings=[report.Finding("filled share of the sky", share), *found],
        allowed=report.uses(kind)[0],
        forbidden=report.uses(kind)[1],
        unjudged=_UNJUDGED if bent else "",
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
    unit: transforms.Own | None = None,
) -> skyfill.SpectrumComparison:
    """Compare the C_l of the filled sky with the prior, or with a fitted one if it has none.

    That of a transformed field is fitted to the field itself, in free form.
    """
    threads = args.threads or 0
    given: skyfill.Prior | skyfill.prior.Given | None = fitter.prior
    values = sky.values
    if unit is not None and isinstance(fitter, skyfill.inpaint.TransformedInpainter):
        values = values / unit.uk
        side = math.degrees(math.sqrt(4 * math.pi / values.size)) * 60
        given = skyfill.prior.Given(cl="map", noise_uk_arcmin=fitter.noise_std / unit.uk * side)
    prior = skyfill.prior.for_map(given, values, fitter.observed, threads=threads)
    return skyfill.spectra.compare(
        filled,
        prior,
        lmax=min(2 * sky.nside, prior.cl.size - 1),
        observed=fitter.observed if sky.nside <= CUT_NSIDE else None,
        threads=threads,
    )


def _space(fitter: skyfill.Inpainter, unit: transforms.Own) -> str:
    """Say in which space a field that is not Gaussian was filled."""
    if not isinstance(fitter, skyfill.inpaint.TransformedInpainter):
        return ""
    return f", of g = {fitter.formula(unit.uk)} with x in {unit.name}"


def _one_point(scores: SkyScores, unit: str = "µK") -> list[Plate]:
    """Draw the one-point distributions inside and outside the holes."""
    found = scores.one_point
    if found is None:  # a partial sky
        return []
    title = "Values in the holes and outside"
    caption = (
        "Values of pixels of the first fill, monopole and dipole removed. A fill that is too "
        "smooth is narrower in the holes; a shift of a band is cosmic variance of large scales."
    )
    samples = {"in the holes": found.sample_inside, "outside": found.sample_outside}
    label = "temperature, µK" if unit == "µK" else unit
    return [skyfill.report.histogram(title, caption, samples, label=label)]


def _of_transform(
    fitter: skyfill.inpaint.TransformedInpainter, unit: transforms.Own
) -> dict[str, str]:
    """Describe the transform and the prior of the transformed field."""
    share = f"{fitter.noise_share:.2g} of the variance"
    facts = {
        "transform": f"g = {fitter.formula(unit.uk)}, x in {unit.name}; g is filled as a Gaussian "
        "field, and noise is added to x",
        "spectrum": "of g, fitted to the observed g in free form",
        "noise": f"{fitter.noise_std / unit.uk:.4g} {unit.name} in a pixel, {share}",
        "verdicts": "none: the figures of this page are judged for Gaussian fields; `skyfill "
        "validate --transform` judges the fill in held-out holes",
    }
    inner = fitter.inner.prior
    if inner is not None and inner.quality is not None:
        facts["fit"] = str(inner.quality)
    return facts


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
    if isinstance(fitter, skyfill.inpaint.TransformedInpainter):
        prior = _of_transform(fitter, transforms.own_unit(args, sky))
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
