"""Describe a HEALPix file: resolution, ordering, frame, columns, units, provenance.

Columns of T, Q and U, and masks of T and of P, are named, as --stokes of other verbs finds them.

If its headers have checksums, they are verified; a wrong checksum gives exit status 2.
"""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from pathlib import Path

import skyfill

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("file", type=Path, metavar="FILE", help="map or mask, FITS")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    info = skyfill.describe(args.file)
    sums = skyfill.maps.add_up(args.file)
    if args.json:
        tables = [
            vars(table)
            | {"keywords": dict(table.keywords)}
            | {"stokes": _stokes(args.file, table), "masks": _masks(args.file, table)}
            for table in info.tables
        ]
        about = {"path": str(info.path), "tables": tables, "checksums": str(sums)}
        print(json.dumps(about, default=_plain))
    else:
        texts = [_as_text(args.file, table) for table in info.tables]
        print("\n\n".join([f"{info.path}\nchecksums: {sums}", *texts]))
    if sums.wrong:
        raise ValueError(
            f"{args.file}: the checksums of HDU {', '.join(map(str, sums.wrong))} are wrong: the"
            " file has changed since it was written; fetch it again"
        )
    return 0


def _plain(value: object) -> object:
    """Convert a value to a type that JSON has."""
    return vars(value) if isinstance(value, skyfill.maps.ColumnInfo) else str(value)


def _stokes(path: Path, table: skyfill.maps.TableInfo) -> dict[str, str] | None:
    """Name the columns that --stokes TQU or QU reads from a table; None if there are none."""
    for letters in ("TQU", "QU"):
        with suppress(ValueError):
            names = skyfill.maps.stokes_columns(path, letters, hdu=table.hdu)
            return dict(zip(letters, names, strict=True))
    return None


def _masks(path: Path, table: skyfill.maps.TableInfo) -> dict[str, str] | None:
    """Name the masks of T and of P that a table holds; None if it does not have one of each."""
    found = skyfill.maps.mask_columns(path, hdu=table.hdu)
    return None if found is None else dict(zip("TP", found, strict=True))


def _named(found: dict[str, str] | None, what: str) -> list[str]:
    """Say which column holds what."""
    if found is None:
        return []
    return [f"{what}: " + ", ".join(f"{letter} is {name}" for letter, name in found.items())]


def _as_text(path: Path, table: skyfill.maps.TableInfo) -> str:
    """Write the description of one table as text."""
    share = table.npix / (12 * table.nside**2)
    sky = f"{table.npix} pixels, {share:.1%} of the sky" if table.partial else "full sky"
    if table.orders is not None:
        low, high = table.orders
        sky = (
            f"{table.npix} cells of orders {low} to {high}" if low < high else f"{table.npix} cells"
        )
    ordering, frame = table.ordering or "ordering unknown", table.coord or "unknown"
    if table.unknown_frame:
        frame += f" ({table.unknown_frame})"
    lines = [
        f"HDU {table.hdu}: Nside {table.nside}, {sky}, {ordering}, frame {frame}",
        *(
            f"  {number:3d}  {column.name:<20} {column.unit or '(no unit)':<12} {column.dtype}"
            for number, column in enumerate(table.columns)
        ),
        *_named(_stokes(path, table), "Stokes"),
        *_named(_masks(path, table), "masks"),
    ]
    if table.keywords:
        lines += ["", *(f"  {key:<8} {value}" for key, value in table.keywords.items())]
    if table.history:
        lines += ["", *(f"  {line}" for line in table.history)]
    return "\n".join(lines)
