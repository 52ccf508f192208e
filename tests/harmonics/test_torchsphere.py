"""Transforms in torch against ducc0; what a GPU does is in the tests marked ``gpu``."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skyfill.harmonics import almxfl as numpy_almxfl
from skyfill.harmonics import legendre, sphere, transforms, wigner
from skyfill.harmonics.fourier import row_lengths
from skyfill.harmonics.torchsphere import TorchSphere, almxfl, bytes_needed

#: Below, about, and beyond the largest multipole of a resolution; beyond 2 nside orders fold.
CASES = [
    (1, 0),
    (1, 5),
    (2, 1),
    (2, 5),
    (4, 8),
    (4, 11),
    (8, 23),
    (8, 61),
    (16, 7),
    (16, 47),
    (32, 65),
    (64, 96),
    (64, 191),
]


def random_alm(lmax, seed=1):
    """Draw the alm of a real white sky."""
    rng = np.random.default_rng(seed)
    alm = rng.standard_normal((lmax + 1) * (lmax + 2) // 2).astype(complex)
    alm[lmax + 1 :] += 1j * rng.standard_normal(alm.size - lmax - 1)
    return alm


def random_sky(nside, seed=2):
    return np.random.default_rng(seed).standard_normal(12 * nside**2)


def random_polarized(lmax, seed=1):
    """Draw the E and B of real Q and U; below l = 2 too, where they are not read."""
    return np.stack([random_alm(lmax, seed), random_alm(lmax, seed + 1)])


def random_q_and_u(nside, seed=2):
    return np.stack([random_sky(nside, seed), random_sky(nside, seed + 1)])


def q_and_u(alm, nside):
    """Transform by ducc0, without E and B below l = 2."""
    return sphere.synthesis(np.concatenate([0 * alm[:1], alm]), nside)[1:]


def e_and_b(values, lmax):
    return sphere.adjoint(np.concatenate([0 * values[:1], values]), lmax=lmax)[1:]


def relative(found, expected):
    return np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected)


def inner(a, b, lmax):
    """Multiply two real fields given by their alm of m >= 0."""
    weight = np.where(np.arange(a.size) > lmax, 2, 1)
    return float(np.sum(weight * (a * b.conj()).real))


@pytest.mark.parametrize(("nside", "lmax"), CASES)
def test_transforms_are_ducc0s(nside, lmax):
    ours = TorchSphere(nside, lmax, device="cpu")
    alm, sky = random_alm(lmax), random_sky(nside)
    found = ours.synthesis(torch.from_numpy(alm)).numpy()
    assert relative(found, sphere.synthesis(alm, nside)) < 1e-13
    back = ours.adjoint(torch.from_numpy(sky)).numpy()
    assert relative(back, sphere.adjoint(sky, lmax=lmax)) < 1e-13


@settings(max_examples=20)
@given(st.sampled_from([1, 2, 4, 8, 16]), st.integers(0, 70), st.integers(0, 2**31))
def test_adjoint_is_the_transpose(nside, lmax, seed):
    ours = TorchSphere(nside, lmax, device="cpu")
    alm, sky = random_alm(lmax, seed), random_sky(nside, seed)
    forth = ours.synthesis(torch.from_numpy(alm)).numpy()
    back = ours.adjoint(torch.from_numpy(sky)).numpy()
    size = np.linalg.norm(forth) * np.linalg.norm(sky)
    assert abs(forth @ sky - inner(alm, back, lmax)) < 1e-13 * size


@pytest.mark.parametrize(("nside", "lmax"), [case for case in CASES if case[1] >= 2])
def test_transforms_of_e_and_b_are_ducc0s(nside, lmax):
    ours = TorchSphere(nside, lmax, device="cpu")
    alm, values = random_polarized(lmax), random_q_and_u(nside)
    found = ours.synthesis(torch.from_numpy(alm)).numpy()
    assert relative(found, q_and_u(alm, nside)) < 1e-13
    back = ours.adjoint(torch.from_numpy(values)).numpy()
    assert relative(back, e_and_b(values, lmax)) < 1e-13
    assert not back[:, [0, 1, lmax + 1]].any()


@pytest.mark.parametrize("lmax", [0, 1])
def test_e_and_b_below_l_of_2_are_neither_read_nor_given(lmax):
    ours = TorchSphere(4, 5, device="cpu")
    assert not ours.synthesis(torch.from_numpy(random_polarized(lmax))).any()
    back = ours.adjoint(torch.from_numpy(random_q_and_u(4)), lmax)
    assert back.shape == (2, (lmax + 1) * (lmax + 2) // 2)
    assert not back.any()


@settings(max_examples=20)
@given(st.sampled_from([1, 2, 4, 8, 16]), st.integers(2, 70), st.integers(0, 2**31))
def test_adjoint_of_q_and_u_is_the_transpose(nside, lmax, seed):
    ours = TorchSphere(nside, lmax, device="cpu")
    alm, values = random_polarized(lmax, seed), random_q_and_u(nside, seed)
    forth = ours.synthesis(torch.from_numpy(alm)).numpy()
    back = ours.adjoint(torch.from_numpy(values)).numpy()
    size = np.linalg.norm(forth) * np.linalg.norm(values)
    product = sum(inner(a, b, lmax) for a, b in zip(alm, back, strict=True))
    assert abs(np.sum(forth * values) - product) < 1e-13 * size


def test_a_plan_serves_smaller_lmax():
    ours = TorchSphere(16, 47, device="cpu")
    ours.adjoint(torch.from_numpy(random_sky(16, 9)))  # leaves its own numbers behind
    for lmax in (0, 1, 16, 30, 46):
        alm, sky = random_alm(lmax), random_sky(16)
        found = ours.synthesis(torch.from_numpy(alm)).numpy()
        assert relative(found, sphere.synthesis(alm, 16)) < 1e-13
        back = ours.adjoint(torch.from_numpy(sky), lmax).numpy()
        assert relative(back, sphere.adjoint(sky, lmax=lmax)) < 1e-13


def test_a_plan_serves_smaller_lmax_of_e_and_b_and_leaves_spin_0_as_it_is():
    ours = TorchSphere(16, 47, device="cpu")
    alm, sky = torch.from_numpy(random_alm(40)), torch.from_numpy(random_sky(16))
    intensity, harmonics = ours.synthesis(alm), ours.adjoint(sky)
    ours.adjoint(torch.from_numpy(random_q_and_u(16, 9)))  # leaves its own numbers behind
    for lmax in (2, 3, 16, 30, 46):
        both, values = random_polarized(lmax), random_q_and_u(16)
        found = ours.synthesis(torch.from_numpy(both)).numpy()
        assert relative(found, q_and_u(both, 16)) < 1e-13
        back = ours.adjoint(torch.from_numpy(values), lmax).numpy()
        assert relative(back, e_and_b(values, lmax)) < 1e-13
        assert torch.equal(ours.synthesis(alm), intensity)
        assert torch.equal(ours.adjoint(sky), harmonics)


@pytest.mark.parametrize("lmax", [24, 40])
def test_filtered_is_the_product_of_its_parts(lmax):
    nside = 16
    rng = np.random.default_rng(3)
    pixels = np.sort(rng.choice(12 * nside**2, 700, replace=False))
    values, factor = rng.standard_normal(700), rng.random(700)
    fl = rng.random(lmax + 1)
    ours = TorchSphere(nside, 40, device="cpu")
    found = ours.filtered(*map(torch.from_numpy, (values, fl, factor, pixels)))
    rings = transforms.Rings(nside, pixels)
    alm = numpy_almxfl(rings.adjoint(values, factor, lmax=lmax), fl)
    assert relative(found.numpy(), rings.synthesis(alm, factor)) < 1e-13
    whole, weight = random_sky(nside), rng.random(12 * nside**2)
    found = ours.filtered(*map(torch.from_numpy, (whole, fl, weight)))
    alm = numpy_almxfl(sphere.adjoint(whole * weight, lmax=lmax), fl)
    assert relative(found.numpy(), weight * sphere.synthesis(alm, nside)) < 1e-13


@pytest.mark.parametrize("number", [5, 31, 60])
def test_almxfl_is_that_of_numpy(number):
    alm, fl = random_alm(30), np.random.default_rng(4).random(number)
    found = almxfl(torch.from_numpy(alm), torch.from_numpy(fl)).numpy()
    np.testing.assert_array_equal(found, numpy_almxfl(alm, fl))


def test_almxfl_takes_e_and_b_with_one_filter_or_two():
    alm = random_polarized(30)
    both = np.random.default_rng(4).random((2, 25))
    found = almxfl(*map(torch.from_numpy, (alm, both))).numpy()
    np.testing.assert_array_equal(
        found, [numpy_almxfl(a, f) for a, f in zip(alm, both, strict=True)]
    )
    found = almxfl(*map(torch.from_numpy, (alm, both[0]))).numpy()
    np.testing.assert_array_equal(found, [numpy_almxfl(a, both[0]) for a in alm])


@pytest.mark.parametrize("draw", [random_alm, random_polarized])
def test_imaginary_parts_of_m_zero_are_not_read(draw):
    ours = TorchSphere(8, 20, device="cpu")
    alm = draw(20)
    clean = ours.synthesis(torch.from_numpy(alm)).numpy()
    alm[..., :21] += 1j
    np.testing.assert_array_equal(ours.synthesis(torch.from_numpy(alm)).numpy(), clean)


@pytest.mark.parametrize("draw", [random_alm, random_polarized])
def test_the_same_input_gives_the_same_bits(draw):
    ours = TorchSphere(16, 40, device="cpu")
    alm = torch.from_numpy(draw(40))
    sky = ours.synthesis(alm).clone()
    back = ours.adjoint(sky)
    assert torch.equal(ours.synthesis(alm), sky)
    assert torch.equal(ours.adjoint(sky), back)


def test_sums_start_late_and_still_lose_nothing():
    """At Nside 64 and lmax 191 orders start late, and not at all near the poles."""
    plan = legendre.plan(64, 191)
    count = (191 - np.arange(192)) // 2 + 1
    started = plan.start < count[:, None]
    assert started[0, :16].all()
    assert not started[191, :4].any()
    assert (plan.start[100, started[100]] > 0).any()
    assert np.isfinite(plan.p).all()
    assert plan.mlim[0] < 60
    assert plan.mlim[127] == 191


def test_sums_of_spin_2_start_late_and_not_at_all_where_nothing_matters():
    plan = wigner.plan(64, 191)
    count = 192 - np.maximum(np.arange(192), 2)
    started = plan.start < count[:, None]
    assert started[0, :16].all()
    assert not started[191, :4].any()
    assert (plan.start[100, started[100]] > 0).any()
    for table in (plan.plus, plan.plus_before, plan.minus, plan.minus_before):
        assert np.isfinite(table).all()
    assert 2 <= plan.mlim[0] < 60
    assert plan.mlim[127] == 191
    assert (wigner.plan(4, 1).mlim == -1).all()


@pytest.mark.parametrize("nside", [1, 2, 4, 64, 256, 2048, 8192])
def test_rows_hold_their_rings_convolutions(nside):
    groups = row_lengths(nside)
    rings = [ring for begin, end, _ in groups for ring in range(begin, end)]
    assert rings == list(range(1, nside))
    for _, end, length in groups:
        assert length >= 8 * (end - 1) - 1
        while length % 2 == 0:
            length //= 2
        assert length in (1, 3)


@pytest.mark.parametrize(("nside", "lmax"), [(8, 20), (64, 96)])
def test_memory_that_is_needed_holds_what_is_kept(nside, lmax):
    ours = TorchSphere(nside, lmax, device="cpu")
    assert ours.bytes_kept < bytes_needed(nside, lmax) < bytes_needed(2 * nside, lmax)
    before = ours.bytes_kept
    ours.synthesis(torch.from_numpy(random_polarized(lmax)))
    assert before < ours.bytes_kept < bytes_needed(nside, lmax, spin2=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ours: ours.synthesis(torch.zeros(10)), "alm"),
        (lambda ours: ours.synthesis(torch.zeros(11, dtype=torch.complex128)), "alm"),
        (lambda ours: ours.synthesis(torch.zeros(66, dtype=torch.complex128)), "up to 9"),
        (lambda ours: ours.adjoint(torch.zeros(48, dtype=torch.float64)), "values"),
        (lambda ours: ours.adjoint(torch.zeros(192)), "values"),
        (lambda ours: ours.synthesis(torch.zeros(3, 55, dtype=torch.complex128)), "alm"),
        (lambda ours: ours.synthesis(torch.zeros(2, 66, dtype=torch.complex128)), "up to 9"),
        (lambda ours: ours.adjoint(torch.zeros(3, 192, dtype=torch.float64)), "values"),
        (lambda ours: ours.adjoint(torch.zeros(192, dtype=torch.float64), 10), "`lmax=10`"),
        (lambda ours: TorchSphere(3, 4, device="cpu"), "nside"),
        (lambda ours: TorchSphere(4, -1, device="cpu"), "`lmax=-1`"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, message):
    ours = TorchSphere(4, 9, device="cpu")
    with pytest.raises(ValueError, match=message):
        call(ours)


def test_importing_transforms_imports_neither_torch_nor_triton():
    code = (
        "import sys, skyfill.harmonics; skyfill.harmonics.synthesis;"
        "assert not {'torch', 'triton'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize(("nside", "lmax"), [*CASES, (256, 384), (512, 1535)])
def test_a_gpu_gives_ducc0s_transforms(nside, lmax):
    ours = TorchSphere(nside, lmax)
    ours.leg[:, : 2 * nside] = torch.nan
    alm, sky = random_alm(lmax), random_sky(nside)
    found = ours.synthesis(torch.from_numpy(alm).cuda()).cpu().numpy()
    assert relative(found, sphere.synthesis(alm, nside)) < 3e-13
    ours.leg[:, : 2 * nside] = torch.nan
    back = ours.adjoint(torch.from_numpy(sky).cuda()).cpu().numpy()
    assert relative(back, sphere.adjoint(sky, lmax=lmax)) < 3e-13


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_gives_the_sums_of_a_cpu_and_the_same_bits_twice():
    ours, twin = TorchSphere(64, 150), TorchSphere(64, 150, device="cpu")
    alm = torch.from_numpy(random_alm(150))
    sky = twin.synthesis(alm)
    found = ours.synthesis(alm.cuda())
    assert relative(found.cpu().numpy(), sky.numpy()) < 1e-13
    assert torch.equal(found, ours.synthesis(alm.cuda()))
    back = ours.adjoint(sky.cuda())
    assert relative(back.cpu().numpy(), twin.adjoint(sky).numpy()) < 1e-13
    assert torch.equal(back, ours.adjoint(sky.cuda()))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize(("nside", "lmax"), [*CASES, (256, 384), (512, 1535)])
def test_a_gpu_gives_ducc0s_transforms_of_e_and_b(nside, lmax):
    ours = TorchSphere(nside, lmax)
    alm, values = random_polarized(lmax), random_q_and_u(nside)
    for leg in (ours.leg, ours.spin2.leg):
        leg[:, : 2 * nside] = torch.nan
    found = ours.synthesis(torch.from_numpy(alm).cuda())
    assert torch.equal(found, ours.synthesis(torch.from_numpy(alm).cuda()))
    back = ours.adjoint(torch.from_numpy(values).cuda(), lmax)
    assert torch.equal(back, ours.adjoint(torch.from_numpy(values).cuda(), lmax))
    if lmax < 2:
        assert not found.any()
        assert not back.any()
        return
    assert relative(found.cpu().numpy(), q_and_u(alm, nside)) < 3e-13
    assert relative(back.cpu().numpy(), e_and_b(values, lmax)) < 3e-13
