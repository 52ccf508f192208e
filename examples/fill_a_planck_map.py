"""
Fill a Planck map
=================

This page fills a map of the `Planck Legacy Archive <https://pla.esac.esa.int>`_. The files are

* ``COM_CMB_IQU-smica_2048_R3.00_full.fits``, the SMICA map (Nside 2048, NESTED, K_CMB; 1.9 GB), and
* ``COM_Mask_CMB-common-Mask-Int_2048_R3.00.fits``, the common mask for temperature (1 = use it),

both under *Maps*, *CMB maps*, or by their names at
``https://pla.esac.esa.int/pla/aio/product-action?MAP.MAP_ID=`` followed by the name. Then

.. code-block:: console

    $ skyfill inpaint COM_CMB_IQU-smica_2048_R3.00_full.fits \\
        COM_Mask_CMB-common-Mask-Int_2048_R3.00.fits -o smica_filled.fits
    $ skyfill spectrum smica_filled.fits --plot smica_spectrum.png

fill it and check its spectrum. Beam and noise are fitted to the observed sky. The rest of this page
does the same with a simulated map of Nside 128 that has the column names, units and ordering of the
real file.
"""

# %%
# A simulated map
# ---------------
# A ΛCDM sky in the form of the SMICA map: a beam of 80', noise, kelvin, NESTED, three columns.

import tempfile
from pathlib import Path

import healpy as hp
import matplotlib.pyplot as plt
import numpy as np

import skyfill
from skyfill.pictures import close_up, show, show_sky

folder = Path(tempfile.mkdtemp())
nside = 128
sky = skyfill.simulate_sky(nside, seed=11, fwhm=np.radians(80 / 60), noise_uk_arcmin=200)
rng = np.random.default_rng(0)
columns = [1e-6 * sky, *1e-8 * rng.normal(size=(2, sky.size))]
hp.write_map(
    folder / "smica.fits",
    [hp.reorder(each, r2n=True) for each in columns],
    nest=True,
    coord="G",
    column_names=["I_STOKES", "Q_STOKES", "U_STOKES"],
    column_units="K_CMB",
    dtype=np.float32,
)
observed = skyfill.simulate_mask(nside, seed=12, n_holes=60, radii=np.radians((0.8, 2.5)))
skyfill.write_map(folder / "mask.fits", observed, column="TMASK", unit="", dtype="uint8", coord="G")
(table,) = skyfill.describe(folder / "smica.fits").tables
print(f"Nside {table.nside}, {table.ordering}", *table.columns, sep="\n")

# %%
# Fill it
# -------
# One call fills the map. It shows its progress in a notebook and in a terminal.

smica = skyfill.read_map(folder / "smica.fits")
mask = skyfill.read_mask(folder / "mask.fits", like=smica)
whole = skyfill.fill(smica, mask, seed=1)
skyfill.write_filled(folder / "filled.fits", smica, whole.values, ~mask)
print(whole)

# %%
# A map that healpy has read works as well: ``skyfill.fill(hp.read_map(m), hp.read_map(k),
# unit="K")`` returns an array in its order and unit. On the command line the same is ``skyfill
# inpaint smica.fits mask.fits -o filled.fits --seed 1``.

# %%
# Observed pixels are bit-identical, in their unit and order; Q and U are unchanged.

before = hp.read_map(folder / "smica.fits", field=None, nest=None, dtype=np.float32)
after = hp.read_map(folder / "filled.fits", field=None, nest=None, dtype=np.float32)
seen = hp.reorder(observed, r2n=True)
print("observed pixels that changed:", np.count_nonzero(before[0][seen] != after[0][seen]))
print("pixels of Q and U that changed:", np.count_nonzero(before[1:] != after[1:]))

# %%
# Look at it
# ----------
# `skyfill.read_map` always gives µK in RING order.

filled = skyfill.read_map(folder / "filled.fits").values
holed = np.where(observed, sky, np.nan)
figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), height_ratios=[1, 1.3], layout="constrained")
for column, (title, values) in enumerate([("before", holed), ("after", filled)]):
    show_sky(axes[0, column], values)
    image = show(axes[1, column], close_up(values, 40.0, 5.0, width=np.radians(40)))
    axes[0, column].set_title(title)
figure.colorbar(image, ax=axes, label="µK", orientation="horizontal", shrink=0.4, aspect=30)

# %%
# No edge is visible. This is a weak test; the
# :ref:`next page <sphx_glr_tutorials_is_the_fill_right.py>` has stronger ones.
