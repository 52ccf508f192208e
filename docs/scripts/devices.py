r"""Compare fills on a GPU with fills on the CPU: the same seed, seconds by stage, differences.

Every figure is a line of JSON. A section that fails says so in its line, and the others go on. One
that is to begin after --until seconds is left out, and says so.

    python docs/scripts/devices.py --out devices.jsonl
    python docs/scripts/devices.py --device cpu --nsides 64 --methods solver
    python docs/scripts/devices.py --sections vae-512 agree-512 vae-2048 writing-2048

Sections: METHOD-NSIDE for solver, gaussian, vae, stokes and turns (T, Q and U by gaussian and by
vae), each on the device and, without --no-cpu, on the CPU (METHOD-NSIDE-device: only there);
agree-NSIDE, how fills of vae change with batches, threads and the 12th digit of the map;
writing-NSIDE, realizations with writing of their files; threads-NSIDE, fills of vae and gaussian on
2 cores and on all; jaxht-NSIDE, docs/scripts/jaxht_peer.py on the device; tests, pytest -m gpu.

Fills of two machines are compared by every tenth of their pixels: --keep FOLDER writes these, and
--against FOLDER compares with what another run has kept.

Everything that the page on measurements does not have yet, in under 10 minutes on a lent GPU:

    python docs/scripts/devices.py --rest --until 480 --out devices.jsonl

The same, small, to see that it runs:

    python docs/scripts/devices.py --rest --small --device cpu
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

import skyfill
from skyfill import Inpainter
from skyfill.gaussian import Solver
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask
from skyfill.progress import Silent

BEGUN = time.perf_counter()
#: Realizations by method and Nside, and by device: a later section compares with them.
FILLS: dict[tuple[str, str], np.ndarray] = {}
#: Seconds of T alone by method, Nside, device and map: those of T, Q and U are compared with them.
OF_T: dict[tuple[str, int, str, str], float] = {}
#: Folders of fills: of this run, and of another one.
FOLDERS: dict[str, Path] = {}
#: One of so many pixels in holes is kept.
EVERY = 10
#: Seconds after which a program of its own is stopped.
PATIENCE = 150


class Stages(Silent):
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._name, self._since = "", 0.0

    def stage(self, name: str, steps: int | None = None) -> None:  # noqa: ARG002
        """Begin a stage."""
        self._close()
        self._name, self._since = name, time.perf_counter()

    def done(self, note: str | None = None) -> None:  # noqa: ARG002
        """End a stage."""
        self._close()

    def _close(self) -> None:
        if self._name:
            spent = time.perf_counter() - self._since
            self.seconds[self._name] = round(self.seconds.get(self._name, 0.0) + spent, 3)
        self._name = ""


def problem(nside: int) -> tuple[Prior, np.ndarray, np.ndarray]:
    """Give prior, mask and sky: 5', 30 µK·arcmin, 24% masked at Nside 2048, and scaled below."""
    size = 2048 / nside
    prior = Prior(nside, lcdm(), fwhm=5 * size * ARCMIN, noise_uk_arcmin=30 * size)
    observed = simulate_mask(
        nside,
        kind="both",
        seed=71,
        half_width=np.deg2rad(12.5),
        n_holes=max(int(4000 / size**2), 20),
        radii=tuple(np.deg2rad(np.array([6, 30]) * min(size, 8) / 60)),
    )
    return prior, observed, draw(prior, seed=72, aliased=True)


def apart(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Give the distance of two fills, µK."""
    rest = one - other
    return {"rms_uk": float(np.sqrt(np.mean(rest**2))), "worst_uk": float(np.abs(rest).max())}


def beside(write, what: str, filled: np.ndarray) -> None:  # noqa: ANN001
    """Keep some pixels of a fill, and compare them with those that another run has kept."""
    some = np.atleast_2d(filled)[:, ::EVERY].astype(np.float32)
    name = re.sub(r"\W+", "_", what) + ".npy"
    if "keep" in FOLDERS:
        FOLDERS["keep"].mkdir(parents=True, exist_ok=True)
        np.save(FOLDERS["keep"] / name, some)
    if "against" in FOLDERS and (FOLDERS["against"] / name).exists():
        other = np.load(FOLDERS["against"] / name)
        for stokes, one, two in zip("TQU", some, other, strict=False):
            write(what, of=stokes, against="the other run", **apart(one, two), pixels=one.size)


def memory() -> dict[str, float]:
    """Give the peak memory of the GPU since the last call, GB."""
    import torch

    if not torch.cuda.is_available():
        return {}
    peak = torch.cuda.max_memory_allocated() / 1e9
    torch.cuda.reset_peak_memory_stats()
    return {"gpu_peak_GB": peak}


def exact(write, nside: int, device: str, *, cpu: bool) -> None:  # noqa: ANN001
    """Solve one map twice on the device, and once on the CPU."""
    prior, observed, sky = problem(nside)
    start = time.perf_counter()
    solver = Solver.for_prior(observed, prior, device=device)
    write(f"solver {nside}", where=device, prepare_s=time.perf_counter() - start, holes=str(solver))
    for name in ("first", "further", "again"):
        start = time.perf_counter()
        found = solver.mean(sky)
        seconds = time.perf_counter() - start
        write(
            f"solver {nside}",
            where=device,
            map=name,
            seconds=seconds,
            certificate=str(found.certificate),
            **memory(),
        )
    again = solver.mean(sky)
    write(f"solver {nside}", same_bits=bool(np.array_equal(found.fill, again.fill)))
    if cpu:
        del solver
        other = Solver.for_prior(observed, prior)
        for name in ("first", "further"):
            start = time.perf_counter()
            known = other.mean(sky)
            seconds = time.perf_counter() - start
            write(
                f"solver {nside}",
                where="cpu",
                map=name,
                seconds=seconds,
                certificate=str(known.certificate),
            )
            if nside >= 2048:
                break
        write(f"solver {nside}", **apart(found.fill, known.fill))


def tiled(
    write,  # noqa: ANN001
    nside: int,
    device: str,
    *,
    method: str,
    cpu: bool,
    writing: float = 0.0,
) -> None:
    """Draw realizations on the device and on the CPU; write more of them for some seconds."""
    prior, observed, sky = problem(nside)
    what = f"{method} {nside}"
    places = [] if (what, device) in FILLS else [device]
    places += ["cpu"] if cpu and device != "cpu" else []
    for where in places:
        stages = Stages()
        start = time.perf_counter()
        inpainter = Inpainter(
            *(sky, observed),
            method=method,
            prior=prior,
            seed=7,
            device=where,
            trust_prior=True,
            progress=stages,
        )
        # At high resolution the CPU fills once: it takes a minute or two.
        names = ("first", "further", "again") if where != "cpu" or nside < 1024 else ("first",)
        for name in names:
            filled = inpainter.realization(0)
            seconds = time.perf_counter() - start
            write(
                what,
                where=where,
                map=name,
                seconds=seconds,
                stages=dict(stages.seconds),
                certificate=str(inpainter.certificate),
                **memory(),
            )
            OF_T[method, nside, where, name] = seconds
            FILLS.setdefault((what, where), filled)
            stages.seconds.clear()
            start = time.perf_counter()
        if where == device:
            beside(write, what, FILLS[what, where])
        if len(names) > 1:
            same = bool(np.array_equal(FILLS[what, where], filled))
            write(what, where=where, same_bits=same)
        if where == device and writing:
            written(write, inpainter, sky, what, seconds=writing)
        del inpainter
    if cpu and device != "cpu":
        rms = float(np.std(FILLS[what, "cpu"]))
        write(what, **apart(FILLS[what, device], FILLS[what, "cpu"]), of_rms_uk=rms)


def written(
    write,  # noqa: ANN001
    inpainter: Inpainter,
    sky: np.ndarray,
    what: str,
    *,
    seconds: float,
    maps: int = 100,
) -> None:
    """Draw and write realizations, for so many seconds at most."""
    with tempfile.TemporaryDirectory(prefix="skyfill-devices-") as folder:
        given = Path(folder) / "map.fits"
        skyfill.write_map(given, sky.astype(np.float32))
        known = skyfill.read_map(given)
        start, count, of_files = time.perf_counter(), 0, 0.0
        while count < maps and time.perf_counter() - start < seconds:
            fill = inpainter.realization(count)
            begin = time.perf_counter()
            output = Path(folder) / f"filled_{count:03d}.fits"
            skyfill.maps.write_filled(output, known, fill, inpainter.holes)
            of_files += time.perf_counter() - begin
            count += 1
        spent = time.perf_counter() - start
        write(
            f"{what}, written",
            maps=count,
            seconds=spent,
            seconds_a_map=spent / count,
            of_writing=of_files / count,
            seconds_of_100=100 * spent / count,
        )


def agreeing(write, nside: int, device: str, *, cpu: bool) -> None:  # noqa: ANN001, ARG001
    """Change what must not matter: batches, threads, the 12th digit of the map."""
    prior, observed, sky = problem(nside)

    def filled(values: np.ndarray, **options: int) -> np.ndarray:
        inpainter = Inpainter(
            *(values, observed),
            method="vae",
            prior=prior,
            seed=7,
            device=device,
            trust_prior=True,
            **options,
        )
        return inpainter.realization(0)

    known = filled(sky)
    digits = np.random.default_rng(5).standard_normal(sky.size) * 1e-12
    changes = {
        "batch_size 2": (sky, {"batch_size": 2}),
        "batch_size 64": (sky, {"batch_size": 64}),
        "threads 1": (sky, {"threads": 1}),
        "threads 2": (sky, {"threads": 2}),
        "threads 16": (sky, {"threads": 16}),
        "12th digit": (sky * (1 + digits), {}),
    }
    if nside >= 1024:  # a first map takes half a minute: all changes in two
        changes = {
            "batch_size 2, threads 1": (sky, {"batch_size": 2, "threads": 1}),
            "batch_size 64, threads 2, 12th digit": (
                sky * (1 + digits),
                {"batch_size": 64, "threads": 2},
            ),
        }
    for name, (values, options) in changes.items():
        start = time.perf_counter()
        away = apart(filled(values, **options), known)
        good = away["rms_uk"] <= 0.05 and away["worst_uk"] <= 1.0
        seconds = time.perf_counter() - start
        write(f"agree {nside}", changed=name, **away, good=good, seconds=seconds)


def stokes(write, nside: int, device: str, *, method: str, cpu: bool) -> None:  # noqa: ANN001
    """Draw realizations of T, Q and U together."""
    from skyfill.inpaint import PolarizedInpainter
    from skyfill.prior import LCDM, PolarizedPrior
    from skyfill.prior.polarized import draw_polarization

    of_t, observed, t = problem(nside)
    of_t = replace(of_t, theory=LCDM)
    prior = PolarizedPrior.of(of_t, 1.5 * of_t.noise_uk_arcmin)
    sky, white = draw_polarization(prior, seed=72, index=0)
    area = 4 * np.pi / t.size
    sky = np.stack([t, *(sky + white * np.sqrt(prior.white_cl[1] / area))])
    what = f"T, Q, U by {method} {nside}"
    found = {}
    for where in [device, "cpu"] if cpu and device != "cpu" else [device]:
        stages = Stages()
        start = time.perf_counter()
        inpainter = PolarizedInpainter(
            *(sky, observed),
            method=method,
            prior=prior,
            seed=7,
            trust_prior=True,
            device=where,
            progress=stages,
        )
        for name in ("first", "further") if where != "cpu" or nside < 1024 else ("first",):
            filled = inpainter.realization(0)
            seconds = time.perf_counter() - start
            of_t_alone = OF_T.get((method, nside, where, name))
            write(
                what,
                where=where,
                map=name,
                seconds=seconds,
                times_of_t=seconds / of_t_alone if of_t_alone else None,
                stages=dict(stages.seconds),
                certificates={k: str(v) for k, v in inpainter.certificates.items()},
                **memory(),
            )
            found.setdefault(where, filled)
            stages.seconds.clear()
            start = time.perf_counter()
        if where == device:
            beside(write, what, found[where])
        del inpainter
    if cpu and device != "cpu":
        for number, name in enumerate("TQU"):
            away = apart(found[device][number], found["cpu"][number])
            write(what, of=name, **away)


def cores(write, nside: int) -> None:  # noqa: ANN001
    """Fill on the CPU with 2 threads and with all: a first and a further realization."""
    import numba

    prior, observed, sky = problem(nside)
    every = numba.get_num_threads()
    for method in ("vae", "gaussian"):
        further = {}
        for threads in (every, 2):
            start = time.perf_counter()
            inpainter = Inpainter(
                *(sky, observed),
                method=method,
                prior=prior,
                seed=7,
                device="cpu",
                threads=threads,
                trust_prior=True,
            )
            for name in ("first", "further"):
                inpainter.realization(0)
                seconds = time.perf_counter() - start
                write(f"{method} {nside}", where="cpu", threads=threads, map=name, seconds=seconds)
                start = time.perf_counter()
            further[threads] = seconds
            del inpainter
        write(f"{method} {nside}", threads=every, times_faster_than_2=further[2] / further[every])


def program(write, what: str, *words: str) -> None:  # noqa: ANN001
    """Run a program of its own, and write the end of what it says."""
    start = time.perf_counter()
    try:
        done = subprocess.run(  # noqa: S603 (the words are those above)
            [sys.executable, *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        said, status = done.stdout + done.stderr * bool(done.returncode), done.returncode
    except subprocess.TimeoutExpired as stopped:
        said, status = (stopped.stdout or b"").decode(), "stopped"
    seconds = time.perf_counter() - start
    write(what, status=status, seconds=seconds, said=said.strip().splitlines()[-12:])


#: What the page on measurements does not have yet, in the order of its worth.
REST = (
    "gaussian-2048-device",
    "turns-2048-device",
    "tests",
    "agree-2048",
    "turns-512",
    "jaxht-256",
)
#: What is asked of a lent GPU, in the order of its worth.
SECTIONS = (
    "vae-512",
    "gaussian-512",
    "agree-512",
    "writing-2048",
    "gaussian-2048-device",
    "stokes-512",
    "vae-2048-cpu",
    "gaussian-2048-cpu",
    "stokes-2048-device",
)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--nsides", nargs="+", type=int, default=[512, 2048])
    parser.add_argument("--methods", nargs="+", help="sections of these methods and --nsides")
    parser.add_argument("--sections", nargs="+", help="sections, in this order")
    parser.add_argument("--rest", action="store_true", help="what has not been measured yet")
    parser.add_argument("--small", action="store_true", help="with --rest: at Nside 64")
    parser.add_argument("--no-cpu", action="store_true", help="leave out the fills on the CPU")
    parser.add_argument("--until", type=float, default=1e9, help="no section begins later, seconds")
    parser.add_argument("--writing", type=float, default=180.0, help="seconds of writing-NSIDE")
    parser.add_argument("--keep", type=Path, help="a folder for some pixels of the fills")
    parser.add_argument("--against", type=Path, help="a folder that another run has kept")
    parser.add_argument("--out", type=Path, help="a file to which the lines are appended")
    args = parser.parse_args()
    for name in ("keep", "against"):
        if getattr(args, name):
            FOLDERS[name] = getattr(args, name)
    warnings.simplefilter("always")

    def write(what: str, **figures: object) -> None:
        figures = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in figures.items()}
        line = json.dumps({"what": what, **figures, "at_s": round(time.perf_counter() - BEGUN, 1)})
        print(line, flush=True)
        if args.out:
            with args.out.open("a") as file:
                file.write(line + "\n")

    sections = args.sections or list(REST if args.rest else SECTIONS)
    if args.small:
        sections = list(dict.fromkeys(re.sub(r"-\d+", "-64", section) for section in sections))
    if args.methods:
        sections = [f"{method}-{nside}" for nside in args.nsides for method in args.methods]
    for section in sections:
        if time.perf_counter() - BEGUN > args.until:
            write(section, left_out="no time is left for it")
            continue
        try:
            run(write, section, args)
        except Exception as error:  # noqa: BLE001 (the other figures are wanted)
            where = traceback.format_exc().strip().splitlines()[-9:]
            write(section, failed=f"{type(error).__name__}: {error}", where=where)
        gc.collect()
    write("end")


def run(write, section: str, args: argparse.Namespace) -> None:  # noqa: ANN001
    """Run one section."""
    if section == "tests":
        # A warning of another version of a library is no fault of a kernel.
        words = ["-m", "pytest", "-q", "-m", "gpu", "-W", "default", "-p", "no:cacheprovider"]
        files = sorted(map(str, Path("tests").rglob("test_*.py")))
        of_gpu = re.compile(r"mark\.gpu|def test_\w+\(device\b")
        program(write, "tests", *words, *(f for f in files if of_gpu.search(Path(f).read_text())))
        return
    kind, nside, *more = section.split("-")
    cpu = not args.no_cpu and more != ["device"]
    if kind == "jaxht":
        peer = str(Path(__file__).with_name("jaxht_peer.py"))
        device = args.device.split(":", maxsplit=1)[0]
        split = "32" if int(nside) < 128 else "8"  # its set-up is a solve for each harmonic
        program(write, section, peer, "--nside", nside, "--device", device, "--split", split)
    elif kind == "threads":
        cores(write, int(nside))
    elif kind == "solver":
        exact(write, int(nside), args.device, cpu=cpu)
    elif kind == "agree":
        agreeing(write, int(nside), args.device, cpu=cpu)
    elif kind in ("stokes", "turns"):
        method = "gaussian" if kind == "stokes" else "vae"
        stokes(write, int(nside), args.device, method=method, cpu=cpu)
    elif kind == "writing":
        seconds = args.writing
        tiled(write, int(nside), args.device, method="vae", cpu=False, writing=seconds)
    else:
        tiled(write, int(nside), args.device, method=kind, cpu=cpu)


if __name__ == "__main__":
    main()
