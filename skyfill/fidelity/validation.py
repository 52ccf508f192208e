"""Validate a fill of a map whose truth nobody knows: hide what is known, fill, and compare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.fidelity.figures import Figure
from skyfill.fidelity.heldout import HeldOut, held_out_holes
from skyfill.fidelity.sky import SkyScores, score_sky
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_seed, check_whole
from skyfill.holes import MOST_MISSING, find_holes, holes_to_fill
from skyfill.inpaint import Inpainter
from skyfill.inpaint.methods import held_to_noise, noise_variance
from skyfill.prior import as_given, for_map
from skyfill.progress import Progress, Silent

__all__ = ["Validation", "validate"]

Map = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Validation:
    """How the fills of held-out holes stand to what was observed there.

    Attributes
    ----------
    scores
        `SkyScores` of the filled skies: against the truth in the held-out holes, jackknifed over
        them (``calibration.groups`` numbers them), and of all holes where no truth is needed.
    holes
        The copies.
    observed
        ``(npix,)``, RING, True where observed and not held out.
    filler
        The `Inpainter` that filled, with its prior, card and certificate.
    """

    scores: SkyScores
    holes: HeldOut
    observed: NDArray[np.bool_] = field(repr=False)
    filler: Inpainter = field(repr=False)

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures of the scores."""
        return self.scores.figures

    @property
    def verdict(self) -> str | None:
        """The worst verdict of all."""
        return self.scores.verdict

    def as_dict(self) -> dict[str, object]:
        """Give what JSON can hold: that of `SkyScores`, and the held-out holes one by one."""
        return self.scores.as_dict() | {
            "held_out": len(self.holes.sizes),
            "held_out_pixels": int(self.holes.sizes.sum()),
            "held_out_share": float(self.holes.sizes.sum() / self._known()),
            "holes": self.per_hole(),
        }

    def per_hole(self) -> list[dict[str, float | int | bool]]:
        """List the held-out holes: place and size, and the figures of each."""
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
    **options: Any,  # noqa: ANN401 (those of Inpainter, whose types are there)
) -> Validation:
    """Fill copies of a map's holes, put where the map is observed, and compare with it.

    What was observed has noise; so have the realizations (``fill="data"``), and a right fill has
    z-scores of width one.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING; NaN where missing.
    observed
        ``(npix,)``, RING, True where observed.
    realizations
        How many fills the spread is known from, at least 2.
    holes, share
        How many copies, and how much of the observed sky, at most: see `held_out_holes`.
    footprint
        ``(npix,)``, RING, True inside: holes there are copied. If not given: all holes, or where
        more than 60% of the sky is missing those enclosed by what is observed
        (`skyfill.masks.enclosed_holes`).
    seed
        Of copies, realizations, and what chance is judged by.
    threads, progress
        As for `Inpainter`.
    options
        What else `Inpainter` takes: method, prior, weights, device ...

    Raises
    ------
    ValueError
        What `Inpainter` and `held_out_holes` refuse, a method without realizations, or fewer than
        two of them.
    """
    values = as_map(values, taker="fidelity.validate")
    observed = as_mask(observed, taker="fidelity.validate")
    seed = check_seed(seed)
    if check_whole(realizations, "realizations") < 2:
        raise ValueError(f"a spread needs 2 realizations at least, got {realizations}")
    if options.get("method") == "diffuse":
        raise ValueError("diffuse has one fill and no spread to validate; use vae or gaussian")
    if options.get("fill", "data") != "data":
        raise ValueError("what was observed has noise: only fills with noise compare with it")
    listener = progress or Silent()
    listener.stage("hold out")
    known = ~find_holes(values, observed)
    chosen = None
    if footprint is not None:
        chosen = holes_to_fill(known, footprint=footprint)
    elif np.count_nonzero(known) < (1 - MOST_MISSING) * known.size:
        chosen = holes_to_fill(known, holes="enclosed")
    copies = held_out_holes(known, holes=holes, share=share, seed=seed, sources=chosen)
    left = known & ~copies.held_out
    if options.get("method", "vae") in ("vae", "gaussian"):
        # Judged is the prior that a fill of the whole map would have, hidden pixels included.
        rms = options.get("noise_rms")
        noise = noise_variance(
            None if rms is None else as_map(rms, "noise_rms", taker="fidelity.validate"), known
        )
        prior = held_to_noise(as_given(options.get("prior")), noise, known)
        options["prior"] = for_map(prior, values, known, threads=threads)
    listener.done(
        f"{len(copies.sizes)} holes, {copies.sizes.sum()} pixels, "
        f"{copies.sizes.sum() / known.sum():.1%} of what is observed"
    )
    inside, outside = None, None
    if chosen is not None:
        inside = chosen | copies.held_out
        outside = ~(left | inside)
    filler = Inpainter(
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
