"""Suitable and unsuitable uses of a fill, by its kind."""

from __future__ import annotations

__all__ = ["uses"]

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
