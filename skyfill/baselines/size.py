"""The size of a baseline: the side of its tiles, and a factor of the published widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from skyfill.brief import brief
from skyfill.cosmovae.filler import TileNet

__all__ = ["BaselineNet", "Size"]


@dataclass(frozen=True)
class Size:
    """Describe the size of a network.

    The papers fix the number of levels for one side: each level halves the tile, down to a few
    pixels. Tiles of another side have as many levels as that takes.

    Attributes
    ----------
    side
        Pixels along a tile.
    factor
        Factor of the published widths.
    """

    __repr__ = brief

    side: int
    factor: float = 1.0

    def widths(self, published: Sequence[int]) -> tuple[int, ...]:
        """Scale published widths.

        Raises
        ------
        ValueError
            No channel is left after scaling.
        """
        widths = tuple(round(width * self.factor) for width in published)
        if not widths or min(widths) < 1:
            raise ValueError(
                f"a width factor of {self.factor:g} leaves no channel; give a larger one"
                " (`width_factor`)"
            )
        return widths

    def as_dict(self) -> dict[str, object]:
        """Give the fields as types that JSON supports."""
        return asdict(self)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Size:
        """Build from `as_dict`'s fields, read back from JSON."""
        return cls(int(fields["side"]), float(fields["factor"]))


class BaselineNet(TileNet):
    """A network for tiles with the size of a baseline.

    Attributes
    ----------
    arch
        Size of the network.
    """

    arch: Size
