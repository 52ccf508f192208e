"""The options of a fill: one record for the inpainter, the plan and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from skyfill.brief import brief
from skyfill.healpix.checks import check_whole, device_name
from skyfill.holes.masks import check_holes
from skyfill.mosaic import MosaicConfig

__all__ = ["AUTO", "DIPOLES", "FILLS", "METHODS", "NETWORKS", "FillOptions", "check_tolerance"]

AUTO = "auto"
"""In place of a method: ``gaussian`` or ``vae``, see `skyfill.inpaint.choose_method`."""
NETWORKS = ("cosmovae", "pconv", "vaeac", "context-encoder")
"""Methods that are networks for single tiles, without a prior."""
METHODS = (AUTO, "vae", "gaussian", "diffuse", *NETWORKS)
FILLS = ("data", "signal")
DIPOLES = ("marginalise", "fit", "prior")


@dataclass(frozen=True)
class FillOptions:
    """The options of a fill, without the map, its mask, its prior and its noise.

    The attributes are the keywords of `skyfill.Inpainter`, which documents them. They are checked
    and normalised here: ``weights`` becomes a tuple of paths, ``cache`` a path, ``device`` the name
    used by torch.

    Raises
    ------
    ValueError
        A value is unknown or out of range, or two values exclude each other.

    Examples
    --------
    >>> from skyfill.inpaint import FillOptions
    >>> FillOptions(method="gaussian", tolerance=0.01).tolerance
    0.01
    >>> FillOptions(method="nearest")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: method 'nearest' is unknown; choose one of auto, vae, gaussian, ...
    """

    __repr__ = brief

    method: str = AUTO
    trust_prior: bool = False
    holes: str | None = None
    fill: str = "data"
    dipole: str = "marginalise"
    polish: int | None = None
    accept: bool = False
    tolerance: float = 3e-3
    weights: str | Path | Sequence[str | Path] | None = None
    network: bool | None = None
    refine: int = 40
    device: str = "auto"
    batch_size: int | None = None
    threads: int = 0
    config: MosaicConfig | None = None
    cache: str | Path | None = None

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("fill", FILLS), ("dipole", DIPOLES)):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name} {value!r} is unknown; choose one of {', '.join(known)}")
        if self.method in NETWORKS and self.polish:
            raise ValueError(
                f"{self.method} has no prior to polish with; use vae, or drop `polish`"
            )
        if self.method == "gaussian" and self.polish:
            raise ValueError(
                "gaussian is exact already; drop `polish`, or give a smaller `tolerance`"
            )
        uninformed = self.method in NETWORKS or (self.method == "diffuse" and not self.polish)
        if self.dipole == "prior" and uninformed:
            raise ValueError(
                f"{self.method} has no prior to give monopole and dipole; drop `dipole='prior'`, or"
                " use another method (diffuse has a prior with `polish`)"
            )
        for name, least in (("threads", 0), ("polish", 0), ("refine", 0), ("batch_size", 1)):
            count = getattr(self, name)
            if count is not None:
                check_whole(count, name, least=least)
        check_holes(self.holes)
        check_tolerance(self.tolerance)
        if not isinstance(self.config, MosaicConfig | None):
            raise ValueError(  # noqa: TRY004 (as for all options)
                f"config must be a skyfill.mosaic.MosaicConfig, got {type(self.config).__name__}"
            )
        cache = None if self.cache is None else Path(self.cache)
        for name, value in (
            ("device", device_name(self.device)),
            ("weights", self.files),
            ("cache", cache),
        ):
            object.__setattr__(self, name, value)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of weights."""
        if self.weights is None:
            return ()
        some = [self.weights] if isinstance(self.weights, str | Path) else self.weights
        return tuple(map(Path, some))

    @property
    def marginal(self) -> bool:
        """Whether the uncertainty of the monopole and dipole fit is carried into the holes."""
        return self.dipole == "marginalise"

    @property
    def removes_dipole(self) -> bool:
        """Whether monopole and dipole are fitted, set aside and put back at the end."""
        return self.dipole != "prior"

    @property
    def mosaic(self) -> MosaicConfig:
        """Division of the sphere into tiles, and number of polish iterations of ``vae``."""
        config = self.config or MosaicConfig()
        return config if self.polish is None else replace(config, polish=self.polish)


def check_tolerance(tolerance: object) -> None:
    """Refuse a tolerance that is not a number above 0 and at most 1."""
    real = isinstance(tolerance, float | int | np.number) and not isinstance(tolerance, bool)
    if not (real and 0 < float(tolerance) <= 1):  # type: ignore[arg-type]
        raise ValueError(f"tolerance must be a number above 0 and at most 1, got {tolerance!r}")
