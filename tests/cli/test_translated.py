"""HealSparse and HDF5 maps on the command line: filled maps are FITS."""

import json
import sys

import healpy as hp
import numpy as np
import pytest

import skyfill

NSIDE = 16
PRIOR = ("--beam-arcmin", "600", "--noise-uk-arcmin", "500", "--unit", "uK", "-q")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    healsparse, h5py = pytest.importorskip("healsparse"), pytest.importorskip("h5py")
    folder = tmp_path_factory.mktemp("translated")
    sky = skyfill.simulate_sky(NSIDE, seed=1, fwhm=np.radians(10))
    sky += np.random.default_rng(2).normal(0, 500 / 219.9, sky.size)  # 219.9': side of a pixel
    observed = skyfill.discs(NSIDE, [1.0, 4.0], [0.5, -1.0], [0.3, 0.1])
    nested, seen = (hp.reorder(each, r2n=True) for each in (sky, observed.astype(float)))
    known = np.arange(nested.size - 60)  # the map itself misses some, and so does the mask
    seen[known.size :] = 0
    observed = hp.reorder(seen, n2r=True) == 1
    sparse = healsparse.HealSparseMap.make_empty(4, NSIDE, np.float64)
    sparse[known] = nested[known]
    sparse.write(str(folder / "map.hsp"))
    mask = healsparse.HealSparseMap.make_empty(4, NSIDE, np.bool_)
    mask[np.flatnonzero(seen)] = True
    mask.write(str(folder / "mask.hsp"))
    with h5py.File(folder / "map.h5", "w") as file:
        file.create_dataset("map", data=sky[np.newaxis]).attrs["ORDERING"] = "RING"
    return folder, sky, observed


@pytest.mark.parametrize("name", ["map.hsp", "map.h5"])
def test_a_map_is_filled_and_written_as_fits(skyfill_main, files, tmp_path, name):
    folder, sky, observed = files
    words = ["inpaint", folder / name, folder / "mask.hsp", "-o", tmp_path / "out.fits"]
    outcome = skyfill_main(*words, *PRIOR, "--json")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["filled_pixels"] == (~observed).sum()
    filled = skyfill.read_map(tmp_path / "out.fits", unit="uK").values
    np.testing.assert_array_equal(filled == sky, observed)
    assert skyfill_main("info", folder / name).status == 0


def test_an_output_in_another_format_is_refused(skyfill_main, files, tmp_path):
    folder, _, _ = files
    words = ["inpaint", folder / "map.hsp", folder / "mask.hsp", "-o", tmp_path / "out.hsp"]
    outcome = skyfill_main(*words, *PRIOR)
    assert outcome.status == 2
    assert "the output is a FITS map; its name must end in .fits" in outcome.err
    assert not any(tmp_path.iterdir())


def test_a_missing_package_is_one_line(skyfill_main, tmp_path, monkeypatch):
    (tmp_path / "map.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(3000))
    monkeypatch.setitem(sys.modules, "h5py", None)
    outcome = skyfill_main("info", tmp_path / "map.h5")
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "map.h5: maps in HDF5 need h5py, which is not installed: pip install" in outcome.err
