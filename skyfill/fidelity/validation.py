"""Validate fills of a map with unknown truth: hide observed pixels, fill them, and compare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.fidelity.figures import Figure
from skyfill.fidelity.heldout import HeldOut, held_out_holes
from skyfill.fidelity.sky import SkyScores, score_sky
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_seed, check_whole
from skyfill.holes import MOST_MISSING, find_holes, holes_to_fill
from skyfill.inpaint import Inpainter, TransformedInpainter
from skyfill.inpaint.fills import (
    estimated_noise,
    given_noise,
    held_to_noise,
    noise_variance,
)
from skyfill.inpaint.options import NETWORKS
from skyfill.prior import as_given, for_map
from skyfill.prior.dipole import Dipole
from skyfill.progress import Progress, listening

__all__ = ["Validation", "validate"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Validation:
    """Comparison of the fills of held-out holes with the observed values.

    Attributes
    ----------
    scores
        `SkyScores` of the filled skies. Figures that need a truth are for the held-out holes and
        jackknifed over them (``calibration.groups`` numbers them), others for all holes.
    holes
        The held-out holes.
    observed
        ``(npix,)``, RING, True where observed and not held out.
    filler
        The `Inpainter` that filled, with its prior, card and certificate.
    """

    __repr__ = brief

    scores: SkyScores
    holes: HeldOut
    observed: NDArray[np.bool_] = field(repr=False)
    filler: Inpainter = field(repr=False)

    @property
    def figures(self) -> dict[str, Figure]:
        """Figures of the scores."""
        return self.scores.figures

    @property
    def verdict(self) -> str | None:
        """The worst verdict of all figures."""
        return self.scores.verdict

    def as_dict(self) -> dict[str, object]:
        """Give the entries of `SkyScores` and each held-out hole, in types that JSON supports."""
        return self.scores.as_dict() | {
            "held_out": len(self.holes.sizes),
            "held_out_pixels": int(self.holes.sizes.sum()),
            "held_out_share": float(self.holes.sizes.sum() / self._known()),
            "holes": self.per_hole(),
        }

    def per_hole(self) -> list[dict[str, float | int | bool]]:
        """List position, size and figures of each held-out hole."""
        found = self.scores.calibration
        rows = self.holes.as_list()
        if found is not None:
            columns = {
                "rms_uk": found.group_rms_uk,
                "z_mean": found.group_z_mean,
                "z_width": found.group_z_width,
                "coverage_68": found.group_coverage_68,
            }
            for name, column in columns.items():
                for row, value in zip(rows, column.tolist(), strict=True):
                    row[name] = value
        return rows

    def _known(self) -> int:
        return int(np.count_nonzero(self.observed | self.holes.held_out))


def _know(options: dict[str, Any], values: Map, known: Mask, *, threads: int) -> None:
    """Fix the prior, and the noise if it is estimated, in the options of the `Inpainter`.

    Both are those of a fill of the whole map, held-out pixels included.
    """
    given = as_given(options.get("prior"))
    rms, _, automatic = given_noise(options.get("noise_rms"), taker="fidelity.validate")
    if automatic:
        sky = np.where(known, values, 0.0)
        sky -= np.where(known, Dipole(known, threads=threads).of(sky), 0.0)
        found = estimated_noise(given, sky, known, threads=threads)
        options["noise_rms"] = found
        rms = found.rms if found.used else None
    prior = held_to_noise(given, noise_variance(rms, known), known)
    options["prior"] = for_map(prior, values, known, threads=threads)


def validate(
    values: ArrayLike,
    observed: ArrayLike,
    *,
    realizations: int = 20,
    holes: int | None = None,
    share: float = 0.05,
    footprint: NDArray[np.bool_] | None = None,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | None = None,
    **options: Any,  # noqa: ANN401 (see Inpainter for their types)
) -> Validation:
    """Fill copies of a map's holes on observed sky, and compare the fills with the observed values.

    The observed values have noise, and so have the realizations (``fill="data"``). A right fill
    therefore has z-scores of width one.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING; NaN where missing.
    observed
        ``(npix,)``, RING, True where observed.
    realizations
        Number of fills from which the spread is computed, at least 2.
    holes, share
        Largest number of copies, and largest share of the observed sky: see `held_out_holes`.
    footprint
        ``(npix,)``, RING, True inside: holes there are copied. If not given, all holes are copied;
        if more than 60% of the sky is missing, only holes enclosed by observed sky
        (`skyfill.masks.enclosed_holes`).
    seed
        Seed of the copies, the realizations and the rotations of the mask.
    threads, progress
        As for `Inpainter`.
    options
        Other arguments of `Inpainter`: method, prior, weights, device ... With ``transform``, those
        of `TransformedInpainter`, whose transform and spectrum are fitted to what is not hidden.

    Raises
    ------
    ValueError
        As for `Inpainter` and `held_out_holes`; or the method has no realizations, or there are
        fewer than two.
    """
    values = as_map(values, taker="fidelity.validate")
    observed = as_mask(observed, taker="fidelity.validate")
    seed = check_seed(seed)
    if check_whole(realizations, "realizations") < 2:
        raise ValueError(f"a spread needs 2 realizations at least, got {realizations}")
    if options.get("method") == "diffuse":
        raise ValueError("diffuse has one fill and no spread to validate; use vae or gaussian")
    if options.get("fill", "data") != "data":
        raise ValueError("observed values have noise: only fills with noise compare with them")
    listener = listening(progress)
    listener.stage("hold out")
    known = ~find_holes(values, observed)
    chosen = None
    if footprint is not None:
        chosen = holes_to_fill(known, footprint=footprint)
    elif np.count_nonzero(known) < (1 - MOST_MISSING) * known.size:
        chosen = holes_to_fill(known, holes="enclosed")
    copies = held_out_holes(known, holes=holes, share=share, seed=seed, sources=chosen)
    left = known & ~copies.held_out
    bent = options.get("transform") is not None
    if options.get("method") not in NETWORKS and not bent:
        _know(options, values, known, threads=threads)
    listener.done(
        f"{len(copies.sizes)} holes, {copies.sizes.sum()} pixels, "
        f"{copies.sizes.sum() / known.sum():.1%} of the observed sky"
    )
    inside, outside = None, None
    if chosen is not None:
        inside = chosen | copies.held_out
        outside = ~(left | inside)
    filler = (TransformedInpainter if bent else Inpainter)(
        np.where(left, values, np.nan),
        left,
        footprint=inside,
        holes="all" if inside is None else None,
        seed=seed,
        threads=threads,
        progress=listener,
        **options,
    )

    def skies() -> Iterator[Map]:
        for index in range(realizations):
            sky = values.copy()
            sky[~filler.observed] = np.nan
            sky[filler.holes] = filler.realization(index)
            yield sky

    scores = score_sky(
        skies(),
        left,
        truth=np.where(known, values, np.nan),
        groups=copies.labels,
        outside=outside if outside is not None and outside.any() else None,
        tiles=filler.tile_regions(),
        seed=seed,
        threads=threads,
        progress=listener,
    )
    return Validation(scores, copies, left, filler)
