"""`skyfill posterior`: it goes on, says what it found, and refuses what does not belong."""

import json

import numpy as np
import pytest

import skyfill
from skyfill.prior import ARCMIN, Prior, draw, lcdm

PRIOR = Prior(8, lcdm(), 1200 * ARCMIN, noise_uk_arcmin=3000.0)


@pytest.mark.filterwarnings("default")
def test_the_verb(skyfill_main, tmp_path):
    observed = skyfill.galactic_cut(8, np.radians(12)).astype(float)
    for name, values in (("map", draw(PRIOR, seed=3, aliased=True)), ("mask", observed)):
        skyfill.write_map(tmp_path / f"{name}.fits", values)
    words = ("posterior", tmp_path / "map.fits", tmp_path / "mask.fits", "-o", tmp_path / "c")
    words += ("--beam-arcmin", 1200, "--noise-uk-arcmin", 3000, "--burn", 0, "--chains", 2, "-q")
    first = skyfill_main(*words, "--samples", 5)
    assert first.status == 0, first.err
    assert "2 chains of 5 samples used, too short" in first.out
    assert "pass a larger --samples to go on" in first.err
    more = skyfill_main(*words, "--samples", 8, "--json")
    said = json.loads(more.out)
    assert (said["samples"], said["converged"]) == (8, False)
    assert len(said["bins"]["cl_median"]) == len(said["bins"]["ell"])
    assert said["seconds_per_sample"] > 0
    other = skyfill_main(*words, "--seed", 9)
    assert other.status == 2
    assert "differ in the seed; give another folder, or pass --overwrite" in other.err
    assert other.err.count("\n") == 1
