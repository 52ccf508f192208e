"""Suitable and unsuitable uses of a fill, by its kind."""

from __future__ import annotations

__all__ = ["b_modes", "uses"]

_COMMON = (
    "Statements about the sky behind the mask: a fill adds no information.",
    "Claims on large-angle anomalies (low multipoles, alignments) that need the holes.",
)
_KINDS = {
    "realization": (
        (
            (
                "Analyses that need a whole sphere: harmonic coefficients, filters, needlets, "
                "lensing reconstruction, stacking near holes."
            ),
            (
                "Power spectra, with the cut sky's beside it: in the holes the spectrum is the "
                "prior's. Several realizations tell the scatter."
            ),
            "Monte Carlo: fill every simulation alike, each with a seed of its own.",
        ),
        (
            "Tests of spectrum or Gaussianity in the holes: both come from the prior.",
            "An average over realizations as a sky: it approaches the mean and lacks power.",
        ),
    ),
    "mean": (
        (
            (
                "The best guess in the holes, of least squared error: maps to look at, templates, "
                "edges taken away before a local filter."
            ),
        ),
        (
            (
                "Power spectra and other quadratic statistics: the mean has too little power in "
                "the holes. Use a realization."
            ),
        ),
    ),
    "guess": (
        ("Pictures, and a smooth start for other methods.",),
        (
            (
                "Power spectra, and all else that is quadratic: in the holes there is neither the "
                "right power nor an uncertainty. Use vae or gaussian."
            ),
        ),
    ),
}


def uses(kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the suitable and the unsuitable uses of a fill.

    Parameters
    ----------
    kind
        ``realization``, a sample of the posterior; ``mean``, the posterior mean; ``guess``, neither
        (``diffuse``, ``cosmovae``).

    Raises
    ------
    ValueError
        The kind is unknown.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind {kind!r} is unknown; choose one of {', '.join(_KINDS)}")
    allowed, forbidden = _KINDS[kind]
    return allowed, (*forbidden, *_COMMON)


#: What the B modes of a filled sky are, by the kind of the fill.
_B_MODES = {
    "realization": (
        (
            "A whole sphere of Q and U without the B that a mask makes of E: filters, maps of B, "
            "lensing reconstruction. Fill the simulations alike."
        ),
        (
            "BB of the filled sky is (1 - α) BB of the sky + α BB of the prior. Divide nothing by "
            "it: measure r on the cut sky, or forward-model the fill."
        ),
        (
            "A BB that agrees with the prior is in part the prior. The prior's r is in the holes, "
            "whatever that of the sky is."
        ),
        (
            "Delensing gains nothing from filled pixels: the four-point function of the lensing B "
            "is not restored."
        ),
        (
            "Foregrounds are stronger than B nearly everywhere, and are continued into the holes "
            "with the spectrum of the CMB."
        ),
    ),
    "mean": (
        (
            "Maps to look at. The mean has too little E and B in the holes, so that its BB is no "
            "measurement, and no possible sky's."
        ),
        (
            "Divide nothing by the lost power: measure r on the cut sky, or forward-model the fill "
            "with realizations."
        ),
    ),
    "guess": (
        "Nothing. Means of neighbours make B of E in the holes, many times that of lensing.",
        "Measure r on the cut sky, or fill with gaussian and forward-model the fill.",
    ),
}


def b_modes(kind: str) -> tuple[str, ...]:
    """Say what the B modes of a filled sky may be used for; the kinds are those of `uses`.

    Raises
    ------
    ValueError
        The kind is unknown.
    """
    if kind not in _B_MODES:
        raise ValueError(f"kind {kind!r} is unknown; choose one of {', '.join(_B_MODES)}")
    return _B_MODES[kind]
