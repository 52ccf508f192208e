"""A patch of the sky, and fills that have not converged, at the command line."""

import json

import numpy as np
import pytest
from astropy.io import fits

import skyfill
from skyfill.holes import discs

NSIDE = 16
PRIOR = ("--beam-arcmin", 500, "--noise-uk-arcmin", 600, "-q")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A patch of 17% with two holes on a map of the whole sky; the same map, rough and noise-free.

    The map has values outside of the patch, too: whatever was there must stay.
    """
    path = tmp_path_factory.mktemp("patch")
    sky = skyfill.simulate_sky(NSIDE, seed=3, fwhm=np.radians(500 / 60), noise_uk_arcmin=600)
    footprint = ~discs(NSIDE, [1.0], [0.4], 0.85)
    observed = footprint & discs(NSIDE, [1.0, 0.6], [0.5, 0.2], [0.15, 0.12])
    skyfill.write_map(path / "map.fits", sky, unit="uK")
    skyfill.write_map(path / "lost.fits", np.where(observed, sky, np.nan), unit="uK")
    ell = np.arange(96)
    rough = 1e-7 * ell**0.5 * (ell > 1)
    np.savetxt(path / "rough.txt", np.column_stack([ell, rough]))
    prior = skyfill.Prior(32, rough, pixel_window=False)
    blue = skyfill.prior.draw(prior, seed=1, threads=1)
    skyfill.write_map(path / "blue.fits", blue, unit="uK")
    band = skyfill.simulate_mask(32, seed=3, half_width=0.15, n_holes=20, radii=(0.03, 0.06))
    for name, mask in (("mask", observed), ("footprint", footprint), ("band", band)):
        skyfill.write_map(path / f"{name}.fits", mask, column="M", unit="", dtype="uint8")
    return path


@pytest.fixture
def verb(skyfill_main, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return skyfill_main


def written(path, before):
    """Give the raw values before and after, whether they changed."""
    return (fits.getdata(each, 1).field(0).ravel() for each in (before, path))


@pytest.mark.parametrize("method", ["vae", "gaussian", "diffuse"])
@pytest.mark.parametrize("words", [("--holes", "enclosed"), ("--footprint", "footprint.fits")])
def test_only_the_holes_in_the_patch_change(verb, folder, tmp_path, method, words):
    outcome = verb(
        "inpaint",
        "map.fits",
        "mask.fits",
        "-o",
        "out.fits",
        "--method",
        method,
        *PRIOR,
        *words,
        "--json",
    )
    assert outcome.status == 0, outcome.err
    before, after = written(tmp_path / "out.fits", folder / "map.fits")
    inside = skyfill.read_mask(folder / "footprint.fits") & ~skyfill.read_mask(folder / "mask.fits")
    assert np.all(before[inside] != after[inside])
    assert before[~inside].tobytes() == after[~inside].tobytes()
    said = json.loads(outcome.out)
    assert said["filled_pixels"] == np.count_nonzero(inside)
    assert said["fsky"] == pytest.approx(skyfill.read_mask(folder / "mask.fits").mean())
    assert said["sfconv"] is True
    assert fits.getheader(tmp_path / "out.fits", 1)["SFHOLES"] == words[0][2:].replace(
        "holes", "enclosed"
    )


def test_what_is_missing_outside_stays_missing(verb, folder, tmp_path):
    words = ("--holes", "enclosed", "--std", "std.fits", "--std-draws", 2, "--report", "r.html")
    outcome = verb("inpaint", "lost.fits", "mask.fits", "-o", "out.fits", *PRIOR, *words)
    assert outcome.status == 0
    assert outcome.err == ""
    observed = skyfill.read_mask(folder / "mask.fits")
    inside = skyfill.read_mask(folder / "footprint.fits") & ~observed
    for name in ("out.fits", "std.fits"):
        values = skyfill.read_map(tmp_path / name).values
        np.testing.assert_array_equal(np.isfinite(values), observed | inside)
    assert "outside of the patch" in (tmp_path / "r.html").read_text()


@pytest.mark.filterwarnings("ignore:.* of the sky is filled:UserWarning")
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_decision_is_asked_for(verb, tmp_path, more):
    outcome = verb("inpaint", "map.fits", "mask.fits", "-o", "out.fits", *PRIOR, *more)
    assert outcome.status == 2
    assert "% of the sky is missing" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out.fits").exists()
    assert (
        verb(
            "inpaint", "map.fits", "mask.fits", "-o", "out.fits", *PRIOR, *more, "--holes", "all"
        ).status
        == 0
    )


def test_contradictions_and_footprints_of_another_size_are_refused(verb, folder, tmp_path):
    words = ("inpaint", "map.fits", "mask.fits", "-o", "out.fits", *PRIOR)
    outcome = verb(*words, "--holes", "all", "--footprint", "footprint.fits")
    assert outcome.status == 2
    assert "drop one of them" in outcome.err
    small = np.ones(12 * 64, bool)
    skyfill.write_map(tmp_path / "small.fits", small, column="M", unit="", dtype="uint8")
    outcome = verb(*words, "--footprint", "small.fits")
    assert outcome.status == 2
    assert "small.fits has Nside 8, map.fits has Nside 16" in outcome.err
    outcome = verb(
        "batch", "map.fits", "mask.fits", "-o", "many", *PRIOR, "--footprint", "small.fits"
    )
    assert outcome.status == 2
    assert not (tmp_path / "out.fits").exists()


def test_a_plan_tells_of_the_holes_in_the_patch(verb, folder):
    outcome = verb(
        "inpaint",
        "map.fits",
        "mask.fits",
        "-o",
        "o.fits",
        *PRIOR,
        "--holes",
        "enclosed",
        "--dry-run",
        "--json",
    )
    told = json.loads(outcome.out)
    inside = skyfill.read_mask(folder / "footprint.fits") & ~skyfill.read_mask(folder / "mask.fits")
    assert (told["holes"], told["hole_pixels"]) == (2, np.count_nonzero(inside))


def test_validation_of_a_patch(verb, tmp_path):
    words = ("validate", "lost.fits", "mask.fits", "--method", "gaussian", "--realizations", 3)
    outcome = verb(*words, *PRIOR, "--share", 0.3, "--json", "--report", "v.html")
    assert outcome.status == 0, outcome.err
    said = json.loads(outcome.out)
    assert said["hole_pixels"] < 0.1 * 12 * NSIDE**2
    assert said["sfconv"] is True
    assert (tmp_path / "v.html").exists()
    outcome = verb(*words, *PRIOR, "--share", 0.3, "--json", "--footprint", "footprint.fits")
    assert json.loads(outcome.out)["hole_pixels"] == said["hole_pixels"]


# --- convergence --------------------------------------------------------------------------------

ROUGH = ("--cl", "rough.txt", "--no-pixel-window", "--no-fit", "-q")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("method", ["vae", "gaussian"])
def test_a_fill_that_has_not_converged_is_an_error_unless_accepted(verb, tmp_path, method):
    words = ("inpaint", "blue.fits", "band.fits", "-o", "out.fits", "--method", method, *ROUGH)
    outcome = verb(*words)
    assert outcome.status == 2
    assert "skyfill: error: the fill has not converged" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out.fits").exists()
    outcome = verb(*words, "--accept", "--json")
    assert outcome.status == 0
    assert "skyfill: warning: the fill has not converged" in outcome.err
    assert json.loads(outcome.out)["sfconv"] is False
    assert fits.getheader(tmp_path / "out.fits", 1)["SFCONV"] is False


def test_the_manifest_tells_of_what_was_accepted(verb, tmp_path):
    words = ("batch", "blue.fits", "band.fits", "-o", "many", *ROUGH)
    outcome = verb(*words)
    assert outcome.status == 1
    assert "the fill has not converged" in outcome.err
    assert not (tmp_path / "many" / "blue.fits").exists()
    outcome = verb(*words, "--accept", "--overwrite", "--json")
    assert outcome.status == 0, outcome.err
    assert "warning: blue.fits: the fill has not converged" in outcome.err
    assert json.loads(outcome.out)["unconverged"] == 1
    lines = [
        json.loads(one) for one in (tmp_path / "many/manifest.jsonl").read_text().split("\n") if one
    ]
    records = [one for one in lines if one["status"] != "begun"]
    assert [one["status"] for one in records] == ["failed", "done"]
    assert "the fill has not converged" in records[0]["error"]
    assert records[0]["converged"] is None
    assert records[1]["converged"] is False


def test_a_batch_of_patches_stays_in_them(verb, folder, tmp_path):
    outcome = verb(
        "batch",
        "map.fits",
        "lost.fits",
        "mask.fits",
        "-o",
        "many",
        "--holes",
        "enclosed",
        *PRIOR,
        "--json",
    )
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["summary"] is None  # a part of the sky has no such spectrum
    before, after = written(tmp_path / "many" / "map.fits", folder / "map.fits")
    inside = skyfill.read_mask(folder / "footprint.fits") & ~skyfill.read_mask(folder / "mask.fits")
    np.testing.assert_array_equal(before != after, inside)
    header = str(fits.getheader(tmp_path / "many" / "map.fits", 1)["HISTORY"])
    assert "--holes enclosed" in " ".join(header.split())


def test_a_footprint_of_weights_says_how_to_make_it_one(verb, folder, tmp_path):
    """The mend works: the options about the mask are not about the footprint."""
    footprint = skyfill.read_mask(folder / "footprint.fits")
    skyfill.write_map(tmp_path / "weights.fits", np.where(footprint, 0.7, 0.0), unit="")
    words = ("inpaint", "map.fits", "mask.fits", "-o", "out.fits", *PRIOR)
    outcome = verb(*words, "--footprint", "weights.fits", "--threshold", 0.5)
    assert outcome.status == 2
    assert "pass the output of skyfill mask weights.fits --threshold X" in outcome.err
    assert verb("mask", "weights.fits", "--threshold", 0.5, "-o", "inside.fits").status == 0
    assert verb(*words, "--footprint", "inside.fits").status == 0


@pytest.mark.filterwarnings("default")
def test_a_fill_that_fails_leaves_no_prior_behind(verb, tmp_path):
    words = ("--method", "gaussian", *ROUGH, "--save-prior", "prior.json")
    command = ("inpaint", "blue.fits", "band.fits", "-o", "out.fits", *words)
    outcome = verb(*command)
    assert outcome.status == 2
    assert "has not converged" in outcome.err
    assert not (tmp_path / "prior.json").exists()
    assert verb(*command, "--accept").status == 0
    assert (tmp_path / "prior.json").exists()


def test_a_refilled_map_tells_of_its_last_fill_alone(verb, folder, tmp_path):
    words = ("inpaint", "map.fits", "mask.fits", "-o", "out.fits", "--holes", "enclosed")
    assert verb(*words, "--method", "gaussian", *PRIOR).status == 0
    path = tmp_path / "out.fits"
    header = fits.getheader(path, 1)
    assert {"SFCL", "SFBEAM", "SFITER", "SFLIKE", "SFORIGIN"} <= set(header)
    written = {key for key in header if key.startswith("SF")}
    assert written <= set(skyfill.maps.FILL_CARDS)
    sky = skyfill.read_map(path)
    holes = np.zeros(sky.values.size, bool)
    holes[:3] = True
    skyfill.write_filled(tmp_path / "again.fits", sky, np.zeros(3), holes)
    with fits.open(tmp_path / "again.fits") as hdus:
        assert [hdu.name for hdu in hdus if hdu.name == skyfill.maps.FILL_PRIOR] == []
        assert not any(key.startswith("SF") for key in hdus[1].header)
    assert skyfill.prior.PRIOR_HDU == skyfill.maps.FILL_PRIOR


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--save-prior", "out.fits"), "--output and --save-prior are both out.fits"),
        (("--save-prior", "map.fits"), "--save-prior map.fits is also an input"),
        (("--save-prior", "prior.fits"), "its name must end in .json"),
        (("--std", "out.fits"), "--output and --std are both out.fits"),
        (("--std", "mask.fits"), "--std mask.fits is also an input"),
        (("--output", "mask.fits"), "--output mask.fits is also an input"),
        (("--output", "x.fits", "--cl", "x.fits"), "--output x.fits is also an input"),
    ],
)
def test_nothing_that_is_read_is_overwritten(verb, folder, tmp_path, words, message):
    before = (folder / "map.fits").read_bytes(), (folder / "mask.fits").read_bytes()
    command = ("inpaint", "map.fits", "mask.fits", "-o", "out.fits", "--holes", "enclosed")
    outcome = verb(*command, *PRIOR, "--method", "gaussian", "--overwrite", *words)
    assert outcome.status == 2
    assert message in outcome.err
    assert not (tmp_path / "out.fits").exists()
    assert before == ((folder / "map.fits").read_bytes(), (folder / "mask.fits").read_bytes())
