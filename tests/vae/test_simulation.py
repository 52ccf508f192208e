"""Tiles to train on and to be measured by: what they hold."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skyfill import flatsky
from skyfill.vae import Architecture
from skyfill.vae.network import TileVAE
from skyfill.vae.recipe import TrainConfig
from skyfill.vae.simulation import FAMILIES, Simulator, draw_fields, draw_mask
from skyfill.vae.validation import held_out, measure

CPU = torch.device("cpu")
TINY = TrainConfig(
    batch=2,
    side=32,
    guard=4,
    nside=(1024, 2048),
    held_out=1,
    architecture=Architecture(warm=1, steps=1, channels=(4, 6), gates=(4, 6), bands=6, scales=2),
)


def test_batches_are_tiles_of_their_prior():
    simulator = Simulator(replace(TINY, batch=16), device=CPU)
    variance = []
    for step in range(30):
        truth, observed, spectrum, weights = simulator.batch(step)
        assert weights.shape == (16, 1, 4)
        assert truth.shape == observed.shape == (16, 1, 32, 32)
        assert spectrum.shape == (16, 32, 17)
        assert set(observed.unique().tolist()) <= {0.0, 1.0}
        assert not observed[..., :4, :].any()
        assert not observed[..., -4:].any()
        assert (spectrum > 0).all()
        variance.append(float(truth.var()))
    assert np.mean(variance) == pytest.approx(1, abs=0.15)


def test_a_seed_and_a_step_are_a_batch():
    """Whatever was drawn before, from this pool or another."""
    one, other = (Simulator(TINY, device=CPU) for _ in range(2))
    other.batch(700)
    other.batch(3)
    for ours, theirs in zip(one.batch(4), other.batch(4), strict=True):
        assert torch.equal(ours, theirs)
    third = Simulator(replace(TINY, seed=2), device=CPU)
    for truth in (one.batch(5)[0], third.batch(4)[0]):
        assert not torch.equal(truth, other.batch(4)[0])


def test_fields_have_their_spectrum_and_no_period():
    side = 24
    k = flatsky.wavenumbers(2 * side, 1.0)
    domain = torch.from_numpy(1 / (k + 0.05) ** 3).float()[None].expand(400, -1, -1)
    fields = draw_fields(domain, torch.Generator().manual_seed(1))
    assert fields.shape == (400, 1, side, side)
    correlation = np.fft.irfft2(domain[0].numpy(), s=(2 * side, 2 * side))
    for lag in (0, 1, 5, 12, side - 1):
        seen = (fields[..., lag:] * fields[..., : side - lag]).mean()
        assert float(seen) == pytest.approx(
            correlation[0, lag], abs=0.06 * float(correlation[0, 0])
        )


@pytest.mark.parametrize(("side", "guard"), [(32, 4), (128, 8), (128, 24)])
def test_masks_are_of_all_kinds(side, guard):
    rng = np.random.default_rng(1)
    masks = np.stack([draw_mask(side, guard, rng) for _ in range(300)])
    assert masks.dtype == bool
    inner = masks[:, guard:-guard, guard:-guard]
    assert inner.sum() == masks.sum()
    share = inner.mean(axis=(1, 2))
    assert 0 < share.min() < 0.1
    assert share.max() > 0.9
    assert 0.3 < share.mean() < 0.8
    assert np.unique(share).size > 200


def test_masks_of_a_family():
    share = {}
    for family in FAMILIES:
        rng = np.random.default_rng(2)
        masks = [draw_mask(128, 24, rng, family)[24:-24, 24:-24] for _ in range(60)]
        share[family] = np.array([mask.mean() for mask in masks])
        assert share[family].min() > 0
    assert share["discs"].mean() > 0.8 > share["band"].mean() > share["both"].mean() > 0.2
    assert share["most"].max() < 0.35


def test_tiles_of_several_sources_keep_their_prior():
    """Two sources, told apart by their sign, in units of their own rms."""
    flat = np.ones((32, 17))
    sources = [
        (np.full((3, 32, 32), 2.0), flatsky.TileField(flat, rms=2.0)),
        (np.full((9, 32, 32), -5.0), flatsky.TileField(3 * flat, rms=5.0)),
    ]
    truth, _, spectrum, _ = Simulator(replace(TINY, batch=64), device=CPU, tiles=sources).batch(0)
    first = truth[:, 0, 0, 0] > 0
    assert 0 < int(first.sum()) < 40
    torch.testing.assert_close(
        truth[:, 0], torch.where(first, 1.0, -1.0)[:, None, None].expand(64, 32, 32)
    )
    torch.testing.assert_close(spectrum[:, 0, 0], torch.where(first, 1.0, 3.0))


# --- validation ---------------------------------------------------------------------------------


class Told(TileVAE):
    """A network that is told what to answer."""

    def __init__(self, answer):
        super().__init__(TINY.architecture)
        self.answer = answer

    def forward(self, tile, observed, spectrum, weights):
        return self.answer[: len(tile)]


def test_excess_of_the_exact_mean_is_none():
    tiles = held_out(replace(TINY, held_out=2), device=CPU)
    found = measure(Told(tiles.exact), tiles)
    assert found["excess"] == found["distance"] == 0
    assert 0 < found["floor"] == found["network"] < found["prior"]
    again = measure(Told(0 * tiles.exact), tiles)
    assert again["network"] == pytest.approx(again["prior"])
    assert again["distance"] == pytest.approx(again["prior"] - again["floor"], rel=0.2)
    assert again["reconstruction"] > found["reconstruction"]


def test_every_family_and_resolution_is_measured():
    tiles = held_out(replace(TINY, held_out=3), device=CPU)
    assert tiles.family == tuple(np.repeat(FAMILIES, 6))
    assert tiles.nside == (1024, 1024, 1024, 2048, 2048, 2048) * 4
    found = measure(TileVAE(TINY.architecture), tiles)
    assert tuple(found["by_mask"]) == FAMILIES
    assert tuple(found["by_nside"]) == ("1024", "2048")
    floors = [entry["floor"] for entry in found["by_nside"].values()]
    assert min(floors) <= found["floor"] <= max(floors)
    assert found["by_mask"]["discs"]["floor"] < found["by_mask"]["most"]["floor"]
    mean = tiles.exact
    assert torch.equal(mean * tiles.observed, tiles.truth * tiles.observed)
