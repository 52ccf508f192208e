"""A network of tiles on the sphere."""

import healpy as hp
import numpy as np
import pytest
import torch

from skyfill import Inpainter, cosmovae
from skyfill.cosmovae import CosmoArchitecture, CosmoVAE, tilefill
from skyfill.cosmovae.tilefill import TileFill
from skyfill.holes import discs

NSIDE = 64


@pytest.fixture(scope="module")
def observed():
    return discs(NSIDE, [0.3, 2.0, 4.0], [0.1, -0.9, 0.0], np.array([0.1, 0.05, 0.4]))


def smooth(nside):
    x, y, z = hp.pix2vec(nside, np.arange(12 * nside**2))
    return 100 * x * y + 30 * z


def weights(folder, name="one", *, seed=1, projection="gnomonic"):
    """An untrained network, in a file."""
    torch.manual_seed(seed)
    network = CosmoVAE(CosmoArchitecture((4, 4, 4, 4, 4, 4), latent=8), torch.ones(8))
    with torch.no_grad():
        network.from_latent.weight.mul_(100)  # an untrained one hardly hears its latent vector
    about = {"rms_uk": 50.0, "projection": projection, "size": 32, "pixel_arcmin": 40.0}
    path = folder / f"{name}.safetensors"
    cosmovae.save(network, path, about={"training": about, "measured": {}})
    return path


@pytest.mark.parametrize("boxes", [False, True])
def test_tiles_that_know_the_truth_give_it_back(observed, boxes):
    """An engine that leaves the map as it is: what is left is interpolation."""
    truth = smooth(NSIDE)

    def engine(tiles, known, *, seed, first):
        assert tiles.shape[1:] == known.shape[1:] == (32, 32)
        return tiles.astype(np.float32)

    fill = TileFill(observed, engine, side=32, pixel_arcmin=40.0, boxes=boxes)
    fill._observed = np.ones_like(observed)  # what the engine may see
    found = fill.mean(truth)
    assert np.abs(found - truth[~observed]).max() < 0.6


def test_engines_are_told_what_is_known(observed, monkeypatch):
    monkeypatch.setattr(tilefill, "_AT_ONCE", 3)
    seen = []

    def engine(tiles, known, *, seed, first):
        seen.append((len(tiles), seed, first, known.mean()))
        return np.where(known, tiles, 7.0).astype(np.float32)

    fill = TileFill(observed, engine, side=32, pixel_arcmin=40.0)
    values = np.where(observed, 7.0, np.nan)
    np.testing.assert_allclose(fill.sample(values, (4, 5)), 7.0)
    counts, seeds, firsts, shares = zip(*seen, strict=True)
    assert set(seeds) == {(4, 5)}
    assert firsts == tuple(range(0, sum(counts), 3))
    assert 0 < min(shares) < 1


@pytest.mark.parametrize("projection", ["gnomonic", "cartesian"])
def test_one_seed_gives_one_sky(observed, tmp_path, projection):
    path = weights(tmp_path, projection=projection)
    values = np.where(observed, smooth(NSIDE), np.nan)
    fills = [
        Inpainter(values, observed, method="cosmovae", weights=path, seed=3, batch_size=n)
        for n in (1, 5)
    ]
    first, again = (fill.realization(1) for fill in fills)
    assert np.isfinite(first).all()
    np.testing.assert_allclose(first, again, rtol=0, atol=1e-3)
    assert np.abs(first - fills[0].realization(2)).max() > 1e-2
    assert np.abs(first - fills[0].mean()).max() > 1e-2
    assert fills[0].prior is None
    assert fills[0].card.name == "one"


def test_members_of_an_ensemble_take_turns(observed, tmp_path):
    paths = [weights(tmp_path, name, seed=k) for k, name in enumerate(("one", "two"))]
    values = np.where(observed, smooth(NSIDE), np.nan)
    both = Inpainter(values, observed, method="cosmovae", weights=paths)
    for index in range(3):
        alone = Inpainter(values, observed, method="cosmovae", weights=paths[index % 2])
        np.testing.assert_array_equal(both.realization(index), alone.realization(index))


@pytest.mark.filterwarnings("ignore:the prior may not describe")
def test_what_says_nothing_together_is_refused(observed, tmp_path):
    values = np.where(observed, smooth(NSIDE), np.nan)
    path = weights(tmp_path)
    with pytest.raises(ValueError, match="no prior to polish"):
        Inpainter(values, observed, method="cosmovae", weights=path, polish=1)
    with pytest.raises(ValueError, match="one file of weights"):
        Inpainter(values, observed, weights=[path, path], trust_prior=True)
    with pytest.raises(ValueError, match="not of a tilevae"):
        Inpainter(values, observed, weights=path, trust_prior=True)


def test_weights_of_another_resolution_are_told_of(observed):
    values = np.where(observed, smooth(NSIDE), np.nan)
    with pytest.warns(UserWarning, match="trained at Nside 512, the map has Nside 64"):
        fill = Inpainter(values, observed, method="cosmovae")
    assert fill.card.name == "cosmovae-1"
