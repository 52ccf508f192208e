"""Nothing but the holes changes when a map is filled: the bytes before and after."""

import re
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from map_files import NPIX, NSIDE, REAL, cards, fill_of, in_file_order, names, planck_like, raw

from skyfill.maps import SkyMap, describe, read_map, rows, write_filled, write_map, writing
from skyfill.maps import hdu as hdu_module

PROVENANCE = {"SF_SEED": (3, "seed of the realization"), "SF_METH": ("vae", "")}


@pytest.fixture(autouse=True, params=[1 << 24, 5000], ids=["whole", "pieces"])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Move files at once, and piece by piece as large ones are."""
    for module in (hdu_module, writing, rows):
        monkeypatch.setattr(module, "PIECE", request.param)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("form", ["E", "D", "I", "J", "B"])
@pytest.mark.parametrize("layout", ["rows", "vector"])
@pytest.mark.parametrize("nest", [False, True])
def test_nothing_but_the_holes_changes(
    tmp_path: Path, nest: bool, layout: str, form: str, zipped: bool
) -> None:
    end = ".fits.gz" if zipped else ".fits"
    before = planck_like(tmp_path / f"in{end}", form=form, nest=nest, layout=layout)
    after = tmp_path / f"out{end}"
    sky = read_map(before)
    fill, holes = fill_of(sky)
    write_filled(after, sky, fill, holes, provenance=PROVENANCE, history=["filled"])

    changed = in_file_order(holes, nest=nest)
    old, new = raw(before, "I_STOKES"), raw(after, "I_STOKES")
    assert np.array_equal(old[~changed], new[~changed])
    for other in ("Q_STOKES", "HITS", "TMASK"):
        assert np.array_equal(raw(before, other), raw(after, other))
    for hdu in (0, 2):
        assert cards(before, hdu) == cards(after, hdu)
    *kept, datasum, checksum = [card for card in cards(after) if card not in cards(before)]
    assert kept == [
        f"{'SF_SEED =                    3 / seed of the realization':80}",
        f"{'SF_METH = ' + repr('vae     '):80}",
        f"{'HISTORY filled':80}",
    ]
    assert (datasum[:8], checksum[:8]) == ("DATASUM ", "CHECKSUM")
    assert [card for card in cards(after) if card in cards(before)] == cards(before)

    again = read_map(after)
    assert again.n_missing == 0
    assert np.array_equal(again.values[~holes], sky.values[~holes])
    rounding = {"E": 1e-7, "D": 1e-15}.get(form, 0.0) * np.abs(fill[holes])
    step = 0.0 if form in "ED" else 0.5 * sky.unit_to_uk
    assert (np.abs(again.values[holes] - fill[holes]) <= rounding + step).all()
    if form in "ED":
        theirs = hp.read_map(after, field=0, dtype=np.float64, nest=False)
        assert np.array_equal(theirs * 1e3, again.values)


@pytest.mark.parametrize("layout", ["rows", "vector"])
def test_every_byte_outside_data_and_header_is_kept(tmp_path: Path, layout: str) -> None:
    before = planck_like(tmp_path / "in.fits", layout=layout)
    sky = read_map(before)
    write_filled(tmp_path / "out.fits", sky, *fill_of(sky), provenance={}, history=[])
    parts = []
    for path in (before, tmp_path / "out.fits"):
        content = path.read_bytes()
        with fits.open(path) as file:
            start = file[1].fileinfo()["datLoc"]
            end = start + file[1].header["NAXIS1"] * file[1].header["NAXIS2"]
        head = [content[at : at + 80] for at in range(0, start, 80)]
        sums = [card for card in head if card[:8] in (b"DATASUM ", b"CHECKSUM")]
        kept = [card for card in head if card not in sums]
        parts.append((b"".join(kept).rstrip(), content[end:], sums, content[start:end]))
    old, new = parts
    assert old[:2] == new[:2]
    assert (len(old[2]), len(new[2])) == (0, 2)
    assert old[3] != new[3]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("form", ["E", "D", "J"])
@pytest.mark.parametrize("layout", ["partial", "range"])
@pytest.mark.parametrize("nest", [False, True])
def test_a_partial_sky_becomes_a_full_one(
    tmp_path: Path, nest: bool, layout: str, form: str, zipped: bool
) -> None:
    end = ".fits.gz" if zipped else ".fits"
    before = planck_like(tmp_path / f"in{end}", form=form, nest=nest, layout=layout)
    after = tmp_path / f"out{end}"
    sky = read_map(before)
    assert sky.partial
    assert sky.n_missing > NPIX // 2
    fill, holes = fill_of(sky)
    write_filled(after, sky, fill, holes, provenance=PROVENANCE, history=["filled"])

    if layout == "partial":
        pixels = np.frombuffer(raw(before, "PIXEL").tobytes(), ">i4")
    else:
        pixels = np.arange(700, 1700)
    kept = ~in_file_order(holes, nest=nest)[pixels]
    new = raw(after, "I_STOKES")
    assert new.shape[0] == NPIX
    assert np.array_equal(raw(before, "I_STOKES")[kept], new[pixels][kept])
    rest = np.setdiff1d(np.arange(NPIX), pixels)
    blank = {"Q_STOKES": np.array(hp.UNSEEN, ">f4"), "HITS": np.array(-5, ">i4"), "TMASK": b"\0"}
    for other, empty in blank.items():
        assert np.array_equal(raw(before, other), raw(after, other)[pixels])
        assert set(map(bytes, raw(after, other)[rest])) == {bytes(memoryview(empty))}

    again = read_map(after)
    assert (again.partial, again.n_missing, again.unit) == (False, 0, "mK_CMB")
    assert np.array_equal(again.values[~holes], sky.values[~holes])
    with fits.open(after) as file:
        header = file[1].header
        assert [column.name for column in file[1].columns] == [
            "I_STOKES", "Q_STOKES", "HITS", "TMASK",
        ]  # fmt: skip
        assert header["OBJECT"] == "FULLSKY"
        assert header["INDXSCHM"] == "IMPLICIT"
        assert (header["FIRSTPIX"], header["LASTPIX"]) == (0, NPIX - 1)
        assert (header["TUNIT1"], header["TNULL3"]) == ("mK_CMB", -5)
        assert header["LONG"] == "a value that goes on and on;" * 6
        assert header["COMMENT"][0] == "TUNIT1 stands in this comment"
        assert file["BEAM"].data.shape == (3, 5)


@pytest.mark.parametrize("form", ["E", "D", "J"])
@pytest.mark.parametrize("layout", ["partial", "range"])
@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("end", [".fits", ".fits.gz"])
def test_a_partial_sky_stays_partial(
    tmp_path: Path, nest: bool, layout: str, form: str, end: str
) -> None:
    """Unless it becomes whole: its rows, then those of new pixels."""
    before = planck_like(tmp_path / f"in{end}", form=form, nest=nest, layout=layout)
    after = tmp_path / f"out{end}"
    sky = read_map(before)
    there = np.frombuffer(raw(before, "PIXEL").tobytes(), ">i4") if layout == "partial" else None
    listed = np.arange(700, 1700) if there is None else there
    in_file = np.zeros(NPIX, np.bool_)
    in_file[listed] = True
    own = in_file[hp.ring2nest(NSIDE, np.arange(NPIX))] if nest else in_file
    rng = np.random.default_rng(2)
    holes = (own & np.isnan(sky.values)) | (rng.random(NPIX) < 0.1)
    fill = rng.uniform(20, 90, NPIX) * sky.unit_to_uk
    write_filled(after, sky, fill, holes, provenance=PROVENANCE, history=["filled"])

    again = read_map(after)
    assert again.partial
    assert np.array_equal(again.values[~holes], sky.values[~holes], equal_nan=True)
    assert np.array_equal(np.isnan(again.values), ~own & ~holes)
    assert np.allclose(again.values[holes], fill[holes], rtol=1e-6, atol=0.5 * sky.unit_to_uk)
    new = np.frombuffer(raw(after, "PIXEL").tobytes(), ">i4")
    assert np.array_equal(new[: listed.size], listed)
    assert np.array_equal(
        new[listed.size :], np.flatnonzero(in_file_order(holes, nest=nest) & ~in_file)
    )
    kept = ~in_file_order(holes, nest=nest)[listed]
    assert np.array_equal(
        raw(before, "I_STOKES")[kept], raw(after, "I_STOKES")[: listed.size][kept]
    )
    blank = {"Q_STOKES": np.array(hp.UNSEEN, ">f4"), "HITS": np.array(-5, ">i4"), "TMASK": b"\0"}
    for other, empty in blank.items():
        cells = raw(after, other)
        assert np.array_equal(raw(before, other), cells[: listed.size])
        assert set(map(bytes, cells[listed.size :])) == {bytes(memoryview(empty))}
    with fits.open(after, checksum=True) as file:
        file.verify("exception")
        header = file[1].header
        assert (header["OBJECT"], header["INDXSCHM"]) == ("PARTIAL", "EXPLICIT")
        assert header["TTYPE1"] == "PIXEL"
        assert header["TUNIT2"] == "mK_CMB"
        assert header["TNULL4"] == -5
        assert file["BEAM"].data.shape == (3, 5)
    if form != "J":
        theirs = hp.read_map(after, field=0, dtype=np.float64)
        assert np.array_equal(theirs[holes] * 1e3, again.values[holes])


@pytest.mark.parametrize("layout", ["partial", "range"])
def test_holes_at_pixels_that_are_there_change_no_form(tmp_path: Path, layout: str) -> None:
    before = planck_like(tmp_path / "in.fits", layout=layout)
    sky = read_map(before)
    values = raw(before, "I_STOKES")
    pixels = np.frombuffer(raw(before, "PIXEL").tobytes(), ">i4") if layout == "partial" else None
    pixels = np.arange(700, 1700) if pixels is None else pixels
    holes = np.zeros(NPIX, np.bool_)
    holes[pixels[::7]] = True
    write_filled(tmp_path / "out.fits", sky, np.ones(NPIX), holes, provenance={}, history=[])
    kept = cards(tmp_path / "out.fits")[:-2]  # without the checksums
    assert kept == cards(before)
    changed = (raw(tmp_path / "out.fits", "I_STOKES") != values).any(axis=1)
    assert np.array_equal(np.flatnonzero(changed), np.arange(0, pixels.size, 7))


def test_a_range_that_grows_at_its_ends_stays_a_range(tmp_path: Path) -> None:
    before = planck_like(tmp_path / "in.fits", layout="range")
    sky = read_map(before)
    holes = np.zeros(NPIX, np.bool_)
    holes[650:720] = holes[1700:1750] = True
    write_filled(tmp_path / "out.fits", sky, np.full(NPIX, 7e3), holes, provenance={}, history=[])
    with fits.open(tmp_path / "out.fits") as file:
        header = file[1].header
        assert [header[key] for key in ("FIRSTPIX", "LASTPIX", "INDXSCHM", "OBJECT")] == [
            *(650, 1749, "IMPLICIT", "PARTIAL")
        ]
        assert header["NAXIS2"] == 1100
    again = read_map(tmp_path / "out.fits")
    want = np.where(holes, 7e3, sky.values)
    assert np.array_equal(again.values, want, equal_nan=True)
    assert np.array_equal(raw(tmp_path / "out.fits", "HITS")[50:-50], raw(before, "HITS"))


def test_what_healpy_writes_stays_partial(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sky = np.where(rng.random(NPIX) < 0.9, hp.UNSEEN, rng.normal(size=NPIX))
    path = tmp_path / "in.fits"
    hp.write_map(path, sky, partial=True, column_units="uK", dtype=np.float64)
    fits.setval(path, "OBS_NPIX", value=int((sky > -1e30).sum()), ext=1)
    got = read_map(path)
    holes = np.isnan(got.values) & (rng.random(NPIX) < 0.2)
    write_filled(tmp_path / "out.fits", got, np.ones(NPIX), holes, provenance={}, history=[])
    theirs = hp.read_map(tmp_path / "out.fits", dtype=np.float64)
    assert np.array_equal(theirs, np.where(holes, 1.0, sky))
    with fits.open(tmp_path / "out.fits") as file:
        assert file[1].header["OBS_NPIX"] == file[1].header["NAXIS2"] == (theirs > -1e30).sum()


@pytest.mark.parametrize("form", ["I", "B"])
def test_lists_of_small_integers_grow_with_their_pixels(tmp_path: Path, form: str) -> None:
    nside = {"I": 64, "B": 8}[form]
    pixels = np.arange(100)[::-1]
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("T", "E", unit="uK", array=np.arange(100.0)),
            fits.Column("IPIX", form, array=pixels),
        ]
    )
    hdu.header.update(NSIDE=nside, ORDERING="RING", INDXSCHM="EXPLICIT")
    hdu.writeto(tmp_path / "in.fits")
    sky = read_map(tmp_path / "in.fits")
    holes = np.zeros(sky.values.size, np.bool_)
    holes[-10:] = True
    fill = np.full(holes.size, 7.0)
    write_filled(tmp_path / "out.fits", sky, fill, holes, provenance={}, history=[])
    assert np.array_equal(
        read_map(tmp_path / "out.fits").values, np.where(holes, 7.0, sky.values), equal_nan=True
    )
    assert fits.getdata(tmp_path / "out.fits")["IPIX"][:100].tolist() == pixels.tolist()


def test_vector_rows_of_a_partial_sky(tmp_path: Path) -> None:
    values = np.arange(1.0, 1025.0, dtype=np.float32).reshape(2, 512)
    pixels = np.arange(1024, dtype=np.int32).reshape(2, 512)[:, ::-1] + 100
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("PIXEL", "512J", array=pixels),
            fits.Column("T", "512E", unit="uK", array=values),
        ]
    )
    hdu.header.update(NSIDE=NSIDE, ORDERING="RING", INDXSCHM="EXPLICIT")
    hdu.writeto(tmp_path / "in.fits")
    sky = read_map(tmp_path / "in.fits")
    assert np.array_equal(sky.values[pixels.ravel()], values.ravel())
    write_filled(
        tmp_path / "out.fits",
        sky,
        np.full(NPIX, 7.0),
        np.isnan(sky.values),
        provenance={},
        history=[],
    )
    assert np.array_equal(
        read_map(tmp_path / "out.fits").values, np.nan_to_num(sky.values, nan=7.0)
    )


def whatever(path: Path) -> SkyMap:
    """Read a map of any numbers: those that are no sky's are called missing, one by one."""
    values: list[float] = []
    while True:
        try:
            return read_map(path, missing=values)
        except ValueError as error:
            match = re.search(r"pass `missing=(\S+)`", str(error))
            if match is None:
                raise
            values.append(float(match[1]))


@settings(max_examples=40, deadline=None)
@given(
    bits=hnp.arrays(np.uint32, 192),
    holes=hnp.arrays(np.bool_, 192),
    nest=st.booleans(),
)
def test_any_bits_survive(
    tmp_path_factory: pytest.TempPathFactory,
    bits: np.ndarray[Any, Any],
    holes: np.ndarray[Any, Any],
    nest: bool,
) -> None:
    values = np.append(bits[1:], np.float32(3).view(np.uint32)).view(np.float32)
    folder = tmp_path_factory.mktemp("bits")
    hdu = fits.BinTableHDU.from_columns([fits.Column("T", "E", unit="K", array=values)])
    hdu.header.update(NSIDE=4, ORDERING="NESTED" if nest else "RING")
    hdu.writeto(folder / "in.fits")
    sky = whatever(folder / "in.fits")
    write_filled(folder / "out.fits", sky, np.ones(192), holes, provenance={}, history=[])
    changed = holes[hp.nest2ring(4, np.arange(192))] if nest else holes
    old, new = raw(folder / "in.fits", "T"), raw(folder / "out.fits", "T")
    assert np.array_equal(old[~changed], new[~changed])
    assert set(map(bytes, new[changed])) <= {np.array(1e-6, ">f4").tobytes()}


def test_scaled_integers(tmp_path: Path) -> None:
    before = planck_like(tmp_path / "in.fits", form="I", scaled=True)
    sky = read_map(before)
    stored = np.frombuffer(raw(before, "I_STOKES").tobytes(), ">i2").astype(float)
    expected = np.where(stored == 0, np.nan, (stored * 0.25 - 10) * 1e3)
    assert np.array_equal(sky.values, expected, equal_nan=True)
    fill, holes = fill_of(sky)
    fill[np.flatnonzero(holes)[0]] = -10e3  # would be stored as 0, which means undefined
    write_filled(tmp_path / "out.fits", sky, fill, holes, provenance={}, history=[])
    again = read_map(tmp_path / "out.fits")
    assert again.n_missing == 0
    assert np.abs(again.values - np.where(holes, fill, sky.values)).max() <= 250


@pytest.mark.parametrize("signed", [False, True])
def test_checksums_are_right(tmp_path: Path, signed: bool) -> None:
    for layout in ("vector", "partial"):
        before = planck_like(tmp_path / f"{layout}.fits", layout=layout)
        if signed:
            with fits.open(before, mode="update") as file:
                file[1].add_checksum()
        after = tmp_path / f"{layout}_out.fits"
        sky = read_map(before)
        write_filled(after, sky, *fill_of(sky), provenance=PROVENANCE, history=["filled"])
        with fits.open(after, checksum=True) as file:  # astropy warns where they are wrong
            file.verify("exception")
            assert file[1].verify_checksum() == file[1].verify_datasum() == 1


def test_variable_length_columns_keep_their_heap(tmp_path: Path) -> None:
    lists = np.empty(NPIX, object)
    lists[:] = [np.arange(i % 4, dtype=np.int32) for i in range(NPIX)]
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("T", "E", unit="uK", array=np.arange(NPIX)),
            fits.Column("LIST", "PJ()", array=lists),
        ]
    )
    hdu.header.update(NSIDE=NSIDE, ORDERING="RING")
    hdu.writeto(tmp_path / "in.fits")
    sky = read_map(tmp_path / "in.fits")
    write_filled(tmp_path / "out.fits", sky, *fill_of(sky), provenance={}, history=[])
    with fits.open(tmp_path / "out.fits") as file:
        assert all(map(np.array_equal, file[1].data["LIST"], lists))


def test_filling_a_filled_map_renews_its_provenance(tmp_path: Path) -> None:
    sky = read_map(planck_like(tmp_path / "in.fits"))
    first, second = tmp_path / "1.fits", tmp_path / "2.fits"
    long = {"SF_CMD": ("skyfill inpaint " + "x" * 200, "command")}
    write_filled(first, sky, *fill_of(sky), provenance=long, history=["a" * 100, "one\ntwo", "é"])
    sky = read_map(first)
    short = {"SF_CMD": ("skyfill", "command")}
    write_filled(second, sky, *fill_of(sky), provenance=short, history=[])
    assert describe(first).tables[0].keywords["SF_CMD"] == long["SF_CMD"][0]
    assert describe(second).tables[0].keywords["SF_CMD"] == "skyfill"
    history = describe(second).tables[0].history
    assert history == ("made for a test", "a" * 72, "a" * 28, "one", "two", "?")


def test_the_input_may_be_overwritten(tmp_path: Path) -> None:
    path = planck_like(tmp_path / "in.fits")
    sky = read_map(path)
    fill, holes = fill_of(sky)
    with pytest.raises(FileExistsError, match="`overwrite=True`"):
        write_filled(path, sky, fill, holes, provenance={}, history=[])
    write_filled(path, sky, fill, holes, provenance={}, history=[], overwrite=True)
    assert np.array_equal(read_map(path).values[~holes], sky.values[~holes])
    assert names(tmp_path) == ["in.fits"]


@pytest.mark.slow
@pytest.mark.parametrize("nest", [False, True])
def test_a_large_file_of_four_columns(tmp_path: Path, nest: bool) -> None:
    rng = np.random.default_rng(0)
    npix = 12 * 1024**2
    skies = {f"C{i}": rng.standard_normal(npix, dtype=np.float32) for i in range(4)}
    before, after = tmp_path / "in.fits", tmp_path / "out.fits"
    write_map(before, skies, nest=nest)
    sky = read_map(before, field="C2")
    assert np.array_equal(sky.values, skies["C2"])
    holes = rng.random(npix) < 0.3
    write_filled(after, sky, np.zeros(npix), holes, provenance=PROVENANCE, history=[])
    changed = holes[hp.nest2ring(1024, np.arange(npix))] if nest else holes
    for name in skies:
        old, new = raw(before, name), raw(after, name)
        same = (old == new).all(axis=1)
        assert same[~changed].all()
        assert same.all() == (name != "C2")


@pytest.mark.skipif(not REAL, reason="SKYFILL_REAL_DATA is not set")
def test_the_real_sky_keeps_its_bytes(tmp_path: Path) -> None:
    path = Path(REAL) / "smica2013_raw_n256.fits"
    sky = read_map(path)
    assert (sky.unit, sky.nside, sky.coord, sky.nest) == ("uK_CMB", 256, "G", False)
    holes = np.random.default_rng(0).random(sky.values.size) < 0.3
    write_filled(tmp_path / "out.fits", sky, np.zeros(holes.size), holes, provenance={}, history=[])
    old, new = raw(path, "T"), raw(tmp_path / "out.fits", "T")
    assert np.array_equal(old[~holes], new[~holes])
    assert not new[holes].any()


@pytest.mark.parametrize("nest", [False, True])
def test_the_holes_alone_are_enough(tmp_path, nest):
    sky_values = np.random.default_rng(9).normal(size=3072)
    write_map(tmp_path / "in.fits", sky_values, nest=nest)
    sky = read_map(tmp_path / "in.fits")
    fill, holes = fill_of(sky)
    words = {"provenance": PROVENANCE, "history": []}
    write_filled(tmp_path / "whole.fits", sky, fill, holes, **words)
    write_filled(tmp_path / "alone.fits", sky, fill[holes], holes, **words)
    assert (tmp_path / "whole.fits").read_bytes() == (tmp_path / "alone.fits").read_bytes()
