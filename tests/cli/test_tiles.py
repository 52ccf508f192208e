"""`skyfill tiles`: a store of tiles, or one clear line."""

import json

import numpy as np
import pytest

import skyfill

NSIDE = 64


@pytest.fixture(scope="module")
def sky(tmp_path_factory, entry):
    folder = tmp_path_factory.mktemp("sky")
    words = ["--nside", str(NSIDE), "--seed", "3", "-q"]
    beam = ["--beam-arcmin", "150", "--noise-uk-arcmin", "300"]
    assert entry(["simulate", "sky", "-o", str(folder / "map.fits"), *beam, *words]) == 0
    holes = ["--holes", "4", "--radius-arcmin", "200", "300"]
    assert entry(["simulate", "mask", "-o", str(folder / "mask.fits"), *holes, *words]) == 0
    return folder


def test_tiles_are_cut_and_counted(skyfill_main, sky, tmp_path):
    out = tmp_path / "tiles"
    words = (sky / "map.fits", sky / "mask.fits", "-o", out, "--size", 24, "--limit", 40)
    outcome = skyfill_main("tiles", *words, "--json")
    assert outcome.status == 0, outcome.err
    said = json.loads(outcome.out)
    found = skyfill.dataset.open_tiles(out)
    assert said["tiles"] == 40
    assert said["clean"] == np.count_nonzero(found.observed(np.arange(40)).all(axis=(1, 2)))
    assert said["masked"] == 40 - said["clean"] > 0
    assert (said["train"], said["size"]) == (said["clean"], 24)
    assert found.about["map"] == "map.fits"
    # The header of the map says what it is made of.
    assert found.prior.fwhm == pytest.approx(np.radians(2.5))
    assert found.prior.noise_uk_arcmin == 300
    assert "40 tiles" in outcome.err
    again = skyfill_main("tiles", *words)
    assert again.status == 2
    assert "--overwrite" in again.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--pixel-arcmin", "3"), "--projection gnomonic"),
        (("--split", "sky"), "--test-map"),
        (("--spacing-deg", "0", "2"), "spacing"),
        (("--size", "2"), "no tile has"),
        (("--test-map", "nowhere.fits", "--split", "sky"), "nowhere.fits"),
    ],
)
def test_bad_words(skyfill_main, sky, tmp_path, words, said):
    outcome = skyfill_main(
        "tiles", sky / "map.fits", sky / "mask.fits", "-o", tmp_path / "t", *words
    )
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.strip().splitlines()[-1].startswith("skyfill: error:")
    assert not (tmp_path / "t").exists()
