"""`skyfill inpaint --dry-run` and --memory-limit: told, or refused, before anything is done."""

import json

import pytest

import skyfill


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sky = skyfill.simulate_sky(32, seed=3, fwhm=0.06, noise_uk_arcmin=100)
    observed = skyfill.simulate_mask(32, seed=3, half_width=0.15, n_holes=10, radii=(0.05, 0.1))
    skyfill.write_map("map.fits", sky)
    skyfill.write_map("mask.fits", observed, column="MASK", unit="", dtype="uint8")
    return tmp_path


def test_a_dry_run_tells_and_writes_nothing(skyfill_main, folder):
    before = sorted(folder.iterdir())
    words = ("--realizations", 2, "--std", "std.fits", "-q")
    outcome = skyfill_main("inpaint", "map.fits", "mask.fits", "-o", "o.fits", "--dry-run", *words)
    assert outcome.status == 0
    assert sorted(folder.iterdir()) == before
    for text in ("Nside 32", "prior to be fitted", "GiB", "o_000.fits", "o_001.fits", "std.fits"):
        assert text in outcome.out


def test_a_dry_run_in_json_has_the_sizes(skyfill_main, folder):
    words = ("map.fits", "mask.fits", "-o", "o.fits", "--dry-run", "--json", "-q")
    told = json.loads(skyfill_main("inpaint", *words, "--method", "gaussian").out)
    assert told["method"] == "gaussian"
    assert told["nside"] == 32
    assert told["memory"] > 0
    assert told["seconds"] > 0
    skyfill_main("inpaint", *words[:4], "-q", "--method", "diffuse")
    real = (folder / "o.fits").stat().st_size
    assert told["outputs"]["o.fits"] == pytest.approx(real, abs=4 * 2880)


@pytest.mark.parametrize("verb", ["inpaint", "batch"])
def test_too_much_is_refused_before_anything_is_written(skyfill_main, folder, verb):
    before = sorted(folder.iterdir())
    words = ("map.fits", "mask.fits", "-o", "out", "--memory-limit", "1M", "-q")
    outcome = skyfill_main(verb, *words)
    assert outcome.status == 2
    assert "--memory-limit is 1 MiB" in outcome.err
    assert outcome.err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("text", "size"),
    [("8G", 2**33), ("500M", 500 * 2**20), ("2.5GiB", 2.5 * 2**30), ("4096", 4096)],
)
def test_sizes(entry, text, size):
    import importlib

    options = importlib.import_module(entry.__module__.replace("main", "options"))
    assert options.size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-1G", "0", "infG"])
def test_no_sizes(skyfill_main, folder, text):
    words = ("map.fits", "mask.fits", "-o", "o.fits", f"--memory-limit={text}")
    assert skyfill_main("inpaint", *words).status == 2
