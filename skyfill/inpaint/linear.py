"""The mean fill as a linear map from observed pixels to the whole sky."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.files.cache import Kept
from skyfill.gaussian.vectors import finite
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.inpaint.fills import Setup, unconverged
from skyfill.inpaint.methods import method_of
from skyfill.inpaint.observed import ObservedMap
from skyfill.inpaint.options import FillOptions
from skyfill.prior import Prior
from skyfill.prior.dipole import Dipole
from skyfill.progress import Silent

__all__ = ["LinearFill"]

#: Methods whose mean is linear in the data.
_LINEAR = ("gaussian", "vae", "diffuse")


class LinearFill:
    """The mean fill of a method for one mask and prior, without a judgement of the map.

    It gives what `skyfill.Inpainter.mean` gives, for any map, and is linear up to rounding and the
    tolerance of the method.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed; all other pixels are filled.
    prior
        Prior of the fill; None for ``diffuse`` without ``polish``.
    options
        Options of `skyfill.Inpainter`, among them ``method``: ``gaussian``, ``vae`` or ``diffuse``.

    Attributes
    ----------
    deciding
        All that decides the fill, for the key of a cache.
    unconverged
        Number of fills that have not converged; there is a warning of the first that is accepted.

    Raises
    ------
    ValueError
        The method or its network is not linear, or it has no prior and needs one; only some holes
        are to be filled (``holes``); or as for `skyfill.Inpainter`.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> observed = skyfill.simulate_mask(16, seed=1, n_holes=5)
    >>> fill = skyfill.inpaint.LinearFill(observed, None, method="diffuse")
    >>> bool(np.allclose(fill(np.ones(observed.size)), 1))
    True
    """

    def __init__(
        self,
        observed: ArrayLike,
        prior: Prior | None,
        **options: Any,  # noqa: ANN401 (see Inpainter for their types)
    ) -> None:
        seen = as_mask(observed, taker="inpaint.LinearFill")
        self.options = chosen = FillOptions(**options)
        if chosen.method not in _LINEAR:
            raise ValueError(
                f"the fill of {chosen.method} is not linear, or not known to be; choose one of"
                f" {', '.join(_LINEAR)} (`method`)"
            )
        if chosen.holes not in (None, "all"):
            raise ValueError(
                "a linear fill fills every unobserved pixel; drop `holes`, or make the pixels that"
                " are not to be filled observed"
            )
        nside = nside_of(seen, "observed")
        method = method_of(chosen, nside)
        if method.informed and prior is None:
            raise ValueError(f"{chosen.method} needs a prior; give that of the fill (`prior`)")
        self._observed, self._holes = seen, ~seen
        self._dipole = Dipole(seen, threads=chosen.threads)
        used = prior if method.informed else None
        self._fill, card = method.prepare(
            Setup(seen, None, used, None, chosen, Kept(chosen.cache), Silent())
        )
        what = chosen.method, chosen.dipole, chosen.polish, chosen.tolerance, chosen.refine
        if card is not None and not card.training.get("architecture", {}).get("linear", True):
            raise ValueError(
                f"{card.name} is not linear in the data; pass other `weights`, or none"
                " (network=False)"
            )
        model = None if card is None else card.sha256
        self.unconverged = 0
        self.deciding: tuple[object, ...] = (*what, chosen.mosaic, model, seen, used)

    def __repr__(self) -> str:
        nside = nside_of(self._holes, "observed")
        return (
            f"LinearFill({self.options.method}, Nside {nside}, {self._holes.mean():.2%} of the sky"
            " to fill)"
        )

    def __call__(self, values: ArrayLike) -> NDArray[np.float64]:
        """Fill a map, ``(npix,)``, µK, RING; unobserved pixels are not read.

        Returns
        -------
        ``(npix,)``, µK, RING: the map with its holes filled.

        Raises
        ------
        ConvergenceError
            A ValueError: the fill has not converged, and ``accept`` is False.
        """
        whole = np.where(self._observed, as_map(values, taker="inpaint.LinearFill"), 0.0)
        sky = ObservedMap(
            whole,
            self._dipole,
            holes=self._holes,
            unread=None,
            removes_dipole=self.options.removes_dipole,
            single=False,
        )
        fill = self._fill.mean(sky.data(), overwrite=True)
        trouble = self._fill.trouble
        if trouble is None and not finite(fill):
            trouble = "its numbers have overflowed"
        if trouble is not None:
            self.unconverged += 1
            if self.unconverged == 1 or not self.options.accept:  # one warning is enough
                unconverged(trouble, accept=self.options.accept, frames=3)
        filled = whole.copy()
        filled[self._holes] = sky.restored(fill)
        return filled
