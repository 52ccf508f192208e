"""Each term of the loss against a case worked out by hand."""

import math

import pytest
import torch
from vgg_file import NUMBERS, vgg_state

from skyfill.cosmovae.adversary import Adversary
from skyfill.cosmovae.losses import kl_divergence, perceptual, reconstruction, total_variation
from skyfill.cosmovae.vgg import VGG_FILE, VGGFeatures, load_vgg, vgg_path


def tile(rows):
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def test_reconstruction():
    """Errors of 1, 2 outside and 3, 4 inside a hole of two pixels, of four in all."""
    output, truth = tile([[1.0, 2.0], [3.0, -4.0]]), torch.zeros(1, 1, 2, 2)
    observed = tile([[1.0, 1.0], [0.0, 0.0]])
    outside, inside = reconstruction(output, truth, observed)
    assert (float(outside), float(inside)) == (3 / 4, 7 / 4)


def test_divergence():
    """½ (µ²/C + σ²/C - 1 - log σ²/C): two components, and a tile whose q is the prior."""
    mean, variance = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[4.0, 2.0], [4.0, 8.0]])
    prior = torch.tensor([4.0, 8.0])
    first = 0.5 * (4 / 4 + 1 - 1 - 0) + 0.5 * (0 + 1 / 4 - 1 - math.log(1 / 4))
    assert float(kl_divergence(mean, variance, prior)) == pytest.approx(first / 2)


def test_divergence_is_that_of_torch_and_has_no_units():
    torch.manual_seed(1)
    mean, variance, prior = torch.randn(3, 7), torch.rand(3, 7) + 0.1, torch.rand(7) + 0.1
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, variance.sqrt()),
        torch.distributions.Normal(torch.zeros(7), prior.sqrt()),
    )
    found = kl_divergence(mean, variance, prior)
    torch.testing.assert_close(found, theirs.sum(1).mean())
    plain = kl_divergence(mean / prior.sqrt(), variance / prior, torch.ones(7))
    torch.testing.assert_close(found, plain)


def test_total_variation():
    """One hole pixel in a ramp of 1 across and 10 along: six steps of each kind around it."""
    ramp = torch.arange(5.0) + 10 * torch.arange(5.0)[:, None]
    observed = torch.ones(1, 1, 5, 5)
    observed[..., 2, 2] = 0
    assert float(total_variation(ramp[None, None], observed)) == 6 * 1 + 6 * 10
    # What lies beyond one pixel around does not count, in a corner less is around.
    far = ramp.clone()
    far[0] = 1e6
    assert float(total_variation(far[None, None], observed)) == 66
    observed = torch.ones(1, 1, 5, 5)
    observed[..., 0, 0] = 0
    assert float(total_variation(ramp[None, None], observed)) == 2 * 1 + 2 * 10
    assert float(total_variation(ramp[None, None], torch.ones(1, 1, 5, 5))) == 0


def test_perceptual():
    features = [torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0]])]
    aims = [torch.tensor([[0.0, 4.0]]), torch.tensor([[1.0]])]
    assert float(perceptual(features, aims)) == (1 + 2) / 2 + 4


def test_features_are_those_of_vgg():
    """Against the layers one by one, as torchvision lays them out."""
    state = vgg_state()
    field = torch.randn(2, 1, 16, 24)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((0.5 + field / 8).expand(-1, 3, -1, -1) - mean[:, None, None]) / std[:, None, None]
    expected = []
    for number in NUMBERS:
        conv = torch.nn.Conv2d(*state[f"features.{number}.weight"].shape[1::-1], 3, padding=1)
        conv.weight.data = state[f"features.{number}.weight"]
        conv.bias.data = state[f"features.{number}.bias"]
        x = torch.relu(conv(x))
        if number in (2, 7, 14):
            x = torch.nn.MaxPool2d(2, 2)(x)
            expected.append(x)
    found = VGGFeatures(state)(field)
    assert [tuple(f.shape[1:]) for f in found] == [(64, 8, 12), (128, 4, 6), (256, 2, 3)]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_vgg_is_read_from_a_file(tmp_path, monkeypatch):
    path = tmp_path / "vgg.pth"
    torch.save(vgg_state() | {"classifier.0.weight": torch.zeros(1)}, path)
    assert torch.equal(load_vgg(path).weight14, vgg_state()["features.14.weight"])
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert vgg_path() == tmp_path / "checkpoints" / VGG_FILE
    with pytest.raises(FileNotFoundError, match="`perceptual='none'`"):
        load_vgg()
    torch.save(vgg_state() | {"features.7.bias": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"features\.7\.bias is not"):
        load_vgg(path)
    path.write_bytes(b"not weights")
    with pytest.raises(ValueError, match="no weights"):
        load_vgg(path)


def test_nothing_is_unpickled(tmp_path):
    path, trap = tmp_path / "vgg.pth", tmp_path / "trap"

    class Trap:
        def __reduce__(self):
            return (trap.write_text, ("sprung",))

    torch.save({"features.0.weight": Trap()}, path)
    with pytest.raises(ValueError, match="no weights"):
        load_vgg(path)
    assert not trap.exists()


@pytest.mark.parametrize("wasserstein", [False, True])
def test_the_adversary_learns_to_tell_samples_apart(wasserstein):
    torch.manual_seed(2)
    adversary = Adversary(6, wasserstein=wasserstein)
    optimizer = torch.optim.Adam(adversary.parameters(), lr=1e-3)
    for _ in range(60):
        prior, other = torch.randn(64, 6), torch.randn(64, 6) + 1
        share = torch.rand(64, 1)
        scores = adversary(prior), adversary(other)
        penalty = adversary.penalty(share * prior + (1 - share) * other)
        loss = adversary.told_apart(*scores) + penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    prior, other = adversary(torch.randn(500, 6)), adversary(torch.randn(500, 6) + 1)
    assert prior.mean() > other.mean() + 0.5
    assert adversary.fooled(prior) < adversary.fooled(other)
    assert (float(penalty.detach()) > 0) is wasserstein
