"""Evaluate filled skies of T, Q and U without a truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike

from skyfill.brief import brief
from skyfill.fidelity.figures import Figure, allowing, as_entries, worst
from skyfill.fidelity.onepoint import OnePoint, one_point
from skyfill.fidelity.seams import NoEdgeError, seams
from skyfill.fidelity.sky import score_sky
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.progress import Progress, Silent

__all__ = ["StokesScores", "score_stokes"]


@dataclass(frozen=True, eq=False)
class StokesScores:
    """All figures of filled skies of T, Q and U.

    Attributes
    ----------
    figures
        By Stokes parameter, every figure by name. Their verdicts allow for the number of all. A
        parameter without holes is left out.
    one_points
        By Stokes parameter, the distributions inside and outside of the holes.
    """

    figures: dict[str, dict[str, Figure]]
    one_points: dict[str, OnePoint]

    __repr__ = brief

    @property
    def verdict(self) -> str | None:
        """The worst verdict of all figures."""
        return worst(
            {f"{of}_{name}": x for of, own in self.figures.items() for name, x in own.items()}
        )

    def as_dict(self) -> dict[str, object]:
        """Give the verdict, and the figures of each Stokes parameter under ``stokes``, for JSON."""
        each = {}
        for letter, own in self.figures.items():
            point = self.one_points.get(letter)
            each[letter] = as_entries(own) | {
                "verdict": worst(own),
                "onepoint_p_value": None if point is None else point.p_value,
            }
        return {"verdict": self.verdict, "stokes": each}


def score_stokes(
    filled: Iterable[ArrayLike],
    observed: ArrayLike,
    observed_pol: ArrayLike | None = None,
    *,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | None = None,
) -> StokesScores:
    """Evaluate the fills of one map of T, Q and U, or of Q and U.

    T has the figures of `score_sky`. Q and U have `seams` and `one_point` of the first fill. Q and
    U of a pixel refer to its own meridian, so that neighbours near a pole differ more; so do those
    of the observed sky at the same latitude, to which they are compared.

    Parameters
    ----------
    filled
        Filled skies, ``(3, npix)`` or ``(2, npix)`` each, µK, RING, read one by one.
    observed, observed_pol
        ``(npix,)``, RING, False in the holes: of T, and of Q and U; ``observed_pol`` is
        ``observed`` if None.
    seed
        Seed of the rotations of `one_point`.
    threads
        Threads of the transforms.
    progress
        Listener, informed of every stage.

    Raises
    ------
    ValueError
        There is no fill, maps of different Nside, or a fill with missing pixels.
    """
    listener = progress or Silent()
    seen = as_mask(observed, taker="fidelity.score_stokes")
    pol = seen if observed_pol is None else as_mask(observed_pol, "observed_pol", taker="fidelity")
    skies = (np.asarray(each) for each in filled)
    first = next(skies, None)
    if first is None:
        raise ValueError("there is no fill to judge")
    if first.ndim != 2 or len(first) not in (2, 3):
        raise ValueError(
            f"a fill must be (3, npix), T, Q and U, or (2, npix), Q and U, got {first.shape}"
        )
    figures: dict[str, dict[str, Figure]] = {}
    points: dict[str, OnePoint] = {}
    if len(first) == 3 and not seen.all():
        scores = score_sky(
            (each[0] for each in chain([first], skies)),
            seen,
            seed=seed,
            threads=threads,
            progress=listener,
        )
        figures["T"] = scores.figures
        if scores.one_point is not None:
            points["T"] = scores.one_point
    if not pol.all():
        listener.stage("judge Q and U")
        for name, sky in zip("QU", first[-2:], strict=True):
            values = as_map(sky, "filled", taker="fidelity.score_stokes")
            points[name] = one_point(values, pol, seed=seed)
            figures[name] = _seams(values, pol) | points[name].figures
        listener.done()
    judged = {
        of: allowing(own, *(other for name, other in figures.items() if name != of))
        for of, own in figures.items()
    }
    return StokesScores(judged, points)


def _seams(values: ArrayLike, observed: ArrayLike) -> dict[str, Figure]:
    """Give the figures of `seams`; none where no sky is away from edges."""
    try:
        return seams(values, observed)
    except NoEdgeError:
        return {}
