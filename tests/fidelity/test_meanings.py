"""Every figure has its unit and its words, and multipoles are read as D_l."""

import re

import numpy as np
import pytest
from skyfill.cli import judgement

from skyfill.fidelity import THRESHOLDS, judge, meaning, readable, score_sky
from skyfill.fidelity.tail import tail
from skyfill.holes import discs
from skyfill.prior import Prior, draw, lcdm

NSIDE = 32
PRIOR = Prior(NSIDE, lcdm(), fwhm=np.radians(8), noise_uk_arcmin=500)


@pytest.fixture(scope="module")
def figures():
    sky = draw(PRIOR, seed=2, index=0)
    observed = discs(NSIDE, 1.0, 0.5, 0.4)
    skies = [np.where(observed, sky, draw(PRIOR, seed=2, index=k)) for k in (1, 2, 3)]
    found = score_sky(skies, observed, truth=sky, optimum=skies[0]).figures
    return found | tail(skies[0][~observed], skies[1][~observed])


def test_every_figure_has_words_of_its_own(figures):
    families = {name for name in THRESHOLDS if name not in ("asymmetry", "multipole")}
    for name in {*figures, *families}:
        assert meaning(name).words != name
        assert (meaning(name).unit == "µK") == name.endswith("_uk")
    assert meaning("unheard_of").words == "unheard_of"


def test_a_multipole_is_read_as_d_ell():
    kept = judge("multipole_3", 100.0, 90.0, 7.0)
    read = readable("multipole_3", kept)
    factor = 12 / (2 * np.pi)
    assert (read.value, read.expected, read.error) == pytest.approx(
        (factor * 100, factor * 90, factor * 7)
    )
    assert read.verdict == kept.verdict
    assert meaning("multipole_3").unit == "µK²"
    z = judge("z_width", 1.0, 1.0, 0.1)
    assert readable("z_width", z) is z


def test_the_table_has_a_line_with_unit_and_words_for_each_figure(figures):
    head, *lines, last = judgement.table(figures, "good").splitlines()
    assert len(lines) == len(figures)
    assert last.startswith("all in all: good")
    at = head.index("what it is")
    for line, (name, figure) in zip(lines, figures.items(), strict=True):
        assert line.startswith(name)
        assert line[at:] == meaning(name).words
        assert re.search(rf"\b{meaning(name).unit}\b", line[:at])
        assert (figure.verdict or "") in line[:at]
