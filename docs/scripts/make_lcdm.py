"""Make the tables of CMB spectra that skyfill ships: ``skyfill/data/lcdm_planck2018.npz``.

Planck 2018 best fit (base-plikHM-TTTEEE-lowl-lowE-lensing, Planck 2018 results VI, Table 1 and its
released minimum), lensed scalar spectra from CAMB to ell = 6000. Run it as

    python docs/scripts/make_lcdm.py [--tensors | --check PLANCK_FILE]

With ``--tensors`` it writes ``skyfill/data/tensors_planck2018.npz`` instead: the spectra that
tensor modes add with r = 1 and n_t = 0 at k = 0.05 / Mpc, in the same cosmology, not lensed, to
ell = 1200. They are proportional to r.

 PLANCK_FILE is Planck's own ``COM_PowerSpect_CMB-base-plikHM-TTTEEE-lowl-lowE-lensing-
minimum-theory_R3.01.txt``, to be compared with instead of written.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import camb
import numpy as np
from numpy.typing import NDArray

TABLE = Path(__file__).parents[2] / "skyfill" / "data" / "lcdm_planck2018.npz"
TENSORS = TABLE.with_name("tensors_planck2018.npz")
LMAX = 6000
LMAX_TENSORS = 1200
PIVOT = 0.05  # 1 / Mpc, of r
SPECTRA = ("TT", "EE", "BB", "TE")  # CAMB's column order
COSMOLOGY = {
    "H0": 67.32117,
    "ombh2": 0.0223828,
    "omch2": 0.1201075,
    "mnu": 0.06,
    "tau": 0.0543084,
    "YHe": 0.2454006,
    "nnu": 3.046,
    "TCMB": 2.7255,
}
POWER = {"As": 2.100549e-9, "ns": 0.9660499}


def compute() -> dict[str, NDArray[np.float64]]:
    """Compute C_ell in µK², ell = 0 ... 6000, by name."""
    cosmology = camb.CAMBparams()
    cosmology.set_cosmology(**COSMOLOGY)
    cosmology.InitPower.set_params(**POWER)
    # The margin and the accuracy settings keep lensing right up to the last ell.
    cosmology.set_for_lmax(LMAX + 1000, lens_potential_accuracy=8)
    cosmology.NonLinearModel.set_params(halofit_version="mead")  # what Planck used
    results = camb.get_results(cosmology)
    cl = results.get_lensed_scalar_cls(lmax=LMAX, CMB_unit="muK", raw_cl=True)
    return {name: np.ascontiguousarray(cl[:, i]) for i, name in enumerate(SPECTRA)}


def compute_tensors() -> dict[str, NDArray[np.float32]]:
    """Compute C_ell in µK² of tensor modes with r = 1, ell = 0 ... 1200, by name."""
    cosmology = camb.CAMBparams()
    cosmology.set_cosmology(**COSMOLOGY)
    cosmology.InitPower.set_params(**POWER, r=1.0, nt=0.0, pivot_scalar=PIVOT, pivot_tensor=PIVOT)
    cosmology.WantTensors = True
    # Beyond ell = 600 CAMB's default leaves out wave numbers that matter.
    cosmology.max_l_tensor = LMAX_TENSORS + 300
    cosmology.max_eta_k_tensor = 2.5 * cosmology.max_l_tensor
    results = camb.get_results(cosmology)
    cl = results.get_tensor_cls(lmax=LMAX_TENSORS, CMB_unit="muK", raw_cl=True)
    return {name: cl[:, i].astype(np.float32) for i, name in enumerate(SPECTRA)}


def compare(path: Path) -> None:
    """Print how far the shipped table is from Planck's file, ell by ell."""
    with np.load(TABLE) as table:
        ours = {name: table[name] for name in SPECTRA}
    theirs = np.genfromtxt(path, names=True, deletechars="", replace_space="_")
    ell = theirs[theirs.dtype.names[0]].astype(int)
    inside = (ell >= 2) & (ell <= 2500)
    ell = ell[inside]
    norm = ell * (ell + 1) / (2 * np.pi)
    for name in SPECTRA:
        expected = theirs[name][inside]
        scale = np.abs(expected) if name != "TE" else np.sqrt(theirs["TT"] * theirs["EE"])[inside]
        difference = (norm * ours[name][ell] - expected) / scale
        worst = int(np.argmax(np.abs(difference)))
        print(
            f"{name}: largest difference {difference[worst]:+.2e} at ell = {ell[worst]}, "
            f"rms {np.std(difference):.1e}" + (" (of sqrt(TT EE))" if name == "TE" else "")
        )


def main() -> None:
    """Write the table, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", type=Path, metavar="PLANCK_FILE")
    parser.add_argument("--tensors", action="store_true")
    args = parser.parse_args()
    about: dict[str, object] = {"code": f"CAMB {camb.__version__}", "cosmology": COSMOLOGY}
    about["power"] = POWER
    if args.tensors:
        about |= {"r": 1.0, "nt": 0.0, "pivot": PIVOT}
        np.savez_compressed(TENSORS, about=np.array(json.dumps(about)), **compute_tensors())
        print(f"wrote {TENSORS} ({TENSORS.stat().st_size / 1024:.0f} kB)")
    elif args.check is None:
        np.savez_compressed(TABLE, about=np.array(json.dumps(about)), **compute())
        print(f"wrote {TABLE} ({TABLE.stat().st_size / 1024:.0f} kB)")
    else:
        compare(args.check)


if __name__ == "__main__":
    main()
