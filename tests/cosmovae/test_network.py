"""The network: the paper's shape, and what it must not depend on."""

import numpy as np
import pytest
import torch

from skyfill.cosmovae import CosmoArchitecture, CosmoVAE, load, save
from skyfill.cosmovae.batches import normalised
from skyfill.prior import lcdm
from skyfill.vae import load as load_tile_vae
from skyfill.vae.card import model_of

SMALL = CosmoArchitecture(widths=(4, 5, 6, 7, 8, 9), latent=12)


@pytest.fixture
def network():
    torch.manual_seed(3)
    return CosmoVAE(SMALL, torch.rand(12) + 0.5)


@pytest.fixture
def tiles():
    torch.manual_seed(4)
    observed = torch.ones(2, 1, 37, 50)
    observed[..., 10:20, 5:30] = 0
    return torch.randn(2, 1, 37, 50), observed


def test_the_paper_s_network():
    """Blocks of 64 ... 512, 512 ... 64, three fully connected layers, 2,507 components."""
    arch = CosmoArchitecture()
    with torch.device("meta"):
        network = CosmoVAE(arch, torch.ones(arch.latent, device="cpu"))
    assert [b.out_channels for b in network.down] == [64, 128, 256, 512, 512, 512]
    assert [b.out_channels for b in network.up] == [512, 512, 512, 256, 128, 64]
    linear = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert sorted((m.in_features, m.out_features) for m in linear) == [
        (512, 2507), (512, 2507), (2507, 512)
    ]  # fmt: skip
    assert arch.first_ell + arch.latent - 1 == 2508


@pytest.mark.parametrize("shape", [(64, 64), (37, 50), (400, 400)])
def test_tiles_of_any_shape(network, shape):
    tile, noise = torch.randn(1, 1, *shape), torch.randn(1, 12)
    with torch.no_grad():
        output, encoding = network(tile, torch.ones_like(tile), noise)
    assert output.shape == tile.shape
    assert encoding.mean.shape == encoding.log_variance.shape == (1, 12)


def test_holes_are_not_read(network, tiles):
    tile, observed = tiles
    noise = torch.randn(2, 12)
    other = torch.where(observed > 0, tile, torch.nan)
    with torch.no_grad():
        assert torch.equal(network(tile, observed, noise)[0], network(other, observed, noise)[0])
    centred, mean = normalised(tile, observed, 2.0)
    also, also_mean = normalised(other, observed, 2.0)
    assert torch.equal(mean, also_mean)
    assert torch.equal(centred[observed > 0], also[observed > 0])
    torch.testing.assert_close(2.0 * centred + mean, tile)


def test_latent_samples_follow_q(network, tiles):
    with torch.no_grad():
        network.to_log_variance.bias.fill_(-1.0)
        encoding = network.encode(*tiles)
        noise = torch.randn(20000, 12)
        one = type(encoding)(encoding.mean[:1], encoding.log_variance[:1], encoding.skips)
        drawn = network.latent_sample(one, noise)
    scale = network.prior_variance.sqrt()
    torch.testing.assert_close(drawn.mean(0), scale * one.mean[0], atol=0.03, rtol=0)
    spread = scale * torch.exp(0.5 * one.log_variance[0])
    torch.testing.assert_close(drawn.std(0), spread, atol=0, rtol=0.03)


def test_gradients_reach_every_parameter(network, tiles):
    output, encoding = network(*tiles, torch.randn(2, 12))
    (output.abs().mean() + encoding.log_variance.exp().mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


def test_weights_come_back(network, tiles, tmp_path):
    path = tmp_path / "mine.safetensors"
    about = {"training": {"rms_uk": 100.0}, "measured": {"held_out_rms_uk": 50.0}}
    card = save(network, path, about=about)
    back, read = load(path)
    assert (read, read.name, back.arch) == (card, "mine", SMALL)
    noise = torch.randn(2, 12, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert torch.equal(back(*tiles, noise)[0], network(*tiles, noise)[0])
    assert model_of(path) == "cosmovae"
    with pytest.raises(ValueError, match="weights of a cosmovae, not of a tilevae"):
        load_tile_vae(path)
    with pytest.raises(FileExistsError, match="`overwrite=True`"):
        save(network, path, about=about)


def test_a_prior_without_power_is_refused():
    with pytest.raises(ValueError, match="l = 2 to 13"):
        CosmoVAE(SMALL, torch.from_numpy(lcdm(11).astype(np.float32)))
    with pytest.raises(ValueError, match="no channel"):
        CosmoArchitecture.scaled(0.001)
