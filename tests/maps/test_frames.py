"""Frames: the words that files use, and what a header says as a whole."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from map_files import NPIX, NSIDE

from skyfill.maps import describe, frame_of_word, read_map

WORDS = {
    "G": ("G", "gal", "GALACTIC", "Galactic coordinates", "'G       '", "GLON/GLAT"),
    "E": ("E", "ECL", "Ecliptic", "ecliptic (J2000)", "barycentrictrueecliptic"),
    "C": (
        *(
            "C",
            "Q",
            "CEL",
            "Celestial",
            "EQ",
            "EQU",
            "EQUATORIAL",
            "ICRS",
            "FK5",
            "RADEC",
            "RA/DEC",
        ),
        *("J2000", "Equatorial (J2000.0)", "EQJ2000", "celestial (equatorial)", "RA---", "icrf"),
    ),
    None: (
        *("", "FK4", "B1950", "equatorial, B1950", "supergalactic", "galactocentric", "T", "AZEL"),
        *("Ecliptic, Galactic or Celestial", "GE", "earth", "ground", "cartesian", "quadrant"),
    ),
}


@pytest.mark.parametrize(("frame", "word"), [(f, w) for f, words in WORDS.items() for w in words])
def test_words_name_frames(frame: str | None, word: str) -> None:
    assert frame_of_word(word) == frame
    assert frame_of_word(f"  {word.lower()} ") == frame


@given(st.text(max_size=20))
def test_any_text_is_a_frame_or_none(text: str) -> None:
    assert frame_of_word(text) in {"G", "E", "C", None}


def header_file(
    path: Path, cards: dict[str, object], primary: dict[str, object] | None = None
) -> Path:
    table = fits.BinTableHDU.from_columns(
        [fits.Column("T", "E", unit="uK", array=np.arange(NPIX) % 97)]
    )
    table.header.update({"NSIDE": NSIDE, "ORDERING": "RING", **cards})
    first = fits.PrimaryHDU()
    first.header.update(primary or {})
    fits.HDUList([first, table]).writeto(path)
    return path


@pytest.mark.parametrize(
    ("cards", "frame", "unknown"),
    [
        ({"COORDSYS": "EQUATORIAL"}, "C", None),
        ({"COORDSYS": "ICRS"}, "C", None),
        ({"COORDSYS": "ECLIPTIC"}, "E", None),
        ({"COORD": "galactic"}, "G", None),
        ({"SKYCOORD": "Galactic"}, "G", None),
        ({"COORDSYS": "GALACTIC", "RADESYS": "ICRS"}, "G", None),
        ({"COORDSYS": "G", "EQUINOX": 1950.0}, "G", None),
        ({"RADESYS": "FK5"}, "C", None),
        ({"RADECSYS": "ICRS"}, "C", None),
        ({"EQUINOX": 2000.0}, "C", None),
        ({"COORDSYS": "UNKNOWN", "SKYCOORD": "ecl"}, "E", None),
        ({"COORDSYS": "C", "EPOCH": 2015.5}, "C", None),
        ({"COORDSYS": "C", "RADESYS": "ICRS", "EQUINOX": 2015.5}, "C", None),
        ({"COORDSYS": "FK4"}, None, "COORDSYS = 'FK4'"),
        ({"COORDSYS": "EQU", "EQUINOX": 1950.0}, None, "COORDSYS = 'EQU', EQUINOX = '1950.0'"),
        ({"COORDSYS": "E", "EQUINOX": "B1950"}, None, "COORDSYS = 'E', EQUINOX = 'B1950'"),
        ({"COORDSYS": "C", "RADESYS": "FK4"}, None, "COORDSYS = 'C', RADESYS = 'FK4'"),
        ({"COORDSYS": "G", "SKYCOORD": "C"}, None, "COORDSYS = 'G', SKYCOORD = 'C'"),
        ({"RADESYS": "FK4"}, None, "RADESYS = 'FK4'"),
        ({"COORDS": "Galactic"}, "G", None),
        ({"HPXFRAME": "icrs"}, "C", None),
        ({"SYSTEM": "GALACTIC"}, "G", None),
        ({"SYSTEM": "Linux"}, None, None),
        ({}, None, None),
    ],
)
def test_headers_name_frames(
    tmp_path: Path, cards: dict[str, object], frame: str | None, unknown: str | None
) -> None:
    path = header_file(tmp_path / "a.fits", cards)
    (table,) = describe(path).tables
    assert (table.coord, table.unknown_frame) == (frame, unknown)
    assert read_map(path).coord == frame
    behind = header_file(tmp_path / "b.fits", {}, cards)
    (table,) = describe(behind).tables
    assert (table.coord, table.unknown_frame) == (frame, unknown)


def test_the_table_goes_before_the_first_hdu(tmp_path: Path) -> None:
    path = header_file(tmp_path / "a.fits", {"COORDSYS": "G"}, {"COORDSYS": "C", "RADESYS": "FK4"})
    assert read_map(path).coord == "G"
