"""Fields that are not Gaussian on the command line: --transform and --shift."""

import json
import re

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

import skyfill

NSIDE = 16
FIELD = ("--cl", "map", "--transform", "log", "--noise-uk-arcmin", "0", "--method", "gaussian")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A lognormal density in mK, whose bound is -1 mK, and its mask."""
    folder = tmp_path_factory.mktemp("fields")
    ell = np.arange(48.0)
    cl = (ell + 3) ** -1.5 * np.exp(-((ell / 9) ** 2))
    g = skyfill.simulate_sky(NSIDE, seed=1, cl=cl)
    density = np.exp(0.7 * g / g.std()) / np.exp(0.7**2 / 2) - 1
    observed = skyfill.simulate_mask(NSIDE, seed=2, n_holes=9, radii=np.radians((6.0, 12.0)))
    skyfill.write_map(folder / "map.fits", 1e3 * density, unit="mK", dtype=np.float64)
    skyfill.write_map(folder / "mask.fits", observed, unit="", dtype=np.uint8, column="MASK")
    return folder


def test_a_density_is_filled_above_its_bound(skyfill_main, files, tmp_path):
    words = ["inpaint", files / "map.fits", files / "mask.fits", "-o", tmp_path / "out.fits"]
    outcome = skyfill_main(*words, *FIELD, "--shift", "1", "--json")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["sftrans"] == "log(x + 1000)"
    before, after = (
        fits.getdata(folder / name, 1)["TEMPERATURE"].ravel()
        for folder, name in ((files, "map.fits"), (tmp_path, "out.fits"))
    )
    observed = skyfill.read_mask(files / "mask.fits")
    assert np.array_equal(before[observed], after[observed])
    assert after.min() > -1.0
    assert after[~observed].max() > 1.0
    header = fits.getheader(tmp_path / "out.fits", 1)
    assert header["SFTRANS"] == "log(x + 1000)"
    assert "SFCL" not in header  # the prior is not that of the map
    assert skyfill.prior.recorded_prior(tmp_path / "out.fits") is None


def test_what_was_filled_is_said(skyfill_main, files, tmp_path):
    words = ["inpaint", files / "map.fits", files / "mask.fits", "-o", tmp_path / "out.fits"]
    outcome = skyfill_main(*words, *FIELD, "--std", tmp_path / "std.fits", "--std-draws", "2", "-q")
    assert outcome.status == 0, outcome.err
    assert "prior    spectrum fitted to g = log(x + " in outcome.out  # the shift as well
    std = skyfill.read_map(tmp_path / "std.fits").values
    observed = skyfill.read_mask(files / "mask.fits")
    assert np.all(std[~observed] > 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--shift", "1"), "--shift is an option of --transform log and asinh"),
        (("--transform", "log"), "pass --cl map"),
        (("--transform", "log", "--cl", "map", "--save-prior", "p.json"), "--save-prior; drop it"),
        (("--transform", "log", "--cl", "map", "--stokes", "TQU"), "does not take --stokes"),
        (("--transform", "log", "--cl", "map"), "--noise-uk-arcmin, 0 if it has none, or a noise"),
        ((*FIELD, "--beam-arcmin", "5"), "the beam of a map is not that of its transform: drop"),
        ((*FIELD, "--shift", "0"), "--transform log needs x + shift above 0"),
        ((*FIELD, "--method", "diffuse"), "diffuse has no spectrum of the transformed field"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(skyfill_main, files, tmp_path, words, said):
    output = tmp_path / "out.fits"
    outcome = skyfill_main("inpaint", files / "map.fits", files / "mask.fits", "-o", output, *words)
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.splitlines()[-1].startswith("skyfill: error: ")
    assert not output.exists()


def test_validate_says_that_its_page_does_not_show_transforms(skyfill_main, files, tmp_path):
    words = ["validate", files / "map.fits", files / "mask.fits", *FIELD]
    outcome = skyfill_main(*words, "--report", tmp_path / "p.html")
    assert outcome.status == 2
    assert "--transform log does not take --report; drop it; it prints the figures" in outcome.err


def test_a_batch_fills_each_map_as_inpaint_does_with_the_shift_in_its_unit(
    skyfill_main, files, tmp_path
):
    """One map in mK and one in µK have the same bound, 1, in their own units."""
    (tmp_path / "maps").mkdir()
    milli = skyfill.read_map(files / "map.fits").values
    skyfill.write_map(tmp_path / "maps" / "a.fits", milli, unit="mK", dtype=np.float64)
    skyfill.write_map(tmp_path / "maps" / "b.fits", milli / 1e3, unit="uK", dtype=np.float64)
    words = ["batch", tmp_path / "maps" / "*.fits", files / "mask.fits", "-o", tmp_path / "out"]
    outcome = skyfill_main(*words, *FIELD, "--shift", "1", "--json", "-q")
    assert outcome.status == 0, outcome.err
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    texts = [json.loads(line).get("about", {}).get("prior", {}).get("text") for line in lines]
    formulas = [re.search(r"g = (.*), x", text)[1] for text in texts if text]
    assert formulas == ["log(x + 1000)", "log(x + 1)"]
    for name in ("a.fits", "b.fits"):
        batch = skyfill.read_map(tmp_path / "out" / name)
        header = fits.getheader(batch.path, 1)
        alone = tmp_path / f"alone_{name}"
        words = ["inpaint", tmp_path / "maps" / name, files / "mask.fits", "-o", alone]
        words += [*FIELD, "--shift", "1", "-q", "--seed", header["SFSEED"]]
        assert skyfill_main(*words).status == 0
        np.testing.assert_array_equal(batch.values, skyfill.read_map(alone).values)
        assert "--transform log" in " ".join(header["HISTORY"])


def test_a_batch_needs_what_a_transform_needs(skyfill_main, files, tmp_path):
    words = ["batch", files / "map.fits", files / "mask.fits", "-o", tmp_path / "out"]
    outcome = skyfill_main(*words, "--transform", "log")
    assert outcome.status == 2
    assert "pass --cl map" in outcome.err
    assert not (tmp_path / "out").exists()


def test_the_report_shows_the_field_in_its_unit_and_names_the_transform(
    skyfill_main, files, tmp_path
):
    page = tmp_path / "page.html"
    words = ["inpaint", files / "map.fits", files / "mask.fits", "-o", tmp_path / "out.fits"]
    words += [*FIELD, "--shift", "1", "--std-draws", "2", "-q"]
    outcome = skyfill_main(*words, "--report", page)
    assert outcome.status == 0, outcome.err
    text = re.sub(r"data:image/png;base64,[^\"]+", "", page.read_text())
    assert "g = log(x + 1) with x in mK" in text
    assert "D_2 of the filled sky, mean of the fills, mK²" in text
    assert "This fill has no verdicts, because they are for Gaussian fields" in text
    assert "fitted to the observed field" in text
    power = float(
        re.search(r"D_2 of the filled sky, mean.*?<td[^>]*>([\d.e-]+)", text, re.DOTALL)[1]
    )
    sky = skyfill.read_map(tmp_path / "out.fits").values / 1e3
    assert power == pytest.approx(6 / (2 * np.pi) * hp.anafast(sky, lmax=2)[2], rel=0.02)
