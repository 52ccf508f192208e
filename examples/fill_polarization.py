"""
Fill T, Q and U
===============

A map of temperature and linear polarization is filled in one go, by its joint posterior. Then we
look at its E and B modes. They are what masks hurt most: a hole that is set to zero turns E modes,
which are strong, into B modes, which are faint.
"""

# %%
# A sky, a mask
# -------------
# A ΛCDM sky from the lensed spectra of Planck 2018 without tensors, T, E and B with the right TE,
# by healpy. Beam 160', noise 200 µK·arcmin in T and 5 in Q and in U. U has the sign of HEALPix
# (COSMO), as in all maps of healpy and Planck.

import time

import healpy as hp
import matplotlib.pyplot as plt
import numpy as np

import skyfill
from skyfill.pictures import show_sky

begun = time.perf_counter()
nside, lmax = 64, 128
npix = 12 * nside**2
noise, noise_pol = 200.0, 5.0
beam = np.radians(160 / 60)
spectra = [skyfill.lcdm(3 * nside, name) for name in ("TT", "EE", "BB", "TE")]
window = skyfill.prior.pixel_window(nside, 3 * nside)
np.random.seed(31)  # noqa: NPY002 - healpy draws with these numbers
seen = [cl * window**2 for cl in spectra]  # as pixels see the sky
sky = np.array(hp.synfast(seen, nside, new=True, fwhm=beam, lmax=3 * nside - 1))
arcmin = np.degrees(np.sqrt(4 * np.pi / npix)) * 60
white = np.random.default_rng(1).normal(size=sky.shape)
sky += white * np.array([[noise], [noise_pol], [noise_pol]]) / arcmin
observed = skyfill.simulate_mask(nside, seed=32, n_holes=40, radii=np.radians((1.5, 4.0)))
holed = np.where(observed, sky, np.nan)
print(f"{1 - observed.mean():.1%} of the sky is masked")

# %%
# The fill
# --------
# On the command line this is
#
# .. code-block:: console
#
#     $ skyfill inpaint tqu.fits mask.fits -o filled.fits --method gaussian --stokes TQU \
#         --beam-arcmin 160 --noise-uk-arcmin 200 --noise-pol-uk-arcmin 5
#
# and the output has the same columns as the input. The prior of polarization is ΛCDM's EE, TE and
# lensing BB.

temperature = skyfill.Prior(nside, skyfill.lcdm(), fwhm=beam, noise_uk_arcmin=noise)
prior = skyfill.prior.PolarizedPrior(temperature, *spectra[1:], noise_pol_uk_arcmin=noise_pol)
filler = skyfill.inpaint.PolarizedInpainter(holed, observed, prior=prior, seed=5)
filled = filler.whole(filler.realization())
for name, certificate in filler.certificates.items():
    print(f"{name}: {certificate}")
print("observed pixels that changed:", np.count_nonzero((filled != sky)[:, observed]))

# %%
# Two fills that are in use, for comparison: zeros, and means of neighbours (`--method diffuse`;
# each neighbour's Q and U are turned into the axes of the pixel that is filled).

means = skyfill.inpaint.PolarizedInpainter(holed, observed, method="diffuse")
fills = {
    "truth": sky,
    "realization": filled,
    "neighbour means": means.whole(means.mean()),
    "zero": np.where(observed, sky, 0.0),
}

# %%
# E and B modes
# -------------
# E and B are scalar maps, made from the :math:`a_{\ell m}` of Q and U. In the B map of the sky with
# zeros the edges of the holes shine.

weights = skyfill.harmonics.pixel_weights(nside)
figure, axes = plt.subplots(4, 2, figsize=(9, 9.5), layout="constrained")
powers = {}
for row, (name, values) in zip(axes, fills.items(), strict=True):
    alm = skyfill.harmonics.adjoint(values * weights, lmax=lmax) * 4 * np.pi / npix
    powers[name] = hp.alm2cl(alm)
    for each, letter, mode, scale in zip(row, "EB", alm[1:], (1.2, 0.3), strict=True):
        picture = skyfill.harmonics.synthesis(mode, nside)
        show_sky(each, picture, {"vmin": -scale, "vmax": scale})
        each.set_title(f"{letter}, {name}")

# %%
# What becomes of BB
# ------------------
# BB of each map over that of the truth, signal and noise. The spectra use skyfill's exact pixel
# weights; healpy's ``anafast`` with three iterations gives the same for zeros.

bins = [(2, 8), (9, 30), (31, 60), (61, 96)]


def binned(cl: np.ndarray) -> np.ndarray:
    """Sum (2l + 1) C_l in bins."""
    ell = np.arange(cl.size)
    return np.array([((2 * ell + 1) * cl)[low : high + 1].sum() for low, high in bins])


truth = binned(powers["truth"][2])
print("BB over the truth's at l", *(f"{low}-{high}" for low, high in bins))
for name, cl in powers.items():
    print(f"  {name:16s}", *(f"{ratio:9.3f}" for ratio in binned(cl[2]) / truth))
by_healpy = hp.anafast(fills["zero"], lmax=lmax, iter=3)[2]
print("  zero, by healpy ", *(f"{ratio:9.3f}" for ratio in binned(by_healpy) / truth))

# %%
# What a filled BB is not
# -----------------------
# A realization has the right BB *because the prior has*: in the holes it is the prior's. With a
# prior without BB the filled sky lacks that part. So measure r on the observed sky, or fill
# simulations with the same options; do not divide BB by anything.

ell = np.arange(lmax + 1)
figure, axis = plt.subplots(figsize=(6.5, 4), layout="constrained")
style = {"truth": "k-", "realization": "C0-", "neighbour means": "C1-", "zero": "C3-"}
for name, cl in powers.items():
    axis.loglog(ell[2:97], (ell * (ell + 1) / (2 * np.pi) * cl[2])[2:97], style[name], label=name)
signal = prior.signal_cl()[2, 2, : lmax + 1]
axis.loglog(ell[2:97], (ell * (ell + 1) / (2 * np.pi) * signal)[2:97], "k:", label="lensing")
axis.set(xlabel="$\\ell$", ylabel="$D_\\ell^{BB}$ [µK²]")
axis.legend(frameon=False)
print(f"{time.perf_counter() - begun:.0f} s")
