"""`skyfill inpaint`: what it writes, what it refuses, and that it leaves nothing behind."""

import json
import resource

import numpy as np
import pytest
from astropy.io import fits

import skyfill

NSIDE = 16  # so small that the sphere is solved as a whole; tiles have tests of their own
BLUR = ("--beam-arcmin", 400, "--noise-uk-arcmin", 100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that holds a map in mK with two columns, NESTED, and its mask."""
    path = tmp_path_factory.mktemp("inpaint")
    sky = skyfill.simulate_sky(NSIDE, seed=3, fwhm=np.radians(400 / 60), noise_uk_arcmin=100)
    observed = skyfill.simulate_mask(NSIDE, seed=3, half_width=0.15, n_holes=10, radii=(0.05, 0.12))
    columns = {"I": np.where(observed, sky, np.nan), "J": sky[::-1]}
    skyfill.write_map(path / "map.fits", columns, unit="mK_CMB", nest=True)
    skyfill.write_map(path / "mask.fits", observed, column="MASK", unit="", dtype="uint8")
    return path


@pytest.fixture
def inpaint(skyfill_main, folder, tmp_path, monkeypatch):
    """Run the verb on those two files, in an empty folder, quietly."""
    monkeypatch.chdir(tmp_path)

    def call(*more, sky=folder / "map.fits", mask=folder / "mask.fits"):
        return skyfill_main("inpaint", sky, mask, "-o", "out.fits", *more, "-q")

    return call


def holes_of(folder):
    return ~skyfill.read_mask(folder / "mask.fits")


def test_only_the_holes_change(inpaint, folder, tmp_path):
    outcome = inpaint(*BLUR)
    assert (outcome.status, outcome.err) == (0, "")
    before, after = (
        fits.getdata(path, 1, header=True) for path in (folder / "map.fits", tmp_path / "out.fits")
    )
    holes = skyfill.healpix.reorder(holes_of(folder), nest_in=False, nest_out=True)
    for name, keep in (("I", ~holes), ("J", np.full(holes.size, fill_value=True))):
        old, new = (data[name].ravel() for data, _ in (before, after))
        assert old[keep].tobytes() == new[keep].tobytes()
    assert np.all(np.isfinite(after[0]["I"]))
    for key in ("TTYPE1", "TUNIT1", "TFORM1", "ORDERING", "COORDSYS", "TTYPE2"):
        assert before[1][key] == after[1][key]


def test_the_header_says_how(inpaint, tmp_path):
    inpaint(*BLUR, "--seed", 5)
    header = fits.getheader(tmp_path / "out.fits", 1)
    assert header["SFMETHOD"] == "gaussian"
    assert header["SFAUTO"] == "exact, and no slower than vae up to Nside 512"
    assert header["SFSEED"] == 5
    assert header["SFBEAM"] == 400.0
    assert header["SFNOISE"] == 100.0
    assert header["SFFITTED"] is False
    assert "SFMODEL" not in header  # no network is used
    assert header["CREATOR"] == f"skyfill {skyfill.__version__}"
    assert "inpaint" in str(header["HISTORY"])


def test_an_exact_fill_is_certified(inpaint, tmp_path):
    noise = np.full(12 * NSIDE**2, 0.1)
    skyfill.write_map(tmp_path / "noise.fits", noise, unit="mK")
    words = ("--method", "gaussian", "--dipole", "marginalise", "--fill", "signal")
    assert inpaint(*BLUR, *words, "--noise-map", "noise.fits", "--mean").status == 0
    header = fits.getheader(tmp_path / "out.fits", 1)
    assert header["SFMETHOD"] == "gaussian"
    assert header["SFCONV"] is True
    assert header["SFITER"] > 0
    assert 0 < header["SFRESID"] < 0.1
    assert 0 <= header["SFDIST"] < 1
    assert "SFSHA256" not in header
    assert inpaint("--method", "diffuse", "--polish", 3, *BLUR, "--overwrite").status == 0
    header = fits.getheader(tmp_path / "out.fits", 1)
    assert header["SFPOLISH"] == 3
    assert "SFITER" not in header


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "gaussian", "--polish", 3), "gaussian is exact already"),
        (("--noise-map", "none.fits", "--method", "gaussian"), "none.fits"),
    ],
)
def test_words_that_do_not_go_together(inpaint, tmp_path, words, message):
    outcome = inpaint(*BLUR, *words)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_a_seed_is_a_fill(inpaint, folder, tmp_path):
    fills = []
    for seed in (1, 1, 2):
        assert inpaint(*BLUR, "--seed", seed, "--overwrite").status == 0
        fills.append(skyfill.read_map(tmp_path / "out.fits").values[holes_of(folder)])
    np.testing.assert_array_equal(fills[0], fills[1])
    assert np.std(fills[0] - fills[2]) > 5


def test_the_mean_is_what_realizations_scatter_about(inpaint, folder, tmp_path):
    holes = holes_of(folder)
    assert inpaint(*BLUR, "--mean").status == 0
    mean = skyfill.read_map(tmp_path / "out.fits").values[holes]
    assert inpaint(*BLUR, "--realizations", 3, "--std", "std.fits").status == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["out.fits", "out_000.fits", "out_001.fits", "out_002.fits", "std.fits"]
    std = skyfill.read_map(tmp_path / "std.fits").values
    assert np.all(std[~holes] == 0)
    assert np.all(std[holes] > 0)
    for name in names[1:4]:
        away = (skyfill.read_map(tmp_path / name).values[holes] - mean) / std[holes]
        assert 0.5 < away.std() < 2  # few independent numbers in so few holes


def test_diffuse_needs_no_prior(inpaint, folder, tmp_path):
    assert inpaint("--method", "diffuse").status == 0
    sky = skyfill.read_map(folder / "map.fits").values
    filled = skyfill.read_map(tmp_path / "out.fits").values
    seen = ~holes_of(folder)
    assert filled.min() >= sky[seen].min() - 0.01
    assert filled.max() <= sky[seen].max() + 0.01
    assert "SFBEAM" not in fits.getheader(tmp_path / "out.fits", 1)


def test_json_says_what_was_done(inpaint, folder):
    summary = json.loads(inpaint("--json").out)
    assert summary["outputs"] == ["out.fits"]
    assert summary["nside"] == NSIDE
    assert summary["filled_pixels"] == np.count_nonzero(holes_of(folder))
    assert summary["sffitted"] is True
    assert summary["sfbeam"] == pytest.approx(440, rel=0.25)  # 400 arcmin and the pixel window


def test_another_column_and_a_mask_with_a_threshold(inpaint, folder, tmp_path):
    seen = ~holes_of(folder)
    skyfill.write_map(tmp_path / "soft.fits", np.where(seen, 0.9, 0.2), unit="")
    outcome = inpaint(*BLUR, "--field", "J", mask=tmp_path / "soft.fits")
    assert outcome.status == 2
    assert "pass --threshold" in outcome.err
    words = (*BLUR, "--field", "J", "--threshold", 0.5)
    assert inpaint(*words, mask=tmp_path / "soft.fits").status == 0
    changed = skyfill.read_map(tmp_path / "out.fits", field="J").values != (
        skyfill.read_map(folder / "map.fits", field="J").values
    )
    assert not np.any(changed & seen)


def fits_image(path):
    fits.PrimaryHDU(np.ones((4, 4))).writeto(path)


def not_fits(path):
    path.write_text("a map, honestly", encoding="utf-8")


def other_nside(path):
    skyfill.write_map(path, np.ones(12 * 8**2), unit="", dtype="uint8")


def all_observed(path):
    skyfill.write_map(path, np.ones(12 * NSIDE**2), unit="", dtype="uint8")


def none_observed(path):
    skyfill.write_map(path, np.zeros(12 * NSIDE**2), unit="", dtype="uint8")


def all_nan(path):
    skyfill.write_map(path, np.full(12 * NSIDE**2, np.nan))


def strange_unit(path):
    skyfill.write_map(path, np.ones(12 * NSIDE**2) / 3)
    fits.setval(path, "TUNIT1", value="furlong", ext=1)


def no_unit(path):
    skyfill.write_map(path, np.ones(12 * NSIDE**2) / 3, unit="")


def truncated(path):
    skyfill.write_map(path, np.ones(12 * NSIDE**2) / 3)
    path.write_bytes(path.read_bytes()[:9000])


@pytest.mark.parametrize(
    ("what", "make", "message"),
    [
        ("sky", fits_image, "image"),
        ("sky", not_fits, "not a FITS file"),
        ("sky", truncated, "truncated"),
        ("sky", all_nan, "no valid pixel"),
        ("sky", strange_unit, "furlong"),
        ("sky", no_unit, "pass --unit"),
        ("mask", fits_image, "image"),
        ("mask", not_fits, "not a FITS file"),
        ("mask", other_nside, "Nside 8"),
        ("mask", none_observed, "no pixel observed"),
    ],
)
def test_wrong_files_are_refused(inpaint, tmp_path, what, make, message):
    path = tmp_path / "wrong.fits"
    make(path)
    outcome = inpaint(*BLUR, **{what: path})
    assert outcome.status == 2
    assert outcome.err.startswith("skyfill: error: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["wrong.fits"]


def test_a_whole_map_and_a_full_mask_leave_nothing_to_do(inpaint, tmp_path):
    skyfill.write_map(tmp_path / "sky.fits", skyfill.simulate_sky(NSIDE, seed=1))
    all_observed(tmp_path / "mask.fits")
    outcome = inpaint(sky=tmp_path / "sky.fits", mask=tmp_path / "mask.fits")
    assert outcome.status == 2
    assert "nothing to fill" in outcome.err


def test_swapped_files_are_noticed(inpaint, folder, tmp_path):
    outcome = inpaint(sky=folder / "mask.fits", mask=folder / "map.fits")
    assert outcome.status == 2
    assert "map first, then the mask" in outcome.err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--field", "T"), "I"),
        (("--field", 7), "I"),
        (("--cl", "wrong.txt"), "not finite"),
        (("--cl", "none.txt"), "none.txt"),
        (("--dl",), "--cl"),
        (("--unit", "furlong"), "furlong"),
        (("--std", "none/std.fits"), "no folder"),
        (("--weights", "none.safetensors"), "none.safetensors"),
        (("--device", "abacus"), "abacus"),
        (("--method", "diffuse", "--realizations", 2), "diffuse"),
    ],
)
def test_wrong_options_are_refused(inpaint, tmp_path, words, message):
    (tmp_path / "wrong.txt").write_text("2 1000\n3 nan\n4 900\n", encoding="utf-8")
    outcome = inpaint(*words)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["wrong.txt"]


@pytest.mark.parametrize("target", ["/proc/out.fits", "none/out.fits", "."])
def test_what_cannot_be_written_is_said_at_once(
    skyfill_main, folder, tmp_path, monkeypatch, target
):
    monkeypatch.chdir(tmp_path)
    words = ("inpaint", folder / "map.fits", folder / "mask.fits", "-o", target, "-q")
    outcome = skyfill_main(*words, "--method", "diffuse")
    assert outcome.status == 2
    assert outcome.err.startswith("skyfill: error: cannot write")
    assert outcome.err.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_a_disk_that_fills_up_leaves_nothing(skyfill_program, tmp_path):
    limit = 500_000  # less than the map, more than anything else that is written

    sky, mask = tmp_path / "sky.fits", tmp_path / "mask.fits"
    skyfill.write_map(sky, skyfill.simulate_sky(128, seed=1))
    skyfill.write_map(mask, skyfill.galactic_cut(128, 0.05), unit="", dtype="uint8")
    assert sky.stat().st_size > limit
    outcome = skyfill_program(
        *("inpaint", sky, mask, "-o", "out.fits", "--method", "diffuse", "-q"),
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert outcome.status == 2
    assert outcome.err == "skyfill: error: cannot write out.fits: File too large\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.fits", "sky.fits"]
