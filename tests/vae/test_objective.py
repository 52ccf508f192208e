"""The loss, by hand and by what it is least at."""

import math

import pytest
import torch

from skyfill.vae.network import colour, conjugate_gradient
from skyfill.vae.objective import blending_weight, hole_error, prior_term

SIDE = 16


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


def test_prior_term_by_hand():
    tile = torch.arange(12.0).view(3, 1, 2, 2)
    flat = torch.full((3, 2, 2), 4.0)  # white of variance four
    expected = sum(i * i for i in range(12)) / 12 / 4
    assert float(prior_term(tile, flat)) == pytest.approx(expected)
    # One cosine of amplitude a in a mode of power P: a² / 2P per pixel.
    x = torch.arange(SIDE) * 2 * math.pi / SIDE
    wave = (0.7 * torch.cos(3 * x)).expand(1, 1, SIDE, SIDE).double()
    power = red_spectrum()
    assert float(prior_term(wave, power)) == pytest.approx(0.7**2 / 2 / float(power[0, 0, 3]))


def test_prior_term_of_the_prior_is_one():
    power = red_spectrum()
    white = torch.randn(300, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).double()
    tiles = colour(white, power[:, None].sqrt())
    assert float(prior_term(tiles, power)) == pytest.approx(1, abs=0.02)


def test_prior_term_is_least_at_the_exact_mean():
    generator = torch.Generator().manual_seed(2)
    power = red_spectrum()
    field = colour(
        torch.randn(1, 1, SIDE, SIDE, generator=generator).double(), power[:, None].sqrt()
    )
    observed = (torch.rand(1, 1, SIDE, SIDE, generator=generator) > 0.4).double()
    exact = conjugate_gradient(field, observed, power, iterations=500, tolerance=1e-12)
    least = float(prior_term(exact, power))
    assert float(prior_term(field, power)) > least
    for _ in range(20):
        away = torch.randn(1, 1, SIDE, SIDE, generator=generator).double() * (1 - observed)
        for size in (1e-3, 1.0):
            assert float(prior_term(exact + size * away, power)) > least
    point = exact.clone().requires_grad_()
    prior_term(point, power).backward()
    slope = point.grad
    assert float((slope * (1 - observed)).abs().max()) < 1e-9
    assert float((slope * observed).abs().max()) > 1e-4


def test_blending_weight_by_hand():
    weight = blending_weight(8, 2)
    assert weight.shape == (1, 1, 8, 8)
    line = [0, 0, *(math.cos(math.pi * x / 4) ** 2 for x in (-1.5, -0.5, 0.5, 1.5)), 0, 0]
    expected = torch.outer(torch.tensor(line), torch.tensor(line))
    torch.testing.assert_close(weight[0, 0], expected, atol=1e-6, rtol=0)
