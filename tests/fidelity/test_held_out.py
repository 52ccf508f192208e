"""Held-out holes, and what a validation by them says."""

import math

import healpy
import numpy as np
import pytest

import skyfill
from skyfill.fidelity import held_out_holes, validate
from skyfill.holes import label_holes
from skyfill.prior import ARCMIN, Prior, draw, lcdm

NSIDE = 64


@pytest.fixture(scope="module")
def observed():
    """A band, ten discs, an L of two bars, and a hole of one pixel."""
    mask = skyfill.simulate_mask(NSIDE, seed=5, n_holes=10, radii=(0.04, 0.08))
    lon, lat = healpy.pix2ang(NSIDE, np.arange(mask.size), lonlat=True)
    mask &= ~((abs(lon - 80) < 9) & (abs(lat - 50) < 2))
    mask &= ~((abs(lon - 73) < 2) & (abs(lat - 56) < 8))
    mask[healpy.ang2pix(NSIDE, 200, -50, lonlat=True)] = False
    return mask


def test_copies_touch_nothing(observed):
    found = held_out_holes(observed, seed=1)
    assert not (found.held_out & ~observed).any()
    assert found.held_out.sum() <= 0.05 * observed.sum() * 1.05
    assert found.held_out.sum() > 0.02 * observed.sum()
    # Holes of both together are those of the mask and the copies, one by one.
    ours = label_holes(observed & ~found.held_out)
    theirs = label_holes(observed)
    assert ours.sizes.size == theirs.sizes.size + found.sizes.size
    assert sorted(ours.sizes.tolist()) == sorted([*theirs.sizes.tolist(), *found.sizes.tolist()])
    np.testing.assert_array_equal(np.bincount(found.labels[found.held_out]), found.sizes)


def test_copies_have_the_shapes_of_their_holes(observed):
    """Area and second moments are kept by a rotation, up to pixels at the rim."""
    found = held_out_holes(observed, seed=1, share=0.15)
    holes = label_holes(observed)
    whole = np.flatnonzero(~found.pieces)
    assert {int(holes.sizes[hole]) for hole in found.sources[whole]} >= {1}

    def moments(pixels):
        v = np.array(healpy.pix2vec(NSIDE, pixels)).T
        return np.linalg.eigvalsh(np.cov(v.T))[1:] if len(v) > 20 else np.zeros(2)

    for copy in whole:
        original = np.flatnonzero(holes.labels == found.sources[copy])
        pixels = np.flatnonzero(found.labels == copy)
        assert abs(pixels.size - original.size) <= 1 + math.sqrt(original.size)
        np.testing.assert_allclose(moments(pixels), moments(original), rtol=0.3)


def test_a_band_lends_discs(observed):
    found = held_out_holes(observed, seed=1)
    assert found.pieces.any()
    deepest = skyfill.distance_to_edge(observed).max()
    for piece in np.flatnonzero(found.pieces):
        assert found.radii[piece] <= deepest
        area = 2 * math.pi * (1 - math.cos(found.radii[piece]))
        assert found.sizes[piece] == pytest.approx(area * observed.size / (4 * math.pi), rel=0.1)
        centre = healpy.ang2pix(NSIDE, *np.degrees(found.centres[piece]), lonlat=True)
        assert found.labels[centre] == piece


def test_a_seed_is_a_choice(observed):
    one, same, other = (held_out_holes(observed, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.labels, same.labels)
    assert not np.array_equal(one.labels, other.labels)
    few = held_out_holes(observed, holes=4, seed=1)
    assert few.sizes.size == 4
    assert [*few.as_list()[0]] == ["lon_deg", "lat_deg", "pixels", "radius_deg", "piece"]


def test_no_clean_sky_is_refused(observed):
    narrow = np.zeros_like(observed)
    narrow[5000:5100] = True
    with pytest.raises(ValueError, match="no clean place"):
        held_out_holes(narrow)
    with pytest.raises(ValueError, match="without holes"):
        held_out_holes(np.ones_like(observed))
    with pytest.raises(ValueError, match=r"at most 0\.5"):
        held_out_holes(observed, share=0.7)


def test_validation_needs_no_truth():
    """Held-out values of a right fill are as far off as the realizations say."""
    nside = 32
    prior = Prior(nside, lcdm(), fwhm=300 * ARCMIN, noise_uk_arcmin=300)
    observed = skyfill.simulate_mask(nside, seed=3, n_holes=40, radii=(0.05, 0.1))
    sky = draw(prior, seed=21, aliased=True)
    words = {"prior": prior, "method": "gaussian", "realizations": 8, "share": 0.12, "threads": 1}
    found = validate(np.where(observed, sky, np.nan), observed, seed=2, **words)
    for name in ("z_width", "coverage_68", "rms_over_expected"):
        figure = found.figures[name]
        assert abs(figure.value - figure.expected) < 4 * figure.error
    assert found.scores.pixels.tolist() == np.flatnonzero(found.holes.held_out).tolist()
    assert found.filler.holes.sum() == (~observed).sum() + found.holes.sizes.sum()
    said = found.as_dict()
    assert {"z_width", "coverage_68", "coverage_95", "rms_uk", "verdict"} <= set(said)
    assert len(said["holes"]) == said["held_out"] == found.holes.sizes.size
    pixels = [row["pixels"] for row in said["holes"]]
    squares = [row["pixels"] * row["rms_uk"] ** 2 for row in said["holes"]]
    # Rms of holes add up, as far as corrections for few realizations did not make one imaginary.
    assert math.sqrt(sum(squares) / sum(pixels)) == pytest.approx(said["rms_uk"], rel=0.05)
    # A prior that believes in four times the power has error bars too wide.
    loud = Prior(nside, 4 * lcdm(), fwhm=300 * ARCMIN, noise_uk_arcmin=600)
    with pytest.warns(UserWarning, match="the prior may not describe the observed sky"):
        wide = validate(sky, observed, seed=2, **{**words, "prior": loud, "trust_prior": True})
    assert wide.figures["z_width"].value < 0.65
    assert wide.figures["z_width"].verdict == wide.verdict == "bad"


def test_what_cannot_be_validated(observed):
    sky = np.zeros(observed.size)
    with pytest.raises(ValueError, match="2 realizations"):
        validate(sky, observed, realizations=1)
    with pytest.raises(ValueError, match="no spread"):
        validate(sky, observed, method="diffuse")
    with pytest.raises(ValueError, match="noise"):
        validate(sky, observed, fill="signal")
