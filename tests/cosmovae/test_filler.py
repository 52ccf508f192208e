"""Tiles in batches, and what happens where memory ends."""

import numpy as np
import pytest
import torch

from skyfill.cosmovae import CosmoFiller
from skyfill.cosmovae.network import CosmoArchitecture, CosmoVAE
from skyfill.vae import ModelCard


def test_smaller_batches_where_memory_ends(monkeypatch):
    """The same numbers, and a warning that says what to pass."""
    network = CosmoVAE(CosmoArchitecture((4, 4, 4, 4, 4, 4), latent=8), torch.ones(8)).eval()
    fill = CosmoFiller(network, ModelCard("mine", "", {"rms_uk": 100.0}, {}), device="cpu")
    rng = np.random.default_rng(1)
    tiles = rng.standard_normal((5, 128, 128)) * 100
    observed = rng.random(tiles.shape) < 0.7
    usual = fill(tiles, observed, seed=(3,), first=2)
    encode = network.encode
    sizes = []

    def small(scaled, seen):
        sizes.append(len(scaled))
        if len(scaled) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(scaled, seen)

    monkeypatch.setattr(network, "encode", small)
    with pytest.warns(UserWarning, match=r"no memory for \d tiles at once, going on with"):
        got = fill(tiles, observed, seed=(3,), first=2)
    np.testing.assert_allclose(got, usual, rtol=1e-4, atol=1e-3)
    assert sizes == [5, 3, 2, 1, 1, 1, 1, 1]

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(network, "encode", full)
    with pytest.raises(MemoryError, match="no memory for 1 tiles; pass `device='cpu'`"):
        fill(tiles, observed)
