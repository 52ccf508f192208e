"""Which pixel a number belongs to: lists in any column, keywords in any header."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from map_files import NPIX, NSIDE

from skyfill.maps import describe, read_map, write_filled

NAMES = (
    *("PIXEL", "PIXELS", "pix", "IPIX", "HPIX", "hpxindex", "PIXEL_INDEX", "PIXNUM", "HEALPIX"),
    *("HPX", "PIXEL_NO", "HEALPIX_INDEX", "PIXIDX", "hpx_pixel", "healpix_id", "HPX64", "Pix_Id"),
    *("HPXPIXEL", "healpixel", "healpix_cell"),
)
FORMS = {"B": "u1", "I": "i2", "J": "i4", "K": "i8", "E": "f4", "D": "f8"}
UNSIGNED = {"I": (32768, "u2"), "J": (2147483648, "u4"), "K": (9223372036854775808, "u8")}


def listed_file(
    path: Path,
    columns: list[fits.Column],
    primary: dict[str, object] | None = None,
    **cards: object,
) -> Path:
    table = fits.BinTableHDU.from_columns(columns)
    said = {
        "PIXTYPE": "HEALPIX",
        "NSIDE": NSIDE,
        "ORDERING": "RING",
        "INDXSCHM": "EXPLICIT",
        **cards,
    }
    table.header.update({key: value for key, value in said.items() if value is not None})
    first = fits.PrimaryHDU()
    first.header.update(primary or {})
    fits.HDUList([first, table]).writeto(path, overwrite=True)
    return path


def list_column(name: str, form: str, pixels: np.ndarray, *, unsigned: bool = False) -> fits.Column:
    if unsigned:
        zero, dtype = UNSIGNED[form]
        return fits.Column(name, form, bzero=zero, array=pixels.astype(dtype))
    return fits.Column(name, form, array=pixels.astype(FORMS[form]))


def signal(values: np.ndarray, name: str = "SIGNAL") -> fits.Column:
    return fits.Column(name, "D", unit="uK", array=values)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(NAMES),
    form=st.sampled_from("BIJKED"),
    unsigned=st.booleans(),
    place=st.integers(0, 2),
    scheme=st.sampled_from(("EXPLICIT", None)),
    share=st.sampled_from((0.1, 0.5, 1.0)),
    nest=st.booleans(),
)
def test_any_list_in_any_column_gives_the_same_map(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    name: str,
    form: str,
    unsigned: bool,
    place: int,
    scheme: str | None,
    share: float,
    nest: bool,
) -> None:
    rng = np.random.default_rng(seed)
    nside = 4 if form == "B" else 16
    npix = 12 * nside**2
    sky = rng.normal(0, 100, npix)
    pixels = rng.permutation(npix)[: int(share * npix)]
    columns = [signal(sky[pixels]), signal(rng.normal(size=pixels.size), "OTHER")]
    listing = list_column(name, form, pixels, unsigned=unsigned and form in UNSIGNED)
    columns.insert(place, listing)
    ordering = "NESTED" if nest else "RING"
    path = listed_file(
        tmp_path_factory.mktemp("list") / "a.fits",
        columns,
        NSIDE=nside,
        ORDERING=ordering,
        INDXSCHM=scheme,
    )
    want = np.full(npix, np.nan)
    want[pixels] = sky[pixels]
    if nest:
        want = want[hp.ring2nest(nside, np.arange(npix))]
    for field in (0, "SIGNAL"):
        got = read_map(path, field=field)
        assert np.array_equal(got.values, want, equal_nan=True)
        assert got.partial == (share < 1)
    holes = np.isnan(want) | (rng.random(npix) < 0.2)
    write_filled(path, got, np.full(npix, 7.0), holes, provenance={}, history=[], overwrite=True)
    assert np.array_equal(read_map(path).values, np.where(holes, 7.0, want))


def test_a_list_under_a_strange_name_counts_where_the_header_says_so(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).permutation(NPIX)[:100]
    for name in ("INDEX", "COL1"):
        columns = [list_column(name, "J", pixels), signal(np.arange(100.0))]
        path = listed_file(tmp_path / "a.fits", columns)
        assert np.array_equal(read_map(path).values[pixels], np.arange(100.0))
    columns = [signal(np.arange(100.0)), list_column("INDEX", "J", pixels)]
    path = listed_file(tmp_path / "a.fits", columns)
    assert np.array_equal(read_map(path).values[pixels], np.arange(100.0))


@pytest.mark.parametrize(
    ("listing", "why"),
    [
        (
            list_column("WHERE", "D", np.arange(NPIX)),
            "no column lists the pixels; the columns are: SIG",
        ),
        (
            list_column("PIXEL", "D", np.arange(NPIX) + 0.5),
            "'PIXEL' has numbers that are not whole",
        ),
        (
            list_column("PIXEL", "E", np.full(NPIX, np.nan)),
            "'PIXEL' has numbers that are not whole",
        ),
        (list_column("PIXEL", "J", np.arange(NPIX) - 1), "PIXEL lists pixels -1 to 3070"),
        (list_column("PIXEL", "J", np.arange(NPIX) + 1), "PIXEL lists pixels 1 to 3072"),
        (list_column("IPIX", "I", np.arange(NPIX) // 2), "listed twice in column 'IPIX'"),
        (
            list_column(
                "PIXEL", "K", np.arange(NPIX, dtype="u8") + np.uint64(1 << 63), unsigned=True
            ),
            "PIXEL lists pixels -9223372036854775808",
        ),
        (list_column("PIX_NEST", "J", np.arange(NPIX)), "ORDERING says RING, the name .* another"),
    ],
)
def test_lists_that_cannot_be_used_are_refused(
    tmp_path: Path, listing: fits.Column, why: str
) -> None:
    path = listed_file(tmp_path / "a.fits", [signal(np.arange(float(NPIX))), listing])
    with pytest.raises(ValueError, match=why) as caught:
        read_map(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        *(
            ("nest_ipix", "NESTED"),
            ("RINGPIX", "RING"),
            ("ring_index", "RING"),
            ("IPNEST", "NESTED"),
        ),
        *(("nested_id", "NESTED"), ("pixnest16", "NESTED"), ("NEST_PIXEL", "NESTED")),
    ],
)
def test_names_of_lists_say_their_order(tmp_path: Path, name: str, order: str) -> None:
    pixels = np.random.default_rng(8).permutation(NPIX)[:500]
    columns = [signal(np.arange(500.0)), list_column(name, "J", pixels)]
    path = listed_file(tmp_path / "a.fits", columns, ORDERING=order, INDXSCHM=None)
    ring = hp.nest2ring(NSIDE, pixels) if order == "NESTED" else pixels
    assert np.array_equal(read_map(path).values[ring], np.arange(500.0))
    other = "RING" if order == "NESTED" else "NESTED"
    path = listed_file(tmp_path / "b.fits", columns, ORDERING=other, INDXSCHM=None)
    with pytest.raises(ValueError, match=f"ORDERING says {other}, the name of the list"):
        read_map(path)


@pytest.mark.parametrize("form", ["J", "D"])
def test_a_list_of_all_pixels_under_any_name_is_not_passed_over(tmp_path: Path, form: str) -> None:
    """Without INDXSCHM nobody knows whether the rows follow it."""
    perm = np.random.default_rng(9).permutation(NPIX)
    columns = [signal(perm * 1.0), list_column("CELL", form, perm)]
    path = listed_file(tmp_path / "a.fits", columns, INDXSCHM=None)
    with pytest.raises(ValueError, match="'CELL' lists all pixels in another order than the rows"):
        read_map(path)
    renamed = [columns[0], list_column("PIXEL", form, perm)]
    path = listed_file(tmp_path / "a.fits", renamed, INDXSCHM=None)
    assert np.array_equal(read_map(path).values, np.arange(NPIX))
    path = listed_file(tmp_path / "a.fits", columns, INDXSCHM="IMPLICIT")
    assert np.array_equal(read_map(path).values, perm)
    for harmless in (np.arange(NPIX), np.arange(NPIX)[::-1] // 2, perm * 2):
        columns[1] = list_column("CELL", form, harmless)
        path = listed_file(tmp_path / "a.fits", columns, INDXSCHM=None)
        assert np.array_equal(read_map(path).values, perm)


def test_a_partial_sky_without_a_list_is_refused_with_the_mend(tmp_path: Path) -> None:
    columns = [signal(np.arange(100.0)), list_column("WHERE", "J", np.arange(100))]
    path = listed_file(tmp_path / "a.fits", columns, INDXSCHM=None)
    with pytest.raises(ValueError, match=r"if WHERE lists the pixels .* give it the name PIXEL"):
        read_map(path)
    path = listed_file(tmp_path / "a.fits", columns[:1], INDXSCHM=None)
    with pytest.raises(ValueError, match="needs FIRSTPIX and LASTPIX"):
        read_map(path)


def test_lists_that_count_from_one_are_refused(tmp_path: Path) -> None:
    pixels = np.arange(10, 110)
    columns = [signal(np.arange(100.0)), list_column("PIXEL", "J", pixels + 1)]
    path = listed_file(tmp_path / "a.fits", columns, FIRSTPIX=1, LASTPIX=NPIX)
    with pytest.raises(ValueError, match="counts pixels from 1, HEALPix counts them from 0"):
        read_map(path)


def test_several_numbers_a_pixel_are_refused(tmp_path: Path) -> None:
    stacked = np.arange(4.0 * NPIX).reshape(NPIX, 4)
    column = fits.Column("TQUV", "4D", unit="uK", array=stacked)
    path = listed_file(tmp_path / "a.fits", [column], INDXSCHM=None)
    with pytest.raises(ValueError, match=r"4 numbers for each pixel: give each .* a column"):
        read_map(path)
    path = listed_file(tmp_path / "a.fits", [column], INDXSCHM=None, NSIDE=None)
    with pytest.raises(ValueError, match="may be 4 pixels, or 4 maps; set it"):
        read_map(path)


def test_large_numbers_in_float32_are_refused(tmp_path: Path) -> None:
    pixels = np.arange(2**24, 2**24 + 200, 2)
    columns = [list_column("PIXEL", "E", pixels), signal(np.arange(100.0))]
    path = listed_file(tmp_path / "a.fits", columns, NSIDE=2048)
    with pytest.raises(ValueError, match="in float32, which rounds such numbers"):
        read_map(path)


def test_a_full_table_with_a_column_of_pixels(tmp_path: Path) -> None:
    """INDXSCHM says that the rows are the pixels: the list must agree, or is refused."""
    sky = np.random.default_rng(3).normal(size=NPIX)
    perm = np.random.default_rng(4).permutation(NPIX)
    columns = [list_column("PIXEL", "J", np.arange(NPIX)), signal(sky)]
    path = listed_file(tmp_path / "a.fits", columns, INDXSCHM="IMPLICIT")
    got = read_map(path)
    assert (got.column, got.partial) == ("SIGNAL", False)
    assert np.array_equal(got.values, sky)
    assert [column.name for column in describe(path).tables[0].columns] == ["SIGNAL"]
    columns = [list_column("PIXEL", "J", perm), signal(sky[perm])]
    path = listed_file(tmp_path / "b.fits", columns, INDXSCHM="IMPLICIT")
    with pytest.raises(ValueError, match="INDXSCHM says IMPLICIT, yet column 'PIXEL' lists the"):
        read_map(path)
    fits.setval(path, "INDXSCHM", value="EXPLICIT", ext=1)
    assert np.array_equal(read_map(path).values, sky)


def test_columns_that_only_look_like_lists_are_maps(tmp_path: Path) -> None:
    parents = np.arange(NPIX) // 4
    noise = np.random.default_rng(5).normal(size=NPIX)
    columns = [signal(noise, "HPX"), list_column("HEALPIX_8", "J", parents)]
    path = listed_file(tmp_path / "a.fits", columns, INDXSCHM="IMPLICIT")
    assert np.array_equal(read_map(path).values, noise)
    assert [c.name for c in describe(path).tables[0].columns] == ["HPX", "HEALPIX_8"]


def test_two_lists_need_the_standard_name(tmp_path: Path) -> None:
    perm = np.random.default_rng(6).permutation(NPIX)
    lists = [list_column("IPIX", "J", np.arange(NPIX)), list_column("HPX", "J", perm)]
    path = listed_file(tmp_path / "a.fits", [*lists, signal(perm * 1.0)])
    with pytest.raises(ValueError, match="IPIX, HPX may each list the pixels"):
        read_map(path)
    lists[1] = list_column("PIXEL", "J", perm)
    path = listed_file(tmp_path / "a.fits", [*lists, signal(perm * 1.0)])
    assert np.array_equal(read_map(path, field="SIGNAL").values, np.arange(NPIX))


@pytest.mark.parametrize("nside", [16.0, "16", "16.0"])
def test_nside_may_be_a_float_or_text(tmp_path: Path, nside: object) -> None:
    path = listed_file(tmp_path / "a.fits", [signal(np.arange(3072.0))], NSIDE=nside, INDXSCHM=None)
    assert read_map(path).nside == 16


@pytest.mark.parametrize("word", ["NEST", "NESTED  ", "nested", "Nested scheme", "NESTED ORDERING"])
def test_words_for_the_ordering(tmp_path: Path, word: str) -> None:
    columns = [signal(np.arange(3072.0))]
    assert read_map(listed_file(tmp_path / "a.fits", columns, ORDERING=word, INDXSCHM=None)).nest
    path = listed_file(tmp_path / "b.fits", columns, ORDERING="ring    ", INDXSCHM=None)
    assert not read_map(path).nest


@pytest.mark.parametrize("nest", [True, False])
def test_cards_of_desi_say_nside_and_ordering(tmp_path: Path, nest: bool) -> None:
    none = dict.fromkeys(("ORDERING", "NSIDE", "PIXTYPE", "INDXSCHM"))
    perm = np.random.default_rng(10).permutation(NPIX)[:700]
    columns = [list_column("HPXPIXEL", "J", perm), signal(np.arange(700.0))]
    path = listed_file(tmp_path / "a.fits", columns, HPXNSIDE=NSIDE, HPXNEST=nest, **none)
    sky = read_map(path)
    assert (sky.nside, sky.nest) == (NSIDE, nest)
    ring = hp.nest2ring(NSIDE, perm) if nest else perm
    assert np.array_equal(sky.values[ring], np.arange(700.0))


@pytest.mark.parametrize(
    "cards", [{"NEST": True}, {"HPXNEST": True}, {"SCHEME": "NESTED"}, {"PIXORDER": "nest"}]
)
def test_two_cards_of_different_orders_are_refused(
    tmp_path: Path, cards: dict[str, object]
) -> None:
    columns = [signal(np.arange(3072.0))]
    path = listed_file(tmp_path / "a.fits", columns, INDXSCHM=None, **cards)
    (key,) = cards
    with pytest.raises(ValueError, match=f"ORDERING = 'RING', and {key} = .*; delete the wrong"):
        read_map(path)
    path = listed_file(tmp_path / "a.fits", columns, INDXSCHM=None, ORDERING="NESTED", **cards)
    assert read_map(path).nest


@pytest.mark.parametrize(
    ("key", "values"),
    [("ORDERING", ("RING", "NESTED")), ("COORDSYS", ("G", "C")), ("TUNIT1", ("uK", "K"))],
)
def test_a_card_that_is_there_twice_must_say_the_same(
    tmp_path: Path, key: str, values: tuple[str, str]
) -> None:
    path = listed_file(tmp_path / "a.fits", [signal(np.arange(3072.0))], INDXSCHM=None)
    for second in values:
        with fits.open(path) as file:
            header = file[1].header
            header[key] = values[0]
            header.append((key, second), end=True)
            file.writeto(tmp_path / "b.fits", overwrite=True)
        if second == values[0]:
            read_map(tmp_path / "b.fits")
        else:
            with pytest.raises(ValueError, match=f"has {key} more than once"):
                read_map(tmp_path / "b.fits")


def test_what_is_no_table_of_pixels_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.arange(3072.0)).writeto(path)
    with pytest.raises(ValueError, match="a map as an image: write it as a table"):
        read_map(path)
    image = fits.PrimaryHDU(np.ones((10, 20)))
    image.header["CTYPE1"] = "RA---CAR"
    image.writeto(path, overwrite=True)
    with pytest.raises(ValueError, match="20 x 10 pixels on a flat projection"):
        read_map(path)
    image.header["PIXTYPE"] = "HEALSPARSE"
    image.writeto(path, overwrite=True)
    with pytest.raises(ValueError, match=r"damaged HealSparse file|need healsparse, which is not"):
        read_map(path)
    path = listed_file(path, [list_column("PIXEL", "J", np.arange(9))])
    with pytest.raises(ValueError, match="a table of 9 rows that lists pixels and has no values"):
        read_map(path)


def test_keywords_of_the_first_hdu_count_where_the_table_has_none(tmp_path: Path) -> None:
    perm = np.random.default_rng(7).permutation(NPIX)[:1000]
    said = {"ORDERING": "NESTED", "NSIDE": NSIDE, "COORDSYS": "E", "INDXSCHM": "EXPLICIT"}
    none = dict.fromkeys(("ORDERING", "NSIDE", "PIXTYPE", "INDXSCHM"))
    columns = [list_column("INDEX", "J", perm), signal(np.arange(1000.0))]
    sky = read_map(listed_file(tmp_path / "a.fits", columns, said, **none))
    assert (sky.nest, sky.nside, sky.coord, sky.partial) == (True, NSIDE, "E", True)
    assert np.array_equal(sky.values[hp.nest2ring(NSIDE, perm)], np.arange(1000.0))
    ranged = {"ORDERING": "RING", "NSIDE": NSIDE, "FIRSTPIX": 50, "LASTPIX": 149}
    path = listed_file(
        tmp_path / "b.fits", [signal(np.arange(100.0))], ranged, **none | {"PIXTYPE": "HEALPIX"}
    )
    assert np.array_equal(read_map(path).values[50:150], np.arange(100.0))


def test_a_table_of_something_else_stays_one(tmp_path: Path) -> None:
    """NSIDE in the first HDU makes no sky of a table of another length."""
    path = tmp_path / "a.fits"
    sky = fits.BinTableHDU.from_columns([signal(np.arange(3072.0))])
    beam = fits.BinTableHDU.from_columns([fits.Column("BEAM", "D", array=np.ones(49))])
    first = fits.PrimaryHDU()
    first.header.update(NSIDE=NSIDE, ORDERING="RING")
    fits.HDUList([first, beam, sky]).writeto(path)
    assert [table.hdu for table in describe(path).tables] == [2]
    assert np.array_equal(read_map(path).values, np.arange(3072.0))


def test_a_list_needs_nside(tmp_path: Path) -> None:
    columns = [list_column("PIXEL", "J", np.arange(768)), signal(np.arange(768.0))]
    path = listed_file(tmp_path / "a.fits", columns, NSIDE=None)
    with pytest.raises(
        ValueError, match="no NSIDE keyword, and a list of pixels does not determine it"
    ):
        read_map(path)
