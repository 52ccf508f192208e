"""Validate fills of T, Q and U: hide the same observed pixels of each, fill them, and compare."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.fidelity.figures import Figure
from skyfill.fidelity.heldout import HeldOut, held_out_holes
from skyfill.fidelity.stokescalibration import StokesCalibration, calibrate_stokes
from skyfill.healpix.checks import check_seed, check_whole
from skyfill.inpaint import PolarizedInpainter
from skyfill.progress import Progress, Silent

__all__ = ["StokesValidation", "validate_stokes"]

Map = NDArray[np.float64]

#: Arguments of `PolarizedInpainter` that its prior replaces once it is complete.
_OF_PRIOR = ("prior", "spectra", "noise_pol_uk_arcmin", "trust_prior")


@dataclass(frozen=True, eq=False)
class StokesValidation:
    """Comparison of the fills of held-out holes with the observed values of T, Q and U.

    Attributes
    ----------
    scores
        `StokesCalibration` of the filled skies. Figures that need a truth are for the held-out
        holes and jackknifed over them, others for all holes.
    holes
        The held-out holes, the same of T and of P.
    known
        ``(npix,)``, RING, True where T and P are observed, held-out pixels among them.
    filler
        The `PolarizedInpainter` that filled.
    """

    scores: StokesCalibration
    holes: HeldOut
    known: NDArray[np.bool_] = field(repr=False)
    filler: PolarizedInpainter = field(repr=False)

    __repr__ = brief

    @property
    def figures(self) -> dict[str, dict[str, Figure]]:
        """The figures by Stokes parameter and name."""
        return self.scores.figures

    @property
    def verdict(self) -> str | None:
        """The worst verdict of all figures."""
        return self.scores.verdict

    def as_dict(self) -> dict[str, object]:
        """Give the entries of `StokesCalibration` and each held-out hole, for JSON."""
        pixels = int(self.holes.sizes.sum())
        return self.scores.as_dict() | {
            "held_out": len(self.holes.sizes),
            "held_out_pixels": pixels,
            "held_out_share": float(pixels / np.count_nonzero(self.known)),
            "holes": self.per_hole(),
        }

    def per_hole(self) -> list[dict[str, Any]]:
        """List position, size and figures of each held-out hole, by Stokes parameter."""
        rows: list[dict[str, Any]] = [{**row, "stokes": {}} for row in self.holes.as_list()]
        for letter, scores in self.scores.stokes.items():
            found = scores.calibration
            if found is None:
                continue
            columns = {
                "rms_uk": found.group_rms_uk,
                "z_mean": found.group_z_mean,
                "z_width": found.group_z_width,
                "coverage_68": found.group_coverage_68,
            }
            for number, row in enumerate(rows):
                own = {name: float(column[number]) for name, column in columns.items()}
                row["stokes"][letter] = own
                if letter == "T":
                    row.update(own)
        return rows


def validate_stokes(
    values: ArrayLike,
    observed: ArrayLike,
    *,
    observed_pol: ArrayLike | None = None,
    realizations: int = 20,
    holes: int | None = None,
    share: float = 0.05,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | None = None,
    **options: Any,  # noqa: ANN401 (see PolarizedInpainter for their types)
) -> StokesValidation:
    """Fill copies of a map's holes on observed sky, in T, Q and U at once, and compare.

    Copies are of the holes of T and of P, and lie where both are observed. They are hidden in T, Q
    and U, so that a fill of Q and U cannot use T there. The prior is that of the whole map, with
    the hidden pixels. The observed values have noise, and so have the realizations. A right fill
    therefore has z-scores of width one.

    Parameters
    ----------
    values
        ``(3, npix)``, T, Q and U, or ``(2, npix)``, Q and U, as for `PolarizedInpainter`.
    observed, observed_pol
        ``(npix,)``, RING, True where observed: of T, and of P (``observed`` if None).
    realizations
        Number of fills from which the spread is computed, at least 2.
    holes, share
        Largest number of copies, and largest share of the observed sky: see `held_out_holes`.
    seed
        Seed of the copies and the realizations.
    threads, progress
        As for `PolarizedInpainter`.
    options
        Other arguments of `PolarizedInpainter`: prior, spectra, noise_variance ...

    Raises
    ------
    ValueError
        As for `PolarizedInpainter` and `held_out_holes`; or the method has no realizations, or
        there are fewer than two.
    """
    seed = check_seed(seed)
    if check_whole(realizations, "realizations") < 2:
        raise ValueError(f"a spread needs 2 realizations at least, got {realizations}")
    if options.get("method", "gaussian") == "diffuse":
        raise ValueError("diffuse has one fill and no spread to validate; use gaussian")
    if options.get("fill", "data") != "data":
        raise ValueError("observed values have noise: only fills with noise compare with them")
    listener = progress or Silent()
    whole = PolarizedInpainter(
        values, observed, observed_pol=observed_pol, threads=threads, progress=listener, **options
    )
    listener.stage("hold out")
    seen_t, seen_p = whole.observed[0], whole.observed[-1]
    both = seen_t & seen_p
    copies = held_out_holes(both, holes=holes, share=share, seed=seed)
    listener.done(
        f"{len(copies.sizes)} holes, {copies.sizes.sum()} pixels, "
        f"{copies.sizes.sum() / both.sum():.1%} of the observed sky"
    )
    left_t, left_p = seen_t & ~copies.held_out, seen_p & ~copies.held_out
    truth = np.where(whole.observed, np.asarray(values, dtype=np.float64), np.nan)
    rest = {name: value for name, value in options.items() if name not in _OF_PRIOR}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the whole map has been judged
        filler = PolarizedInpainter(
            np.where(copies.held_out, np.nan, truth),
            left_t,
            observed_pol=left_p,
            prior=whole.prior,
            trust_prior=True,
            seed=seed,
            threads=threads,
            progress=listener,
            **rest,
        )

    def skies() -> Iterator[Map]:
        for index in range(realizations):
            yield filler.whole(filler.realization(index))

    scores = calibrate_stokes(
        skies(),
        left_t,
        observed_pol=left_p,
        truth=truth,
        groups=copies.labels,
        seed=seed,
        threads=threads,
        progress=listener,
    )
    return StokesValidation(scores, copies, both, filler)
