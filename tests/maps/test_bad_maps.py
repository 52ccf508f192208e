"""Map files that are not what they should be: one line that names the file and the mend."""

import bz2
import errno
import gzip
import lzma
import os
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from map_files import NPIX, NSIDE, fill_of, names, planck_like

from skyfill import maps
from skyfill.maps import SkyMap, describe, filled, read_map, write_filled, write_map, writing


def sky_file(path: Path, *, unit: str | None = "uK", form: str = "E", **header: object) -> Path:
    """Write a small file with keywords changed, or left out where they are None."""
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("T", form, unit=unit, array=np.arange(NPIX)),
            fits.Column("NAME", "4A", array=["abcd"] * NPIX),
        ]
    )
    for key, value in {"NSIDE": NSIDE, "ORDERING": "RING", **header}.items():
        if value is not None:
            hdu.header[key] = value
    hdu.writeto(path)
    return path


def refuses(path: Path, why: str, *, error: type[Exception] = ValueError, **options: Any) -> None:
    """Check that reading fails in one line that names the file."""
    with pytest.raises(error, match=why) as caught:
        read_map(path, **options)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    refuses(tmp_path / "a.fits", "no such file", error=FileNotFoundError)
    refuses(tmp_path, "cannot be read: Is a directory", error=OSError)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"# ell  C_ell\n2 1e3\n" * 500, "not a FITS file"),
        (b"\x89PNG\r\n", "not a FITS file, but a PNG picture; give the map that it shows"),
        (b"\x00\x01\x02", "not a FITS file$"),
        (b"BZh9garbage garbage", "damaged or truncated bzip2 file"),
        (lzma.compress(b"SIMPLE"), "not a FITS file, but an xz file; expand it first: xz -dk FILE"),
        (b"\x28\xb5\x2f\xfd\x00", "but a Zstandard file; expand it first: zstd -d FILE"),
        (b"\x89HDF\r\n\x1a\n\x00", r"truncated HDF5 file|need h5py, which is not installed"),
        (b"PAR1\x15\x04", "but a Parquet file"),
        (b"<!DOCTYPE html>\n<html>", "but a web page; fetch the file again"),
        (b"SIMPLE  =                    T", "truncated FITS file, it ends in a header"),
        (b"\x1f\x8bgarbage", "damaged or truncated gzip file"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03garbage garbage", "damaged or truncated gzip"),
    ],
)
def test_no_fits(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.fits").write_bytes(content)
    refuses(tmp_path / "a.fits", why)


def test_files_of_other_programs_are_known_by_their_content(tmp_path: Path) -> None:
    """Whatever they are called, and within gzip or bzip2."""
    whole = planck_like(tmp_path / "whole.fits")
    path = tmp_path / "a.fits"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(whole, "map.fits")
    refuses(path, "but a zip archive; expand it first: unzip FILE")
    np.savez(tmp_path / "b.npz", sky=np.ones(NPIX))
    (tmp_path / "b.npz").replace(path)
    refuses(path, r"but a NumPy archive \(.npz\); load it with numpy.load")
    with path.open("wb") as file:
        np.save(file, np.ones(NPIX))
    refuses(path, r"but a NumPy array \(.npy\)")
    with tarfile.open(path, "w") as archive:
        archive.add(whole, "map.fits")
    refuses(path, "but a tar archive; expand it first: tar -xf FILE")
    content = path.read_bytes()
    for packed in (gzip.compress(content), bz2.compress(content)):
        path.write_bytes(packed)
        refuses(path, "but a tar archive")


def test_bzip2_is_read_by_its_content(tmp_path: Path) -> None:
    whole = planck_like(tmp_path / "whole.fits", nest=True)
    (tmp_path / "a.fits").write_bytes(bz2.compress(whole.read_bytes()))
    want, got = read_map(whole), read_map(tmp_path / "a.fits")
    assert np.array_equal(got.values, want.values, equal_nan=True)
    fill, holes = fill_of(got)
    for sky, name in ((want, "1.fits"), (got, "2.fits")):
        write_filled(tmp_path / name, sky, fill, holes, provenance={}, history=[])
    assert (tmp_path / "1.fits").read_bytes() == (tmp_path / "2.fits").read_bytes()
    packed = bz2.compress(whole.read_bytes())
    for length in (10, len(packed) // 2, len(packed) - 3):
        (tmp_path / "cut.fits").write_bytes(packed[:length])
        refuses(tmp_path / "cut.fits", "damaged or truncated bzip2 file; fetch it again")
    broken = bytearray(packed)
    broken[len(packed) // 2] ^= 16
    (tmp_path / "broken.fits").write_bytes(broken)
    refuses(tmp_path / "broken.fits", "damaged or truncated bzip2 file; fetch it again")


def test_bzip2_bombs(tmp_path: Path) -> None:
    """What the header claims is known before anything of it is expanded."""
    content = sky_file(tmp_path / "a.fits").read_bytes()
    claims = content.replace(b"NAXIS2  =                 3072", b"NAXIS2  =           7000000000")
    assert claims != content
    (tmp_path / "b.fits").write_bytes(bz2.compress(claims))
    refuses(tmp_path / "b.fits", "(truncated FITS file|expand it with bunzip2 first)")
    zeros = bz2.compress(bytes(1 << 20))
    (tmp_path / "c.fits").write_bytes(bz2.compress(claims) + zeros * 4000)
    refuses(tmp_path / "c.fits", "a bzip2 file of .* expand it with bunzip2 first")


def test_compressed_tables_are_named(tmp_path: Path) -> None:
    hdu = fits.BinTableHDU.from_columns([fits.Column("T", "1PB", array=[[1, 2], [3]])])
    hdu.header.update(ZTABLE=True, NSIDE=NSIDE, ORDERING="RING", PIXTYPE="HEALPIX")
    hdu.writeto(tmp_path / "a.fits.fz")
    refuses(tmp_path / "a.fits.fz", r"fpack has compressed \(ZTABLE\); expand it first: funpack")


def test_any_table_can_be_read(tmp_path: Path) -> None:
    """By number or name; a wrong one is refused with those that there are."""
    path = tmp_path / "a.fits"
    tables = []
    for name, factor in (("FREQ-MAP", 1.0), ("CMB", 3.0)):
        column = fits.Column("T", "D", unit="uK", array=factor * np.arange(NPIX))
        tables.append(fits.BinTableHDU.from_columns([column], name=name))
        tables[-1].header.update(NSIDE=NSIDE, ORDERING="RING")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((2, 3))), *tables]).writeto(path)
    assert read_map(path).values[1] == 1.0
    for hdu in (3, "3", "CMB", "cmb"):
        sky = read_map(path, hdu=hdu)
        assert (sky.hdu, sky.values[1]) == (3, 3.0)
    assert np.array_equal(maps.read_map(path, hdu="freq-map").values, np.arange(NPIX))
    holes = np.arange(NPIX) < 9
    write_filled(tmp_path / "b.fits", sky, np.full(NPIX, 7.0), holes, provenance={}, history=[])
    assert (read_map(tmp_path / "b.fits", hdu=3).values[:9] == 7.0).all()
    assert np.array_equal(read_map(tmp_path / "b.fits").values, np.arange(NPIX))
    known = "HDU 0 is empty, HDU 1 an image of 3 x 2 pixels, HDU 2 'FREQ-MAP' a table of 3072 rows"
    for hdu in (0, 1, 7, "BEAM"):
        refuses(path, f"no HEALPix map in HDU {hdu!r}; pass `hdu` with one of: {known}", hdu=hdu)


def test_truncated(tmp_path: Path) -> None:
    whole = planck_like(tmp_path / "whole.fits").read_bytes()
    for length in (2880 + 100, 2880 * 3, 2880 * 6, len(whole) // 2):
        (tmp_path / "cut.fits").write_bytes(whole[:length])
        refuses(tmp_path / "cut.fits", "truncated FITS file")
        (tmp_path / "cut.fits.gz").write_bytes(gzip.compress(whole[:length]))
        refuses(tmp_path / "cut.fits.gz", "truncated FITS file")
    packed = gzip.compress(whole)
    (tmp_path / "cut.fits.gz").write_bytes(packed[: len(packed) // 2])
    refuses(tmp_path / "cut.fits.gz", "truncated gzip file")
    with pytest.raises(ValueError, match="truncated"):
        describe(tmp_path / "cut.fits")


def test_other_fits(tmp_path: Path) -> None:
    fits.ImageHDU(np.zeros((4, 5)))
    fits.PrimaryHDU(np.zeros((4, 5))).writeto(tmp_path / "image.fits")
    refuses(tmp_path / "image.fits", "no HEALPix map in it, but HDU 0 an image of 5 x 4 pixels")
    fits.BinTableHDU.from_columns([fits.Column("RA", "E", array=np.zeros(48))]).writeto(
        tmp_path / "table.fits"
    )
    refuses(tmp_path / "table.fits", "HDU 0 is empty, HDU 1 a table of 48 rows")
    packed = fits.CompImageHDU(np.zeros((64, 64), np.int16))
    packed.writeto(tmp_path / "packed.fits")
    refuses(tmp_path / "packed.fits", "no HEALPix map in it")


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = sky_file(tmp_path / "a.fits")
    refuses(path, r"no column 'I'; pass `field` with one of: 0 T, 1 NAME", field="I")
    refuses(path, r"no column 7;", field=7)
    refuses(path, r"no column -1;", field=-1)
    refuses(path, r"column 'NAME' has type A, which cannot hold a map", field="NAME")


def test_units_that_are_not_there(tmp_path: Path) -> None:
    none = r"no unit \(TUNIT1\); pass `unit` K, mK or uK"
    refuses(sky_file(tmp_path / "a.fits", unit=None), none)
    refuses(tmp_path / "a.fits", "'foo' is not a unit of CMB temperature; pass `unit`", unit="foo")
    wrong = (
        r"is in MJy/sr \(TUNIT1\), not a CMB temperature; .*setval\(.*'TUNIT1', value='uK', ext=1\)"
    )
    refuses(sky_file(tmp_path / "b.fits", unit="MJy/sr"), wrong)
    refuses(tmp_path / "b.fits", r"is in MJy/sr \(TUNIT1\), not in uK", unit="uK")
    refuses(sky_file(tmp_path / "v.fits", unit="K_CMB^2"), r"is in K_CMB\^2 \(TUNIT1\), a variance")
    content = (tmp_path / "b.fits").read_bytes()
    assert b"TUNIT1  = 'MJy/sr  '" in content
    (tmp_path / "c.fits").write_bytes(
        content.replace(b"TUNIT1  = 'MJy/sr  '", b"TUNIT1  =           ")
    )
    refuses(tmp_path / "c.fits", none)
    assert read_map(tmp_path / "a.fits", unit="uK").unit == "uK"


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"NSIDE": 32}, r"column 'T' has 3072 pixels, Nside 32 has 12288"),
        ({"NSIDE": 8}, r"column 'T' has 3072 pixels, Nside 8 has 768"),
        ({"NSIDE": 15}, r"keyword NSIDE: Nside must be a power of two from 1 to 8192, got 15"),
        ({"NSIDE": "many"}, r"damaged header, HDU 1 has NSIDE = many"),
        ({"ORDERING": None}, r"no ORDERING keyword that says RING or NESTED; set it"),
        ({"ORDERING": "RANDOM"}, r"no ORDERING keyword that says RING or NESTED; set it"),
    ],
)
def test_headers_that_do_not_fit(tmp_path: Path, header: dict[str, object], why: str) -> None:
    refuses(sky_file(tmp_path / "a.fits", **header), why)


def test_no_nside_keyword(tmp_path: Path) -> None:
    assert read_map(sky_file(tmp_path / "a.fits", NSIDE=None)).nside == NSIDE
    hdu = fits.BinTableHDU.from_columns([fits.Column("T", "E", unit="K", array=np.ones(13))])
    hdu.header["ORDERING"] = "RING"
    hdu.writeto(tmp_path / "b.fits")
    refuses(tmp_path / "b.fits", "a full sky has 12 Nside² pixels, got 13")


def test_damaged_table_headers(tmp_path: Path) -> None:
    content = sky_file(tmp_path / "a.fits").read_bytes()
    for old, new, why in (
        (b"TFORM1  = 'E ", b"TFORM1  = 'D ", "columns of HDU 1 take 12 bytes, NAXIS1 says 8"),
        (b"TFORM1  = 'E ", b"TFORM1  = '? ", "TFORM1 = .* is not a FITS column format"),
        (b"NAXIS1  =                    8", b"NAXIS1  =              'eight'", "NAXIS1 = eight"),
        (b"TFIELDS ", b"NOFIELDS", "no TFIELDS"),
    ):
        assert old in content
        (tmp_path / "b.fits").write_bytes(content.replace(old, new))
        refuses(tmp_path / "b.fits", why)


def test_no_valid_pixel(tmp_path: Path) -> None:
    write_map(tmp_path / "a.fits", np.full(NPIX, np.nan))
    refuses(tmp_path / "a.fits", "column 'TEMPERATURE' has no valid pixel at all")


def test_a_mask_is_no_map(tmp_path: Path) -> None:
    write_map(tmp_path / "a.fits", np.arange(NPIX) % 2, unit="", dtype=np.uint8)
    refuses(tmp_path / "a.fits", "is a mask; give the map first, then the mask")


def test_pixels_that_are_not_there(tmp_path: Path) -> None:
    for pixels, why in (([0, NPIX], "PIXEL lists pixels 0 to 3072"), ([-1, 4], "pixels -1 to 4")):
        hdu = fits.BinTableHDU.from_columns(
            [
                fits.Column("PIXEL", "J", array=pixels),
                fits.Column("T", "E", unit="K", array=[3.0, 4.0]),
            ]
        )
        hdu.header.update(NSIDE=NSIDE, ORDERING="RING", INDXSCHM="EXPLICIT")
        hdu.writeto(tmp_path / "a.fits", overwrite=True)
        refuses(tmp_path / "a.fits", why)


def test_fills_that_cannot_be_written(tmp_path: Path) -> None:
    sky = read_map(planck_like(tmp_path / "in.fits", form="I"))
    fill, holes = fill_of(sky)

    def write(sky: SkyMap = sky, fill: Any = fill, holes: Any = holes) -> None:
        write_filled(tmp_path / "out.fits", sky, fill, holes, provenance={}, history=[])

    with pytest.raises(ValueError, match=r"int16, which cannot hold the values .* to 1e\+06"):
        write(fill=np.full(NPIX, 1e9))
    with pytest.raises(ValueError, match=r"the fill is not finite in \d+ pixels"):
        write(fill=np.full(NPIX, np.nan))
    with pytest.raises(ValueError, match=r"must be \(3072,\)"):
        write(fill=np.zeros(12))
    with pytest.raises(ValueError, match="has changed since it was read"):
        write(sky=replace(sky, nest=not sky.nest))
    with pytest.raises(FileNotFoundError, match=r"cannot write .*no/out.fits: there is no folder"):
        write_filled(tmp_path / "no/out.fits", sky, fill, holes, provenance={}, history=[])
    with pytest.raises(FileNotFoundError, match="no such file"):
        write(sky=replace(sky, path=tmp_path / "gone.fits"))
    assert names(tmp_path) == ["in.fits"]


def test_a_pixel_listed_twice(tmp_path: Path) -> None:
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("PIXEL", "J", array=[5, 5]),
            fits.Column("T", "E", unit="K", array=[3.0, 4.0]),
        ]
    )
    hdu.header.update(NSIDE=NSIDE, ORDERING="RING", INDXSCHM="EXPLICIT")
    hdu.writeto(tmp_path / "a.fits")
    refuses(tmp_path / "a.fits", "a pixel is listed twice")


def test_values_that_cannot_be_written(tmp_path: Path) -> None:
    for values, options, why in (
        (np.full(12, np.nan), {"dtype": np.int16, "unit": ""}, "int16 cannot hold"),
        (np.full(12, 0.5), {"dtype": np.int16, "unit": ""}, "int16 cannot hold"),
        (np.ones(13), {}, "a full sky has 12 Nside² pixels, got 13"),
        ({"A": np.ones(12), "B": np.ones(48)}, {}, "must have one Nside"),
        (np.ones(12), {"dtype": np.uint16, "unit": ""}, "FITS has no type for uint16"),
    ):
        with pytest.raises(ValueError, match=why):
            write_map(tmp_path / "a.fits", values, **options)
    assert names(tmp_path) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sky = read_map(planck_like(tmp_path / "in.fits"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(filled, "pieces", full)  # fails after the rows have been written
    with pytest.raises(OSError, match=r"^cannot write .*out.fits: No space left on device$"):
        write_filled(tmp_path / "out.fits", sky, *fill_of(sky), provenance={}, history=[])
    assert names(tmp_path) == ["in.fits"]


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz"])
def test_a_disk_that_forgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What is written is read back before it takes its place."""
    read_back = writing._read_back

    def forget(temporary: Path, *more: Any) -> None:
        content = bytearray(temporary.read_bytes())
        whole = bytearray(gzip.decompress(content)) if name.endswith("gz") else content
        whole[3000] ^= 1
        temporary.write_bytes(gzip.compress(whole) if name.endswith("gz") else whole)
        read_back(temporary, *more)

    monkeypatch.setattr(writing, "_read_back", forget)
    with pytest.raises(
        OSError, match=f"cannot write .*{name}: the bytes read back from the disk differ"
    ):
        write_map(tmp_path / name, np.ones(NPIX))
    assert names(tmp_path) == []


def test_numbers_that_scale_nothing(tmp_path: Path) -> None:
    for number, (key, value) in enumerate((("TSCAL1", 0.0), ("TZERO1", "NaN"))):
        path = sky_file(tmp_path / f"{number}.fits", form="J")
        with fits.open(path, mode="update") as file:
            file[1].header[key] = value
        refuses(path, f"damaged header, HDU 1 has {key} = ")


@pytest.mark.parametrize(("form", "value"), [("E", 3e35), ("D", 1e305)])
def test_numbers_beyond_their_type_in_uk(tmp_path: Path, form: str, value: float) -> None:
    """In K they are numbers still: float32 gives way to float64, and that to an error."""
    path = sky_file(tmp_path / "a.fits", unit="K", form=form)
    with fits.open(path, mode="update") as hdus:
        hdus[1].data["T"] *= value / NPIX
    if form == "D":
        refuses(path, "1e[+]305 K, too large for temperatures")
    else:
        assert read_map(path, single=True).values[-1] == pytest.approx(1e6 * value, rel=1e-3)


def test_a_null_beyond_its_type(tmp_path: Path) -> None:
    """No number of the column can be it."""
    path = planck_like(tmp_path / "in.fits", layout="partial", form="I")
    content = path.read_bytes()
    key = content.index(b"TNULL4")
    card = b"TNULL4  =         999999999999"
    path.write_bytes(content[:key] + card + content[key + len(card) :])
    sky = read_map(path)
    write_filled(tmp_path / "out.fits", sky, *fill_of(sky), provenance={}, history=[])
    assert read_map(tmp_path / "out.fits").n_missing == 0


def test_keywords_in_small_letters(tmp_path: Path) -> None:
    """They are read as if they were large ones, and so they must be written over."""
    path = planck_like(tmp_path / "in.fits", layout="range")
    path.write_bytes(path.read_bytes().replace(b"NAXIS2  =", b"NAXiS2  ="))
    sky = read_map(path)
    write_filled(tmp_path / "out.fits", sky, *fill_of(sky), provenance={}, history=[])
    assert read_map(tmp_path / "out.fits").n_missing == 0
    assert not maps.add_up(tmp_path / "out.fits").wrong


def test_keywords_that_are_patterns(tmp_path: Path) -> None:
    """Those that astropy would look for with a regular expression."""
    path = planck_like(tmp_path / "in.fits")
    path.write_bytes(path.read_bytes().replace(b"FREQ    =", b"F*)(    ="))
    assert describe(path).tables[0].keywords["F*)("] == 143.0
