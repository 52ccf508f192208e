"""Describe figures in words for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.fidelity import THRESHOLDS, Figure, meaning, readable
from skyfill.fidelity.figures import VERDICTS
from skyfill.gaussian import Certificate
from skyfill.gaussian.leakage import allowed_leakage
from skyfill.gaussian.solution import LEAKAGE_BINS
from skyfill.prior import PolarizedPrior, Quality
from skyfill.spectra import SpectrumComparison, StokesComparison
from skyfill.spectra.bandpowers import RangeTest

__all__ = [
    "Finding",
    "accuracy_findings",
    "chi2_findings",
    "findings",
    "quality_findings",
    "stokes_chi2_findings",
]

#: Probability to exceed χ², times the number of tests, below which a spectrum is doubtful: by
#: chance, one page in a hundred.
_UNLIKELY = 1e-2
#: The same for bad: by chance, one page in ten thousand.
_WRONG = 1e-4

#: B that may be still to come, over BB of the prior: a hundredth of BB is lost in its error.
_LEAK = 1e-2


@dataclass(frozen=True)
class Finding:
    """One row of the page: a measurement and its verdict.

    Attributes
    ----------
    name, value
        As shown, with the unit in the name.
    verdict
        ``good``, ``doubtful`` or ``bad``; empty for a number without a verdict.
    reason
        The expected value.

    Raises
    ------
    ValueError
        The verdict is another word.
    """

    __repr__ = brief

    name: str
    value: str
    verdict: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.verdict and self.verdict not in VERDICTS:
            known = ", ".join(VERDICTS)
            raise ValueError(f"verdict {self.verdict!r} is unknown; give one of {known}")


def findings(
    figures: Mapping[str, Figure],
    *,
    judged: bool = True,
    of: str = "",
    theory_cl: ArrayLike | None = None,
) -> list[Finding]:
    """Describe figures in words.

    Parameters
    ----------
    figures
        Figures by their names in `skyfill.fidelity`.
    judged
        Whether to show verdicts. They do not apply to a mean, which is not a possible sky.
    of
        Stokes parameter that the figures belong to, if there are several.
    theory_cl
        ``(>= 6,)``: C_ell of the theory from ell = 0, µK², to show beside low multipoles that have
        no truth; none if not given.
    """
    theory = None if theory_cl is None else np.asarray(theory_cl, dtype=np.float64)
    found = [_finding(name, each, theory, judged=judged) for name, each in figures.items()]
    return [replace(each, name=f"{of}: {each.name}") for each in found] if of else found


def _finding(
    name: str, figure: Figure, theory: NDArray[np.float64] | None, *, judged: bool
) -> Finding:
    family, _, rest = name.partition("_")
    words, figure = str(meaning(name)), readable(name, figure)
    if figure.expected is None:
        value = _rounded(figure.value, figure.error)
        value += "" if figure.error is None else f" ± {_rounded(figure.error, figure.error)}"
        if theory is None or family != "multipole":
            return Finding(words, value)
        return Finding(words, value, "", _of_theory(int(rest), theory))
    value, expected = (_rounded(each, figure.error) for each in (figure.value, figure.expected))
    if figure.error is not None:
        expected += f" ± {_rounded(figure.error, figure.error)} by chance"
    threshold = THRESHOLDS.get(name) or THRESHOLDS[family]
    if threshold.slack:
        expected += f", and {threshold.slack:g} does no harm: {threshold.reason}"
    else:
        expected += f": {threshold.reason}"
    return Finding(words, value, (figure.verdict or "") if judged else "", expected)


def _of_theory(ell: int, theory: NDArray[np.float64]) -> str:
    """Give D_ell of the theory with its cosmic variance."""
    dl = ell * (ell + 1) / (2 * math.pi) * float(theory[ell])
    spread = math.sqrt(2 / (2 * ell + 1)) * dl
    return f"theory: {dl:.0f}, cosmic variance ± {spread:.0f}; the χ² below judge it"


def _rounded(value: float, error: float | None) -> str:
    """Write a number to the second digit of its error; to four digits if that is unknown."""
    if error is None or not 0 < error < math.inf or not math.isfinite(value):
        return f"{value:.4g}"
    return f"{value:.{min(max(1 - math.floor(math.log10(error)), 0), 6)}f}"


def chi2_findings(comparison: SpectrumComparison, *, judged: bool = True) -> list[Finding]:
    """Describe the χ² of a spectrum in words; arguments as for `findings`.

    Those of the cut sky test the prior. Those of the filled sky count what follows from the prior
    as data: beside a cut sky they are information, and only mark a fill that is unlikely.
    """
    listed = [("C_l", "cut", each) for each in comparison.cut_tests]
    listed += [("C_l", _kind(comparison), each) for each in comparison.full_tests]
    return [_chi2(*each, len(listed), judged=judged) for each in listed]


def stokes_chi2_findings(comparison: StokesComparison, *, judged: bool = True) -> list[Finding]:
    """Describe the χ² of the spectra of T, E and B over all ell; see `chi2_findings`.

    BB has its smaller ranges as well.
    """
    listed = []
    both = {"cut": comparison.cut_tests, _kind(comparison): comparison.full_tests}
    for sky, tests in both.items():
        for name in comparison.names:
            own = tests.get(name, ())
            listed += [(name, sky, each) for each in (own if name == "BB" else own[-1:])]
    return [_chi2(*each, len(listed), judged=judged) for each in listed]


def _kind(comparison: SpectrumComparison | StokesComparison) -> str:
    """Tell whether the filled sky's spectrum stands alone."""
    return "alone" if comparison.cut is None else "filled"


#: What is expected of the χ² of a sky.
_EXPECTED = {
    "cut": "test of the prior: its theory, within cosmic variance and noise",
    "filled": "for information: the filled part follows from the prior and counts as data, so that"
    " a high PTE says nothing for the prior",
    "alone": "the theory of the prior, within cosmic variance and noise; the filled part follows"
    " from the prior and counts as data",
}


def _chi2(name: str, sky: str, test: RangeTest, looks: int, *, judged: bool) -> Finding:
    """Describe one of so many χ²."""
    rare = looks * test.pte
    verdict = "bad" if rare < _WRONG else "doubtful" if rare < _UNLIKELY else "good"
    if sky == "filled" and verdict == "good":
        verdict = ""
    limit = f"a PTE of {_UNLIKELY / looks:.1g}"
    allowed = (
        f"; marked below {limit}"
        if sky == "filled"
        else f". Good from {limit}: this allows for the {looks} χ² on this page, of which one is"
        f" lower by chance on one page in {round(1 / _UNLIKELY)}"
    )
    part = "cut sky's {}, the observed part" if sky == "cut" else "filled sky's {}"
    return Finding(
        f"χ² of the {part.format(name)}, l = {test.ell_min}–{test.ell_max}",
        f"{test.chi2:.1f}, {test.bins} bins, PTE {test.pte:.2g}",
        verdict if judged else "",
        _EXPECTED[sky] + (allowed if judged else ""),
    )


def quality_findings(found: Mapping[str, Quality]) -> list[Finding]:
    """Describe how well the prior describes spectra of the observed sky, by their names."""
    return [
        Finding(
            f"χ² of the observed sky's {name}, against the prior of the fill",
            f"{each.chi2:.1f}, {each.freedom} degrees of freedom, PTE {each.pte:.2g}",
            each.verdict,
            f"doubtful below a PTE of {Quality.DOUBTFUL:g}; worst bin: l = "
            + "{}–{}, {:.3g} times the expected power, {:+.1f} σ".format(*each.worst[0]),
        )
        for name, each in found.items()
    ]


def accuracy_findings(
    certificates: Mapping[str, Certificate], prior: PolarizedPrior
) -> list[Finding]:
    """Describe how far a fill is from the exact one, and how much of B is still to come.

    Parameters
    ----------
    certificates
        Of ``T`` and ``P``, see `skyfill.inpaint.PolarizedInpainter`.
    prior
        Prior of the fill.
    """
    out = []
    for name, each in certificates.items():
        distance = f"{each.distance:.2g}" if math.isfinite(each.distance) else "not known"
        out.append(
            Finding(
                f"{name}: distance from the exact fill, estimated rms, µK",
                f"{distance}, residual {each.residual:.1e}",
                "good" if each.converged else "bad",
                "less than the tolerance of the fill",
            )
        )
        shares = each.leakage or ()
        allowed = allowed_leakage(prior.signal_cl()[2, 2], prior.white_cl[1], len(shares))
        over = "the prior's BB" if prior.bb.any() else "the noise, since the prior has no BB"
        for (first, last), share, most in zip(LEAKAGE_BINS, shares, allowed, strict=False):
            verdict = "good" if share <= _LEAK else "doubtful" if share <= most else "bad"
            out.append(
                Finding(
                    f"B still to come over {over}, l = {first}–{last} (SFBLEAK is the largest)",
                    f"{share:.1e}",
                    verdict,
                    f"up to {_LEAK:g}; up to {most:.2g} it is 1% of the B and noise of this map",
                )
            )
    return out
