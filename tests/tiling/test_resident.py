"""Tiles on a device are cut and pasted as on the CPU."""

import numpy as np
import pytest

from skyfill import tiling
from skyfill.tiling import Layout, blending

torch = pytest.importorskip("torch")
resident = pytest.importorskip("skyfill.tiling.resident")

NSIDE, SIDE, GUARD = 64, 32, 3
#: Overlapping tiles, one on a pole, and one far away.
LAYOUTS = [
    Layout(NSIDE, lon, lat, (SIDE, SIDE), 45.0)
    for lon, lat in [(10, 5), (22, 8), (15, -6), (18, 2), (300, 90), (120, -50)]
]
WINDOW = blending.window((SIDE, SIDE), guard=GUARD + 1)
THRESHOLD = 0.9
#: Weights and places are kept in float32.
CLOSE = 2e-6


@pytest.fixture
def device(device):
    return torch.device(device)


@pytest.fixture(scope="module")
def sky():
    return np.random.default_rng(1).standard_normal(12 * NSIDE**2)


@pytest.fixture(scope="module")
def observed():
    return np.random.default_rng(2).random(12 * NSIDE**2) > 0.1


def tiles_on(device, observed, wanted, useful):
    return resident.ResidentTiles(
        LAYOUTS,
        useful,
        observed=observed,
        wanted=wanted,
        nside=NSIDE,
        guard=GUARD,
        window=WINDOW,
        threshold=THRESHOLD,
        device=device,
    )


def test_tiles_are_cut_as_on_the_cpu(device, sky, observed, monkeypatch):
    """Some of the tiles, whose tables are in several blocks."""
    monkeypatch.setattr(resident, "_TILES", 2)
    useful = np.array([0, 1, 2, 4, 5])
    there = tiles_on(device, observed, ~observed, useful)
    some = np.array([0, 2, 3, 4])
    # Pixels that are not observed must not matter.
    values = torch.from_numpy(np.where(observed, sky, 1e6)).to(device)
    found, known = (each.cpu().numpy() for each in there.cut(values, some))
    cut, weight = tiling.cut(sky, observed, [LAYOUTS[i] for i in useful[some]])
    inside = np.zeros((SIDE, SIDE), bool)
    inside[GUARD:-GUARD, GUARD:-GUARD] = True
    np.testing.assert_array_equal(known, (weight >= THRESHOLD) & inside)
    assert 0.3 < known[:, inside].mean() < 0.9
    np.testing.assert_allclose(found, np.where(known, cut, 0.0), atol=CLOSE)


def test_tiles_are_pasted_as_on_the_cpu(device, sky, monkeypatch):
    """Tiles that are left out count as zeros; pixels without a tile become zero."""
    from skyfill.tiling import tables

    monkeypatch.setattr(tables, "_PIXELS", 10_000)
    monkeypatch.setattr(resident, "_ENTRIES", 500)
    monkeypatch.setattr(resident, "_SPLINES", 2)
    wanted = np.random.default_rng(3).random(sky.size) < 0.7
    useful = np.array([0, 1, 3, 4])
    tiles = np.zeros((len(LAYOUTS), SIDE, SIDE), np.float32)
    tiles[useful] = np.random.default_rng(4).standard_normal((useful.size, SIDE, SIDE))
    known = sky.copy()
    pixels = np.flatnonzero(wanted)
    blended, weight = tiling.paste(tiles, LAYOUTS, pixels, window=WINDOW)
    known[pixels] = np.nan_to_num(blended)
    assert np.isnan(blended).any()
    assert len(np.unique(weight)) > 100
    there = tiles_on(device, wanted, wanted, useful)
    pasted = [torch.from_numpy(sky.copy()).to(device) for _ in range(2)]
    for values in pasted:
        there.paste(torch.from_numpy(tiles[useful]).to(device), values)
    np.testing.assert_allclose(pasted[0].cpu().numpy(), known, atol=CLOSE)
    assert torch.equal(*pasted)


def test_a_layer_has_each_pixel_once(sky):
    """Sums of several tiles need no atomic additions, and are the same every time."""
    from skyfill.tiling.tables import paste_tables

    wanted = np.ones(sky.size, bool)
    deepest = 0
    for table in paste_tables(wanted, LAYOUTS, np.arange(len(LAYOUTS)), nside=NSIDE, window=WINDOW):
        for first, last in zip(table.layers, table.layers[1:], strict=False):
            places = table.place[first:last]
            assert np.unique(places).size == places.size
        totals = np.bincount(table.place, table.share)
        np.testing.assert_allclose(totals[totals > 0], 1.0, atol=1e-6)
        deepest = max(deepest, len(table.layers) - 1)
    assert deepest > 2


def test_splines_beyond_the_border_are_mirrored():
    """Without a guard the last row and column need coefficients beyond the tile."""
    from skyfill.tiling.splines import spline_coefficients

    tile = np.random.default_rng(5).standard_normal((1, 8, 8))
    matrix = resident._spline_matrix(8)
    padded = matrix @ tile[0] @ matrix.T
    spline_coefficients(tile)
    np.testing.assert_allclose(padded, np.pad(tile[0], (1, 2), "reflect"), atol=1e-12)


def test_the_estimate_of_memory_covers_the_tables(observed):
    there = tiles_on(torch.device("cpu"), observed, ~observed, np.arange(len(LAYOUTS)))
    kept = [each for table in there._cuts for each in table]
    kept += [each for table in there._pastes for each in table[:5]]
    size = sum(each.numel() * each.element_size() for each in kept)
    holes = int(np.count_nonzero(~observed))
    need = resident.resident_bytes(NSIDE, holes, len(LAYOUTS), side=SIDE, guard=GUARD)
    assert 0 < size < need - resident._WORK
