"""Multi-order maps: read where they have one order, flattened where asked, refused otherwise."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from skyfill.holes import read_mask
from skyfill.maps import describe, read_map, write_filled


def uniq(order: int, pixels: np.ndarray) -> np.ndarray:
    return 4 * 4**order + np.asarray(pixels, np.int64)


def multiorder_file(
    path: Path, cells: np.ndarray, values: np.ndarray, *, name: str = "UNIQ", **cards: object
) -> Path:
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column(name, "K", array=cells),
            fits.Column("T", "D", unit="uK", array=values),
            fits.Column("OTHER", "E", array=np.arange(len(cells))),
        ]
    )
    said = {"PIXTYPE": "HEALPIX", "ORDERING": "NUNIQ", "COORDSYS": "C", **cards}
    hdu.header.update({key: value for key, value in said.items() if value is not None})
    hdu.writeto(path, overwrite=True)
    return path


def split(rng: np.random.Generator, deepest: int) -> list[tuple[int, int]]:
    """Divide the sky into cells of orders 0 to `deepest`."""
    cells = []
    waiting = [(0, pixel) for pixel in range(12)]
    while waiting:
        order, pixel = waiting.pop()
        if order < deepest and rng.random() < 0.6:
            waiting += [(order + 1, 4 * pixel + child) for child in range(4)]
        else:
            cells.append((order, pixel))
    return cells


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), target=st.integers(0, 5), gaps=st.booleans())
def test_flattening_gives_parents_to_children_and_means_to_parents(
    tmp_path_factory: pytest.TempPathFactory, seed: int, target: int, gaps: bool
) -> None:
    rng = np.random.default_rng(seed)
    cells = [cell for cell in split(rng, 4) if not gaps or rng.random() < 0.7] or [(0, 3)]
    rng.shuffle(cells)
    values = rng.normal(0, 100, len(cells))
    numbers = np.array([uniq(order, pixel) for order, pixel in cells])
    path = multiorder_file(tmp_path_factory.mktemp("moc") / "a.fits", numbers, values)
    nside = 1 << target
    fine = np.full(12 * 4**5, np.nan)  # every cell at order 5, in NESTED
    for (order, pixel), value in zip(cells, values, strict=True):
        fine[pixel << 2 * (5 - order) : (pixel + 1) << 2 * (5 - order)] = value
    blocks = fine.reshape(12 * nside**2, -1)
    some = np.isfinite(blocks).any(axis=1)
    want = np.full(12 * nside**2, np.nan)
    want[some] = np.nanmean(blocks[some], axis=1)
    got = read_map(path, nside=nside)
    assert (got.nside, got.nest, got.coord) == (nside, True, "C")
    ring = want[hp.ring2nest(nside, np.arange(want.size))]
    assert np.allclose(got.values, ring, rtol=1e-12, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize(
    "cards", [{}, {"ORDERING": "nuniq"}, {"ORDERING": "UNIQ"}, {"ORDERING": None}]
)
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_one_order_is_an_ordinary_map(
    tmp_path: Path, share: float, cards: dict[str, object]
) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.permutation(768)[: int(768 * share)]
    values = rng.normal(0, 100, pixels.size)
    path = multiorder_file(tmp_path / "a.fits", uniq(3, pixels), values, **cards)
    sky = read_map(path)
    want = np.full(768, np.nan)
    want[pixels] = values
    nest = hp.ring2nest(8, np.arange(768))
    assert (sky.nside, sky.nest, sky.partial, sky.flattened) == (8, True, share < 1, False)
    assert np.array_equal(sky.values, want[nest], equal_nan=True)
    assert np.array_equal(read_map(path, nside=8).values, sky.values, equal_nan=True)

    holes = rng.random(768) < 0.3
    write_filled(tmp_path / "b.fits", sky, np.full(768, 7.0), holes, provenance={}, history=[])
    again = read_map(tmp_path / "b.fits")
    assert np.array_equal(again.values, np.where(holes, 7.0, sky.values), equal_nan=True)
    before, after = fits.getdata(path), fits.getdata(tmp_path / "b.fits")
    assert np.array_equal(after["UNIQ"][: pixels.size], before["UNIQ"])
    assert np.array_equal(after["OTHER"][: pixels.size], before["OTHER"])
    kept = ~holes[hp.nest2ring(8, pixels)]
    assert np.array_equal(after["T"][: pixels.size][kept], before["T"][kept])


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    cells = np.r_[uniq(3, np.arange(384)), uniq(4, np.arange(1536, 3072))]
    return multiorder_file(tmp_path / "mixed.fits", cells, np.arange(float(cells.size)))


def test_several_orders_are_refused_with_the_mend(mixed: Path) -> None:
    with pytest.raises(ValueError, match="ligo-skymap-flatten") as caught:
        read_map(mixed)
    said = "a multi-order map of orders 3 to 4 (Nside 8 to 16); pass `nside=16` to read it"
    assert said in str(caught.value)
    assert str(mixed) in str(caught.value)


def test_a_flattened_map_is_not_written_back(mixed: Path, tmp_path: Path) -> None:
    sky = read_map(mixed, nside=16)
    assert sky.flattened
    holes = np.arange(3072) < 10
    with pytest.raises(ValueError, match="cannot be written back in its form"):
        write_filled(tmp_path / "b.fits", sky, np.ones(3072), holes, provenance={}, history=[])
    assert not (tmp_path / "b.fits").exists()


def test_describe_tells_the_orders(mixed: Path, tmp_path: Path) -> None:
    (table,) = describe(mixed).tables
    assert (table.ordering, table.orders, table.nside) == ("NUNIQ", (3, 4), 16)
    assert [column.name for column in table.columns] == ["T", "OTHER"]
    plain = multiorder_file(tmp_path / "a.fits", uniq(2, np.arange(192)), np.arange(192.0))
    assert describe(plain).tables[0].orders == (2, 2)


def test_masks_can_be_of_several_orders(tmp_path: Path) -> None:
    cells = np.r_[uniq(0, np.arange(6)), uniq(2, np.arange(96, 192))]
    path = multiorder_file(tmp_path / "a.fits", cells, (np.arange(cells.size) % 3 > 0) * 1.0)
    with pytest.raises(ValueError, match="a multi-order map of orders 0 to 2"):
        read_mask(path)
    observed = read_mask(path, nside=4)[hp.nest2ring(4, np.arange(192))]
    assert np.array_equal(observed[:96], np.repeat(np.arange(6) % 3 > 0, 16))
    assert np.array_equal(observed[96:], np.arange(6, 102) % 3 > 0)
    with pytest.raises(ValueError, match="values between 0 and 1"):
        read_mask(path, nside=2)


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ([16, 17, 17], "cells of the multi-order map overlap"),
        ([4, 17, 30], "cells of the multi-order map overlap"),
        ([3, 16, 70], "UNIQ lists cells 3 to 70, NUNIQ has 4 to"),
        ([-5, 16, 70], "UNIQ lists cells -5 to 70"),
        ([16, 70, 16 * 4**29], "NUNIQ has 4 to 4611686018427387903"),
    ],
)
def test_cells_that_cannot_be(tmp_path: Path, cells: list[int], why: str) -> None:
    path = multiorder_file(tmp_path / "a.fits", np.array(cells), np.arange(3.0))
    with pytest.raises(ValueError, match=why):
        read_map(path, nside=4)


def test_nside_is_for_multi_order_maps(tmp_path: Path, mixed: Path) -> None:
    hdu = fits.BinTableHDU.from_columns([fits.Column("T", "E", unit="uK", array=np.arange(192))])
    hdu.header.update(NSIDE=4, ORDERING="RING")
    hdu.writeto(tmp_path / "a.fits")
    assert read_map(tmp_path / "a.fits", nside=4).nside == 4
    with pytest.raises(ValueError, match="has Nside 4; `nside=8` is for multi-order maps only"):
        read_map(tmp_path / "a.fits", nside=8)
    with pytest.raises(ValueError, match="power of two"):
        read_map(mixed, nside=12)


def test_no_list_of_cells_is_refused(tmp_path: Path) -> None:
    path = multiorder_file(tmp_path / "a.fits", np.arange(16, 64), np.arange(48.0), name="CELL")
    with pytest.raises(ValueError, match="ORDERING says NUNIQ, but no column lists the pixels"):
        read_map(path)


def test_a_coverage_map_has_no_values(tmp_path: Path) -> None:
    hdu = fits.BinTableHDU.from_columns([fits.Column("UNIQ", "K", array=np.arange(16, 64))])
    hdu.header.update(PIXTYPE="HEALPIX", ORDERING="NUNIQ", MOCORDER=1)
    hdu.writeto(tmp_path / "a.fits")
    with pytest.raises(ValueError, match=r"HDU 1 a coverage map \(MOC\) without values"):
        read_map(tmp_path / "a.fits")


def test_a_catalogue_is_no_multi_order_map(tmp_path: Path) -> None:
    cells = uniq(2, np.arange(192))
    path = multiorder_file(
        tmp_path / "a.fits", cells, np.arange(192.0), name="UNIQUE_ID", ORDERING=None, PIXTYPE=None
    )
    with pytest.raises(ValueError, match="no HEALPix map in it"):
        read_map(path)
    path = multiorder_file(tmp_path / "a.fits", cells, np.arange(192.0), name="UNIQUE_ID")
    assert read_map(path).nside == 4
