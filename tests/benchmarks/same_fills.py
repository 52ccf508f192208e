"""Tell whether fills are the same, bit by bit, before and after a change.

    python tests/benchmarks/same_fills.py --before PATH --after PATH
    python tests/benchmarks/same_fills.py --after PATH --keep FILE
    python tests/benchmarks/same_fills.py --after PATH --against FILE

PATH is a checkout, FILE holds hashes. Skies of Nside 64 to 512 are made by healpy, once for both
checkouts. Each checkout fills them in a fresh process: every method, its mean and a realization,
with a beam that the pixels resolve and with one that they do not.

Exit status: 0 the same, 1 some fills differ, 2 nothing can be said, because the hashes were kept on
another kind of processor or with other versions of the libraries.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np

ROOT = Path(__file__).parents[2]
NSIDES = (64, 128, 256, 512)
#: What rounds: another version of it may give other last bits.
LIBRARIES = ("ducc0", "healpy", "llvmlite", "numba", "numpy", "scipy", "torch")
#: Pixels in the width of a beam that they resolve, and of one that they do not.
BEAMS = {"resolved": 5.0, "unresolved": 0.7}
#: Share of the signal's rms that is noise.
NOISE = 0.05
#: Options of `skyfill.Inpainter` by what they are, and whether there are realizations.
CASES: dict[str, tuple[dict[str, Any], bool]] = {
    "diffuse": ({"method": "diffuse"}, False),
    "diffuse, polished": ({"method": "diffuse", "polish": 3}, False),
    "gaussian": ({"method": "gaussian"}, True),
    "gaussian, fitted prior": ({"method": "gaussian", "prior": None}, True),
    "gaussian, dipole as fitted": ({"method": "gaussian", "dipole": "fit"}, True),
    "gaussian, enclosed holes": ({"method": "gaussian", "holes": "enclosed"}, True),
    "vae": ({"method": "vae"}, True),
    "vae, fitted prior": ({"method": "vae", "prior": None}, True),
    "vae, tiles at any Nside": ({"method": "vae", "tiles": True}, True),
    "vae, network": ({"method": "vae", "tiles": True, "network": True, "weights": "vae"}, True),
    "vae, signal alone": ({"method": "vae", "fill": "signal"}, True),
    "cosmovae": ({"method": "cosmovae", "weights": "cosmovae"}, True),
}


def make_sky(nside: int, pixels: float) -> dict[str, Any]:
    """Simulate a sky with a beam so many pixels wide, and a mask with a band and round holes."""
    with np.load(ROOT / "skyfill" / "data" / "lcdm_planck2018.npz") as table:
        cl = table["TT"]  # µK²
    fwhm = pixels * hp.nside2resol(nside)
    np.random.seed(nside)  # noqa: NPY002 (healpy draws from this generator)
    values = hp.synfast(cl, nside, fwhm=fwhm, new=True)
    rms = NOISE * float(np.std(values))
    rng = np.random.default_rng(nside)
    values += rms * rng.standard_normal(values.size)
    observed = np.ones(values.size, bool)
    theta, _ = hp.pix2ang(nside, np.arange(values.size))
    observed[np.abs(theta - np.pi / 2) < np.radians(6.0)] = False
    for vector in rng.standard_normal((40, 3)):
        observed[hp.query_disc(nside, vector, np.radians(rng.uniform(0.5, 4.0)))] = False
    noise_uk_arcmin = rms * np.degrees(hp.nside2resol(nside)) * 60
    return {
        "values": values,
        "observed": observed,
        "cl": cl,
        "fwhm": fwhm,
        "noise_uk_arcmin": noise_uk_arcmin,
    }


def digest(*arrays: np.ndarray) -> str:
    """Hash arrays with their types and shapes."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def fills(skies: Path, nside: int, names: list[str]) -> Iterator[tuple[str, str]]:
    """Fill skies with the `skyfill` of this process; give hashes by name."""
    import skyfill
    from skyfill.mosaic import MosaicConfig
    from skyfill.prior import Prior

    for beam in BEAMS:
        with np.load(skies / f"{nside}-{beam}.npz") as file:
            sky = {name: file[name] for name in file.files}
        prior = Prior(
            nside,
            sky["cl"],
            fwhm=float(sky["fwhm"]),
            noise_uk_arcmin=float(sky["noise_uk_arcmin"]),
        )
        for name in names:
            options, random = CASES[name]
            options = {"prior": prior, "holes": "all", "network": False, **options}
            if options["prior"] is None:
                del options["prior"]
            if options.pop("tiles", False):  # small skies are solved as a whole otherwise
                options["config"] = MosaicConfig(whole_nside=0)
            if "weights" in options:
                room = Path(skyfill.__file__).parent / options["weights"] / "weights"
                (options["weights"],) = room.glob("*.safetensors")
            filler = skyfill.Inpainter(
                sky["values"],
                sky["observed"],
                threads=1,
                seed=5,
                accept=True,
                trust_prior=True,
                device="cpu",
                batch_size=8,
                **options,
            )
            where = f"Nside {nside}, {beam}, {name}"
            yield f"{where}, mean", digest(filler.mean(), filler.holes)
            if random:
                yield f"{where}, realization", digest(filler.realization(1), filler.holes)


def hashes_of(checkout: Path, skies: Path, nsides: list[int], names: list[str]) -> dict[str, str]:
    """Fill skies in fresh processes that import the `skyfill` of a checkout."""
    found: dict[str, str] = {}
    for nside in nsides:
        done = subprocess.run(
            [sys.executable, __file__, "--child", str(skies), str(nside), *names],
            env={
                **os.environ,
                "PYTHONPATH": str(checkout),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "NUMBA_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=skies,
        )
        home, *lines = done.stdout.splitlines()
        if Path(home).resolve() != (checkout / "skyfill").resolve():
            sys.exit(f"{home} was imported, and not the skyfill of {checkout}")
        found |= dict(line.split("\t") for line in lines)
    return found


def kind_of_machine() -> dict[str, str]:
    """Name what decides the last bits: the processor, Python and the libraries that round."""
    from llvmlite import binding

    return {
        "processor": f"{platform.machine()} {binding.get_host_cpu_name()}",
        "system": platform.system(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def write_skies(folder: Path, nsides: list[int]) -> dict[str, str]:
    """Write the skies of each Nside; give their hashes by name."""
    found = {}
    for nside in nsides:
        for beam, pixels in BEAMS.items():
            sky = make_sky(nside, pixels)
            np.savez(folder / f"{nside}-{beam}.npz", **sky)
            found[f"Nside {nside}, {beam}, sky"] = digest(sky["values"], sky["observed"])
    return found


def main(argv: list[str] | None = None) -> int:
    """Compare, and say what differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--after", type=Path, required=True, help="checkout to look at")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--before", type=Path, help="checkout to compare with")
    what.add_argument("--keep", type=Path, help="write the hashes to this file")
    what.add_argument("--against", type=Path, help="compare with the hashes in this file")
    parser.add_argument("--nside", type=int, nargs="+", default=list(NSIDES))
    parser.add_argument("--case", choices=CASES, nargs="+", default=list(CASES))
    asked = parser.parse_args(argv)
    kind = kind_of_machine()
    before: dict[str, str] | None = None
    if asked.against:
        kept = json.loads(asked.against.read_text(encoding="utf-8"))
        if kept["kind"] != kind:
            print(f"{asked.against} is of another kind of machine: {kept['kind']}, here {kind}")
            return 2
        before = kept["hashes"]
    with tempfile.TemporaryDirectory() as temporary:
        skies = Path(temporary)
        made = write_skies(skies, asked.nside)
        after = made | hashes_of(asked.after, skies, asked.nside, asked.case)
        if asked.before:
            before = made | hashes_of(asked.before, skies, asked.nside, asked.case)
    if before is None:
        text = json.dumps({"kind": kind, "hashes": after}, indent=1)
        asked.keep.write_text(f"{text}\n", encoding="utf-8")
        print(f"{len(after)} hashes are kept in {asked.keep}")
        return 0
    unknown = [name for name in after if name not in before]
    differ = [name for name in after if name in before and after[name] != before[name]]
    for name in differ:
        print(f"differs: {name}")
    for name in unknown:
        print(f"not kept: {name}")
    print(f"{len(differ)} of {len(after)} hashes differ, {len(unknown)} have none to compare with")
    if any(name.endswith("sky") for name in differ):
        print("the skies themselves differ, so nothing is said about the fills")
        return 2
    return 1 if differ or unknown else 0


def child(skies: str, nside: str, *names: str) -> None:
    """Print where `skyfill` lies, then the hashes."""
    import skyfill

    print(Path(skyfill.__file__).parent)
    warnings.simplefilter("ignore")
    for name, found in fills(Path(skies), int(nside), list(names)):
        print(f"{name}\t{found}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        sys.exit(main())
