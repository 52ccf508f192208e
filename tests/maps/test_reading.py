"""Which files go together: Nside and frame, of maps, masks and noise."""

import re

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

import skyfill
from skyfill.maps import place_of, read_map, write_filled, write_map

NPIX = 12 * 4**2
FRAMES = {"G": "Galactic", "E": "ecliptic", "C": "equatorial"}


def a_map(path, coord, *, npix=NPIX, word=None, **options):
    write_map(path, np.arange(npix) - 90.0, coord=coord, **options)
    if word is not None:
        fits.setval(path, "COORDSYS", value=word, ext=1)
    return path


def a_mask(path, coord, **options):
    write_map(
        path, np.arange(NPIX) % 5 > 0, column="M", unit="", dtype="uint8", coord=coord, **options
    )
    return path


@pytest.mark.parametrize("theirs", ["G", "E", "C", None])
@pytest.mark.parametrize("ours", ["G", "E", "C", None])
def test_frames_must_agree_whichever_is_read_first(tmp_path, ours, theirs):
    sky = a_map(tmp_path / "map.fits", ours)
    mask = a_mask(tmp_path / "mask.fits", theirs)
    std = a_map(tmp_path / "std.fits", theirs, column="STD")
    write_map(tmp_path / "noise.fits", np.arange(NPIX) + 1.0, column="STD", coord=theirs)
    read = read_map(sky)

    def calls():
        yield lambda: read_map(sky, like=mask)
        yield lambda: skyfill.read_mask(mask, like=read)
        yield lambda: skyfill.read_weights(mask, like=read)
        yield lambda: read_map(std, like=read)
        yield lambda: skyfill.read_noise(tmp_path / "noise.fits", like=read)

    for call in calls():
        if None in (ours, theirs) or ours == theirs:
            call()
            continue
        with pytest.raises(ValueError, match="coordinates") as caught:
            call()
        for path, frame in ((sky, ours), (caught.value.args[0].split()[0], theirs)):
            assert str(path) in str(caught.value)
            assert f"{FRAMES[frame]} coordinates ({frame})" in str(caught.value)
    if None not in (ours, theirs) and ours != theirs:
        rotate = re.escape(f"`skyfill.rotate_mask(observed, {theirs!r}, {ours!r})`")
        for call in (lambda: read_map(sky, like=mask), lambda: skyfill.read_mask(mask, like=read)):
            with pytest.raises(ValueError, match=rotate):
                call()


def test_an_unknown_frame_matters_beside_another(tmp_path):
    odd = a_map(tmp_path / "odd.fits", "G", word="Sideways")
    twin = a_map(tmp_path / "twin.fits", "G", word="Sideways")
    known = read_map(a_map(tmp_path / "map.fits", "G"))
    read = read_map(odd)
    assert read.coord is None
    assert "Sideways" in read.unknown_frame
    with pytest.raises(
        ValueError, match=r"odd.fits .*unknown frame \(COORDSYS = 'Sideways'\).*`frame`"
    ):
        read_map(odd, like=known)
    assert read_map(odd, like=known, frame="galactic").coord == "G"
    with pytest.raises(ValueError, match="in equatorial coordinates"):
        read_map(odd, like=known, frame="C")
    assert read_map(twin, like=read).unknown_frame
    assert read_map(twin, like=read_map(a_map(tmp_path / "bare.fits", None))).unknown_frame


def test_a_given_frame_is_for_an_unknown_mask_too(tmp_path):
    mask = a_mask(tmp_path / "mask.fits", "G")
    fits.setval(mask, "COORDSYS", value="Sideways", ext=1)
    sky = a_map(tmp_path / "map.fits", "G")
    with pytest.raises(ValueError, match="Sideways"):
        read_map(sky, like=mask)
    assert read_map(sky, like=mask, frame="G").coord == "G"


@pytest.mark.parametrize("word", ["C", "ICRS", "Equatorial", "radec"])
def test_a_given_frame_does_not_contradict_the_file(tmp_path, word):
    path = a_map(tmp_path / "map.fits", "G")
    with pytest.raises(ValueError, match=r"in Galactic coordinates \(G\) by its header"):
        read_map(path, frame=word)
    with pytest.raises(ValueError, match="by its header"):
        skyfill.read_mask(a_mask(tmp_path / "mask.fits", "G"), frame=word)
    assert read_map(path, frame="gal").coord == "G"
    assert read_map(a_map(tmp_path / "bare.fits", None), frame=word).coord == "C"
    with pytest.raises(ValueError, match="'up' is not a known frame; pass `frame"):
        read_map(path, frame="up")


def test_a_given_frame_is_written(tmp_path):
    for name, word in (("bare", None), ("odd", "Sideways")):
        path = a_map(tmp_path / f"{name}.fits", "G", word=word)
        if word is None:
            fits.delval(path, "COORDSYS", ext=1)
        sky = read_map(path, frame="equatorial")
        holes = np.arange(NPIX) < 5
        write_filled(tmp_path / "out.fits", sky, np.zeros(NPIX), holes, provenance={}, history=[],
                     overwrite=True)  # fmt: skip
        assert fits.getval(tmp_path / "out.fits", "COORDSYS", ext=1) == "C"
        assert read_map(tmp_path / "out.fits").coord == "C"


def test_nside_must_agree(tmp_path):
    sky = read_map(a_map(tmp_path / "map.fits", "G"))
    small = a_map(tmp_path / "small.fits", "G", npix=48)
    with pytest.raises(ValueError, match=r"small.fits has Nside 2, .*map.fits has Nside 4"):
        read_map(small, like=sky)
    with pytest.raises(ValueError, match=r"small.fits has Nside 2, .*mask.fits has Nside 4"):
        read_map(small, like=a_mask(tmp_path / "mask.fits", None))


def test_a_place_is_read_from_headers_alone(tmp_path):
    path = a_map(tmp_path / "map.fits", "E")
    place = place_of(path)
    assert (place.nside, place.frame.coord, place.path) == (4, "E", path)
    assert place_of(a_map(tmp_path / "bare.fits", None), frame="G").frame.coord == "G"


def test_another_nside_in_ring_order_is_refused_with_a_mend_that_works(tmp_path):
    """12 is no power of two; the line of Python that the message gives makes a map that is read."""
    theta, _ = hp.pix2ang(12, np.arange(12 * 12**2))
    sky = 100 * np.cos(theta)
    sky[700:720] = np.nan
    skyfill_map = tmp_path / "map.fits"
    hp.write_map(skyfill_map, sky, column_units="uK", dtype=np.float64, fits_IDL=False)
    with pytest.raises(ValueError, match="Nside 12 does not allow: interpolate map") as caught:
        read_map(skyfill_map)
    command = str(caught.value).rpartition("in Python: ")[2]
    whole = eval(command, {"healpy": hp, "m": sky, "range": range})
    assert whole.size == 12 * 16**2
    hp.write_map(skyfill_map, whole, column_units="uK", dtype=np.float64, overwrite=True)
    found = read_map(skyfill_map)
    seen = np.isfinite(found.values)
    assert 20 < (~seen).sum() < 120
    truth = 100 * np.cos(hp.pix2ang(16, np.arange(whole.size))[0])
    np.testing.assert_allclose(found.values[seen], truth[seen], atol=1.5)
    with pytest.raises(ValueError, match="interpolate map") as caught:
        skyfill.fill(sky, np.ones(sky.size))
