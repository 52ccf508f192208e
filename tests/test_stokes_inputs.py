"""Every public function takes one component, or says that it does; some take three."""

import numpy as np
import pytest
from test_api_inputs import MAPS, MASK, MASKS, NPIX, PAIRS, PRIOR, REFUSING, WHOLE, same

import skyfill

THREE = np.stack([WHOLE] * 3)
#: Functions that take I, Q and U, or a mask for each.
STOKES = {"find_holes", "harmonics.analysis", "harmonics.adjoint"}
STOKES_MASKS = {"fill_islands", "distance_to_edge", "grow", "apodized"}
#: Functions whose leading axis is that of realizations, of which each may have a Stokes axis.
REALIZATIONS = {"spectra.compare", "fidelity.score_sky"}


def takes_one(name: str) -> str:
    return rf"has 3 components \(I, Q, U\): \S+ takes one; pass {name}\S*\[0\]$"


@pytest.mark.parametrize("name", sorted({*REFUSING, *MAPS} - STOKES))
def test_who_takes_one_component_refuses_three_by_name(name):
    three = THREE[None] if name in REALIZATIONS else THREE
    with pytest.raises(ValueError, match=takes_one("(values|filled|sky)")):
        MAPS[name](three) if name in MAPS else REFUSING[name](three, MASK)


@pytest.mark.parametrize("name", sorted(set(MASKS) - STOKES_MASKS))
def test_who_takes_one_mask_refuses_three_by_name(name):
    with pytest.raises(ValueError, match=takes_one("(observed|holes)")):
        MASKS[name](np.stack([MASK] * 3))


@pytest.mark.filterwarnings("ignore:.*missing in the map")
@pytest.mark.parametrize("name", sorted({*PAIRS, *MAPS} - STOKES))
def test_one_component_may_have_its_leading_axis(name):
    sky, observed = (WHOLE, MASK[None])
    if name in MAPS:
        same(MAPS[name](sky[None]), MAPS[name](sky))
    else:
        same(PAIRS[name](sky[None], observed), PAIRS[name](sky, MASK))


@pytest.mark.parametrize("kind", [np.float64, np.int64])
def test_a_column_of_a_file_holds_one_component(tmp_path, kind):
    three, path = np.full((3, NPIX), 7, kind), tmp_path / "three.fits"
    with pytest.raises(ValueError, match=takes_one("values")):
        skyfill.write_map(path, three)
    with pytest.raises(ValueError, match=r"pass values\['Q'\]\[0\]$"):
        skyfill.write_map(path, {"I": three[0], "Q": three})
    with pytest.raises(ValueError, match=r"values: it has the shape \(4, 768\); a leading axis"):
        skyfill.write_map(path, three.reshape(12, -1)[:4])
    assert not path.exists()
    skyfill.write_map(path, {"I": three[0], "Q": three[1:2]})
    assert skyfill.read_map(path, field="Q").nside == 16


def test_maps_of_two_resolutions_are_not_written_together(tmp_path):
    pair = {"I": np.ones(NPIX), "Q": np.ones(12)}
    with pytest.raises(ValueError, match=r"must have one Nside, got 1 and 16$"):
        skyfill.write_map(tmp_path / "pair.fits", pair)


def test_realizations_may_have_their_stokes_axis():
    pair = np.stack([WHOLE, WHOLE[::-1]])
    found = skyfill.spectra.compare(pair[:, None], PRIOR, observed=MASK[None])
    same(found.full.cl, skyfill.spectra.compare(pair, PRIOR, observed=MASK).full.cl)
