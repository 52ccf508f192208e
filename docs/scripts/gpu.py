r"""Measure the transforms of `skyfill.harmonics.torchsphere` on a GPU, against ducc0.

Every figure is a line of JSON. A section that fails says so in its line, and the others go on.
Times are medians in ms after warm-up, by CUDA events. Sections whose names end in 2
are of E and B, Q and U.

    python docs/scripts/gpu.py --out gpu.jsonl
    python docs/scripts/gpu.py --device cpu --small
    python docs/scripts/gpu.py --only machine accuracy2 times2 bits2 variants2 kernels2 ducc02
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import ducc0
import numpy as np
import torch

from skyfill.harmonics import legendre, sphere, wigner
from skyfill.harmonics.torchsphere import TorchSphere, almxfl, bytes_needed

#: Nside, lmax: the accuracy is wanted at all, times at the last four.
ACCURATE = ((64, 96), (256, 384), (2048, 3000))
TIMED = ((2048, 3000), (2048, 2468), (1024, 1536), (512, 768))
#: The same for E and B.
TIMED_2 = ((2048, 3000), (1024, 1536))
#: The same on a CPU, to see that the script runs.
ACCURATE_SMALL = ((8, 12), (16, 47), (32, 48))
TIMED_SMALL = ((32, 48), (32, 40), (16, 24))
#: Share of the sky in holes for `filtered`.
HOLES = 0.24


class Record:
    """Lines of JSON on the terminal and, if wanted, in a file."""

    def __init__(self, out: Path | None, begun: float) -> None:
        self.out, self.begun = out, begun

    def __call__(self, section: str, **figures: object) -> None:
        """Write one line."""
        figures = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in figures.items()}
        at = round(time.perf_counter() - self.begun, 1)
        line = json.dumps({"section": section, **figures, "at_s": at})
        print(line, flush=True)
        if self.out:
            with self.out.open("a") as file:
                file.write(line + "\n")


@contextmanager
def section(record: Record, name: str) -> Iterator[None]:
    """Let a section fail alone."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever it is, the other figures are wanted)
        where = traceback.format_exc().strip().splitlines()[-7:]
        record(name, failed=f"{type(error).__name__}: {error}"[:600], where=where)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="small maps, to see that it runs")
    parser.add_argument("--out", type=Path, help="a file to which the lines are appended")
    parser.add_argument("--only", nargs="+", help="names of sections; all if not given")
    args = parser.parse_args()
    record = Record(args.out, time.perf_counter())
    device = torch.device(args.device)
    accurate = ACCURATE_SMALL if args.small else ACCURATE
    timed = TIMED_SMALL if args.small else TIMED
    timed_2 = TIMED_SMALL[:2] if args.small else TIMED_2
    sections: dict[str, Callable[[], None]] = {
        "machine": lambda: machine(record, device),
        "accuracy": lambda: accuracy(record, device, accurate),
        "times": lambda: times(record, device, timed),
        "filtered": lambda: filtered(record, device, *timed[1], timed[0][1]),
        "bits": lambda: bits(record, device, *timed[0]),
        "kernels": lambda: kernels(record, device, *timed[0]),
        "graph": lambda: graph(record, device, timed[-2:]),
        "ducc0": lambda: ducc0_times(record, timed),
        "accuracy2": lambda: accuracy(record, device, accurate, spin=2),
        "times2": lambda: times(record, device, timed_2, spin=2),
        "bits2": lambda: bits(record, device, *timed_2[0], spin=2),
        "variants2": lambda: variants_2(record, device, *timed_2[0]),
        "kernels2": lambda: kernels(record, device, *timed_2[0], spin=2),
        "ducc02": lambda: ducc0_times(record, timed_2, spin=2),
    }
    for name, run in sections.items():
        if args.only is None or name in args.only:
            with section(record, name):
                run()


def machine(record: Record, device: torch.device) -> None:
    """Say where this runs."""
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    if device.type == "cuda":
        import triton

        versions["triton"] = triton.__version__
        versions["device"] = torch.cuda.get_device_name(device)
    record("machine", **versions, threads=torch.get_num_threads())


@lru_cache(maxsize=1)
def sphere_of(nside: int, lmax: int, device: torch.device) -> TorchSphere:
    """Keep the last plan."""
    return TorchSphere(nside, lmax, device=device)


def alm_of(lmax: int, spin: int = 0) -> np.ndarray:
    """Draw white alm of a real sky, ``(nalm,)``, or E and B, ``(2, nalm)``, from l = 2 on."""
    number = (lmax + 1) * (lmax + 2) // 2
    alm = np.empty((2, number) if spin else number, dtype=np.complex128)
    alm.real, alm.imag = np.random.default_rng(1).standard_normal((2, *alm.shape))
    alm[..., : lmax + 1].imag = 0.0
    if spin:
        alm[:, [0, 1, lmax + 1]] = 0.0
    return alm


def sky_of(nside: int, spin: int = 0) -> np.ndarray:
    """Draw a white map, or Q and U."""
    npix = 12 * nside**2
    return np.random.default_rng(2).standard_normal((2, npix) if spin else npix)


def ducc0_synthesis(alm: np.ndarray, nside: int) -> np.ndarray:
    """Transform by ducc0 on all cores: a map through skyfill, Q and U directly."""
    if alm.ndim == 1:
        return sphere.synthesis(alm, nside)
    lmax = sphere.lmax_of(alm)
    return ducc0.sht.synthesis(
        alm=alm, spin=2, lmax=lmax, mmax=lmax, nthreads=0, **sphere.rings(nside)
    )


def ducc0_adjoint(values: np.ndarray, nside: int, lmax: int) -> np.ndarray:
    """Transform back by ducc0."""
    if values.ndim == 1:
        return sphere.adjoint(values, lmax=lmax)
    return ducc0.sht.adjoint_synthesis(
        map=values, spin=2, lmax=lmax, mmax=lmax, nthreads=0, **sphere.rings(nside)
    )


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ms(run: Callable[[], object], device: torch.device, *, repeats: int = 10) -> float:
    """Give the median time of a call."""
    for _ in range(2):
        run()
    found = []
    for _ in range(repeats):
        synchronize(device)
        if device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            run()
            end.record()
            end.synchronize()
            found.append(begin.elapsed_time(end))
        else:
            start = time.perf_counter()
            run()
            found.append(1e3 * (time.perf_counter() - start))
    return statistics.median(found)


def accuracy(
    record: Record, device: torch.device, cases: tuple[tuple[int, int], ...], spin: int = 0
) -> None:
    """Compare both directions with ducc0: relative rms, and the largest over the rms."""
    for nside, lmax in cases:
        with section(record, "accuracy"):
            ours = sphere_of(nside, lmax, device)
            alm, values = alm_of(lmax, spin), sky_of(nside, spin)
            for name, expected, found in (
                (
                    "synthesis",
                    ducc0_synthesis(alm, nside),
                    ours.synthesis(torch.from_numpy(alm).to(device)),
                ),
                (
                    "adjoint",
                    ducc0_adjoint(values, nside, lmax),
                    ours.adjoint(torch.from_numpy(values).to(device)),
                ),
            ):
                rest = np.abs(found.cpu().numpy() - expected)
                rms = float(np.sqrt(np.mean(np.abs(expected) ** 2)))
                record(
                    "accuracy",
                    spin=spin,
                    nside=nside,
                    lmax=lmax,
                    direction=name,
                    relative=float(np.sqrt(np.mean(rest**2))) / rms,
                    largest=float(rest.max()) / rms,
                    worst_at=int(rest.argmax()) % rest.shape[-1],
                )


def stages(
    ours: TorchSphere, alm: torch.Tensor, sky: torch.Tensor, lmax: int
) -> dict[str, Callable[[], object]]:
    """Give the four stages of the transforms, both fields in each."""
    if alm.ndim == 1:
        return {
            "alm_to_leg_ms": lambda: ours.to_leg(alm, lmax),
            "leg_to_map_ms": lambda: ours.fourier.to_map(ours.leg, lmax),
            "map_to_leg_ms": lambda: ours.fourier.to_leg(sky, ours.leg, lmax),
            "leg_to_alm_ms": lambda: ours.from_leg(lmax),
        }
    spin2 = ours.spin2
    legs = ours.leg, spin2.leg
    return {
        "alm_to_leg_ms": lambda: spin2.to_leg(alm, ours.leg, lmax),
        "leg_to_map_ms": lambda: [spin2.fourier.to_map(leg, lmax) for leg in legs],
        "map_to_leg_ms": lambda: [
            spin2.fourier.to_leg(values, leg, lmax) for values, leg in zip(sky, legs, strict=True)
        ],
        "leg_to_alm_ms": lambda: spin2.from_leg(ours.leg, lmax),
    }


def times(
    record: Record, device: torch.device, cases: tuple[tuple[int, int], ...], spin: int = 0
) -> None:
    """Time transforms and their stages, with the plan's seconds and the memory."""
    for nside, lmax in cases:
        with section(record, "times"):
            sphere_of.cache_clear()
            legendre.plan.cache_clear()
            wigner.plan.cache_clear()
            if device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(device)
            start = time.perf_counter()
            ours = sphere_of(nside, lmax, device)
            synchronize(device)
            seconds = {"plan_s": time.perf_counter() - start}
            if spin:
                start = time.perf_counter()
                _ = ours.spin2
                synchronize(device)
                seconds["plan2_s"] = time.perf_counter() - start
            alm = torch.from_numpy(alm_of(lmax, spin)).to(device)
            sky = ours.synthesis(alm)
            work: dict[str, Callable[[], object]] = {
                "synthesis_ms": lambda: ours.synthesis(alm),  # noqa: B023
                "adjoint_ms": lambda: ours.adjoint(sky),  # noqa: B023
                **stages(ours, alm, sky, lmax),
            }
            figures = {name: ms(run, device) for name, run in work.items()}
            memory: dict[str, object] = {}
            if device.type == "cuda":
                memory["peak_GB"] = torch.cuda.max_memory_allocated(device) / 1e9
            record(
                "times",
                spin=spin,
                nside=nside,
                lmax=lmax,
                **figures,
                **seconds,
                kept_GB=ours.bytes_kept / 1e9,
                needed_GB=bytes_needed(nside, lmax, spin2=bool(spin)) / 1e9,
                **memory,
            )


def filtered(record: Record, device: torch.device, nside: int, lmax: int, most: int) -> None:
    """Time F Y f Yᵀ F v on the pixels of a band and of disc-like holes, on the larger plan."""
    ours = sphere_of(nside, max(lmax, most), device)
    npix = 12 * nside**2
    run = torch.arange(npix, device=device)
    belt = (run > npix * 0.4) & (run < npix * 0.6)
    pixels = torch.nonzero(belt | (run % 1009 < 1009 * (HOLES - 0.2) / 0.8)).reshape(-1)
    del run, belt
    values = torch.randn(len(pixels), dtype=torch.float64, device=device)
    factor = torch.rand(len(pixels), dtype=torch.float64, device=device)
    fl = torch.linspace(1.0, 0.0, lmax + 1, dtype=torch.float64, device=device)
    alm = ours.adjoint(torch.randn(npix, dtype=torch.float64, device=device), lmax)
    sky = ours.synthesis(alm)
    record(
        "filtered",
        nside=nside,
        lmax=lmax,
        pixels=len(pixels),
        filtered_ms=ms(lambda: ours.filtered(values, fl, factor, pixels), device),
        synthesis_ms=ms(lambda: ours.synthesis(alm), device),
        adjoint_ms=ms(lambda: ours.adjoint(sky, lmax), device),
        almxfl_ms=ms(lambda: almxfl(alm, fl), device),
        gather_ms=ms(lambda: sky[pixels] * factor, device),
        dot_ms=ms(lambda: torch.dot(values, factor), device),
    )


def bits(record: Record, device: torch.device, nside: int, lmax: int, spin: int = 0) -> None:
    """See whether the same input gives the same bits."""
    ours = sphere_of(nside, lmax, device)
    alm = torch.from_numpy(alm_of(lmax, spin)).to(device)
    sky = ours.synthesis(alm)
    back = ours.adjoint(sky)
    same = [
        torch.equal(sky, ours.synthesis(alm)) and torch.equal(back, ours.adjoint(sky))
        for _ in range(3)
    ]
    record(
        "bits",
        spin=spin,
        nside=nside,
        lmax=lmax,
        same=all(same),
        finite=bool(sky.isfinite().all()),
    )


def variants_2(record: Record, device: torch.device, nside: int, lmax: int) -> None:
    """Time the Legendre kernels of E and B with other numbers of rings and of partial sums."""
    if device.type != "cuda":
        record("variants", skipped="no CUDA device")
        return
    from skyfill.harmonics import torchsphere, wigner_gpu

    ours = sphere_of(nside, lmax, device)
    alm = torch.from_numpy(alm_of(lmax, 2)).to(device)
    usual = wigner_gpu.TOGETHER, torchsphere.PARTIAL_SUMS
    for together in (64, 128):
        with section(record, "variants"):
            wigner_gpu.TOGETHER = together
            sky = ours.synthesis(alm)
            record(
                "variants",
                spin=2,
                rings_together=together,
                alm_to_leg_ms=ms(lambda: ours.spin2.to_leg(alm, ours.leg, lmax), device),
                mean_square=float(sky.square().mean()),
            )
    wigner_gpu.TOGETHER = usual[0]
    sky = ours.synthesis(alm)
    for parts in (2, 4, 8):
        with section(record, "variants"):
            torchsphere.PARTIAL_SUMS = parts
            back = ours.adjoint(sky)
            record(
                "variants",
                spin=2,
                partial_sums=parts,
                leg_to_alm_ms=ms(lambda: ours.spin2.from_leg(ours.leg, lmax), device),
                mean_square=float(back.abs().square().mean()),
            )
    torchsphere.PARTIAL_SUMS = usual[1]


def kernels(record: Record, device: torch.device, nside: int, lmax: int, spin: int = 0) -> None:
    """List what a synthesis and an adjoint spend on the device, kernel by kernel."""
    if device.type != "cuda":
        record("kernels", skipped="no CUDA device")
        return
    from torch.profiler import ProfilerActivity, profile

    ours = sphere_of(nside, lmax, device)
    alm = torch.from_numpy(alm_of(lmax, spin)).to(device)
    sky = ours.synthesis(alm)
    work: dict[str, Callable[[], Any]] = {
        "synthesis": lambda: ours.synthesis(alm),
        "adjoint": lambda: ours.adjoint(sky),
    }
    for name, run in work.items():
        with profile(activities=[ProfilerActivity.CUDA]) as found:
            for _ in range(3):
                run()
            synchronize(device)
        table = sorted(found.key_averages(), key=lambda row: -row.self_device_time_total)
        rows = {
            row.key[:70]: [round(row.self_device_time_total / 3e3, 3), row.count // 3]
            for row in table[:24]
            if row.self_device_time_total > 0
        }
        record("kernels", spin=spin, of=name, ms_and_calls=rows)


def graph(record: Record, device: torch.device, cases: tuple[tuple[int, int], ...]) -> None:
    """Time small transforms as CUDA graphs: there the launches are most of the time."""
    if device.type != "cuda":
        record("graph", skipped="no CUDA device")
        return
    for nside, lmax in cases:
        with section(record, "graph"):
            ours = sphere_of(nside, lmax, device)
            alm = torch.from_numpy(alm_of(lmax)).to(device)
            sky = ours.synthesis(alm)
            ours.adjoint(sky)
            synchronize(device)
            captured = torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured):
                back = ours.adjoint(ours.synthesis(alm))
            captured.replay()
            synchronize(device)
            record(
                "graph",
                nside=nside,
                lmax=lmax,
                same=torch.equal(back, ours.adjoint(sky)),
                pair_ms=ms(captured.replay, device),
                launched_pair_ms=ms(lambda: ours.adjoint(ours.synthesis(alm)), device),  # noqa: B023
            )


def ducc0_times(record: Record, cases: tuple[tuple[int, int], ...], spin: int = 0) -> None:
    """Time ducc0 on this machine's cores."""
    for nside, lmax in cases:
        with section(record, "ducc0"):
            alm = alm_of(lmax, spin)
            sky = ducc0_synthesis(alm, nside)
            cpu = torch.device("cpu")
            record(
                "ducc0",
                spin=spin,
                nside=nside,
                lmax=lmax,
                synthesis_ms=ms(lambda: ducc0_synthesis(alm, nside), cpu, repeats=2),  # noqa: B023
                adjoint_ms=ms(
                    lambda: ducc0_adjoint(sky, nside, lmax),  # noqa: B023
                    cpu,
                    repeats=2,
                ),
            )


if __name__ == "__main__":
    main()
