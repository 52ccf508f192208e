"""Fills whose map, latent sky and tiles stay on a device are those of the CPU."""

from dataclasses import replace

import numpy as np
import pytest

from skyfill import Inpainter, harmonics
from skyfill.inpaint import PolarizedInpainter, fills, tiled
from skyfill.inpaint.options import FillOptions
from skyfill.mosaic import MosaicConfig, tileset
from skyfill.prior import ARCMIN, LCDM, PolarizedPrior, Prior, draw, draw_polarization, lcdm
from skyfill.prior.dipole import Dipole
from skyfill.prior.latent import latent_sky
from skyfill.prior.simulate import simulate_mask

torch = pytest.importorskip("torch")

NSIDE = 64
KNOWN = Prior(NSIDE, lcdm(), fwhm=100 * ARCMIN, noise_uk_arcmin=800.0)
NOISE = np.sqrt(KNOWN.noise_cl * 12 * NSIDE**2 / (4 * np.pi))
MASK = simulate_mask(NSIDE, kind="both", seed=3, half_width=0.2, n_holes=20, radii=(0.01, 0.05))
SKY = np.where(MASK, draw(KNOWN, seed=4, aliased=True) + 30.0, np.nan)
#: Tiles of 44 degrees: far too curved to be right, and alike on every device.
TILES = MosaicConfig(
    side=64, guard=6, margin=16, whole_nside=16, small=6.0, polished_nside=32, polish=2
)
#: Largest difference, µK; weights of tiles are kept in float32, and these tiles do not converge.
SAME = 0.05


@pytest.fixture
def solves_on(monkeypatch):
    """Let solvers work where a test says, tiles on the same device."""

    def choose(where):
        for module in (fills, tiled):
            monkeypatch.setattr(module, "device_for", lambda name: where)

    return choose


def inpainter(device, **options):
    options = {"method": "vae", "config": TILES, "prior": KNOWN, "threads": 1} | options
    return Inpainter(
        SKY, MASK, seed=7, device=device or "cpu", trust_prior=True, accept=True, **options
    )


@pytest.mark.filterwarnings("ignore::skyfill.gaussian.ConvergenceWarning")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fill": "signal", "footprint": np.arange(SKY.size) < SKY.size // 2 + 3000},
        pytest.param(
            {"dipole": "fit", "noise_rms": np.full(SKY.size, NOISE)}, marks=pytest.mark.slow
        ),
    ],
    ids=["plain", "part", "noise"],
)
def test_realizations_are_the_same_on_a_device(device, solves_on, options):
    solves_on(None)
    known = inpainter(None, **options).realization(1)
    solves_on(device)
    there = inpainter(device, **options)
    assert isinstance(there._sky.sphere, harmonics.DeviceSphere)
    found = there.realization(1)
    assert isinstance(found, np.ndarray)
    assert np.abs(found - known).max() < SAME
    assert np.array_equal(there.realization(1), found)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skyfill.gaussian.ConvergenceWarning")
def test_tiles_without_memory_on_the_device_are_cut_on_the_cpu(solves_on, monkeypatch):
    solves_on("cpu")
    known = inpainter("cpu").mean()
    monkeypatch.setattr(tileset.harmonics, "free_memory", lambda device: 1e6)
    with pytest.warns(UserWarning, match=r"tiles need .* GB on cpu, .* cut and pasted on the CPU"):
        found = inpainter("cpu").mean()
    assert 0 < np.abs(found - known).max() < SAME


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data_like": False},
        {"noise_variance": np.linspace(100, 300, SKY.size)},
        {"dipole": Dipole(MASK, threads=1), "data_like": False},
    ],
    ids=["data", "signal", "noise", "dipole"],
)
def test_latent_skies_are_the_same_on_a_device(device, options):
    known = latent_sky(KNOWN, ~MASK, seed=(4, 1), threads=1, **options)
    sphere = harmonics.sphere_on(device, NSIDE, KNOWN.lmax)
    found = latent_sky(KNOWN, ~MASK, seed=(4, 1), threads=2, sphere=sphere, **options)
    for one, other in zip(found, known, strict=True):
        assert one.device.type == device
        np.testing.assert_allclose(one.cpu().numpy(), other, atol=1e-9 * np.std(other))


OF_T = Prior(16, lcdm(), fwhm=400 * ARCMIN, noise_uk_arcmin=3000.0, theory=LCDM)
OF_TQU = PolarizedPrior.of(OF_T, 1500.0)


def polarized(prior=OF_TQU):
    """T, Q and U, with holes of P that T does not have."""
    nside = prior.temperature.nside
    t = draw(prior.temperature, seed=4, aliased=True) + 30.0
    p, white = draw_polarization(prior, seed=4)
    p += white * np.sqrt(prior.white_cl[1] * t.size / (4 * np.pi))
    seen = simulate_mask(nside, kind="both", seed=3, half_width=0.2, n_holes=9, radii=(0.1, 0.2))
    return np.stack([np.where(seen, t, np.nan), *np.where(np.roll(seen, 70), p, np.nan)])


@pytest.mark.parametrize("fill", ["data", "signal"])
def test_t_q_and_u_drawn_and_solved_on_a_device_are_those_of_the_cpu(device, monkeypatch, fill):
    sky = polarized()
    seen, seen_p, _ = np.isfinite(sky)

    def inpainter(where):
        monkeypatch.setattr(harmonics, "device_for", lambda name: where)
        return PolarizedInpainter(
            *(sky, seen), observed_pol=seen_p, prior=OF_TQU, seed=7, fill=fill, threads=1
        )

    known, there = inpainter(None), inpainter(device)
    for ours, theirs in (
        (there.realization(1), known.realization(1)),
        (there.mean(), known.mean()),
        (there.realization(0), known.realization(0)),  # the maps that stay there are as before
    ):
        assert isinstance(there._solver().sky.sphere, harmonics.DeviceSphere)
        for one, other in zip(ours, theirs, strict=True):
            assert isinstance(one, np.ndarray)
            assert np.abs(one - other).max() < 1e-5


@pytest.mark.parametrize("config", [None, TILES], ids=["whole", "tiles"])
@pytest.mark.filterwarnings("ignore::skyfill.gaussian.ConvergenceWarning")
def test_turns_of_t_and_p_are_the_same_on_a_device(device, monkeypatch, config):
    of_t = replace(OF_T if config is None else KNOWN, theory=LCDM)
    prior = PolarizedPrior.of(of_t, 1.5 * of_t.noise_uk_arcmin)
    sky = polarized(prior)
    seen, seen_p, _ = np.isfinite(sky)

    def inpainter(where):
        for module in (fills, tiled, harmonics):
            monkeypatch.setattr(module, "device_for", lambda name: where)
        engine = FillOptions(method="vae", config=config, device=device)
        return PolarizedInpainter(
            *(sky, seen),
            observed_pol=seen_p,
            prior=prior,
            method="vae",
            seed=7,
            threads=1,
            trust_prior=True,
            accept=True,
            engine=engine,
        )

    known, there = inpainter(None), inpainter(device)
    wanted = known.realization(1)
    if config is not None:  # a T that is solved whole comes back to the CPU
        monkeypatch.setattr(harmonics.DuccSphere, "pixels", None)
        assert isinstance(there._solver().sphere, harmonics.DeviceSphere)
    found = there.realization(1)
    for one, other in zip(found, wanted, strict=True):
        assert isinstance(one, np.ndarray)
        assert np.abs(one - other).max() < (1e-5 if config is None else SAME)
    for one, other in zip(there.realization(1), found, strict=True):
        assert np.array_equal(one, other)


def test_the_device_of_an_inpainter_of_t_q_and_u_is_that_of_t_s_engine(monkeypatch):
    asked = []
    for module in (fills, tiled, harmonics):
        monkeypatch.setattr(module, "device_for", asked.append)
    sky = polarized()
    seen, seen_p, _ = np.isfinite(sky)
    PolarizedInpainter(
        *(sky, seen), observed_pol=seen_p, prior=OF_TQU, method="vae", device="cpu"
    ).mean()
    assert set(asked) == {"cpu"}
