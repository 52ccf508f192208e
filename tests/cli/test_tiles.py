"""`skyfill tiles`: a store of tiles, or one clear line."""

import hashlib
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
        (("--size", "2"), "size must be an integer, 4 or more"),
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


def test_what_is_known_of_the_tiles_is_kept(skyfill_main, sky, tmp_path):
    words = (sky / "map.fits", sky / "mask.fits", "-o", tmp_path / "t", "--size", 8, "--limit", 20)
    outcome = skyfill_main("tiles", *words, "-q")
    assert outcome.status == 0, outcome.err
    found = skyfill.dataset.open_tiles(tmp_path / "t")
    clean = np.count_nonzero(found.masked == 0)
    assert outcome.out == f"20 tiles: {clean} clean, {20 - clean} with missing pixels\n"
    assert found.about["seed"] == 3
    digest = hashlib.sha256((sky / "mask.fits").read_bytes()).hexdigest()
    assert found.about["sha256"]["mask"] == digest


def test_a_mask_may_be_apodised_or_inverted(skyfill_main, sky, tmp_path):
    mask = skyfill.read_mask(sky / "mask.fits")
    soft = tmp_path / "soft.fits"
    skyfill.write_map(soft, np.where(mask, 0.2, 0.9), unit="")
    words = ("-o", tmp_path / "t", "--size", 8, "--limit", 20)
    refused = skyfill_main("tiles", sky / "map.fits", soft, *words)
    assert refused.status == 2
    assert "--threshold" in refused.err
    for name, more in ((soft, ("--threshold", 0.5, "--invert")), (sky / "mask.fits", ())):
        done = skyfill_main("tiles", sky / "map.fits", name, *words, *more, "--overwrite", "--json")
        assert done.status == 0, done.err
        (tmp_path / f"{len(more)}.json").write_text(done.out)
    assert (tmp_path / "0.json").read_text() == (tmp_path / "3.json").read_text()


def test_map_and_mask_have_one_frame(skyfill_main, sky, tmp_path):
    turned = tmp_path / "turned.fits"
    skyfill.write_map(turned, skyfill.read_mask(sky / "mask.fits"), unit="", coord="C")
    outcome = skyfill_main("tiles", sky / "map.fits", turned, "-o", tmp_path / "t")
    assert outcome.status == 2
    assert "(C); rotate the mask" in outcome.err


def test_a_folder_is_refused_before_maps_are_read(skyfill_main, tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "thesis.txt").write_text("words")
    for out, said in (("t", "holds no tiles"), ("none/t", "there is no folder")):
        words = (tmp_path / "no.fits", tmp_path / "no.fits", "-o", tmp_path / out)
        outcome = skyfill_main("tiles", *words, "--overwrite")
        assert outcome.status == 2
        assert said in outcome.err
