"""Evaluate filled skies of T, Q and U, or of Q and U, against a truth, by Stokes parameter.

T has all figures of `score_sky`. Q and U have those of `calibrate`: errors, z-scores and coverage.
Seams and one-point statistics compare neighbours or rotated copies of a field, and Q and U change
with the directions of the meridians, so these figures would say nothing of a fill.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.fidelity.calibration import calibrate
from skyfill.fidelity.figures import Figure, allowing, worst
from skyfill.fidelity.seams import patches
from skyfill.fidelity.sky import SkyScores, check_truth, score_sky
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.progress import Progress

__all__ = ["StokesCalibration", "calibrate_stokes"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class StokesCalibration:
    """All figures of filled skies of T, Q and U, or of Q and U.

    Attributes
    ----------
    stokes
        By letter, T, Q and U, the `SkyScores`; without T if nothing of it is filled. Verdicts allow
        for the number of figures of all of them.
    """

    stokes: dict[str, SkyScores]

    __repr__ = brief

    @property
    def figures(self) -> dict[str, dict[str, Figure]]:
        """The figures by letter and name."""
        return {letter: each.figures for letter, each in self.stokes.items()}

    @property
    def verdict(self) -> str | None:
        """The worst verdict of all figures."""
        return worst({f"{a} {b}": one for a, of in self.figures.items() for b, one in of.items()})

    def as_dict(self) -> dict[str, object]:
        """Give the entries of T, and those of each Stokes parameter under ``stokes``, for JSON."""
        each = {letter: found.as_dict() for letter, found in self.stokes.items()}
        first = next(iter(self.stokes.values()))
        top = dict(each.get("T", {"realizations": first.realizations}))
        return top | {"verdict": self.verdict, "stokes": each}


def calibrate_stokes(
    filled: Iterable[ArrayLike],
    observed: ArrayLike,
    *,
    truth: ArrayLike,
    observed_pol: ArrayLike | None = None,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | None = None,
) -> StokesCalibration:
    """Compare the fills of one map of T, Q and U, or of Q and U, with the truth.

    Parameters
    ----------
    filled
        Filled skies, ``(3, npix)`` or ``(2, npix)``, µK, RING, U with the sign of HEALPix, read one
        by one: realizations, or one mean.
    observed
        ``(npix,)``, RING, False in the holes.
    truth
        As a fill; NaN where unknown, for example in some of the holes.
    observed_pol
        ``(npix,)``, RING: the mask of Q and U; ``observed`` if None.
    groups
        ``(npix,)``, RING: groups over which errors are jackknifed, for pixels with a truth; patches
        of 15° if None.
    seed, threads, progress
        As for `score_sky`.

    Raises
    ------
    ValueError
        Maps of different Nside or number of components, missing pixels in a fill, no fill, no truth
        in the holes of P, fills that do not differ, or as for `score_sky`.
    """
    known = _components(truth, "truth")
    masks = [as_mask(observed, taker="fidelity.calibrate_stokes")]
    if observed_pol is not None:
        masks.append(as_mask(observed_pol, "observed_pol", taker="fidelity.calibrate_stokes"))
    nside = nside_of(masks[0], "observed")
    if any(each.shape != known[0].shape for each in masks):
        raise ValueError(f"truth and masks must have one Nside, the mask has Nside {nside}")
    judged = np.flatnonzero(~masks[-1] & np.isfinite(known[-1]) & np.isfinite(known[-2]))
    if not judged.size:
        raise ValueError("the truth of Q and U is missing in every hole, or P has no hole")
    polar = _Polar(filled, len(known), judged)
    scores: dict[str, SkyScores] = {}
    if len(known) == 3 and not masks[0].all():
        scores["T"] = score_sky(
            polar,
            masks[0],
            truth=known[0],
            groups=groups,
            seed=seed,
            threads=threads,
            progress=progress,
        )
    else:
        for _ in polar:  # each is looked at as it passes
            pass
    if polar.first is None:
        raise ValueError("there is no fill to judge")
    label = patches(nside, judged) if groups is None else groups[judged]
    for number, letter in enumerate("QU"):
        own = known[number - 2]
        check_truth(polar.first[number - 2], own, masks[-1], judged, letter)
        found = calibrate(own[judged], [each[number] for each in polar.kept], groups=label)
        scores[letter] = SkyScores(
            figures=found.figures,
            calibration=found,
            one_point=None,
            low_multipoles=None,
            pixels=judged,
            hole_pixels=int(np.count_nonzero(~masks[-1])),
            realizations=len(polar.kept),
        )
    every = {letter: each.figures for letter, each in scores.items()}
    return StokesCalibration(
        {
            letter: replace(
                each,
                figures=allowing(
                    each.figures, *(own for name, own in every.items() if name != letter)
                ),
            )
            for letter, each in scores.items()
        }
    )


def _components(values: ArrayLike, what: str) -> list[Map]:
    """Check a sky of T, Q and U, or of Q and U."""
    shape = np.shape(values)
    if len(shape) != 2 or shape[0] not in (2, 3):
        raise ValueError(
            f"the {what} must be (3, npix), T, Q and U, or (2, npix), Q and U, got {shape}"
        )
    return [as_map(sky, what, taker="fidelity.calibrate_stokes") for sky in np.asarray(values)]


class _Polar:
    """Yield T of skies as they pass, and keep Q and U in the pixels that are compared."""

    def __init__(
        self, filled: Iterable[ArrayLike], components: int, judged: NDArray[np.int64]
    ) -> None:
        self.first: list[Map] | None = None
        self.kept: list[Map] = []
        self._filled, self._components, self._judged = filled, components, judged

    def __iter__(self) -> Iterator[Map]:
        for sky in self._filled:
            found = _components(sky, "fill")
            if len(found) != self._components:
                raise ValueError(
                    f"a fill has {len(found)} components, the truth has {self._components}"
                )
            if self.first is None:
                self.first = found
            if found[0].shape != self.first[0].shape or self._judged[-1] >= found[0].size:
                raise ValueError("fills and truth must have one Nside")
            self.kept.append(np.array([each[self._judged] for each in found[-2:]]))
            yield found[0]
