"""Make the report pages of polarization: `skyfill inpaint` and `validate --stokes TQU --report`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import skyfill

from . import filling, polarcards, records
from .pages import CUT_NSIDE
from .sixspectra import SHARE_NSIDE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from skyfill.fidelity import StokesValidation
    from skyfill.fidelity.onepoint import OnePoint
    from skyfill.inpaint import PolarizedInpainter, PolarizedSpread
    from skyfill.maps import StokesMap
    from skyfill.prior import PolarizedPrior
    from skyfill.report import Plate, PriorShare, Report
    from skyfill.spectra import StokesComparison

    Map = NDArray[np.float64]

__all__ = ["validation_page", "write"]

#: What α does not know.
_WHITE = "α is that of white noise of the same mean, not of the noise map."


def write(
    args: argparse.Namespace,
    sky: StokesMap,
    fitter: PolarizedInpainter,
    skies: Iterator[Map],
    spread: PolarizedSpread,
    listener: skyfill.Progress,
) -> None:
    """Evaluate the fills one by one, ``(k, npix)``, µK, RING, and write the page of the first.

    ``skies`` is read to its end, which completes ``spread``.
    """
    page = _page(args, sky, fitter, skies, spread, listener)
    page.write(args.report, overwrite=args.overwrite)
    listener.done(f"{args.report}, {page.verdict or 'not judged'}")


def _page(
    args: argparse.Namespace,
    sky: StokesMap,
    fitter: PolarizedInpainter,
    skies: Iterator[Map],
    spread: PolarizedSpread,
    listener: skyfill.Progress,
) -> Report:
    """Make the page."""
    report = skyfill.report
    first = next(skies)
    scores = skyfill.fidelity.score_stokes(
        chain([first], skies),
        fitter.observed[0],
        fitter.observed[-1],
        seed=args.seed,
        threads=args.threads or 0,
        progress=listener,
    )
    for _ in skies:  # those that the figures do not need
        pass
    prior = _theory(args, sky, fitter)
    kind = "guess" if not fitter.stochastic else "mean" if args.mean else "realization"
    judged = kind == "realization"
    share = _share(args, sky, fitter, kind, listener)
    comparison = _comparison(args, sky, fitter, first, prior, share, listener)
    listener.stage("report")
    holes = dict(zip(sky.stokes, fitter.holes, strict=True))
    found = [
        report.Finding(f"filled share of {name}", f"{hole.mean():.2%}, {int(hole.sum())} pixels")
        for name, hole in (("Q and U" if x == "Q" else x, holes[x]) for x in sky.stokes if x != "U")
    ]
    if fitter.prior is not None:
        found += report.accuracy_findings(fitter.certificates, fitter.prior)
    found += report.quality_findings(fitter.quality_pol)
    for name, figures in scores.figures.items():
        theory_cl = None if name != "T" or prior is None else prior.temperature.total_cl()
        found += report.findings(figures, judged=judged, of=name, theory_cl=theory_cl)
    plates = _skies(sky, fitter, first, spread)
    plates["E and B"] = report.eb_skies(
        first[-2], first[-1], fitter.observed[-1], fitter.prior, threads=args.threads or 0
    )
    statistics: list[Plate] = []
    if comparison is not None:
        tested = comparison if judged else replace(comparison, full_tests={})
        found += report.stokes_chi2_findings(tested, judged=judged)
        plates["Spectra"] = [report.six_spectra(comparison, kind=kind)]
        drawn = report.prior_share_of_bb(comparison, share)
        statistics = [] if drawn is None else [drawn]
    found += report.share_findings(share)
    statistics += _one_points(scores.one_points)
    if statistics:
        plates["Statistics"] = statistics
    return report.Report(
        title=f"{args.map.name}, filled",
        subtitle=f"skyfill {skyfill.__version__}, method {args.method}, {', '.join(sky.stokes)}; "
        "the true sky in the holes is unknown",
        facts=_facts(
            args,
            sky,
            fitter,
            polarcards.cards_of(args, sky, fitter),
            filling.drawn(args, spread.count),
        ),
        plates=plates,
        findings=found,
        allowed=report.uses(kind)[0],
        forbidden=report.uses(kind)[1],
        notes={"What the B modes may be used for": report.b_modes(kind)},
    )


def validation_page(
    args: argparse.Namespace, sky: StokesMap, found: StokesValidation, listener: skyfill.Progress
) -> Report:
    """Make the page of a validation of T, Q and U, or of Q and U."""
    import numpy as np

    report, copies, fitter = skyfill.report, found.holes, found.filler
    filled = fitter.whole(fitter.realization(0))
    share = _share(args, sky, fitter, "realization", listener)
    comparison = _comparison(args, sky, fitter, filled, fitter.prior, share, listener)
    listener.stage("report")
    before = [
        np.where(seen, own, np.nan)
        for seen, own in zip(fitter.observed, sky.components, strict=True)
    ]
    truth = [np.asarray(own, dtype=np.float64) for own in sky.components]
    plates: dict[str, Sequence[Plate]] = {}
    if sky.stokes == "TQU":
        images = {"hidden": before[0], "filled": filled[0], "observed": truth[0]}
        plates["Held-out holes: T"] = report.close_ups(~copies.held_out, images)
    plates["Held-out holes: Q and U"] = report.close_ups_pol(
        ~copies.held_out, before[-2:], filled[-2:], None, truth=truth[-2:]
    )
    plates |= {
        f"The sky: {name}": report.skies(old, new, None, name=name, frame=sky.skies[0].coord or "")
        for name, old, new in zip(sky.stokes, before, filled, strict=True)
    }
    held = f"{len(copies.sizes)} copies of holes, the same of {', '.join(sky.stokes)}"
    held += f", {int(copies.sizes.sum())} pixels, {args.realizations} realizations"
    findings = [report.Finding("held out", held)]
    if fitter.prior is not None:
        findings += report.accuracy_findings(fitter.certificates, fitter.prior)
    findings += report.quality_findings(fitter.quality_pol)
    for name, figures in found.figures.items():
        findings += report.findings(figures, of=name)
    scores = found.scores.stokes
    z = {name: x.calibration.z for name, x in scores.items() if x.calibration is not None}
    if comparison is not None:
        findings += report.stokes_chi2_findings(comparison)
        plates["Spectra"] = [report.six_spectra(comparison)]
    plates["Statistics"] = [
        report.histogram(
            f"Z-scores of {name}",
            "Observed values minus the mean of the realizations, divided by their spread, in the "
            "held-out holes. A histogram wider than the normal curve means that the error bars are "
            "too small.",
            {"held-out holes": values},
            label="z",
            normal=True,
            bins=np.linspace(-5, 5, 61).tolist(),
        )
        for name, values in z.items()
    ] + _one_points({name: x.one_point for name, x in scores.items() if x.one_point is not None})
    return report.Report(
        title=f"{args.map.name}, validated",
        subtitle=f"skyfill {skyfill.__version__}, method {args.method}, {', '.join(sky.stokes)}; "
        "copies of the masks' holes were placed on observed sky, filled, and compared with the "
        "observed values",
        facts=_facts(args, sky, fitter, records.command_cards(args)),
        plates=plates,
        findings=findings,
        allowed=report.uses("realization")[0],
        forbidden=report.uses("realization")[1],
        notes={"What the B modes may be used for": report.b_modes("realization")},
    )


def _theory(
    args: argparse.Namespace, sky: StokesMap, fitter: PolarizedInpainter
) -> PolarizedPrior | None:
    """Give the prior; of a method that has none, one that is fitted to T, Q and U.

    None for Q and U that were filled without a prior: their beam cannot be fitted.
    """
    import numpy as np

    if fitter.prior is not None or sky.stokes == "QU":
        return fitter.prior
    threads = args.threads or 0
    values = np.asarray(sky.components[0], dtype=np.float64)
    t = skyfill.prior.for_map(None, values, fitter.observed[0], threads=threads)
    found = skyfill.prior.PolarizedPrior.of(t)
    both = np.array(sky.components[-2:], dtype=np.float64)
    fitted = skyfill.prior.fit_polarization(both, fitter.observed[-1], found, threads=threads)
    return found if fitted is None else fitted


def _share(
    args: argparse.Namespace,
    sky: StokesMap,
    fitter: PolarizedInpainter,
    kind: str,
    listener: skyfill.Progress,
) -> PriorShare:
    """Measure the prior's share of BB, or say why it is not known."""
    prior, nside, threads = fitter.prior, sky.skies[0].nside, args.threads or 0
    why = ""
    if prior is None:
        why = "the fill has no prior"
    elif not prior.bb.any():
        why = "the prior has no BB"
    elif nside > SHARE_NSIDE:
        why = f"it takes long beyond Nside {SHARE_NSIDE}, and is left out"
    named: dict[str, Any] = {"kind": "mean" if kind == "mean" else "realization", "of": "BB"}
    if prior is None or why:
        return skyfill.report.PriorShare(why=why, **named)
    listener.stage("prior's share of BB")
    lmax = skyfill.harmonics.quadrature_lmax(nside)
    found = skyfill.report.PriorShare(
        values=skyfill.fidelity.bb_share(
            *(prior, fitter.observed[0], fitter.observed[-1]), stokes=sky.stokes, threads=threads
        ),
        edges=skyfill.spectra.bin_edges(None, lmax),
        more=_WHITE if args.noise_map is not None else "",
        **named,
    )
    listener.done(found.span)
    return found


def _comparison(
    args: argparse.Namespace,
    sky: StokesMap,
    fitter: PolarizedInpainter,
    filled: Map,
    prior: PolarizedPrior | None,
    share: PriorShare,
    listener: skyfill.Progress,
) -> StokesComparison | None:
    """Compare the spectra of the filled sky with the prior."""
    if prior is None:
        return None
    nside, threads = sky.skies[0].nside, args.threads or 0
    listener.stage("spectra")
    masked = nside <= CUT_NSIDE
    seen = (fitter.observed[0], fitter.observed[-1]) if masked else ()
    found = skyfill.spectra.compare_stokes(
        filled,
        prior,
        observed=fitter.observed[0] if masked else None,
        observed_pol=fitter.observed[-1] if masked else None,
        apodize=min((skyfill.spectra.apodization_width(x) for x in seen), default=0.0),
        bb_share=share.values if share.kind == "realization" else None,
        threads=threads,
    )
    listener.done(f"{found.ell.size} bins up to ell = {found.lmax}")
    return found


def _skies(
    sky: StokesMap, fitter: PolarizedInpainter, filled: Map, spread: PolarizedSpread
) -> dict[str, Sequence[Plate]]:
    """Draw the maps and the deepest places of T, and of Q and U."""
    import numpy as np

    report = skyfill.report
    before = [
        np.where(seen, own, np.nan)
        for seen, own in zip(fitter.observed, sky.components, strict=True)
    ]
    std = spread.maps() if spread.count > 1 else None
    spreads: Sequence[Map | None] = std or [None] * len(before)
    differences: Sequence[Map | None] = spread.difference() or [None] * len(before)
    apart = dict(zip(sky.stokes, differences, strict=True))
    maps = dict(zip(sky.stokes, zip(before, filled, spreads, strict=True), strict=True))
    said: dict[str, Any] = {"frame": sky.skies[0].coord or "", "draws": spread.count}
    plates: dict[str, Sequence[Plate]] = {}
    if "T" in maps:
        plates["The sky: T"] = report.skies(*maps["T"], name="T", difference=apart["T"], **said)
    plates["The sky: Q and U"] = [
        plate
        for name in "QU"
        for plate in report.skies(*maps[name], name=name, difference=apart[name], **said)
    ]
    if "T" in maps and not fitter.observed[0].all():
        images = {"before": before[0], "filled": filled[0]}
        if std is not None:
            images["uncertainty"] = std[0]
        if apart["T"] is not None:
            images[report.DIFFERENCE] = apart["T"]
        plates["The deepest places: T"] = report.close_ups(fitter.observed[0], images)
    if not fitter.observed[-1].all():
        both = [x for x in (apart["Q"], apart["U"]) if x is not None] or None
        plates["The deepest places: Q and U"] = report.close_ups_pol(
            fitter.observed[-1],
            before[-2:],
            filled[-2:],
            None if std is None else std[-2:],
            difference=both,
        )
    return plates


def _one_points(found_in: Mapping[str, OnePoint]) -> list[Plate]:
    """Draw the distributions inside and outside the holes of each Stokes parameter."""
    return [
        skyfill.report.histogram(
            f"{name} in the holes and outside",
            "A fill that is too smooth is narrower."
            + (" Monopole and dipole are removed." if name == "T" else ""),
            {"in the holes": found.sample_inside, "outside": found.sample_outside},
            label="µK",
        )
        for name, found in found_in.items()
    ]


def _facts(
    args: argparse.Namespace,
    sky: StokesMap,
    fitter: PolarizedInpainter,
    cards: Mapping[str, tuple[object, str]],
    drawn: str = "",
) -> dict[str, dict[str, str]]:
    """List the command, the files, the prior and the accuracy."""
    first = sky.skies[0]
    columns = ", ".join(each.column for each in sky.skies)
    said = "assumed, the file does not say" if sky.assumed else "given"
    run = {
        "command": args.command,
        "map": f"{args.map.name}, columns {columns}, {first.unit}",
        "sign of U": f"{sky.polcconv} ({said}); this page has that of HEALPix, COSMO",
        "Nside": f"{first.nside}, {'NESTED' if first.nest else 'RING'}",
        "mask": args.mask.name,
        **({} if args.mask_pol is None else {"mask of Q and U": args.mask_pol.name}),
        "seed": str(args.seed),
    }
    if drawn:
        run["uncertainty"] = drawn
    found = {"theory": "none: this method has no prior; the spectra are compared with a fitted one"}
    if sky.stokes == "QU":
        found = {"theory": "none: this method has no prior"}
    prior = fitter.prior
    if prior is not None:
        found = {
            "statistics": skyfill.inpaint.describe_prior(prior.temperature),
            "Q and U": f"noise {prior.noise_pol:.1f} uK.arcmin ({prior.origin_noise_pol}), power x"
            f" {prior.calibration_of_pol:.3f}, BB {prior.bb_source}",
        }
        if prior.temperature.quality is not None:
            found["fit to T"] = str(prior.temperature.quality)
    found |= {f"fit, {name}": str(each) for name, each in fitter.quality_pol.items()}
    if fitter.plausibility is not None:
        found["check of T"] = f"{fitter.plausibility.verdict}: {fitter.plausibility}"
    if fitter.power_pol is not None:
        found["check of P"] = f"{fitter.power_pol:.3f} times the power of its prior"
    accuracy = {name: str(each) for name, each in fitter.certificates.items()}
    recorded = records.as_rows(cards)
    return {
        "Run": run,
        "Prior": found,
        **({"Certificates": accuracy} if accuracy else {}),
        "Recorded in the files": recorded,
    }
