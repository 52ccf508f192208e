"""The exact solver on the vectors of a device gives the fill of the CPU."""

import sys

import numpy as np
import pytest

from skyfill import Inpainter, harmonics
from skyfill.gaussian import Solver
from skyfill.gaussian.blocks import DeviceBlocks, HoleBlocks
from skyfill.harmonics import spheres
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask

torch = pytest.importorskip("torch")

NSIDE = 16
KNOWN = Prior(NSIDE, lcdm(), fwhm=400 * ARCMIN, noise_uk_arcmin=3000.0)
MASK = simulate_mask(NSIDE, kind="both", seed=3, half_width=0.2, n_holes=6, radii=(0.1, 0.2))
SKY = draw(KNOWN, seed=4)
#: Largest difference of fills, in units of their rms; blocks are stored in float32.
SAME = 1e-7


def differ(one, other):
    return np.abs(one - other).max() / np.std(other)


def noise_map():
    """Double and halve the noise from pixel to pixel."""
    return KNOWN.noise_cl * SKY.size / (4 * np.pi) * 2.0 ** np.sin(np.arange(SKY.size) / 50)


@pytest.mark.parametrize("options", [{}, {"marginal": False}, {"noise_variance": noise_map()}])
def test_mean_and_polish_are_the_same_on_a_device(device, options):
    here, there = (Solver.for_prior(MASK, KNOWN, device=one, **options) for one in (None, device))
    known, found = here.mean(SKY, whitened=True), there.mean(SKY, whitened=True)
    assert found.certificate.iterations == known.certificate.iterations
    assert found.certificate.corrections == known.certificate.corrections
    assert differ(found.fill, known.fill) < SAME
    assert differ(found.whitened, known.whitened) < SAME
    start = np.where(MASK, SKY, 0.0)
    assert differ(*(one.improve(start, iterations=4) for one in (there, here))) < SAME


def test_blocks_and_bands_share_the_holes_on_a_device(device, monkeypatch):
    """A few pixels are affordable, so that the band is wide and the discs are not."""
    from skyfill.gaussian import solver

    monkeypatch.setattr(solver, "affordable", lambda sizes, **_: sizes < 100)
    here, there = (Solver.for_prior(MASK, KNOWN, device=one) for one in (None, device))
    assert 0 < there.small.size < there.holes.size
    assert isinstance(there._blocks, DeviceBlocks)
    assert differ(there.mean(SKY).fill, here.mean(SKY).fill) < SAME
    start = np.where(MASK, SKY, 0.0)
    assert differ(there.small_fill(start), here.small_fill(start)) < 1e-5


def test_wide_holes_go_first_on_a_device_as_on_the_cpu(device, monkeypatch):
    """Otherwise the fills are as far apart as the tolerance allows: 1.6 µK at Nside 2048."""
    from skyfill.gaussian import solver
    from skyfill.gaussian.widefirst import WideFirst

    monkeypatch.setattr(solver, "affordable", lambda sizes, **_: sizes < 200)
    known = Prior(32, lcdm(), fwhm=200 * ARCMIN, noise_uk_arcmin=1500.0)
    seen = simulate_mask(32, kind="both", seed=3, half_width=0.15, n_holes=20, radii=(0.04, 0.1))
    sky, used, solve = draw(known, seed=4), [], WideFirst.solve
    monkeypatch.setattr(
        WideFirst, "solve", lambda *given, **more: used.append(1) or solve(*given, **more)
    )
    here, there = (Solver.for_prior(seen, known, device=one).mean(sky) for one in (None, device))
    assert len(used) >= 2
    assert there.certificate.iterations == here.certificate.iterations
    assert differ(there.fill, here.fill) < SAME


def test_a_device_fills_holes_of_many_sizes_in_groups(device, monkeypatch):
    """Groups are cut by size and by the number of elements; padding changes nothing."""
    from skyfill.gaussian import blocks

    fine = Prior(64, lcdm(), fwhm=100 * ARCMIN, noise_uk_arcmin=600.0)
    mask = simulate_mask(64, kind="holes", seed=5, n_holes=12, radii=(0.02, 0.15))
    values = np.where(mask, draw(fine, seed=4), 0.0)
    known = Solver.for_prior(mask, fine).small_fill(values)
    for elements in (2**26, 1000):
        monkeypatch.setattr(blocks, "_ELEMENTS", elements)
        solver = Solver.for_prior(mask, fine, device=device)
        assert len({int(size) for size in solver._blocks.kernel.sizes}) > 3
        assert differ(solver.small_fill(values), known) < 1e-5


def test_a_block_that_is_not_positive_gets_the_same_ridge_on_a_device(device):
    mask = simulate_mask(NSIDE, kind="holes", seed=5, n_holes=3, radii=(0.2, 0.3))
    solver = Solver.for_prior(mask, KNOWN, device=device)
    kernel = solver._blocks.kernel
    largest = 0.0
    for one in kernel.directions:
        angle = 2 * np.arcsin(np.linalg.norm(one[:, None] - one, axis=2) / 2) / kernel.step
        between = np.interp(angle + 1, np.arange(kernel.table.size), kernel.table)
        largest = max(largest, np.linalg.eigvalsh(between).max())
    kernel.table /= (1 - 1e-6) * largest
    values = np.sin(np.arange(kernel.count))
    found = DeviceBlocks(kernel, solver._sphere).solve(solver._sphere.vector(values))
    assert differ(found.cpu().numpy(), HoleBlocks(kernel).solve(values)) < 1e-3


def test_a_device_without_memory_leaves_the_solve_to_the_cpu(monkeypatch):
    monkeypatch.setattr(harmonics, "device_memory", lambda *_: (1e5, 2e5))
    with pytest.warns(UserWarning, match=r"needs 0\.0 GB on cpu, and 0\.0 GB are free"):
        solver = Solver.for_prior(MASK, KNOWN, device="cpu")
    known = Solver.for_prior(MASK, KNOWN).mean(SKY).fill
    np.testing.assert_array_equal(solver.mean(SKY).fill, known)


@pytest.mark.parametrize("name", ["cpu", "mps", "xpu"])
def test_devices_without_float64_leave_the_work_to_ducc0(name):
    assert harmonics.device_for(name) is None


def test_a_gpu_that_is_not_there_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device 'cuda:1' is not available.*pass `device='cpu'`"):
        harmonics.device_for("cuda:1")
    with pytest.raises(ValueError, match=r"device 'cuda' is not available"):
        Inpainter(SKY, MASK, method="gaussian", prior=KNOWN, device="gpu")


def test_without_triton_the_cpu_solves(monkeypatch):
    monkeypatch.setattr(spheres, "find_spec", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert harmonics.device_for("cuda") is None


def test_without_a_driver_auto_does_not_ask_torch(monkeypatch, tmp_path):
    monkeypatch.setattr(spheres, "_DRIVER", tmp_path / "none")
    monkeypatch.setattr(spheres, "find_spec", lambda name: name)
    monkeypatch.delitem(sys.modules, "torch")
    assert harmonics.device_for("auto") is None
    assert "torch" not in sys.modules


@pytest.mark.parametrize(("ability", "chosen"), [((9, 0), "cuda"), ((8, 6), None)])
def test_auto_takes_only_gpus_with_a_good_rate_in_float64(monkeypatch, ability, chosen):
    monkeypatch.setattr(spheres, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: ability)
    assert harmonics.device_for("auto") == chosen
    assert harmonics.device_for("cuda:1") == "cuda:1"
