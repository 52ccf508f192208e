"""The loss, by hand and by what it is least at."""

import math
from dataclasses import replace

import pytest
import torch

from skyfill.vae.modes import colour, split_power
from skyfill.vae.network import Posterior, TileVAE, latent_of
from skyfill.vae.objective import (
    blending_weight,
    data_term,
    hole_error,
    information,
    negative_elbo,
)
from skyfill.vae.steps import conjugate_gradient
from skyfill.vae.unet import Architecture

SIDE = 12


def red_spectrum():
    ky = torch.fft.fftfreq(SIDE, dtype=torch.float64)[:, None]
    kx = torch.fft.rfftfreq(SIDE, dtype=torch.float64)[None]
    return (1 / (torch.hypot(ky, kx) + 0.05) ** 2)[None]


def test_hole_error_by_hand():
    mean = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)
    truth = torch.tensor([[1.0, 5.0], [1.0, 0.0]]).view(1, 1, 2, 2)
    observed = torch.tensor([[0.0, 0.0], [0.0, 1.0]]).view(1, 1, 2, 2)
    weight = torch.tensor([[1.0, 2.0], [0.5, 9.0]]).view(1, 1, 2, 2)
    expected = (1 * 0 + 2 * 9 + 0.5 * 4) / 3.5
    assert float(hole_error(mean, truth, observed, weight)) == pytest.approx(expected)


def test_hole_error_counts_holes_of_all_tiles_alike():
    """One tile of many holes outweighs one of few: pixels count, not tiles."""
    mean, truth = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    truth[1] = 3
    observed = torch.zeros(2, 1, 2, 2)
    observed[0, 0, 0, :] = observed[0, 0, 1, 0] = 1
    weight = torch.ones(1, 1, 2, 2)
    assert float(hole_error(mean, truth, observed, weight)) == pytest.approx((1 + 4 * 9) / 5)


# --- the bound ----------------------------------------------------------------------------------


class Linear:
    """An encoder that is a matrix: the exact one, and others."""

    def __init__(self, share, observed, power):
        """Give `share` of the exact mean in the holes, and a shifted one for the rest."""
        self.share, self.observed, self.power = share, observed, power
        unit = torch.eye(SIDE**2, dtype=torch.float64).view(-1, SIDE, SIDE)
        self.covariance = colour(unit, power).view(SIDE**2, -1)
        self.seen = observed.flatten() > 0
        block = self.covariance[self.seen][:, self.seen]
        self.gain = self.covariance[:, self.seen] @ torch.linalg.inv(block)

    def mean(self, tile, *_):
        data = tile.flatten(1)[:, self.seen]
        exact = (data @ self.gain.T).view(-1, 1, SIDE, SIDE)
        return torch.where(self.observed > 0, exact, self.share * exact)

    def posterior(self, tile):
        infer = lambda tile, *_: latent_of(self.mean(tile), self.power)  # noqa: E731
        return Posterior(infer(tile), infer, tile, self.observed, self.power)

    def bound(self, tile):
        """Give the bound, nats per tile, with the exact traces of the covariance.

        Draws of the prior that are unit vectors, scaled to have the covariance 1 together.
        """
        n = SIDE**2
        unit = math.sqrt(2 * n) * torch.eye(2 * n, dtype=torch.float64).view(-1, 2, 1, SIDE, SIDE)
        found = self.posterior(tile)
        many = replace(found, **{key: getattr(found, key).expand(2 * n, -1, -1, -1)
                                 for key in ("mean", "tile")})  # fmt: skip
        return negative_elbo(many, found.mean + self._away(found, unit))

    def _away(self, found, unit):
        return found.sample(unit[:, 0], unit[:, 1]) - found.mean

    def evidence(self, tile):
        """Give -log N(d; 0, Σ_oo)."""
        block = self.covariance[self.seen][:, self.seen]
        data = tile.flatten()[self.seen]
        law = torch.distributions.MultivariateNormal(torch.zeros_like(data), block)
        return -float(law.log_prob(data))


@pytest.fixture(scope="module")
def scene():
    generator = torch.Generator().manual_seed(2)
    power = red_spectrum()
    white = torch.randn(1, 1, SIDE, SIDE, generator=generator).double()
    observed = (torch.rand(1, 1, SIDE, SIDE, generator=generator) > 0.4).double()
    observed[..., 4:9, 3:10] = 0
    return colour(white, power[:, None].sqrt()), observed, power


def total(encoder, tile):
    told = float(information(encoder.observed, encoder.power)[0])
    return float(encoder.bound(tile).total) * SIDE**2 + told


def test_the_bound_is_tight_at_the_exact_posterior(scene):
    tile, observed, power = scene
    exact = Linear(1.0, observed, power)
    assert total(exact, tile) == pytest.approx(exact.evidence(tile), rel=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.9, 1.1])
def test_another_encoder_has_a_lower_bound(scene, share):
    tile, observed, power = scene
    other = Linear(share, observed, power)
    assert total(other, tile) > other.evidence(tile) + 0.1


def test_few_steps_have_a_lower_bound(scene):
    """What the covariance adds comes from samples here, the same ones for both encoders."""
    tile, observed, power = scene
    many = [field.expand(200, *field.shape[1:]) for field in (tile, observed)]
    draws = torch.randn(2, 200, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3)).double()
    arch = Architecture(channels=(4,), gates=(4,), bands=4, scales=1, steps=0)
    told = float(information(observed, power)[0])
    evidence = Linear(1.0, observed, power).evidence(tile)
    bounds = []
    for warm in (120, 2):
        encoder = TileVAE(replace(arch, warm=warm)).double()
        posterior = encoder.encode(*many, power)
        found = negative_elbo(posterior, posterior.sample(*draws))
        bounds.append(float(found.total) * SIDE**2 + told)
    # 200 samples: sqrt(n / 2 / 200) = 0.8 nats of scatter.
    assert bounds[0] == pytest.approx(evidence, abs=4)
    assert bounds[1] > bounds[0] + 1


def test_nothing_is_learned_where_nothing_is_observed(scene):
    tile, observed, power = scene
    blind = Linear(1.0, 0 * observed, power)
    found = blind.bound(tile)
    assert float(information(0 * observed, power)[0]) == 0
    assert float(found.kl) == pytest.approx(0, abs=1e-12)
    assert float(found.reconstruction) == 0
    assert float(Linear(1.0, observed, power).bound(tile).kl) != pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_data_term_is_what_the_mean_adds_to_the_bound(scene, share):
    tile, observed, power = scene
    encoder = Linear(share, observed, power)
    posterior = encoder.posterior(tile)
    found = negative_elbo(posterior, posterior.mean)
    _, white = split_power(power)
    constant = (observed * (2 * math.pi * white).log() - 1).mean() / 2
    expected = data_term(encoder.mean(tile), observed, power)
    assert float(found.total - constant) == pytest.approx(float(expected), rel=1e-9)


def test_the_data_term_is_least_at_the_exact_mean(scene):
    tile, observed, power = scene
    exact = conjugate_gradient(tile, observed, power, iterations=500, tolerance=1e-12)
    least = float(data_term(exact, observed, power))
    # There it is the precision-weighted power of the filled tile.
    assert least == pytest.approx(float((exact * colour(exact, 1 / power[:, None])).mean()) / 2)
    generator = torch.Generator().manual_seed(5)
    for _ in range(20):
        away = torch.randn(1, 1, SIDE, SIDE, generator=generator).double() * (1 - observed)
        for size in (1e-3, 1.0):
            assert float(data_term(exact + size * away, observed, power)) > least
    point = exact.clone().requires_grad_()
    data_term(point, observed, power).backward()
    slope = point.grad
    assert float((slope * (1 - observed)).abs().max()) < 1e-9
    assert float((slope * observed).abs().max()) > 1e-4


def test_blending_weight_by_hand():
    weight = blending_weight(8, 2)
    assert weight.shape == (1, 1, 8, 8)
    line = [0, 0, *(math.cos(math.pi * x / 4) ** 2 for x in (-1.5, -0.5, 0.5, 1.5)), 0, 0]
    expected = torch.outer(torch.tensor(line), torch.tensor(line))
    torch.testing.assert_close(weight[0, 0], expected, atol=1e-6, rtol=0)
