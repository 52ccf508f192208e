"""Files of different frames, units or kinds are refused by every verb that reads them."""

import json

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

import skyfill

NSIDE = 16
PRIOR = ("--beam-arcmin", 400, "--noise-uk-arcmin", 100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One sky in every role, each in Galactic (g_) and in equatorial (c_) coordinates."""
    path = tmp_path_factory.mktemp("companions")
    sky = skyfill.simulate_sky(NSIDE, seed=3, fwhm=np.radians(400 / 60), noise_uk_arcmin=100)
    other = skyfill.simulate_sky(NSIDE, seed=4, fwhm=np.radians(400 / 60), noise_uk_arcmin=100)
    observed = skyfill.simulate_mask(NSIDE, seed=3, half_width=0.15, n_holes=10, radii=(0.05, 0.12))
    for frame in "GC":
        for name, values in (("sky", sky), ("more", other), ("truth", sky), ("std", 0 * sky + 9)):
            skyfill.write_map(path / f"{frame.lower()}_{name}.fits", values, coord=frame)
        skyfill.write_map(
            path / f"{frame.lower()}_mask.fits", observed, unit="", dtype="uint8", coord=frame
        )
    return path


@pytest.fixture
def call(skyfill_main, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(verb, *words):
        named = [
            str(folder / word) if isinstance(word, str) and word.endswith(".fits") else word
            for word in words
        ]
        return skyfill_main(verb, *named, "-q")

    return run


GAUSSIAN = ("--method", "gaussian", *PRIOR)
PAIRS = {
    "inpaint mask": ("inpaint", "g_sky.fits", "c_mask.fits", "-o", "out.fit", *PRIOR),
    "inpaint noise": (
        *("inpaint", "g_sky.fits", "g_mask.fits", "-o", "out.fit", *GAUSSIAN),
        *("--noise-map", "c_std.fits"),
    ),
    "inpaint dry run": ("inpaint", "g_sky.fits", "c_mask.fits", "-o", "out.fit", "--dry-run"),
    "validate mask": ("validate", "g_sky.fits", "c_mask.fits", *PRIOR),
    "validate noise": (
        *("validate", "g_sky.fits", "g_mask.fits", *GAUSSIAN, "--noise-map", "c_std.fits"),
    ),
    "spectrum mask": ("spectrum", "g_sky.fits", "--mask", "c_mask.fits", *PRIOR),
    "spectrum more": ("spectrum", "g_sky.fits", "c_more.fits", *PRIOR),
    "evaluate mask": ("evaluate", "g_sky.fits", "--mask", "c_mask.fits"),
    "evaluate more": ("evaluate", "g_sky.fits", "c_more.fits", "--mask", "g_mask.fits"),
    "evaluate truth": (
        *("evaluate", "g_sky.fits", "--mask", "g_mask.fits", "--truth", "c_truth.fits"),
    ),
    "evaluate std": (
        *("evaluate", "g_sky.fits", "--mask", "g_mask.fits", "--truth", "g_truth.fits"),
        *("--std", "c_std.fits"),
    ),
    "evaluate optimum": (
        *("evaluate", "g_sky.fits", "--mask", "g_mask.fits", "--truth", "g_truth.fits"),
        *("--optimum", "c_truth.fits"),
    ),
    "tiles mask": ("tiles", "g_sky.fits", "c_mask.fits", "-o", "out", "--size", 16, *PRIOR),
    "tiles test map": (
        *("tiles", "g_sky.fits", "g_mask.fits", "-o", "out", "--size", 16, *PRIOR),
        *("--split", "sky", "--test-map", "c_more.fits"),
    ),
    "train mask": (
        *("train", "-o", "w.safetensors", "--maps", "g_sky.fits", "--mask", "c_mask.fits", *PRIOR),
    ),
    "mask map": ("mask", "g_mask.fits", "--map", "c_sky.fits", "-o", "out.fit"),
}


@pytest.mark.parametrize("words", PAIRS.values(), ids=PAIRS.keys())
def test_files_of_two_frames_are_refused(call, tmp_path, words):
    outcome = call(*words)
    assert outcome.status == 2
    assert outcome.err.startswith("skyfill: error: ")
    assert outcome.err.count("\n") == 1
    assert "c_" in outcome.err
    assert "g_" in outcome.err
    assert ("(G)" in outcome.err and "(C)" in outcome.err) or "in frame" in outcome.err
    if "c_mask.fits" in words:
        assert "c_mask.fits --rotate G -o OUT" in outcome.err
    assert not any(tmp_path.iterdir())


SILENT = {
    "inpaint noise": (
        *("inpaint", "n_sky.fits", "g_mask.fits", "-o", "out.fit", *GAUSSIAN),
        *("--noise-map", "c_std.fits"),
    ),
    "inpaint footprint": (
        *("inpaint", "g_sky.fits", "n_mask.fits", "-o", "out.fit", *PRIOR),
        *("--footprint", "c_mask.fits"),
    ),
    "validate noise": (
        *("validate", "n_sky.fits", "g_mask.fits", *GAUSSIAN, "--noise-map", "c_std.fits"),
    ),
    "batch noise": (
        *("batch", "n_sky.fits", "g_mask.fits", "-o", "out", *GAUSSIAN),
        *("--noise-map", "c_std.fits"),
    ),
    "spectrum": ("spectrum", "n_sky.fits", "g_more.fits", "--mask", "c_mask.fits", *PRIOR),
    "evaluate": (*("evaluate", "n_sky.fits", "--mask", "g_mask.fits", "--truth", "c_truth.fits"),),
    "tiles": (
        *("tiles", "n_sky.fits", "g_mask.fits", "-o", "out", "--size", 16, *PRIOR),
        *("--split", "sky", "--test-map", "c_more.fits"),
    ),
}


@pytest.mark.parametrize("words", SILENT.values(), ids=SILENT.keys())
def test_a_file_without_a_frame_does_not_join_two(call, folder, tmp_path, words):
    for name in ("sky", "mask"):
        path = tmp_path / f"n_{name}.fits"
        path.write_bytes((folder / f"g_{name}.fits").read_bytes())
        fits.delval(path, "COORDSYS", ext=1)
    words = [tmp_path / word if str(word).startswith("n_") else word for word in words]
    outcome = call(*words)
    assert outcome.status == (1 if words[0] == "batch" else 2)
    assert "(G)" in outcome.err
    assert "(C)" in outcome.err


def test_batch_refuses_each_map_of_another_frame(call, folder, tmp_path):
    words = ("batch", "g_sky.fits", "c_more.fits", "g_mask.fits", "-o", "out", *PRIOR)
    outcome = call(*words)
    assert outcome.status == 1
    assert "failed: c_more.fits: " in outcome.err
    assert "in equatorial coordinates (C)" in outcome.err
    assert (tmp_path / "out" / "g_sky.fits").exists()
    assert not (tmp_path / "out" / "c_more.fits").exists()


def test_a_frame_that_is_not_named_is_assumed_and_said(skyfill_main, folder, tmp_path):
    sky = skyfill.read_map(folder / "g_sky.fits")
    skyfill.write_map(tmp_path / "bare.fits", sky.values, coord=None)
    words = ("inpaint", tmp_path / "bare.fits", folder / "g_mask.fits", "--method", "diffuse")
    outcome = skyfill_main(*words, "-o", tmp_path / "a.fits")
    assert outcome.status == 0
    assert "frame assumed to be that of the other file: Galactic coordinates (G)" in outcome.err
    assert skyfill.read_map(tmp_path / "a.fits").coord is None
    outcome = skyfill_main(*words, "-o", tmp_path / "b.fits", "--frame", "galactic")
    assert outcome.status == 0
    assert skyfill.read_map(tmp_path / "b.fits").coord == "G"
    outcome = skyfill_main(*words, "-o", tmp_path / "c.fits", "--frame", "C")
    assert outcome.status == 2
    assert "drop --frame" in outcome.err


def test_an_unknown_frame_is_refused_until_it_is_given(skyfill_main, folder, tmp_path):
    sky = skyfill.read_map(folder / "g_sky.fits")
    skyfill.write_map(tmp_path / "odd.fits", sky.values)
    fits.setval(tmp_path / "odd.fits", "COORDSYS", value="SIDEWAYS", ext=1)
    words = ("inpaint", tmp_path / "odd.fits", folder / "g_mask.fits", "--method", "diffuse", "-q")
    outcome = skyfill_main(*words, "-o", tmp_path / "a.fits")
    assert outcome.status == 2
    assert "SIDEWAYS" in outcome.err
    assert "pass --frame" in outcome.err
    assert skyfill_main(*words, "-o", tmp_path / "a.fits", "--frame", "G").status == 0
    assert fits.getval(tmp_path / "a.fits", "COORDSYS", ext=1) == "G"


@pytest.mark.parametrize(
    "words",
    [
        ("inpaint", "g_sky.fits", "g_mask.fits", "-o", "out.fit", "--unit", "mK"),
        ("validate", "g_sky.fits", "g_mask.fits", "--unit", "mK"),
        ("spectrum", "g_sky.fits", "--unit", "mK"),
        ("evaluate", "g_sky.fits", "--mask", "g_mask.fits", "--unit", "mK"),
        ("tiles", "g_sky.fits", "g_mask.fits", "-o", "out", "--unit", "mK"),
    ],
)
def test_another_unit_than_the_maps_is_refused(call, tmp_path, words):
    outcome = call(*words)
    assert outcome.status == 2
    assert "is in uK_CMB (TUNIT1), not in mK; drop --unit" in outcome.err
    assert not any(tmp_path.iterdir())


def test_the_unit_of_the_map_never_reaches_the_noise_map(skyfill_main, folder, tmp_path):
    """Numbers in mK without a unit, with a noise map in µK, fill as those in µK do."""
    sky = skyfill.read_map(folder / "g_sky.fits").values.astype("f4")
    rng = np.random.default_rng(1)
    sigma = np.where(np.arange(sky.size) % 2, 60.0, 30.0)
    noisy = sky + rng.normal(size=sky.size) * sigma
    files = {"uk": (noisy, "uK"), "bare": (noisy * 1e-3, "")}
    for name, (values, unit) in files.items():
        skyfill.write_map(tmp_path / f"{name}.fits", values, unit=unit, dtype="f8")
    kinds = {
        "sigma": (sigma, "STD", "uK_CMB"),
        "var": ((sigma * 1e-6) ** 2, "II_COV", "K_CMB^2"),
        "weight": (sigma**-2.0 * 1e12, "WEIGHT", "1/K^2"),
        "plain": (sigma**2, "N", None),
    }
    for name, (values, column, unit) in kinds.items():
        skyfill.write_map(tmp_path / f"{name}.fits", values, column=column, unit="", dtype="f8")
        if unit:
            fits.setval(tmp_path / f"{name}.fits", "TUNIT1", value=unit, ext=1)
    holes = ~skyfill.read_mask(folder / "g_mask.fits")
    fills = {}
    for name, more in (
        ("uk", ("sigma",)),
        ("bare", ("sigma",)),
        ("bare", ("var",)),
        ("bare", ("weight",)),
        ("bare", ("plain", "--noise-variance", "--noise-unit", "uK")),
    ):
        out = tmp_path / "out.fits"
        unit = ("--unit", "mK") if name == "bare" else ()
        noise = ("--noise-map", tmp_path / f"{more[0]}.fits", *more[1:])
        words = (tmp_path / f"{name}.fits", folder / "g_mask.fits", "-o", out, *unit, *noise)
        outcome = skyfill_main("inpaint", *words, *GAUSSIAN, "--mean", "-q", "--overwrite")
        assert outcome.status == 0, outcome.err
        assert outcome.err == ""
        fills[name, more] = skyfill.read_map(out, unit="uK" if name == "uk" else "mK").values[holes]
    first = fills["uk", ("sigma",)]
    assert 20 < first.std() < 200
    for fill in fills.values():
        np.testing.assert_allclose(fill, first, atol=0.05 * first.std())


@pytest.mark.filterwarnings("default")
def test_a_noise_map_without_unit_is_said_to_be_in_that_of_the_map(call, folder, tmp_path):
    skyfill.write_map(tmp_path / "noise", np.full(12 * NSIDE**2, 5.0), column="STD", unit="")
    words = ("g_sky.fits", "g_mask.fits", "-o", "out.fit", *GAUSSIAN)
    outcome = call("inpaint", *words, "--noise-map", tmp_path / "noise")
    assert outcome.status == 0
    assert "warning: " in outcome.err
    assert "taken for a standard deviation in uK_CMB" in outcome.err
    outcome = call("inpaint", *words, "--overwrite", "--noise-variance")
    assert outcome.status == 2
    assert "--noise-variance is an option of the noise map" in outcome.err


def test_hits_are_no_noise_map(call, tmp_path):
    hits = np.full(12 * NSIDE**2, 5.0)
    skyfill.write_map(tmp_path / "hits", hits, column="HITS", unit="")
    words = ("g_sky.fits", "g_mask.fits", "-o", "out.fit", *GAUSSIAN)
    outcome = call("inpaint", *words, "--noise-map", tmp_path / "hits")
    assert outcome.status == 2
    assert "sigma_0 / sqrt(N_obs)" in outcome.err
    outcome = call("inpaint", *words, "--noise-map", tmp_path / "hits", "--noise-field", "NONE")
    assert "pass --noise-field" in outcome.err


@pytest.mark.filterwarnings("default")
def test_a_truth_has_its_own_unit(call, folder, tmp_path):
    truth = skyfill.read_map(folder / "g_truth.fits").values
    skyfill.write_map(tmp_path / "k", truth, unit="K_CMB", dtype="f8")
    skyfill.write_map(tmp_path / "bare", truth, unit="", dtype="f8")
    found = []
    for name in ("k", "bare"):
        words = ("g_more.fits", "--mask", "g_mask.fits", "--truth", tmp_path / name, "--json")
        outcome = call("evaluate", *words)
        assert outcome.status == 0, outcome.err
        assert ("; uK_CMB, the unit of" in outcome.err) == (name == "bare")
        found.append(json.loads(outcome.out)["figures"])
    assert found[0].keys() == found[1].keys()
    for name, figure in found[0].items():
        assert figure["value"] == pytest.approx(found[1][name]["value"], rel=1e-5, abs=1e-5)


LAYOUTS = {
    "healpy": ["TEMPERATURE", "Q_POLARISATION", "U_POLARISATION"],
    "planck": ["I_STOKES", "Q_STOKES", "U_STOKES"],
    "plain": ["T", "Q", "U"],
    "words": ["TEMPERATURE", "POLARIZATION Q", "POLARIZATION U"],
    "modes": ["T", "E", "B"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("field", [1, 2, "name"])
def test_polarization_is_refused_by_name(call, folder, tmp_path, layout, field):
    sky = skyfill.read_map(folder / "g_sky.fits").values
    names = LAYOUTS[layout]
    hp.write_map(
        tmp_path / "iqu",
        [sky, sky[::-1], -sky],
        column_names=names,
        column_units="uK_CMB",
        coord="G",
        dtype=np.float64,
    )
    said = names[2 if field == 2 else 1].removeprefix("POLARIZATION ")[0]
    iqu, field = tmp_path / "iqu", names[1] if field == "name" else field
    for words in (
        ("inpaint", iqu, "g_mask.fits", "-o", "out.fit"),
        ("inpaint", iqu, "g_mask.fits", "-o", "out.fit", "--method", "diffuse", "--polish", 2),
        ("validate", iqu, "g_mask.fits"),
        ("spectrum", iqu),
        ("evaluate", iqu, "--mask", "g_mask.fits"),
        ("tiles", iqu, "g_mask.fits", "-o", "out"),
    ):
        outcome = call(*words, "--field", field)
        assert outcome.status == 2
        assert f"is Stokes {said}" in outcome.err
        assert names[0] in outcome.err
    words = ("inpaint", iqu, "g_mask.fits", "-o", "out.fit", "--method", "diffuse")
    assert call(*words, "--field", field).status == 0
    before, after = (
        skyfill.read_map(path, field=field).values for path in (iqu, tmp_path / "out.fit")
    )
    seen = skyfill.read_mask(folder / "g_mask.fits")
    np.testing.assert_array_equal(before[seen], after[seen])


def test_batch_refuses_polarization(call, folder, tmp_path):
    sky = skyfill.read_map(folder / "g_sky.fits").values
    skyfill.write_map(tmp_path / "q", sky, column="Q_STOKES")
    outcome = call("batch", tmp_path / "q", "g_mask.fits", "-o", "out", *PRIOR)
    assert outcome.status == 1
    assert "is Stokes Q" in outcome.err


def test_the_mask_column_is_named_by_its_flag(call, folder, tmp_path):
    observed = skyfill.read_mask(folder / "g_mask.fits")
    layers = {"TEMPERATURE": np.zeros(observed.size), "N_OBS": observed.astype(float)}
    skyfill.write_map(tmp_path / "wmap", layers, unit="")
    words = ("inpaint", "g_sky.fits", tmp_path / "wmap", "-o", "out.fit", "--method", "diffuse")
    outcome = call(*words)
    assert outcome.status == 2
    assert outcome.err.rstrip().endswith("pass --mask-field N_OBS")
    assert call(*words, "--mask-field", "N_OBS").status == 0
    outcome = call("mask", tmp_path / "wmap", "-o", "m.fit")
    assert outcome.err.rstrip().endswith("pass --field N_OBS")
    assert call("mask", tmp_path / "wmap", "-o", "m.fit", "--field", "N_OBS").status == 0


def test_bits_on_the_command_line(call, folder, tmp_path):
    observed = skyfill.read_mask(folder / "g_mask.fits")
    codes = np.where(observed, 2, 5)
    skyfill.write_map(tmp_path / "flags", codes, unit="", dtype="int16")
    words = ("inpaint", "g_sky.fits", tmp_path / "flags", "--method", "diffuse", "-o")
    outcome = call(*words, "a.fit")
    assert outcome.status == 2
    assert "pass --bits" in outcome.err
    for bits in ("0", "2", "0,2"):
        assert call(*words, "a.fit", "--bits", bits, "--overwrite").status == 0
    assert call(*words, "b.fit", "--bits", "1", "--invert").status == 0
    assert call("mask", tmp_path / "flags", "-o", "m.fit", "--bits", "0,2").status == 0
    np.testing.assert_array_equal(skyfill.read_mask(tmp_path / "m.fit"), observed)
    for wrong in ("x", "0,-1", "77"):
        assert call(*words, "c.fit", f"--bits={wrong}").status == 2


def test_any_number_may_be_missing(call, folder, tmp_path):
    observed = skyfill.read_mask(folder / "g_mask.fits")
    sky = skyfill.read_map(folder / "g_sky.fits").values
    skyfill.write_map(tmp_path / "sky", np.where(observed, sky, -1e30))
    for value in ("-1e30", "-1e+30", "-1.0E30"):
        words = ("mask", "--map", tmp_path / "sky", "-o", "m.fit", "--missing", value)
        assert call(*words, "--overwrite").status == 0
        np.testing.assert_array_equal(skyfill.read_mask(tmp_path / "m.fit"), observed)
    words = ("inpaint", tmp_path / "sky", "g_mask.fits", "-o", "out.fit", *PRIOR)
    assert call(*words, "--missing", "-1e30", "--missing", "-99").status == 0
    assert np.abs(skyfill.read_map(tmp_path / "out.fit").values).max() < 1000


def test_options_about_a_mask_need_one(call):
    for words in (("--bits", "0"), ("--threshold", 0.5), ("--invert",), ("--mask-field", 1)):
        outcome = call("spectrum", "g_sky.fits", *words)
        assert outcome.status == 2
        assert f"{words[0]} is an option of the mask; pass --mask as well" in outcome.err
