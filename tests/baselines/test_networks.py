"""The baselines: their layers, gradients, losses and files."""

import json

import numpy as np
import pytest
import torch
from vgg_file import vgg_state

from skyfill import baselines, cosmovae
from skyfill.baselines import VAEAC, BaselineFiller, ContextEncoder, PartialConv, PConvNet, Size
from skyfill.baselines.contextencoder import Discriminator
from skyfill.baselines.losses import divergence, log_likelihood, regularisation, squared, style
from skyfill.cosmovae.vgg import VGGFeatures
from skyfill.vae import ModelCard

NETWORKS = {"pconv": PConvNet, "vaeac": VAEAC, "context-encoder": ContextEncoder}
SIDE, TINY = 24, 0.1


@pytest.fixture(scope="module")
def tiles():
    generator = torch.Generator().manual_seed(1)
    truth = torch.randn(3, 1, SIDE, SIDE, generator=generator)
    observed = torch.ones_like(truth)
    observed[:, :, 8:14, 5:15] = 0
    return truth, observed


def made(model, factor=TINY):
    torch.manual_seed(2)
    return NETWORKS[model](Size(SIDE, factor))


def test_a_mask_is_updated_as_worked_by_hand():
    """Weights of 1 and a bias of 10; a kernel of 3 over a hole of 2 by 3 pixels, at a border."""
    layer = PartialConv(1, 1, 3)
    layer.convolution.weight.data.fill_(1.0)
    layer.bias.data.fill_(10.0)
    values = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    valid = torch.ones(1, 1, 4, 4)
    valid[..., 0:3, 0:2] = 0
    found, seen = (each.detach() for each in layer(values, valid))
    # (0, 0) sees no valid pixel. (0, 1) sees 3 and 7: 9 / 2 times their sum.
    assert seen[0, 0].tolist() == [[0, 1, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert float(found[0, 0, 0, 0]) == 0
    assert float(found[0, 0, 0, 1]) == pytest.approx(9 / 2 * (3 + 7) + 10)
    # (2, 0) sees 13 and 14; (1, 2) sees 3, 4, 7, 8, 11, 12; (3, 3), at the border, four pixels.
    assert float(found[0, 0, 2, 0]) == pytest.approx(9 / 2 * (13 + 14) + 10)
    assert float(found[0, 0, 1, 2]) == pytest.approx(9 / 6 * (3 + 4 + 7 + 8 + 11 + 12) + 10)
    assert float(found[0, 0, 3, 3]) == pytest.approx(9 / 4 * (11 + 12 + 15 + 16) + 10)


def test_masks_of_several_channels_count_together():
    layer = PartialConv(2, 1, 1, bias=False)
    layer.convolution.weight.data.fill_(1.0)
    values = torch.tensor([3.0, 5.0]).reshape(1, 2, 1, 1)
    valid = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    found, seen = (each.detach() for each in layer(values, valid))
    assert (found.item(), seen.item()) == (6.0, 1.0)  # 3 of one channel stands for two


def test_strides_let_holes_shrink():
    layer = PartialConv(1, 1, 3, 2)
    valid = torch.zeros(1, 1, 8, 8)
    valid[..., :3] = 1
    _, seen = layer(torch.zeros(1, 1, 8, 8), valid)
    assert seen.shape == (1, 1, 4, 4)
    assert seen[0, 0, 0].tolist() == [1, 1, 0, 0]


def test_sizes_are_those_of_the_papers():
    with torch.device("meta"):
        net = PConvNet(Size(512))
        assert len(net.down) == 8
        assert [layer.convolution.out_channels for layer in net.down] == [64, 128, 256] + 5 * [512]
        assert VAEAC(Size(128)).latent == 256
        net = ContextEncoder(Size(128))
        wide = [each.out_channels for each in net.layers if isinstance(each, torch.nn.Conv2d)]
        assert wide == [64, 64, 128, 256, 512, 4000]


@pytest.mark.parametrize("model", NETWORKS)
def test_holes_are_not_read(model, tiles):
    truth, observed = tiles
    network = made(model).eval()
    filled = network.fill(truth, observed)
    assert filled.shape == truth.shape
    spoilt = torch.where(observed > 0, truth, np.nan)
    torch.testing.assert_close(network.fill(spoilt, observed), filled)
    assert not torch.allclose(network.fill(truth + observed * truth, observed), filled)


@pytest.mark.parametrize("model", NETWORKS)
def test_gradients_reach_every_parameter(model, tiles):
    truth, observed = tiles
    network = made(model, 0.3)
    if model == "vaeac":
        found = network(truth, observed, torch.ones(3, network.latent))
        loss = divergence(found.proposal, found.prior) - log_likelihood(
            found.pixels, truth, observed
        )
    else:
        loss = squared(network(truth, observed), truth, observed)
    loss.backward()
    for name, each in network.named_parameters():
        assert each.grad is not None, name
        assert torch.isfinite(each.grad).all(), name
        assert each.grad.abs().max() > 0, name


def test_the_discriminator_learns_to_tell_tiles_apart(tiles):
    truth, _ = tiles
    judge = Discriminator(Size(SIDE, TINY))
    optimizer = torch.optim.Adam(judge.parameters(), lr=1e-2)
    for _ in range(30):
        loss = judge.told_apart(judge(truth), judge(0.1 * truth))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5
    assert judge.fooled(judge(truth)) < judge.fooled(judge(0.1 * truth))


@pytest.mark.parametrize("model", NETWORKS)
def test_weights_come_back(model, tiles, tmp_path):
    truth, observed = tiles
    network = made(model)
    if model != "vaeac":
        network(truth, observed)  # the running means of the normalisation are part of the weights
    network.eval()
    about = {"training": {"model": model, "rms_uk": 50.0}, "measured": {}}
    baselines.save(network, tmp_path / "w.safetensors", about=about)
    again, card = baselines.load(tmp_path / "w.safetensors")
    assert (
        card.training["model"] == json.loads((tmp_path / "w.json").read_text())["training"]["model"]
    )
    torch.testing.assert_close(again.fill(truth, observed), network.fill(truth, observed))
    assert baselines.read_card(tmp_path / "w.safetensors").sha256 == card.sha256
    other = next(name for name in NETWORKS if name != model)
    with pytest.raises(ValueError, match=f"weights of a {model}, not of a {other}"):
        baselines.load(tmp_path / "w.safetensors", model=other)
    with pytest.raises(ValueError, match=f"weights of a {model}, not of a cosmovae"):
        cosmovae.load(tmp_path / "w.safetensors")


def test_draws_have_the_spread_of_the_prior_network_and_one_seed(tiles):
    truth, observed = (each[:, 0].numpy() for each in tiles)
    card = ModelCard("v", "", {"model": "vaeac", "rms_uk": 50.0}, {})
    filler = BaselineFiller(made("vaeac").eval(), card, device="cpu")
    one, again, other = (filler(truth, observed > 0, seed=(s,)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    hole = observed == 0
    assert np.abs(one - other)[hole].max() > 0
    np.testing.assert_array_equal(one[~hole], truth[~hole])
    card = ModelCard("p", "", {"model": "pconv", "rms_uk": 50.0}, {})
    single = BaselineFiller(made("pconv").eval(), card, device="cpu")
    with pytest.raises(ValueError, match="pconv draws nothing"):
        single(truth, observed > 0, seed=(1,))


def test_gaussian_terms_are_those_of_torch(tiles):
    truth, observed = tiles
    normal = torch.distributions.Normal
    one = torch.randn(3, 5), torch.rand(3, 5) + 0.5
    two = torch.randn(3, 5), torch.rand(3, 5) + 0.5
    expected = torch.distributions.kl_divergence(normal(*one), normal(*two)).sum(1).mean()
    torch.testing.assert_close(divergence(one, two), expected)
    pixels = torch.randn_like(truth), torch.rand_like(truth) + 0.5
    expected = (normal(*pixels).log_prob(truth) * (1 - observed)).sum((1, 2, 3)).mean()
    torch.testing.assert_close(log_likelihood(pixels, truth, observed), expected)
    prior = torch.full((1, 2), 100.0), torch.full((1, 2), 2.0)
    by_hand = 2 * (-(100.0**2) / (2 * 1e8) + 1e-4 * (np.log(2) - 2))
    assert float(regularisation(prior)) == pytest.approx(by_hand, rel=1e-5)


def test_style_is_that_of_gram_matrices(tiles):
    features, other = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    by_hand = 0.0
    for a, b in zip(features, other, strict=True):
        for i in range(3):
            for j in range(3):
                apart = ((a[i] * a[j]).sum() - (b[i] * b[j]).sum()) / (3 * 4 * 5)
                by_hand += float(apart.abs()) / 3**2 / 2
    assert float(style([features], [other])) == pytest.approx(by_hand, rel=1e-4)
    vgg = VGGFeatures(vgg_state())
    truth, _ = tiles
    assert style(vgg(truth), vgg(truth)) == 0
    assert style(vgg(truth), vgg(2 * truth)) > 0


@pytest.mark.parametrize(
    ("model", "size", "said"),
    [
        ("context-encoder", Size(25), "25 pixels cannot be halved"),
        ("pconv", Size(2), "pconv needs tiles of 4 pixels"),
        ("vaeac", Size(1), "vaeac needs tiles of 2 pixels"),
        ("vaeac", Size(24, 0.01), "leaves no channel"),
    ],
)
def test_sizes_that_make_no_network_are_refused(model, size, said):
    with pytest.raises(ValueError, match=said):
        NETWORKS[model](size)


def test_a_context_encoder_fills_tiles_of_its_own_side_only(tiles):
    """A larger tile would come back with the right shape, from a vector it was not trained for."""
    truth, observed = (torch.nn.functional.pad(each, (4, 4, 4, 4)) for each in tiles)
    with pytest.raises(ValueError, match=r"tiles of 24 by 24 pixels, got 32 by 32; cut tiles of"):
        made("context-encoder").eval().fill(truth, observed)


def test_weights_are_not_saved_under_the_name_of_another_network(tmp_path):
    about = {"training": {"model": "pconv", "rms_uk": 50.0}, "measured": {}}
    with pytest.raises(ValueError, match="description is of a pconv, the network is a VAEAC"):
        baselines.save(made("vaeac"), tmp_path / "w.safetensors", about=about)
    assert not list(tmp_path.iterdir())
