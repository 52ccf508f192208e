"""Maps are written piece by piece: the bytes do not depend on it, and memory stays flat."""

import gzip
import hashlib
import tracemalloc

import numpy as np
import pytest

from skyfill.maps import hdu, read_map, rows, skymap, write_filled, write_map, writing

NSIDE = 32
NPIX = 12 * NSIDE**2

#: sha256 of the files as they were when each column was converted whole before it was written
#: (commit c6456de); of what is compressed, the expanded bytes, which no version of zlib changes.
BEFORE = {
    "float32": "faff97d83b2176199786d1f2751964a67204ce75975993f16576577a623067b7",
    "float32, NESTED": "2a2501e4ea8622deddd1e622549b96180a4e169b17eab7ab151d6b06e5b42bfa",
    "float64, mK": "c292ca34c3f36a7db2a43e980cd23b577335e6363a7bbb78b8d8858b4f2fbb2e",
    "uint8": "3bedc1f6aaa305df4f8230aefea3afd0980568f841a7ae7cce8c0f0882061fbd",
    "int32, NESTED": "fa6c580256c13621a52c3a8cc41e0dbecc46d260dd670b71b57b2ff901ea0d7e",
    "three columns": "a9a2fb03ce32d4f327b7f6fe9d0a4c21b3a814cd3eb155d24c263d46d1bf3394",
    "three columns, NESTED": "f682c87d6682b71e89c410a5339b0702d03f79db68d855b4994350fde1b414ab",
    "cards and a table behind": "09de0d2a3265e59a61c8a2a58e7767946c4a27a1768cb15a647b690cfb5a2a0b",
    "one pixel a row": "9813fa4d8a4ac9a0fc610f7b7e59e4432effd22ae2ce704ae0a5e9312d366e63",
    "filled": "01aaef87e9a223c0be4550b3f622f4e66eddd3d9ad1efb856e9d3583935af245",
    "filled, NESTED": "1d39e96afe500287a3a254128cf7687bb0473d2a823007571c30b234a964ed46",
    "filled, the holes alone": "01aaef87e9a223c0be4550b3f622f4e66eddd3d9ad1efb856e9d3583935af245",
}


def numbers(step=1, *, npix=NPIX):
    """Make numbers that every machine rounds alike, some of them missing."""
    values = (np.arange(npix) * 7919 * step % 10007 - 5000) / 64.0
    values[:: 11 * step] = np.nan
    return values


def whole(modulo):
    return np.arange(NPIX) * 31 % modulo


def fill_again(path, *, nest, alone):
    source = path.with_name("source.fits")
    maps = {"I": numbers(), "Q": numbers(3)}
    write_map(source, maps, nest=nest, unit="K_CMB", overwrite=True)
    sky = read_map(source, field="Q")
    holes = np.isnan(sky.values)
    fill = np.arange(NPIX) / 128.0
    write_filled(path, sky, fill[holes] if alone else fill, holes, history=["filled"])


def write(path, case):
    nest = "NESTED" in case
    if "filled" in case:
        return fill_again(path, nest=nest, alone="alone" in case)
    three = {"I": numbers(), "Q": numbers(2), "U": numbers(3).astype(np.float32)}
    options = {
        "uint8": {"values": whole(2), "dtype": np.uint8, "unit": "", "column": "MASK"},
        "int32": {"values": whole(10**6), "dtype": np.int32, "unit": "", "coord": None},
        "float64": {"values": numbers(), "dtype": np.float64, "unit": "mK_CMB"},
        "three columns": {"values": three, "coord": "E"},
        "cards and a table behind": {
            "values": numbers(),
            "provenance": {"SFSEED": (3, "seed")},
            "history": ["made for a test"],
            "attached": ("BEHIND", b"".ljust(2880, b"\0")),
        },
        "one pixel a row": {"values": numbers(npix=12 * 4**2)},
    }
    return write_map(path, nest=nest, **options.get(case.split(",")[0], {"values": numbers()}))


@pytest.mark.parametrize("piece", [None, 5000], ids=["as shipped", "small pieces"])
@pytest.mark.parametrize("ending", [".fits", ".fits.gz"])
@pytest.mark.parametrize("case", BEFORE)
def test_a_file_is_the_same_in_whatever_pieces_it_is_written(
    case, ending, piece, tmp_path, monkeypatch
):
    if piece is not None:
        for module in (hdu, rows, writing):
            monkeypatch.setattr(module, "PIECE", piece)
        monkeypatch.setattr(skymap, "_PART", piece // 8)
    path = tmp_path / f"map{ending}"
    write(path, case)
    content = path.read_bytes()
    content = gzip.decompress(content) if ending.endswith("gz") else content
    assert hashlib.sha256(content).hexdigest() == BEFORE[case]


@pytest.mark.parametrize("case", ["float64, mK", "three columns, NESTED"])
def test_memory_does_not_grow_with_the_map(case, tmp_path, monkeypatch):
    write(tmp_path / "first.fits", case)  # compiles what is compiled
    for module in (hdu, writing):
        monkeypatch.setattr(module, "PIECE", 1 << 12)
    monkeypatch.setattr(writing, "_READ_BACK", 1 << 12)
    monkeypatch.setattr(skymap, "_PART", 1 << 10)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    values = {name: np.ones(12 * 128**2) for name in ("I", "Q", "U")}
    maps = tracemalloc.get_traced_memory()[0] - before
    write_map(tmp_path / "map.fits", values, dtype=np.float64, nest="NESTED" in case)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak - maps < maps / 8
