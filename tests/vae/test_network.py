"""The tile network: linear, blind to what is not observed, exact where it must be."""

import numpy as np
import pytest
import torch

from skyfill import flatsky
from skyfill.vae.modes import NUGGET, colour, split_power
from skyfill.vae.network import TileVAE
from skyfill.vae.steps import BandedSteps, conjugate_gradient, fit_each, fit_weights
from skyfill.vae.unet import Architecture, band_powers

SIDE = 32
SMALL = Architecture(warm=0, steps=2, channels=(4, 6), gates=(4, 6), bands=6, scales=2)


def spectra(batch, side=SIDE, *, dtype=torch.float32):
    """Red spectra of unit variance, each a little steeper than the last."""
    k = flatsky.wavenumbers(side, 1.0)
    twice = np.full(k.shape[1], 2.0)
    twice[[0, -1]] = 1
    every = [(k + 0.1) ** -(2 + 0.3 * i) for i in range(batch)]
    every = [flatsky.floored(s * side**2 / (s * twice).sum()) for s in every]
    return torch.from_numpy(np.stack(every)).to(dtype)


def tiles(batch, side=SIDE, *, seed=0, dtype=torch.float32):
    """Fields, masks and spectra to infer from."""
    generator = torch.Generator().manual_seed(seed)
    spectrum = spectra(batch, side, dtype=dtype)
    white = torch.randn(batch, 1, side, side, generator=generator, dtype=dtype)
    observed = torch.ones(batch, 1, side, side, dtype=dtype)
    for i in range(batch):
        observed[i, :, side // 4 : side // 2 + i, side // 3 :] = 0
        observed[i, :, : i + 1] = 0
    return colour(white, spectrum[:, None].sqrt()), observed, spectrum


def stirred(arch, seed=0):
    """A network whose every weight says something."""
    torch.manual_seed(seed)
    network = TileVAE(arch)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return network.requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def network():
    return stirred(SMALL)


def test_an_untrained_network_changes_nothing():
    torch.manual_seed(1)
    field, observed, spectrum = tiles(3)
    for warm in (0, 4):
        arch = Architecture(**{**SMALL.as_dict(), "warm": warm})
        expected = conjugate_gradient(field, observed, spectrum, iterations=warm)
        with torch.no_grad():
            torch.testing.assert_close(TileVAE(arch)(field, observed, spectrum), expected)


def test_network_is_linear_in_the_data(network):
    field, observed, spectrum = tiles(3, seed=1)
    other, _, _ = tiles(3, seed=2)
    both = network(1.7 * field - 0.6 * other, observed, spectrum)
    apart = 1.7 * network(field, observed, spectrum) - 0.6 * network(other, observed, spectrum)
    assert (network(field, observed, spectrum) - field * observed).abs().max() > 0.01
    torch.testing.assert_close(both, apart, rtol=0, atol=2e-5 * float(both.abs().max()))


def test_zero_in_zero_out(network):
    _, observed, spectrum = tiles(2)
    assert not network(torch.zeros(2, 1, SIDE, SIDE), observed, spectrum).any()


@pytest.mark.parametrize("warm", [0, 3])
def test_observed_pixels_are_the_data(warm):
    network = stirred(Architecture(**{**SMALL.as_dict(), "warm": warm}))
    field, observed, spectrum = tiles(3)
    mean = network(field, observed, spectrum)
    assert torch.equal(mean * observed, field * observed)
    assert (mean[observed == 0] != 0).all()


@pytest.mark.parametrize("warm", [0, 3])
def test_what_is_not_observed_is_not_read(warm):
    network = stirred(Architecture(**{**SMALL.as_dict(), "warm": warm}))
    field, observed, spectrum = tiles(3)
    other = torch.where(observed > 0, field, 1e6)
    assert torch.equal(network(other, observed, spectrum), network(field, observed, spectrum))


def test_the_mask_and_the_spectrum_matter(network):
    field, observed, spectrum = tiles(2)
    usual = network(field, observed, spectrum)
    assert not torch.allclose(network(field, observed, spectrum.flip(0)), usual, atol=1e-3)
    less = observed.clone()
    less[:, :, -4:] = 0
    kept = (less == observed) & (observed == 0)
    changed = network(field * less, less, spectrum) - network(field * less, observed, spectrum)
    assert changed[kept].abs().max() > 1e-4


def test_gradient_reaches_every_parameter():
    torch.manual_seed(2)
    network = TileVAE(SMALL)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    field, observed, spectrum = tiles(3)
    for _ in range(2):
        optimizer.zero_grad()
        loss = ((network(field * observed, observed, spectrum) - field) ** 2).mean()
        loss.backward()
        optimizer.step()
    without = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > 0
    ]
    assert without == []


def test_a_tile_does_not_feel_its_batch(network):
    field, observed, spectrum = tiles(5)
    together = network(field, observed, spectrum)
    for i in range(5):
        one = slice(i, i + 1)
        alone = network(field[one], observed[one], spectrum[one])
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-5)


def test_one_spectrum_serves_a_batch(network):
    field, observed, spectrum = tiles(3)
    many = network(field, observed, spectrum[:1].expand(3, -1, -1).contiguous())
    torch.testing.assert_close(network(field, observed, spectrum[:1]), many)


def test_encode_and_decode_are_a_round_trip():
    """At the exact mean the signal is the mean in the holes: their white part is unknown."""
    field, observed, spectrum = tiles(3, 16, dtype=torch.float64)
    exact = TileVAE(Architecture(**{**SMALL.as_dict(), "warm": 120, "steps": 0})).double()
    latent = exact.encode(field, observed, spectrum).mean
    filled = exact.decode(latent, field, observed, spectrum)
    torch.testing.assert_close(filled, exact(field, observed, spectrum), rtol=0, atol=1e-8)
    assert torch.equal(filled * observed, field * observed)


def test_latent_is_the_whitened_signal_of_a_whole_tile(network):
    """Observed all over, the mean is the Wiener filter of the data, whitened, mode by mode."""
    field, _, spectrum = tiles(3)
    latent = network.encode(field, torch.ones_like(field), spectrum).mean
    nugget = NUGGET * spectrum.amin((-1, -2), keepdim=True)
    expected = torch.fft.rfft2(field)[:, 0] * (spectrum - nugget).sqrt() / spectrum
    torch.testing.assert_close(torch.fft.rfft2(latent)[:, 0], expected, rtol=1e-4, atol=1e-3)


def test_signal_and_white_part_make_the_spectrum():
    spectrum = spectra(2)
    signal, white = split_power(spectrum)
    torch.testing.assert_close((signal + white)[:, 0], spectrum)
    assert (signal > 0).all()
    torch.testing.assert_close(white.flatten(), NUGGET * spectrum.flatten(1).amin(1))


def test_samples_scatter_about_the_mean(network):
    """Linear: opposite draws of the prior lie on opposite sides of the mean."""
    field, observed, spectrum = tiles(3)
    posterior = network.encode(field, observed, spectrum)
    prior, noise = torch.randn(2, 3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(4))
    one, other = posterior.sample(prior, noise), posterior.sample(-prior, -noise)
    assert (one - other).std() > 0.5
    torch.testing.assert_close((one + other) / 2, posterior.mean, rtol=0, atol=1e-4)
    # The decoded sample is near the data where there are any, as far as the network is right.
    signal, _ = split_power(spectrum)
    whole = network.encode(field, torch.ones_like(field), spectrum).sample(prior, noise)
    missed = (colour(whole, signal.sqrt()) - field).std()
    assert float(missed) == pytest.approx(float(split_power(spectrum)[1].mean().sqrt()), rel=0.5)


def test_half_precision_is_the_same_network(network):
    field, observed, spectrum = tiles(3)
    half = network.halved()
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    mean, usual = (net(field, observed, spectrum) for net in (half, network))
    assert mean.dtype == torch.float32
    assert torch.equal(mean * observed, field * observed)
    assert 0 < float((mean - usual).abs().max()) < 0.02 * float(usual.abs().max())


def test_a_nonlinear_network_bends_but_keeps_zero():
    arch = Architecture(**{**SMALL.as_dict(), "linear": False})
    bent = stirred(arch)
    field, observed, spectrum = tiles(3)
    once, much = (bent(size * field, observed, spectrum) for size in (1, 30))
    assert (much - 30 * once).abs().max() > 0.02
    assert not bent(0 * field, observed, spectrum).any()
    assert torch.equal(once * observed, field * observed)


def test_architecture_survives_json():
    import json

    bent = Architecture(**{**SMALL.as_dict(), "linear": False})
    assert Architecture.of(json.loads(json.dumps(bent.as_dict()))) == bent
    old = {key: value for key, value in SMALL.as_dict().items() if key != "linear"}
    assert Architecture.of(old) == SMALL


def test_band_powers_know_the_tile_by_its_pixels():
    """The same field cut into other tiles is described by the same numbers, but for few modes."""
    small, large = (band_powers(1 / (k[None] + 0.1) ** 2, 12) for k in map(_waves, (64, 128)))
    assert small.shape == (1, 12)
    torch.testing.assert_close(small[:, 6:], large[:, 6:], rtol=0.02, atol=0.01)
    louder = band_powers(16 / (_waves(64)[None] + 0.1) ** 2, 12)
    filled = small[0] != 0
    torch.testing.assert_close(
        (louder - small)[0, filled], torch.full((int(filled.sum()),), np.log(16) / 4)
    )


def _waves(side):
    return torch.from_numpy(flatsky.wavenumbers(side, 1.0)).float()


# --- conjugate gradients ------------------------------------------------------------------------


def dense_mean(field, observed, spectrum):
    """Solve for the holes of one tile with a matrix."""
    side = field.shape[-1]
    unit = torch.eye(side**2, dtype=torch.float64).view(-1, side, side)
    covariance = colour(unit, spectrum.double()).view(side**2, side**2)
    seen = observed.flatten() > 0
    data = field.double().flatten()[seen]
    mean = field.double().flatten().clone()
    gain = covariance[~seen][:, seen]
    mean[~seen] = gain @ torch.linalg.solve(covariance[seen][:, seen], data)
    return mean.view(side, side)


@pytest.mark.parametrize("seed", range(3))
def test_conjugate_gradient_is_a_dense_solve(seed):
    field, observed, spectrum = tiles(3, 16, seed=seed, dtype=torch.float64)
    mean = conjugate_gradient(field, observed, spectrum, iterations=300, tolerance=1e-10)
    for i in range(3):
        expected = dense_mean(field[i, 0], observed[i, 0], spectrum[i])
        torch.testing.assert_close(mean[i, 0], expected, rtol=0, atol=1e-7)


def test_a_start_saves_steps():
    field, observed, spectrum = tiles(2, seed=3, dtype=torch.float64)
    exact = conjugate_gradient(field, observed, spectrum, iterations=400, tolerance=1e-12)
    near = exact + 1e-3 * torch.randn(exact.shape, dtype=exact.dtype)
    near = torch.where(observed > 0, 1e9, near)  # a start is not read where there are data
    few = [
        conjugate_gradient(field, observed, spectrum, iterations=3, start=start)
        for start in (None, near)
    ]
    errors = [float((mean - exact).abs().max()) for mean in few]
    assert errors[1] < 0.05 * errors[0]
    kept = conjugate_gradient(field, observed, spectrum, iterations=50, tolerance=1e-2, start=exact)
    torch.testing.assert_close(kept, exact)


def test_each_tile_stops_for_itself():
    field, observed, spectrum = tiles(3, seed=4, dtype=torch.float64)
    observed[:2] = 1
    observed[0, :, 9, 9] = 0  # little to do, then nothing, then much
    observed[2, :, 4:-4] = 0
    every = [
        conjugate_gradient(field, observed, spectrum, iterations=n, tolerance=1e-3)
        for n in range(200)
    ]
    assert torch.equal(every[0][1], field[1])
    still = [
        next(n for n in range(199) if torch.equal(every[n][i], every[-1][i])) for i in range(3)
    ]
    assert still[1] == 0
    assert 0 < still[0] < still[2]
    # Once it stands still it stays so, whatever the others do.
    for mean in every[still[0] :]:
        assert torch.equal(mean[0], every[-1][0])
    for i in range(3):
        one = slice(i, i + 1)
        alone = conjugate_gradient(
            field[one], observed[one], spectrum[one], iterations=200, tolerance=1e-3
        )
        torch.testing.assert_close(every[-1][one], alone, rtol=0, atol=1e-5)


def test_nothing_observed_gives_nothing():
    field, observed, spectrum = tiles(2)
    mean = conjugate_gradient(field, 0 * observed, spectrum, iterations=20, tolerance=1e-3)
    assert not mean.any()


def test_with_weights_the_network_is_linear():
    """In double precision, where conjugate gradients on the data are not by far."""
    network = stirred(Architecture(**{**SMALL.as_dict(), "warm": 5})).double()
    field, observed, spectrum = tiles(4, dtype=torch.float64)
    other = tiles(4, seed=3, dtype=torch.float64)[0]
    weights = fit_weights(observed, spectrum[:1], iterations=5)
    assert weights.shape == (5, 4)

    def away(*more):
        one, two, both = (
            network(tile, observed, spectrum[:1], *more) for tile in (field, other, field + other)
        )
        return float((both - one - two).std())

    assert away(weights) < 1e-12
    assert away() > 1e-6


def test_tiles_of_several_priors_have_weights_of_their_own():
    field, observed, spectrum = tiles(4, dtype=torch.float64)
    weights = fit_each(observed, spectrum, iterations=6)
    assert weights.shape == (4, 6, 4)
    together = BandedSteps(observed, spectrum)(field, weights)
    for i in range(4):
        alone = BandedSteps(observed[i : i + 1], spectrum[i : i + 1])
        np.testing.assert_allclose(
            alone(field[i : i + 1], weights[i])[0], together[i], rtol=0, atol=1e-12
        )
        np.testing.assert_array_equal(
            weights[i], fit_weights(observed, spectrum[i : i + 1], iterations=6)
        )
    # one prior, tiles two by two, and the weights of each tile given
    same = BandedSteps(observed, spectrum[:1])
    np.testing.assert_allclose(
        same(field, weights[:1].expand(4, -1, -1)), same(field, weights[0]), rtol=0, atol=1e-12
    )
    assert not np.allclose(same(field, weights), same(field, weights[0]))


def test_steps_with_weights_come_to_a_dense_solve():
    field, observed, spectrum = tiles(2, dtype=torch.float64)
    spectrum = spectrum[:1]
    exact = conjugate_gradient(field, observed, spectrum, iterations=400, tolerance=1e-12)
    left = torch.zeros(2, dtype=torch.float64)
    away = []
    for number in (4, 12, 36):
        weights = fit_weights(observed, spectrum, iterations=number, seed=1)
        mean = BandedSteps(observed, spectrum)(field, weights, left=left)
        away.append(float((mean - exact).std()))
    assert away[0] > 3 * away[1] > 9 * away[2]
    assert away[2] < 1e-2
    assert 0 < left.max() < 1e-2
    begun = BandedSteps(observed, spectrum)(field, weights[:0], start=exact, left=left)
    np.testing.assert_allclose(begun, exact, atol=1e-12)
    assert left.max() < 1e-9
