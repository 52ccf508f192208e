"""The Triton kernels without a GPU: in the interpreter, and compiled for one that is not there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

triton = pytest.importorskip("triton", reason="Triton comes with CUDA builds of torch")

#: Runs both stages in the interpreter, from buffers full of NaN, against the sums on a CPU.
INTERPRETED = """
import sys
import numpy as np, torch
from skyfill.harmonics import legendre, legendre_gpu
from skyfill.harmonics.fourier import RingFourier
from skyfill.harmonics.torchsphere import TorchSphere

nside, largest, lmax = map(int, sys.argv[1:4])
rng = np.random.default_rng(1)
alm = rng.standard_normal((lmax + 1) * (lmax + 2) // 2).astype(complex)
alm[lmax + 1:] += 1j * rng.standard_normal(alm.size - lmax - 1)
sky = torch.from_numpy(rng.standard_normal(12 * nside**2))
ours = TorchSphere(nside, largest, device="cpu")
plan = legendre.plan(nside, largest)
twin = RingFourier(nside, largest, torch.from_numpy(plan.mlim), kernels=False)

def poisoned():
    leg = torch.zeros_like(ours.leg)
    leg[:, :2 * nside] = torch.nan
    return leg

def same(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert np.linalg.norm(found - expected) <= 1e-13 * np.linalg.norm(expected)

empty = torch.empty
torch.empty = lambda *a, **k: empty(*a, **k).fill_(torch.nan)
ours.leg = poisoned()
ours.to_leg(torch.from_numpy(alm), lmax)
expected = torch.zeros_like(ours.leg)
legendre.sums(plan, legendre.packed(plan, alm, lmax), lmax, expected.numpy())
read = np.arange(lmax + 1) <= np.minimum(plan.mlim, lmax)[:2 * nside, None]
for side in (0, 1):
    same(ours.leg[side, :2 * nside, :lmax + 1][read], expected[side, :2 * nside, :lmax + 1][read])
same(ours.fourier.to_map(ours.leg, lmax), twin.to_map(expected, lmax))

leg, expected = poisoned(), poisoned()
ours.fourier.to_leg(sky, leg, lmax)
twin.to_leg(sky, expected, lmax)
used = leg[..., :lmax + 1]
for side in (0, 1):
    same(used[side, :2 * nside][read], expected[side, :2 * nside, :lmax + 1][read])
assert used.isfinite().all()
ours.leg = leg
found = ours.from_leg(lmax)
same(found, legendre.unpacked(plan, legendre.adjoint_sums(plan, leg.numpy(), lmax), lmax))
print("same", legendre_gpu.sums.__module__)
"""


#: The same for E and B.
INTERPRETED_SPIN_2 = """
import sys
import numpy as np, torch
from skyfill.harmonics import wigner
from skyfill.harmonics.torchsphere import TorchSphere

nside, largest, lmax = map(int, sys.argv[1:4])
rng = np.random.default_rng(1)
alm = np.empty((2, (lmax + 1) * (lmax + 2) // 2), dtype=complex)
alm.real, alm.imag = rng.standard_normal((2, *alm.shape))
sky = torch.from_numpy(rng.standard_normal((2, 12 * nside**2)))
ours = TorchSphere(nside, largest, device="cpu")
spin2, plan = ours.spin2, wigner.plan(nside, largest)

def poison():
    for leg in (ours.leg, spin2.leg):
        leg[:, :2 * nside] = torch.nan

def same(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert np.linalg.norm(found - expected) <= 1e-13 * np.linalg.norm(expected)

empty = torch.empty
torch.empty = lambda *a, **k: empty(*a, **k).fill_(torch.nan)
poison()
spin2.to_leg(torch.from_numpy(alm), ours.leg, lmax)
q, u = np.zeros((2, *ours.leg.shape), dtype=complex)
wigner.sums(plan, wigner.packed(plan, alm, lmax), lmax, q, u)
read = np.arange(lmax + 1) <= np.minimum(plan.mlim, lmax)[:2 * nside, None]
for found, expected in ((ours.leg, q), (spin2.leg, u)):
    for side in (0, 1):
        used = side, slice(2 * nside), slice(lmax + 1)
        same(found[used][read], expected[used][read])
poison()
found = ours.synthesis(torch.from_numpy(alm))
assert found.isfinite().all()
poison()
back = ours.adjoint(sky, lmax)
legs = ours.leg.numpy(), spin2.leg.numpy()
same(back, wigner.unpacked(plan, wigner.adjoint_sums(plan, *legs, lmax), lmax))
weight = np.where(np.arange(alm.shape[1]) > lmax, 2, 1)
alm[:, :lmax + 1].imag = 0
size = np.linalg.norm(found) * np.linalg.norm(sky)
assert abs((found * sky).sum() - (weight * (alm * back.numpy().conj()).real).sum()) <= 1e-13 * size
print("same", spin2._kernels.__name__)
"""


@pytest.mark.parametrize(
    "case",
    [
        (1, 3, 3),
        (2, 9, 6),
        (8, 20, 13),
        pytest.param((8, 40, 40), marks=pytest.mark.slow),
        pytest.param((16, 47, 47), marks=pytest.mark.slow),
        pytest.param((32, 48, 48), marks=pytest.mark.slow),
    ],
    ids=str,
)
@pytest.mark.parametrize("spin", [0, 2])
def test_the_interpreter_gives_the_sums_of_a_cpu(case, spin):
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED_SPIN_2 if spin else INTERPRETED, *map(str, case)],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("same")


#: Types of the kernels' pointers; what is not named here is an integer or, in capitals, a constant.
POINTERS = {
    "*i32": "mlim start lengths",
    "*i64": "first offsets",
    "*fp64": "alm even next_even odd out found x_of x2_of a b p before coefficients leg folded "
    "spectrum work sky weight plus plus_before minus minus_before leg_q leg_u",
}
TYPES = {name: kind for kind, names in POINTERS.items() for name in names.split()}
#: Constants, and integers that are multiples of 16.
CONSTANTS = {"STEP": 8, "BLOCK": 256, "PARTS": 4}
MULTIPLES = ("rings", "stride")


@pytest.mark.parametrize(
    ("room", "name", "warps", "tile", "shuffles"),
    [
        ("legendre_gpu", "_pack", 4, 256, 0),
        ("legendre_gpu", "_unpack", 4, 256, 0),
        ("legendre_gpu", "_sums", 1, 256, 0),
        pytest.param("legendre_gpu", "_halved_sums", 1, 256, 62, marks=pytest.mark.slow),
        ("wigner_gpu", "_pack", 4, 0, 0),
        ("wigner_gpu", "_unpack", 4, 0, 0),
        ("wigner_gpu", "_sums", 1, 128, 0),
        pytest.param("wigner_gpu", "_halved_sums", 1, 128, 62, marks=pytest.mark.slow),
        ("fourier_gpu", "_fold_equator", 4, 0, 0),
        ("fourier_gpu", "_read_equator", 4, 0, 0),
        ("fourier_gpu", "_fold_poles", 4, 0, 0),
        ("fourier_gpu", "_read_poles", 4, 0, 0),
        ("fourier_gpu", "_take_poles", 4, 0, 0),
        ("fourier_gpu", "_write_poles", 4, 0, 0),
    ],
)
def test_kernels_compile_without_spills(room, name, warps, tile, shuffles, tmp_path, monkeypatch):
    from importlib import import_module

    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    ptxas = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    if not ptxas.exists():
        pytest.skip("this Triton brings no ptxas")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(import_module(f"skyfill.harmonics.{room}"), name)
    constants_of = CONSTANTS | {"TILE": tile}
    signature, constants, attributes = {}, {}, {}
    for i, argument in enumerate(kernel.arg_names):
        signature[argument] = TYPES.get(argument, "i32")
        if argument in TYPES or argument in MULTIPLES:
            attributes[(i,)] = [["tt.divisibility", 16]]
        if argument.isupper():
            signature[argument], constants[argument] = "constexpr", constants_of[argument]
    made = triton.compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": warps},
    )
    assert made.asm["ptx"].count("shfl") == shuffles
    source = tmp_path / "kernel.ptx"
    source.write_text(made.asm["ptx"])
    told = subprocess.run(
        [ptxas, "-v", "-arch=sm_90a", source, "-o", tmp_path / "kernel.cubin"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert re.findall(r"(\d+) bytes (?:stack frame|spill \w+)", told) == ["0", "0", "0"]
