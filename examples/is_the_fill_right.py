"""
Is the fill right?
==================

Four tests of a fill: does it have the power of the sky, are its error bars right, are there seams,
and does it reproduce observed pixels that are hidden? This page uses a simulated sky, whose truth
is known; the last test works on any map.
"""

# %%
# A sky, a mask, ten realizations
# -------------------------------

import matplotlib.pyplot as plt
import numpy as np

import skyfill

nside = 64
prior = skyfill.Prior(nside, skyfill.lcdm(), fwhm=np.radians(160 / 60), noise_uk_arcmin=400)
truth = skyfill.prior.draw(prior, seed=3, index=0, aliased=True)
observed = skyfill.simulate_mask(nside, seed=4, n_holes=40, radii=np.radians((1.5, 4.0)))
print(f"{1 - observed.mean():.1%} of the sky is masked")

filler = skyfill.Inpainter(np.where(observed, truth, np.nan), observed, prior=prior, seed=5)


def whole(fill: np.ndarray) -> np.ndarray:
    """Put a fill into the holes."""
    sky = truth.copy()
    sky[filler.holes] = fill
    return sky


skies = [whole(filler.realization(index)) for index in range(10)]
mean = whole(filler.mean())

# %%
# Power
# -----
# A realization has the power of the sky. The mean, which is nearest to the truth in every pixel,
# has too little. The estimate from the observed sky alone, corrected for the mask, is drawn as
# well.

comparison = skyfill.spectra.compare(skies, prior, observed=observed, apodize=np.radians(3))
lost = skyfill.spectra.compare(mean, prior)
figure, (upper, lower) = plt.subplots(2, sharex=True, height_ratios=[3, 1], layout="constrained")
comparison.draw(upper, lower)
print("C_l over the theory's, l from 30:")
for name, found in [("realizations", comparison), ("mean", lost)]:
    print(f"  {name:13s}", np.round(found.ratio[found.ell_min >= 30], 3))

# %%
# χ² against the theory, and the probability to exceed it:

for test in comparison.full_tests:
    print(f"l {test.low}-{test.high}: χ² {test.chi2:.1f} for {test.bins} bins, PTE {test.pte:.2f}")

# %%
# Error bars
# ----------
# The truth should be as far from the realizations as they are from each other, so z-scores must be
# normal.

scores = skyfill.fidelity.score_sky(skies, observed, truth=truth, seed=6)
for name in ("rms_uk", "expected_rms_uk", "z_mean", "z_width", "coverage_68", "coverage_95"):
    figure_ = scores.figures[name]
    print(f"{name:16s} {figure_.value:8.3f}   {figure_.verdict or ''}")

counts, edges = scores.calibration.z_histogram()
middle = 0.5 * (edges[1:] + edges[:-1])
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
axes.stairs(counts / counts.sum() / np.diff(edges), edges, label="z-scores in the holes")
axes.plot(middle, np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi), "k:", label="normal")
axes.set(xlabel="z", ylabel="density")
axes.legend(frameon=False)

# %%
# All figures
# -----------
# Differences across the edges of holes over those elsewhere; distribution inside against outside;
# hemispheres. :doc:`Every figure has its page </trust>`.

for name, each in scores.figures.items():
    if each.verdict:
        print(f"{name:24s} {each.value:9.3f}  expected {each.expected:6.2f}   {each.verdict}")

# %%
# Without the truth
# -----------------
# On your own map the truth is unknown. Copies of its holes on observed sky replace it:
#
# .. code-block:: console
#
#     $ skyfill validate map.fits mask.fits --report report.html

found = skyfill.fidelity.validate(
    np.where(observed, truth, np.nan), observed, prior=prior, realizations=10, seed=7
)
width = found.figures["z_width"]
print(f"{len(found.holes.sizes)} held-out holes: z width {width.value:.2f} ± {width.error:.2f}")
for name, each in found.figures.items():
    if each.verdict != "good" and each.verdict:
        print(
            f"{each.verdict}: {name} {each.value:.3f}, expected {each.expected} ± {each.error:.3f}"
        )
