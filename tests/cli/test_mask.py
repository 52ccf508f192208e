"""Frames, resolutions and weights of `skyfill mask`."""

import importlib
import json

import healpy
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

import skyfill

NSIDE = 32
LON, LAT = np.linspace(5, 350, 30), np.degrees(np.arcsin(np.linspace(-0.95, 0.95, 30)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with masks, maps and catalogues in several frames, or in none."""
    observed = skyfill.simulate_mask(NSIDE, seed=3, kind="both", n_holes=20)
    values = np.random.default_rng(1).normal(0, 90, observed.size)
    values[observed.size // 2 : observed.size // 2 + 90] = np.nan
    for frame in ("G", "C", "E", None):
        name = (frame or "none").lower()
        mask = {"column": "M", "unit": "", "dtype": "uint8", "coord": frame}
        skyfill.write_map(tmp_path / f"mask_{name}.fits", observed, **mask)
        skyfill.write_map(tmp_path / f"map_{name}.fits", values, coord=frame)
    soft = np.clip(healpy.smoothing(observed.astype(float), fwhm=0.15), 0, 1) * observed
    skyfill.write_map(tmp_path / "soft.fits", soft, unit="", dtype="float64", coord="G")
    skyfill.write_map(tmp_path / "map_small.fits", values[:3072] + 1)
    rows = "\n".join(f"{a},{b}" for a, b in zip(LON, LAT, strict=True))
    (tmp_path / "radec.csv").write_text(f"ra,dec\n{rows}\n")
    (tmp_path / "own.csv").write_text(f"lon,lat\n{rows}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def frame_of(path):
    return fits.getheader(path, 1).get("COORDSYS")


def history_of(path):
    return "".join(fits.getheader(path, 1)["HISTORY"])


# --- frames -------------------------------------------------------------------------------------


def test_a_mask_is_turned_by_centres(skyfill_main, folder):
    outcome = skyfill_main("mask", "mask_g.fits", "--rotate", "C", "-o", "out.fits", "-q")
    assert outcome.status == 0, outcome.err
    assert "rotated: G to C by pixel centres: no hole is lost" in outcome.out
    expected = skyfill.rotate_mask(skyfill.read_mask("mask_g.fits"), "G", "C")
    np.testing.assert_array_equal(skyfill.read_mask("out.fits"), expected)
    assert frame_of("out.fits") == "C"
    assert fits.getheader("out.fits", 1)["SFROTATE"] == "G to C by pixel centres"
    assert "rotated: G to C by pixel centres" in history_of("out.fits")


def test_the_verb_names_the_librarys_ways_of_turning(entry):
    verb = importlib.import_module(f"{entry.__module__.rpartition('.')[0]}.mask")
    observed = np.arange(12) > 3
    for way in verb.WAYS:
        assert skyfill.rotate_mask(observed, "G", "C", by=way).size == 12


def test_a_mask_is_turned_in_harmonics(skyfill_main, folder):
    words = ("mask", "mask_c.fits", "--rotate", "ecliptic", "--rotate-by", "harmonics")
    outcome = skyfill_main(*words, "-o", "out.fits", "--json", "-q")
    said = json.loads(outcome.out)
    assert said["frame"] == "E"
    assert said["said"]["rotated"].startswith("C to E in harmonics")
    mask = skyfill.read_mask("mask_c.fits")
    expected = skyfill.rotate_mask(mask, "C", "E", by="harmonics")
    np.testing.assert_array_equal(skyfill.read_mask("out.fits"), expected)


def test_the_frame_of_a_mask_without_one_is_said(skyfill_main, folder):
    words = ("mask", "mask_none.fits", "--rotate", "G", "-o", "out.fits", "-q")
    refused = skyfill_main(*words)
    assert refused.status == 2
    assert (
        "mask_none.fits is in no named frame, and --rotate needs its present frame" in refused.err
    )
    assert skyfill_main(*words, "--frame", "equatorial").status == 0
    expected = skyfill.rotate_mask(skyfill.read_mask("mask_none.fits"), "C", "G")
    np.testing.assert_array_equal(skyfill.read_mask("out.fits"), expected)
    assert frame_of("out.fits") == "G"


@pytest.mark.parametrize("frame", ["G", "C", "E"])
@pytest.mark.parametrize("start", ["G", "C", "E"])
def test_cuts_and_sources_are_of_the_new_frame(skyfill_main, folder, start, frame):
    words = ("mask", f"mask_{start}.fits".lower(), "--rotate", frame, "--galactic-cut", 25)
    more = ("--sources", "radec.csv", "--radius-arcmin", 150)
    assert skyfill_main(*words, *more, "-o", "out.fits", "-q").status == 0
    observed = skyfill.read_mask("out.fits")
    names = {"G": "galactic", "C": "icrs", "E": "barycentricmeanecliptic"}
    sources = SkyCoord(LON, LAT, unit="deg", frame="icrs").transform_to(names[frame]).spherical
    there = healpy.ang2pix(NSIDE, sources.lon.deg, sources.lat.deg, lonlat=True)
    assert not observed[there].any()
    lon, lat = healpy.pix2ang(NSIDE, np.arange(observed.size), lonlat=True)
    galactic = SkyCoord(lon, lat, unit="deg", frame=names[frame]).galactic
    assert not observed[np.abs(galactic.b.deg) < 25].any()
    assert observed[np.abs(galactic.b.deg) > 25.1].mean() > 0.7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("mask_none.fits", "--galactic-cut", 20),
            "mask_none.fits is in no named frame, and --gal",
        ),
        (("--map", "map_none.fits", "--galactic-cut", 20), "map_none.fits is in no named frame"),
        (
            ("mask_none.fits", "--sources", "radec.csv"),
            "radec.csv: positions are equatorial",
        ),
        (
            ("--map", "map_none.fits", "--sources", "radec.csv"),
            "frame of the map is unknown; pass --frame G",
        ),
        (
            ("mask_g.fits", "--frame", "C"),
            "mask_g.fits is in Galactic coordinates (G) by its header",
        ),
        (
            ("--map", "map_e.fits", "--frame", "C"),
            "map_e.fits is in ecliptic coordinates (E) by its header",
        ),
        (("mask_g.fits", "--map", "map_c.fits"), "rotate the mask to the map's frame: --rotate C"),
        (("mask_g.fits", "--rotate", "C", "--map", "map_g.fits"), "mask_g.fits in C, to which"),
        (
            ("mask_g.fits", "--rotate", "C", "--map", "map_none.fits"),
            "map_none.fits is in no named frame",
        ),
        (("--rotate", "C", "--map", "map_g.fits"), "--rotate needs a mask to work on"),
        (("--nside", 8, "--rotate", "C"), "--rotate needs a mask to work on; give MASK"),
        (("mask_g.fits", "--rotate-by", "centres"), "pass --rotate FRAME as well"),
        (("mask_g.fits", "--rotate", "supergalactic"), "no frame is called 'supergalactic'"),
        (("mask_g.fits", "--frame", "FK4"), "no frame is called 'FK4'"),
        (("--map", "map_g.fits", "--nside", 8), "map_g.fits: Nside 32, --nside says 8"),
        (("mask_g.fits", "--nside", 16, "--map", "map_g.fits"), "the mask has Nside 16"),
        (("mask_g.fits", "--map", "map_small.fits"), "but the mask has Nside 32"),
        (("mask_g.fits", "--nside", 12), "power of two"),
        (("mask_g.fits", "--keep-share", 0.5), "--nside N"),
        (("--nside", 8, "--keep-share", 0.5), "give MASK"),
        (("mask_g.fits", "--nside", 64, "--keep-share", 0.5), "has Nside 32, not above --nside 64"),
        (("mask_g.fits", "--nside", 16, "--keep-share", 1.5), "at most 1"),
        (("soft.fits",), "(apodised?); pass --threshold X (observed above X), or --as-weights"),
        (("soft.fits", "--as-weights", "--threshold", 0.5), "--threshold makes a mask of 0 and 1"),
        (("soft.fits", "--as-weights", "--grow-arcmin", 9), "--grow-arcmin makes a mask"),
        (("soft.fits", "--as-weights", "--fill-islands", 9), "--fill-islands makes a mask"),
        (("--as-weights", "--nside", 8), "--as-weights needs a mask to work on"),
    ],
)
def test_what_cannot_be_meant_is_refused(skyfill_main, folder, words, message):
    radius = ("--radius-arcmin", 60) if "--sources" in words else ()
    before = sorted(path.name for path in folder.iterdir())
    outcome = skyfill_main("mask", *words, *radius, "-o", "out.fits", "-q")
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.out == ""
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ("--galactic-cut", 20),
        ("--sources", "radec.csv", "--radius-arcmin", 60),
        ("--rotate", "C"),
        ("--map", "map_g.fits"),
    ],
)
def test_an_unknown_frame_is_asked_for_where_it_matters(skyfill_main, folder, words):
    fits.setval("mask_g.fits", "COORDSYS", value="SUPERGALACTIC", ext=1)
    outcome = skyfill_main("mask", "mask_g.fits", *words, "-o", "out.fits", "-q")
    assert outcome.status == 2
    assert "pass --frame G" in outcome.err
    if "--sources" not in words:
        assert "mask_g.fits is in an unknown frame" in outcome.err
        assert "SUPERGALACTIC" in outcome.err
    outcome = skyfill_main("mask", "mask_g.fits", *words, "--frame", "G", "-o", "out.fits", "-q")
    assert outcome.status == 0, outcome.err


@pytest.mark.parametrize("words", [("mask_none.fits",), ("--map", "map_none.fits")])
def test_frame_says_where_the_galaxy_is(skyfill_main, folder, words):
    more = ("--frame", "C", "--galactic-cut", 25, "-o", "out.fits", "-q")
    assert skyfill_main("mask", *words, *more).status == 0
    assert frame_of("out.fits") == "C"
    cut = skyfill.galactic_cut(NSIDE, np.radians(25), coord="C")
    assert not skyfill.read_mask("out.fits")[~cut].any()


def test_positions_in_the_masks_own_frame_need_none(skyfill_main, folder):
    words = ("mask", "mask_none.fits", "--sources", "own.csv", "--radius-arcmin", 60)
    outcome = skyfill_main(*words, "-o", "out.fits", "-q")
    assert outcome.status == 0, outcome.err
    assert "frame: mask_none.fits is in no named frame (--frame sets it)" in outcome.out
    assert frame_of("out.fits") is None
    there = healpy.ang2pix(NSIDE, LON, LAT, lonlat=True)
    assert not skyfill.read_mask("out.fits")[there].any()


def test_a_whole_sky_is_galactic_unless_told(skyfill_main, folder):
    words = ("mask", "--nside", 16, "--galactic-cut", 20, "-o", "out.fits", "-q", "--overwrite")
    assert "frame: G, since no file names a frame" in skyfill_main(*words).out
    assert frame_of("out.fits") == "G"
    outcome = skyfill_main(*words, "--frame", "E")
    assert "frame:" not in outcome.out
    assert frame_of("out.fits") == "E"
    expected = skyfill.galactic_cut(16, np.radians(20), coord="E")
    np.testing.assert_array_equal(skyfill.read_mask("out.fits"), expected)


@pytest.mark.parametrize(
    ("mask", "sky", "frame", "silent"),
    [("mask_none", "map_c", "C", "mask_none"), ("mask_e", "map_none", "E", "map_none")],
)
def test_what_is_assumed_of_a_file_is_said(skyfill_main, folder, mask, sky, frame, silent):
    words = ("mask", f"{mask}.fits", "--map", f"{sky}.fits", "-o", "out.fits", "-q")
    outcome = skyfill_main(*words)
    assert outcome.status == 0
    assert f"assumed: {silent}.fits names no frame; the frame of" in outcome.out
    assert frame_of("out.fits") == frame
    expected = skyfill.read_mask(f"{mask}.fits")
    expected &= np.isfinite(skyfill.read_map(f"{sky}.fits").values)
    np.testing.assert_array_equal(skyfill.read_mask("out.fits"), expected)


def test_a_turned_mask_goes_with_a_map_of_the_new_frame(skyfill_main, folder):
    words = ("mask", "mask_g.fits", "--rotate", "C", "--map", "map_c.fits", "-o", "out.fits")
    assert skyfill_main(*words, "-q").status == 0
    expected = skyfill.rotate_mask(skyfill.read_mask("mask_g.fits"), "G", "C")
    expected &= np.isfinite(skyfill.read_map("map_c.fits").values)
    np.testing.assert_array_equal(skyfill.read_mask("out.fits"), expected)


# --- resolutions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "share", "said"),
    [((), 1.0, "all 16 pixels"), (("--keep-share", 0.5), 0.5, "at least 0.5 of 16 pixels")],
)
def test_a_mask_becomes_coarser(skyfill_main, folder, words, share, said):
    outcome = skyfill_main("mask", "mask_g.fits", "--nside", 8, *words, "-o", "out.fits", "-q")
    assert outcome.status == 0, outcome.err
    assert f"resolution: Nside 8 from 32: observed if {said} in it are observed" in outcome.out
    mean = healpy.ud_grade(skyfill.read_mask("mask_g.fits").astype(float), 8)
    np.testing.assert_array_equal(skyfill.read_mask("out.fits"), mean >= share)
    assert fits.getheader("out.fits", 1)["SFREGRAD"] == "Nside 8 from 32"
    assert frame_of("out.fits") == "G"


def test_a_mask_becomes_finer(skyfill_main, folder):
    outcome = skyfill_main("mask", "mask_c.fits", "--nside", 64, "-o", "out.fits", "-q")
    assert "Nside 64 from 32: each pixel copies its parent pixel" in outcome.out
    expected = healpy.ud_grade(skyfill.read_mask("mask_c.fits").astype(float), 64) == 1
    np.testing.assert_array_equal(skyfill.read_mask("out.fits"), expected)


@pytest.mark.parametrize("nside", [16, 64])
def test_a_mask_is_turned_at_the_finer_resolution(skyfill_main, folder, nside):
    words = ("mask", "mask_g.fits", "--nside", nside, "--rotate", "E", "-o", "out.fits", "-q")
    assert skyfill_main(*words).status == 0
    mask = skyfill.read_mask("mask_g.fits")
    first = skyfill.rotate_mask(mask if nside < NSIDE else skyfill.regrade_mask(mask, 64), "G", "E")
    expected = skyfill.regrade_mask(first, nside)
    np.testing.assert_array_equal(skyfill.read_mask("out.fits"), expected)


def test_its_own_nside_changes_nothing(skyfill_main, folder):
    words = ("mask", "mask_g.fits", "--nside", NSIDE, "--rotate", "G", "-o", "out.fits", "-q")
    assert "rotated: not needed: mask_g.fits is in G already" in skyfill_main(*words).out
    expected = skyfill.read_mask("mask_g.fits")
    np.testing.assert_array_equal(skyfill.read_mask("out.fits"), expected)


# --- weights ------------------------------------------------------------------------------------


def test_weights_stay_weights(skyfill_main, folder):
    words = ("mask", "soft.fits", "--as-weights", "--rotate", "C", "--galactic-cut", 20)
    outcome = skyfill_main(*words, "-o", "out.fits", "-q")
    assert outcome.status == 0, outcome.err
    assert "weights from 0 to 1, mean 0." in outcome.out
    assert "rotated: G to C in harmonics" in outcome.out
    expected = skyfill.rotate_mask(skyfill.read_weights("soft.fits"), "G", "C")
    expected = expected * skyfill.galactic_cut(NSIDE, np.radians(20), coord="C")
    np.testing.assert_allclose(skyfill.read_weights("out.fits"), expected, atol=1.1e-4)
    header = fits.getheader("out.fits", 1)
    assert (header["TTYPE1"], header["COORDSYS"]) == ("WEIGHT", "C")


def test_weights_become_coarser(skyfill_main, folder):
    words = ("mask", "soft.fits", "--as-weights", "--nside", 16, "-o", "out.fits", "--json", "-q")
    outcome = skyfill_main(*words)
    expected = skyfill.regrade_mask(skyfill.read_weights("soft.fits"), 16)
    np.testing.assert_allclose(skyfill.read_weights("out.fits"), expected, atol=1.1e-4)
    assert json.loads(outcome.out)["mean_weight"] == pytest.approx(expected.mean())
    assert json.loads(outcome.out)["fsky"] == pytest.approx(np.mean(expected > 0))


def test_weights_of_zero_and_one_are_a_mask(skyfill_main, folder):
    words = ("mask", "mask_g.fits", "--rotate", "C", "-q")
    assert skyfill_main(*words, "-o", "out.fits").status == 0
    outcome = skyfill_main(*words, "--as-weights", "-o", "weights.fits")
    assert "by pixel centres" in outcome.out
    assert fits.getheader("weights.fits", 1)["TTYPE1"] == "TMASK"
    np.testing.assert_array_equal(*map(skyfill.read_mask, ("out.fits", "weights.fits")))


def test_a_threshold_makes_a_mask_before_all_else(skyfill_main, folder):
    words = ("mask", "soft.fits", "--threshold", 0.8, "--nside", 16, "-o", "out.fits", "-q")
    assert skyfill_main(*words).status == 0
    expected = skyfill.regrade_mask(skyfill.read_mask("soft.fits", threshold=0.8), 16)
    np.testing.assert_array_equal(skyfill.read_mask("out.fits"), expected)
