"""`skyfill inpaint` with images in CAR: files come back as they were, but for their holes."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from skyfill.cli import images
from skyfill.cli.main import build_parser

SIDE = 80
PRIOR = ("--beam-arcmin", 0, "--noise-uk-arcmin", 600)


def header_of(shift=0.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---CAR", "DEC--CAR"], [-0.1, 0.1]
    wcs.wcs.crval, wcs.wcs.crpix = [10, 0], [40 + shift, 40]
    return wcs.to_header()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    image = rng.normal(0, 100, (SIDE, SIDE)).astype(">f4")
    image[:4] = np.nan
    mask = np.isfinite(image)
    mask[38:42, 38:42] = False
    top = header_of()
    top["BUNIT"], top["TELESCOP"] = "uK", ("ACT", "a card of its own")
    fits.PrimaryHDU(image, top).writeto(path / "map.fits")
    cube = np.stack([image, 0 * image + 2, 0 * image + 3])
    rest = fits.ImageHDU(np.arange(5), name="REST")
    both = [fits.PrimaryHDU(), fits.ImageHDU(cube, top, name="MAP"), rest]
    fits.HDUList(both).writeto(path / "cube.fits")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, top), fits.ImageHDU(image, top)]).writeto(
        path / "two.fits"
    )
    fits.PrimaryHDU((1e3 * np.nan_to_num(image)).astype(np.int32), top).writeto(path / "int.fits")
    fits.PrimaryHDU(mask.astype(np.uint8), header_of()).writeto(path / "mask.fits")
    fits.PrimaryHDU(mask.astype(np.uint8), header_of(1)).writeto(path / "shifted.fits")
    fits.PrimaryHDU(mask[1:].astype(np.uint8), header_of()).writeto(path / "small.fits")
    fits.PrimaryHDU(0.7 * mask, header_of()).writeto(path / "weights.fits")
    ivar = np.where(mask, 1e-4, 0).astype(np.float32)
    fits.PrimaryHDU(ivar, header_of()).writeto(path / "ivar.fits")
    kelvin = header_of()
    kelvin["BUNIT"] = "1/K^2"
    fits.PrimaryHDU(1e12 * ivar, kelvin).writeto(path / "kelvin.fits")
    kelvin["BUNIT"] = "uK^2"
    fits.PrimaryHDU(ivar, kelvin).writeto(path / "variance.fits")
    plain = header_of()
    fits.PrimaryHDU(image, plain).writeto(path / "nounit.fits")
    (path / "cl.txt").write_text("".join(f"{ell} {1e-9 / (ell + 1)}\n" for ell in range(2, 3000)))
    return path


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    for file in made.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cl():
    return ("--cl", "cl.txt", "--cl-extend")


def inpaint(run, *words):
    return run("inpaint", *words, *cl(), "-q")


def test_an_image_is_filled_and_nothing_else_changes(folder, skyfill_main):
    done = skyfill_main(
        "inpaint", "map.fits", "mask.fits", "-o", "out.fits", *PRIOR, *cl(), "--json", "-q"
    )
    assert done.status == 0, done.err
    said = json.loads(done.out)
    assert said["filled_pixels"] == 16
    assert said["outside_pixels"] == 4 * SIDE
    with fits.open("map.fits") as old, fits.open("out.fits", checksum=True) as new:
        before, after = old[0].data, new[0].data
        assert after.dtype == before.dtype
        changed = before.view(">u4") != after.view(">u4")
        assert changed[38:42, 38:42].all()
        assert changed.sum() == 16
        assert np.isfinite(after[38:42, 38:42]).all()
        for card in old[0].header.cards:
            assert new[0].header[card.keyword] == card.value
        assert new[0].header["SFFILL"] == "realization 0"
        assert new[0].header["SFMETHOD"] == "gaussian"
        assert "skyfill inpaint map.fits" in "".join(new[0].header["HISTORY"])


def test_the_planes_of_a_cube_and_other_hdus_stay(folder, skyfill_main):
    refused = inpaint(skyfill_main, "cube.fits", "mask.fits", "-o", "out.fits.gz", *PRIOR)
    assert refused.status == 2
    assert "a cube of 3 planes; pass --stokes T" in refused.err
    words = ("--stokes", "T", "--mean", "--ivar", "ivar.fits", "--beam-arcmin", 0)
    done = inpaint(skyfill_main, "cube.fits", "mask.fits", "-o", "out.fits.gz", *words)
    assert done.status == 0, done.err
    assert "plane 0 of 3 (T) filled, others unchanged" in done.out
    with fits.open("cube.fits") as old, fits.open("out.fits.gz") as new:
        before, after = old["MAP"].data, new["MAP"].data
        assert (before.view(">u4") != after.view(">u4")).sum() == 16
        assert np.array_equal(before[1:], after[1:], equal_nan=True)
        assert np.array_equal(old["REST"].data, new["REST"].data)


def test_the_unit_of_the_inverse_variance_is_read(folder, skyfill_main):
    for name in ("ivar", "kelvin"):
        words = ("--mean", "--ivar", f"{name}.fits", "--beam-arcmin", 0)
        assert (
            inpaint(skyfill_main, "map.fits", "mask.fits", "-o", f"{name}_.fits", *words).status
            == 0
        )
    one, two = fits.getdata("ivar_.fits"), fits.getdata("kelvin_.fits")
    np.testing.assert_allclose(one, two, rtol=1e-4)


def test_realizations_and_std_are_written(folder, skyfill_main):
    words = ("--realizations", 2, "--std", "std.fits", "--seed", 3)
    done = inpaint(skyfill_main, "map.fits", "mask.fits", "-o", "out.fits", *PRIOR, *words)
    assert done.status == 0, done.err
    one, two = fits.getdata("out_000.fits"), fits.getdata("out_001.fits")
    hole = np.s_[38:42, 38:42]
    assert np.abs(one - two)[hole].min() > 0
    std = fits.getdata("std.fits")[hole]
    assert (np.abs(std - 100) < 1).all()  # noise of 600 uK.arcmin in pixels of 6 arcmin


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("map.fits", "shifted.fits", *PRIOR), "another WCS: its pixels lie up to 1 pixels away"),
        (("map.fits", "small.fits", *PRIOR), "has 80 x 79 pixels, not 80 x 80"),
        (("map.fits", "weights.fits", *PRIOR), "pass --threshold X"),
        (("two.fits", "mask.fits", *PRIOR), "in HDUs 1, 2; choose one by --hdu"),
        (("int.fits", "mask.fits", *PRIOR), "stores its pixels as integers"),
        (("nounit.fits", "mask.fits", *PRIOR), "names no unit (BUNIT); pass --unit K"),
        (("map.fits", "mask.fits"), "the beam of an image is not fitted"),
        (("map.fits", "mask.fits", "--beam-arcmin", 0), "the noise of an image is not fitted"),
        (("map.fits", "mask.fits", *PRIOR, "--ivar", "ivar.fits"), "both give the noise"),
        (("map.fits", "mask.fits", *PRIOR, "--stokes", "TQU"), "in temperature only"),
        (("map.fits", "mask.fits", *PRIOR, "--method", "vae"), "--method is not for images"),
        (
            ("map.fits", "mask.fits", "--beam-arcmin", 0, "--ivar", "variance.fits"),
            "which is no inverse variance",
        ),
        (
            ("map.fits", "mask.fits", "--beam-arcmin", 0, "--noise-uk-arcmin", 60),
            "times larger than spectrum, beam and noise say",
        ),
    ],
)
def test_what_does_not_fit_is_refused(folder, skyfill_main, words, message):
    done = inpaint(skyfill_main, *words, "-o", "out.fits")
    assert done.status == 2
    (line,) = done.err.strip().splitlines()
    assert message in line
    assert not (folder / "out.fits").exists()


def test_the_inverse_variance_of_a_healpix_map_is_refused(folder, many, skyfill_main):
    (folder / "sky.fits").symlink_to(many / "sims" / "a.fits")
    done = inpaint(skyfill_main, "sky.fits", "mask.fits", "-o", "o.fits", "--ivar", "ivar.fits")
    assert done.status == 2
    assert "for a HEALPix map pass --noise-map" in done.err


#: Options that images have.
OWN = """
    map mask output overwrite json quiet threads seed mean realizations std holes unit hdu stokes
    threshold invert trust_prior version cl dl cl_column cl_unit cl_hdu cl_extend beam beam_arcmin
    beam_squared beam_column beam_hdu noise_uk_arcmin ivar run help command config write_config
""".split()  # noqa: SIM905


def test_every_option_is_used_or_refused():
    args = vars(build_parser().parse_args(["inpaint", "map", "mask", "-o", "out"]))
    assert set(args) <= {*OWN, *images._OTHERS}
    for name, (silent, _) in images._OTHERS.items():
        assert args[name] == silent
