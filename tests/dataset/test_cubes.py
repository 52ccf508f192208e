"""Cubes of T, Q and U: around the holes of a map, and back into them, in any axes."""

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from skyfill.dataset import check_cubes, paste_cubes, write_cubes

NSIDE = 32
NPIX = 12 * NSIDE**2
Z = np.array(hp.pix2vec(NSIDE, np.arange(NPIX)))
#: A hole at the pole, where axes turn, and one at the equator.
OF_P = (Z[2] < 0.97) & (Z[0] < 0.98)
OF_T = OF_P | (Z[2] > 0.985)


@pytest.fixture(scope="module")
def sky():
    """T, Q and U without structure that a pixel would miss."""
    ell = np.arange(3 * NSIDE)
    cl = np.where(ell > 1, np.exp(-ell * (ell + 1) / 12.0**2), 0.0)
    np.random.seed(1)  # noqa: NPY002 - healpy knows no other
    return np.array(hp.synfast([cl, cl, 0.1 * cl, 0.5 * cl], NSIDE, new=True, pol=True))


def test_tiles_of_the_whole_sky_fill_holes_at_the_pole_as_at_the_equator(sky, tmp_path):
    every = np.ones(NPIX, bool)
    assert len(write_cubes(tmp_path / "cubes", sky, every, size=48)) > 4
    holed = sky.copy()
    holed[0, ~OF_T], holed[1:, ~OF_P] = np.nan, np.nan
    fills, holes = paste_cubes(tmp_path / "cubes", holed, OF_T, OF_P)
    for own, fill, hole, seen in zip(sky, fills, holes, (OF_T, OF_P, OF_P), strict=True):
        np.testing.assert_array_equal(hole, ~seen)
        for where in (Z[2] > 0.9, Z[0] > 0.9):
            here = where[hole]
            away = fill[here] - own[hole][here]
            assert np.std(away) < 2e-3 * np.std(own)


def test_tiles_around_holes_cover_them_and_are_filled_by_others(sky, tmp_path):
    files = write_cubes(tmp_path / "cubes", sky[1:], OF_P, size=48, polcconv="IAU")
    assert fits.getheader(files[0])["POLCCONV"] == "IAU"
    with pytest.raises(ValueError, match="missing pixels lie under no whole tile"):
        paste_cubes(tmp_path / "cubes", sky[1:], OF_P)
    for file in files:
        with fits.open(file, mode="update") as hdus:
            hdus[0].data = np.where(np.isnan(hdus[0].data), 3.0, hdus[0].data)
    fills, holes = paste_cubes(tmp_path / "cubes", sky[1:], OF_P)
    # Q = U = 3 in the sky's axes and with the sign of IAU; at the pole these axes turn in a pixel.
    inner = (Z[0] > 0.99)[holes[0]]
    np.testing.assert_allclose(fills[0][inner], 3.0, atol=0.05)
    np.testing.assert_allclose(fills[1][inner], -3.0, atol=0.05)


def test_cubes_of_another_map_are_refused(sky, tmp_path):
    write_cubes(tmp_path / "cubes", sky, np.ones(NPIX, bool), size=48)
    with pytest.raises(ValueError, match=r"is no cube of Q and U"):
        paste_cubes(tmp_path / "cubes", sky[1:], OF_P)
    with pytest.raises(ValueError, match="is in frame G, the map in C"):
        paste_cubes(tmp_path / "cubes", sky, OF_P, coord="C")
    low = hp.ud_grade(sky, 16)
    with pytest.raises(ValueError, match="is of a map of Nside 32, not 16"):
        paste_cubes(tmp_path / "cubes", low, np.arange(low.shape[1]) > 5)
    with pytest.raises(ValueError, match="only COSMO and IAU"):
        write_cubes(tmp_path / "more", sky, OF_P, polcconv="HEALPIX")
    with pytest.raises(ValueError, match="one Nside"):
        write_cubes(tmp_path / "more", sky, np.ones(12, bool))


def test_a_folder_with_other_files_is_never_replaced(sky, tmp_path):
    folder = tmp_path / "cubes"
    write_cubes(folder, sky, OF_T, OF_P, size=48)
    with pytest.raises(FileExistsError, match="overwrite"):
        check_cubes(folder)
    before = sorted(folder.iterdir())
    assert write_cubes(folder, sky, OF_T, OF_P, size=48, overwrite=True) == before
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds notes.txt, too"):
        write_cubes(folder, sky, OF_T, OF_P, size=48, overwrite=True)
    with pytest.raises(ValueError, match="is a file"):
        check_cubes(folder / "notes.txt")
    with pytest.raises(FileNotFoundError, match="no folder"):
        check_cubes(tmp_path / "nowhere" / "cubes")
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".skyfill")]
