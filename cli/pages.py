"""Make the report pages of `inpaint` and `validate`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import skyfill

from . import filling, records, transforms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from skyfill.fidelity import SkyScores, Validation
    from skyfill.report import Plate, Report

__all__ = [
    "Made",
    "add_report",
    "check_report",
    "differences_of",
    "fill_page",
    "validation_page",
]

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
#: What α of a fill without noise does not count.
_OF_SIGNAL = "Noise in the holes, which --fill signal leaves out, is not counted."
#: Differences of realizations whose spectra are measured for the prior's share: they tell a share
#: of a half, in a bin of 20 modes, to 0.08.
_DIFFERENCES = 8
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


@dataclass(frozen=True)
class Made:
    """The fills that a page shows; maps are ``(npix,)``, µK, RING.

    ``std`` is that of ``draws`` realizations, 0 if it is exact; ``apart`` has their differences,
    and ``why`` says why they do not tell the prior's share.
    """

    filled: NDArray[np.float64]
    std: NDArray[np.float64] | None
    draws: int
    apart: skyfill.fidelity.Differences
    why: str


def differences_of(
    args: argparse.Namespace, sky: skyfill.SkyMap, fitter: skyfill.Inpainter
) -> tuple[skyfill.fidelity.Differences, str]:
    """Make what collects the differences of realizations, with the bins of the page's spectrum.

    If they cannot tell the share of the spectrum that follows from the prior, say why.
    """
    patch, why = fitter.outside is not None, ""
    words: dict[str, Any] = {"most": _DIFFERENCES, "threads": args.threads or 0}
    prior = fitter.prior
    if isinstance(fitter, skyfill.inpaint.TransformedInpainter):
        why = "the prior is one of g, and no spectrum of x follows from it"
    elif prior is None or args.method in ("diffuse", *filling.NETWORKS):
        why = "the fill has no prior"
    elif patch and sky.nside > CUT_NSIDE:
        why = f"it takes long for a part of the sky beyond Nside {CUT_NSIDE}, and is left out"
    elif patch:
        there = fitter.observed | fitter.holes
        width = skyfill.spectra.apodization_width(there)
        words["patch"] = skyfill.spectra.apodized(there, width)
    if prior is not None and not why:
        words["lmax"] = _lmax(sky, prior)
        return skyfill.fidelity.Differences(fitter.observed, prior, **words), ""
    return skyfill.fidelity.Differences(fitter.observed, None, most=_DIFFERENCES), why


def _share(
    args: argparse.Namespace, fitter: skyfill.Inpainter, made: Made, kind: str
) -> skyfill.report.PriorShare:
    """Give the prior's share of the spectrum, or why it is not known."""
    why = made.why
    if made.apart.share is None and not why:
        why = "it takes two realizations"
    patch = 0.0 if fitter.outside is None else 1 - float(fitter.outside.mean())
    return skyfill.report.PriorShare(
        values=made.apart.share,
        edges=made.apart.edges,
        kind="mean" if kind == "mean" else "realization",
        patch=patch,
        more=_OF_SIGNAL if args.fill == "signal" else "",
        why=why,
    )


def fill_page(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    fitter: skyfill.Inpainter,
    made: Made,
    scores: SkyScores,
    cards: Mapping[str, tuple[object, str]],
) -> Report:
    """Make the page of a fill, in the unit of `transforms.own_unit`, as the scores are."""
    import numpy as np

    report, unit = skyfill.report, transforms.own_unit(args, sky)
    bent = isinstance(fitter, skyfill.inpaint.TransformedInpainter)
    before = np.where(fitter.observed, sky.values, np.nan) / unit.uk
    filled, draws = made.filled / unit.uk, made.draws
    std, apart = (None if x is None else x / unit.uk for x in (made.std, made.apart.first))
    part = not np.all(np.isfinite(filled))  # a partial sky has no full-sky spectrum
    kind = "mean" if args.mean else "realization"
    if args.method in ("diffuse", *filling.NETWORKS):
        kind = "guess"
    images = {"before": before, "filled": filled}
    if std is not None:
        images["uncertainty"] = std
    if apart is not None:
        images[report.DIFFERENCE] = apart
    judged = kind == "realization" and not bent
    share = _share(args, fitter, made, kind)
    of_prior = share.values if kind == "realization" else None
    comparison = None if part else _spectrum(args, sky, fitter, filled, unit, of_prior)
    if comparison is not None and kind != "realization":  # no possible sky: χ² says nothing of it
        comparison = replace(comparison, full_tests=())
    theory_cl = None if comparison is None else comparison.theory_cl
    said: dict[str, Any]
    found = report.findings(scores.figures, judged=judged, theory_cl=theory_cl)
    statistics = _one_point(scores, unit.name)
    if comparison is not None:
        if not bent:  # χ² is that of a Gaussian field
            found += report.chi2_findings(comparison, judged=judged)
        lacking = share.values if kind == "mean" and not share.more else None
        said = {"unit": unit.name, "more": _OF_X if bent else "", "kind": kind}
        statistics = [report.spectrum(comparison, lacking=lacking, **said), *statistics]
    found += report.share_findings(share)
    shares = report.prior_share_of_bins(share)
    if shares is not None:
        statistics.insert(0 if comparison is None else 1, shares)
    found = [replace(each, name=each.name.replace("µK", unit.name)) for each in found]
    filled_share = f"{fitter.holes.mean():.2%}, {int(fitter.holes.sum())} pixels"
    frame = sky.coord or ""
    said = {"unit": unit.name, "frame": frame, "draws": draws}
    plates = {
        "The sky": report.skies(before, filled, std, difference=apart, **said),
        "The deepest places": report.close_ups(~fitter.holes, images, unit=unit.name),
        **({"Statistics": statistics} if statistics else {}),
    }
    return report.Report(
        title=f"{args.map.name}, filled",
        subtitle=f"skyfill {skyfill.__version__}, method {args.method}{_space(fitter, unit)}; the "
        "true sky in the holes is unknown: `skyfill validate` tests the fill where it is known",
        facts=_facts(args, sky, fitter, cards, _drawn(args, made)),
        plates=plates,
        findings=[report.Finding("filled share of the sky", filled_share), *found],
        allowed=report.uses(kind)[0],
        forbidden=report.uses(kind)[1],
        unjudged=_UNJUDGED if bent else "",
    )


def _drawn(args: argparse.Namespace, made: Made) -> str:
    """Say where the uncertainty is from."""
    if made.std is None:
        return ""
    return filling.drawn(args, made.draws, exact=made.draws == 0)


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
    share: NDArray[np.float64] | None = None,
) -> skyfill.SpectrumComparison:
    """Compare the C_l of the filled sky with the prior, or with a fitted one if it has none.

    That of a transformed field is fitted to the field itself, in free form. ``share`` is that of
    the prior, if it is known.
    """
    threads = args.threads or 0
    given: skyfill.Prior | skyfill.prior.Given | None = fitter.prior
    values = sky.values
    if unit is not None and isinstance(fitter, skyfill.inpaint.TransformedInpainter):
        values = values / unit.uk
        side = math.degrees(math.sqrt(4 * math.pi / values.size)) * 60
        given = skyfill.prior.Given(cl="map", noise_uk_arcmin=fitter.noise_std / unit.uk * side)
    prior = skyfill.prior.for_map(given, values, fitter.observed, threads=threads)
    masked = sky.nside <= CUT_NSIDE
    return skyfill.spectra.compare(
        filled,
        prior,
        lmax=_lmax(sky, prior),
        observed=fitter.observed if masked else None,
        apodize=skyfill.spectra.apodization_width(fitter.observed) if masked else 0.0,
        prior_share=share,
        threads=threads,
    )


def _lmax(sky: skyfill.SkyMap, prior: skyfill.Prior) -> int:
    """Give the last ell of the page's spectrum."""
    return min(2 * sky.nside, prior.cl.size - 1)


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
