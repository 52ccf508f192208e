"""
Fill a few hundred maps
=======================

Simulations for an estimator on filled skies must be filled like the data: with the same mask, and
another seed for each. ``skyfill batch`` does this, and continues after a kill.
"""

# %%
# Simulations
# -----------
# This page uses eight; the command is the same for eight hundred.

import contextlib
import json
import shlex
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table

import skyfill
from skyfill.cli import main as skyfill_main

folder = Path(tempfile.mkdtemp())
(folder / "sims").mkdir()
nside, count = 64, 8
prior = skyfill.Prior(nside, skyfill.lcdm(), fwhm=np.radians(160 / 60), noise_uk_arcmin=400)
skies = [skyfill.prior.draw(prior, seed=31, index=k, aliased=True) for k in range(count)]
for k, sky in enumerate(skies):
    skyfill.write_map(folder / f"sims/sim_{k:03d}.fits", sky, column="T", unit="uK_CMB")
observed = skyfill.simulate_mask(nside, seed=32, n_holes=40, radii=np.radians((1.5, 4.0)))
skyfill.write_map(folder / "mask.fits", observed, column="TMASK", unit="", dtype="uint8")


def skyfill_command(*words: str) -> None:
    """Run a command in the folder, as a terminal would, and show what it says."""
    print("$ skyfill", shlex.join(words))
    with contextlib.chdir(folder), contextlib.redirect_stderr(sys.stdout):
        skyfill_main(words)


# %%
# Fill them
# ---------
# If the prior is given, the set-up, which depends only on mask and prior, is computed once.
# ``--workers 2`` spreads the maps over two processes, with the same results.

prior_options = ["--beam-arcmin", "160", "--noise-uk-arcmin", "400"]
words = ["batch", "sims/*.fits", "mask.fits", "-o", "out", "--seed", "5", *prior_options]
skyfill_command(*words)

# %%
# Each output has the name of its input. The same command, started again, finds nothing left to do;
# after a kill it would continue with the map in progress.

skyfill_command(*words)
print(*sorted(path.name for path in (folder / "out").iterdir()), sep="\n")

# %%
# The manifest has a line for every map: its status, the time it took, and the sha256 of both files.

last = json.loads((folder / "out/manifest.jsonl").read_text().splitlines()[-1])
for key, value in last.items():
    print(f"{key:10s} {str(value)[:60]}")

# %%
# The result
# ----------
# The mean spectrum of the filled maps over that of the true ones is one within the scatter.

filled = [skyfill.read_map(folder / f"out/sim_{k:03d}.fits").values for k in range(count)]
ours, truth = ([skyfill.spectra.compare(sky, prior) for sky in each] for each in (filled, skies))
ratios = np.array([f.cl / t.cl for f, t in zip(ours, truth, strict=True)])
figure, axes = plt.subplots(figsize=(6.5, 3.5), layout="constrained")
error = ratios.std(axis=0, ddof=1) / np.sqrt(count)
axes.errorbar(ours[0].ell, ratios.mean(axis=0), error, fmt="o", ms=3.5)
axes.axhline(1, color="0.6", lw=1)
axes.set(xscale="log", xlabel="multipole l", ylabel="C_l, filled over true")

# %%
# ``summary.ecsv`` holds the mean spectrum and its scatter for a first look.

print(Table.read(folder / "out/summary.ecsv")[:6])

# %%
# On a cluster the same command takes ``--scheduler tcp://host:8786`` (:doc:`/batch`).
