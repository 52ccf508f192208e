"""What a fill may be used for: it depends on what stands in the holes."""

from __future__ import annotations

__all__ = ["uses"]

_COMMON = (
    "Anything about the sky behind the mask: a fill adds no information, and is no observation.",
    "Claims on large-angle anomalies (low multipoles, alignments) that need the holes.",
)
_KINDS = {
    "realization": (
        (
            (
                "Whatever wants a whole sphere: harmonic coefficients, filters, needlets, lensing "
                "reconstruction, stacking near holes."
            ),
            (
                "Power spectra, with the cut sky's beside it: in the holes the spectrum is the "
                "prior's. Several realizations tell the scatter."
            ),
            "Monte Carlo: fill every simulation alike, each with a seed of its own.",
        ),
        (
            "Tests of the prior's spectrum, or of Gaussianity, in the holes: both were put in.",
            "An average over realizations as if it were a sky: it is the mean, and lacks power.",
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
                "Power spectra, and all else that is quadratic: the mean has too little power in "
                "the holes, as it must. Use a realization."
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
    """Say what a fill may be used for, and what not.

    Parameters
    ----------
    kind
        ``realization``, a sample of the posterior; ``mean``, the posterior mean; ``guess``, neither
        (``diffuse``, ``cosmovae``).

    Raises
    ------
    ValueError
        For another kind.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind {kind!r} is unknown; choose one of {', '.join(_KINDS)}")
    allowed, forbidden = _KINDS[kind]
    return allowed, (*forbidden, *_COMMON)
