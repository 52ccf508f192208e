"""Evaluate filled skies with all figures, with or without a truth."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.fidelity.calibration import Calibration, calibrate
from skyfill.fidelity.figures import Figure, allowing, as_entries, worst
from skyfill.fidelity.isotropy import LowMultipoles, asymmetries, low_cl, multipoles
from skyfill.fidelity.onepoint import OnePoint, one_point
from skyfill.fidelity.seams import NoEdgeError, border_seams, patches, seams
from skyfill.fidelity.tail import tail
from skyfill.healpix.arrays import as_map, as_mask, as_skies
from skyfill.healpix.checks import check_seed
from skyfill.healpix.stokes import nside_of
from skyfill.prior.dipole import Dipole
from skyfill.progress import Progress, listening

__all__ = ["SkyScores", "check_truth", "score_sky"]

#: Difference of observed pixels over their rms beyond which two maps show different skies; it is
#: smaller for a truth with other noise.
_ANOTHER = 0.5
#: Difference over the rms below which two maps are equal up to rounding.
_SAME = 0.01
#: Allowed difference of equal maps, relative to the pixel's value: rounding of float32.
_FLOAT32 = 1e-6
#: Allowed difference of equal maps, relative to the rms: rounding by conversions of units.
_ROUNDED = 1e-4

Map = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SkyScores:
    """All figures of filled skies.

    Attributes
    ----------
    figures
        Every figure, by name: those of `Calibration`, `tail`, `seams`, `border_seams`, `OnePoint`,
        `asymmetries` and `LowMultipoles`. Their verdicts allow for the number of figures.
    calibration
        Comparison with the truth; None without a truth.
    one_point
        Distributions inside and outside of the holes; None for a part of the sky.
    low_multipoles
        C_2 to C_5; None for a part of the sky.
    pixels
        ``(npixel,)``, RING pixels that were compared with the truth, in the order of
        ``calibration.z``; empty without a truth.
    hole_pixels
        Number of filled pixels.
    realizations
        Number of fills.
    """

    __repr__ = brief

    figures: dict[str, Figure]
    calibration: Calibration | None
    one_point: OnePoint | None
    low_multipoles: LowMultipoles | None
    pixels: NDArray[np.int64] = field(repr=False)
    hole_pixels: int
    realizations: int

    @property
    def verdict(self) -> str | None:
        """The worst verdict of all figures."""
        return worst(self.figures)

    def as_dict(self) -> dict[str, object]:
        """Give values by name, and full entries under ``figures``, in types that JSON supports."""
        out = as_entries(self.figures)
        out["verdict"] = self.verdict
        out["realizations"] = self.realizations
        out["hole_pixels"] = self.hole_pixels
        out["judged_pixels"] = int(self.pixels.size)
        out["onepoint_p_value"] = None if self.one_point is None else self.one_point.p_value
        if self.calibration is not None and self.calibration.z.size:
            counts, edges = self.calibration.z_histogram()
            out["z_histogram"] = {"counts": counts.tolist(), "edges": edges.tolist()}
            if self.calibration.realizations:
                out["ranks"] = self.calibration.ranks.tolist()
        return out


def score_sky(
    filled: ArrayLike | Iterable[ArrayLike],
    observed: ArrayLike,
    *,
    truth: ArrayLike | None = None,
    std: ArrayLike | None = None,
    std_draws: int | None = None,
    optimum: ArrayLike | None = None,
    exact: ArrayLike | None = None,
    tiles: NDArray[np.int64] | None = None,
    groups: NDArray[np.int64] | None = None,
    outside: NDArray[np.bool_] | None = None,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | None = None,
) -> SkyScores:
    """Evaluate the fills of one map.

    Seams, distribution, isotropy and the distance from ``exact`` are measured on the first fill.
    For a part of the sky there are only seams, that distance, and the comparison with the truth.

    Parameters
    ----------
    filled
        Filled skies, ``(npix,)``, µK, RING, read one by one: realizations, or one mean.
    observed
        ``(npix,)``, RING, False in the holes, and outside.
    outside
        ``(npix,)``, RING, True where the sky is neither observed nor filled; none if not given.
    truth
        ``(npix,)``, µK, RING; NaN where unknown, for example in some of the holes.
    std, std_draws
        ``(npix,)``, µK, RING: posterior spread, and the number of realizations from which it was
        computed (None: it is exact). There must be one fill, which is the posterior mean.
    optimum
        ``(npix,)``, µK, RING: a sky filled with the exact mean, whose error against the truth is
        the reference.
    exact
        ``(npix,)``, µK, RING: the same sky with the exact counterpart of the first fill: the mean,
        or the realization of the same seed and index.
    tiles
        ``(npix,)``, RING: tile with the largest weight, -1 if there is none, from
        `skyfill.Inpainter.tile_regions`. Figures of borders are omitted if no tiles meet.
    groups
        ``(npix,)``, RING: groups over which errors are jackknifed, for pixels with a truth; patches
        of 15° if not given.
    seed
        Seed of the rotations of `one_point`.
    threads
        Threads of the transforms.
    progress
        Listener, informed of every stage.

    Raises
    ------
    ValueError
        Maps of different Nside, a fill with missing pixels, no hole, no fill, no truth in the
        holes, fills that do not differ, or an exact fill of another map or mask.
    """
    listener = listening(progress)
    seed = check_seed(seed)
    observed = as_mask(observed, taker="fidelity.score_sky")
    given = {"truth": truth, "std": std, "optimum": optimum, "exact": exact}
    truth, std, optimum, exact = (
        None if each is None else as_map(each, name, taker="fidelity.score_sky")
        for name, each in given.items()
    )
    known = observed if outside is None else observed | outside
    _check(known, {"truth": truth, "spread": std, "optimum": optimum, "exact fill": exact})
    holes = ~known
    judged = np.empty(0, np.int64)
    if truth is not None:
        judged = np.flatnonzero(holes & np.isfinite(truth))
        if not judged.size:
            raise ValueError("the truth is missing in every hole: there is nothing to compare with")
    nside = nside_of(observed, "observed")
    skies = _Skies(filled, nside, judged, observed, outside, threads, listener)
    calibration, whole_truth = None, None
    if truth is None:
        for _ in skies:  # each is looked at as it passes
            pass
    else:
        mean = None
        fills = iter(skies)
        if std is not None:
            mean = next(fills, None)
            if next(fills, None) is not None:
                raise ValueError("a spread belongs to one mean; give one fill with it")
            _check_std(std[judged])
        calibration = calibrate(
            truth[judged],
            fills,
            groups=(patches(skies.nside, judged) if groups is None else groups[judged]),
            mean=mean,
            std=None if std is None else std[judged],
            std_draws=std_draws,
            optimum=None if optimum is None else optimum[judged],
        )
        if outside is None and np.all(np.isfinite(truth)):
            whole_truth = low_cl(truth, threads=threads)
    first = skies.first
    if first is None:
        raise ValueError("there is no fill to judge")
    check_truth(first, truth, observed, judged)
    listener.stage("judge")
    figures = dict(calibration.figures if calibration else {})
    figures |= _distance(first, exact, observed, holes)
    figures |= seams(first, observed, outside) | _borders(first, exact, tiles)
    low = multipoles(np.array(skies.low), whole_truth) if skies.low else None
    spread = None
    if low is not None:
        flat = first - Dipole(observed, threads=threads).of(first)
        spread = one_point(flat, observed, seed=seed)
        figures |= spread.figures | asymmetries(flat, threads=threads) | low.figures
    listener.done(f"{skies.count} fills, {int(holes.sum())} hole pixels")
    return SkyScores(
        figures=allowing(figures),
        calibration=calibration,
        one_point=spread,
        low_multipoles=low,
        pixels=judged,
        hole_pixels=int(holes.sum()),
        realizations=skies.count,
    )


def _check(observed: NDArray[np.bool_], maps: dict[str, Map | None]) -> None:
    """Refuse a mask without holes or observed pixels, and maps of another Nside."""
    nside = nside_of(observed, "observed")
    if observed.all():
        raise ValueError("the mask has no hole: there is nothing to judge")
    if not observed.any():
        raise ValueError(
            "the mask leaves no pixel observed; if its 1 means masked, read it with `invert=True`"
        )
    for name, each in maps.items():
        if each is not None and each.shape != observed.shape:
            theirs = nside_of(each, name)
            raise ValueError(f"the {name} has Nside {theirs}, the mask has Nside {nside}")


def _check_std(std: Map) -> None:
    """Refuse a spread that is negative, or 0 in all pixels of holes."""
    if np.any(std < 0) or not np.any(std > 0):
        raise ValueError(
            "a spread is not negative, and above 0 in holes; give the one that belongs to the mean"
        )


def check_truth(
    first: Map,
    truth: Map | None,
    observed: NDArray[np.bool_],
    judged: NDArray[np.int64],
    what: str | None = None,
) -> None:
    """Refuse a fill that equals the truth; warn if the truth belongs to another map.

    Parameters
    ----------
    first, truth
        ``(npix,)``, µK: a filled sky and its truth, if there is one.
    observed
        ``(npix,)``, True where the mask calls the sky observed.
    judged
        Pixels of holes with a truth.
    what
        Letter of the Stokes parameter, if there are several.
    """
    if truth is None:
        return
    if np.array_equal(first[judged], truth[judged]):
        raise ValueError(
            "the fill is the truth in every pixel that the mask calls a hole, so that nothing was"
            " filled there; if the mask's 1 means masked, read it with `invert=True`"
        )
    both = observed & np.isfinite(truth)
    away = _apart(first[both], truth[both])
    if away > _ANOTHER:
        whose = "" if what is None else f"{what}: "
        warnings.warn(
            f"{whose}where the mask calls the sky observed, fill and truth differ by"
            f" {away:.2g} times the truth's rms; is this the truth of this map, in its unit?",
            stacklevel=3,
        )


def _distance(
    first: Map, exact: Map | None, observed: NDArray[np.bool_], holes: NDArray[np.bool_]
) -> dict[str, Figure]:
    """Give the figures of `tail`; refuse an exact fill of another map or mask."""
    if exact is None:
        return {}
    missing = int(np.count_nonzero(~np.isfinite(exact[holes])))
    if missing:
        raise ValueError(
            f"the exact fill misses {missing} of {np.count_nonzero(holes)} hole pixels: it was"
            " filled with another mask; fill the same map with the same mask"
        )
    away = np.abs(first[observed] - exact[observed])
    allowed = _FLOAT32 * np.abs(first[observed]) + _ROUNDED * np.std(first[observed])
    changed = int(np.count_nonzero(~(away <= allowed)))  # NaN counts as a change
    if changed:
        raise ValueError(
            f"the exact fill differs from the fill in {changed} observed pixels, so it is of"
            " another map or mask; fill the same map with the same mask"
        )
    return tail(first[holes], exact[holes])


def _borders(first: Map, exact: Map | None, tiles: NDArray[np.int64] | None) -> dict[str, Figure]:
    """Give the figures of `border_seams`, and of the distance from an exact fill; or none."""
    if tiles is None:
        return {}
    try:
        figures = border_seams(first, tiles)
        if exact is not None:
            # The difference shows steps that the sky hides in each map. It has no verdict, since
            # a step far below the noise is harmless even if it is significant.
            found = border_seams(first - exact, tiles)["border_step"]
            figures["exact_border_step"] = Figure(found.value, error=found.error)
    except NoEdgeError:
        return {}
    return figures


def _apart(one: Map, other: Map) -> float:
    """Give the rms of a difference over the rms of the second; 0 for no pixels."""
    scatter = float(np.std(other)) if other.size else 0.0
    if scatter == 0:
        return 0.0
    return float(np.sqrt(np.mean((one - other) ** 2))) / scatter


class _Skies:
    """Yield the compared pixels of skies, and keep the statistics of whole skies."""

    def __init__(
        self,
        filled: ArrayLike | Iterable[ArrayLike],
        nside: int,
        judged: NDArray[np.int64],
        observed: NDArray[np.bool_],
        outside: NDArray[np.bool_] | None,
        threads: int,
        listener: Progress,
    ) -> None:
        self.first: Map | None = None
        self.low: list[Map] = []
        self.count = 0
        self.nside = nside
        self._outside = outside
        self._observed = observed
        self._filled, self._judged = filled, judged
        self._threads, self._listener = threads, listener

    def __iter__(self) -> Iterator[Map]:
        for sky in as_skies(self._filled, "filled", taker="fidelity.score_sky"):
            if sky.size != 12 * self.nside**2:
                ours = nside_of(sky, "sky")
                raise ValueError(f"a fill has Nside {ours}, the mask has Nside {self.nside}")
            lacking = ~np.isfinite(sky)
            missing = int(np.count_nonzero(lacking))
            if missing and self._outside is not None:
                missing = int(np.count_nonzero(lacking & ~self._outside))
            if missing:
                raise ValueError(f"a fill misses {missing} pixels; fill them (skyfill inpaint)")
            if self.first is None:
                self.first = sky
            else:
                away = _apart(sky[self._observed], self.first[self._observed])
                if away > _SAME:
                    warnings.warn(
                        f"fill {self.count + 1} differs from the first by {away:.2g} times its rms"
                        " where the mask calls the sky observed; realizations are of one map",
                        stacklevel=3,
                    )
            self.count += 1
            if self._outside is None:
                self.low.append(low_cl(sky, threads=self._threads))
            yield sky[self._judged]
