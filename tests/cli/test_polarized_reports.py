"""--report of inpaint --stokes: the page of a fill of T, Q and U."""

import numpy as np
import pytest

import skyfill
from tests.cli.test_polarization import HOW, PRIOR, skies
from tests.cli.test_reports import text_of

__all__ = ["skies"]  # a fixture

DIFFUSE = ("--method", "diffuse", "-q", "--threads", 1)


@pytest.fixture
def fill(skies, tmp_path, skyfill_main):
    """Fill tqu.fits, or another file, with a page; give the outcome and the page."""

    def call(*words, name="tqu", stokes="TQU", how=(*HOW, *PRIOR, "--std-draws", 2)):
        page = tmp_path / "page.html"
        masks = (skies / "t.fits", "--mask-pol", skies / "p.fits")
        outcome = skyfill_main(
            *("inpaint", skies / f"{name}.fits", *masks, "-o", tmp_path / "out.fits"),
            *("--stokes", stokes, "--report", page, *how, *words),
        )
        assert outcome.status == 0, outcome.err
        return outcome, page

    return call


def pictures(page):
    return page.read_text(encoding="utf-8").count("data:image/png")


def test_the_page_of_t_q_and_u_has_all_maps_spectra_and_verdicts(fill):
    outcome, page = fill()
    text = text_of(page)
    for said in (
        "tqu.fits, filled",
        *("T, before", "Q, filled", "U, uncertainty", "E of the filled sky", "B of the filled sky"),
        *(
            "filled share of T",
            "filled share of Q and U",
            "T: squared steps across the edges of holes",
        ),
        *("U: squared steps across the edges of holes", "P: distance from the exact fill"),
        *("B still to come over the prior's BB", "SFBLEAK"),
        *("filled sky's TB", "cut sky's BB", "observed sky's EE"),
        *("What the B modes may be used for", "(1 - α) BB of the sky + α BB of the prior"),
        *("measure r on the cut sky, or forward-model the fill", "pseudo-C_l"),
        *("Certificates", "from 2 realizations"),
        "share of a bin's power that follows from the prior, α, BB",
    ):
        assert said in text, said
    assert (
        "spread   from 2 realizations, known to 71% in a pixel, 1 of them not written"
        in outcome.out
    )
    assert text.count("The difference is the second realization minus the first") >= 2  # T; Q and U
    # T, Q, U: three maps each; E and B; six spectra; BB with alpha; three distributions; holes.
    assert pictures(page) >= 9 + 2 + 1 + 1 + 3 + 2


def test_a_mean_is_judged_by_its_accuracy_alone(fill):
    text = text_of(fill("--mean")[1])
    assert "The mean has too little E and B in the holes" in text
    assert "share of a bin's power that the mean lacks, α, BB" in text
    assert "BB, and how much of it the mean lacks" in text
    assert "a mean lacks power in its holes, so they are no errors" in text
    assert "are divided by 1 - α" not in text
    row = text[text.index("P: distance from the exact fill") :]
    assert "good" in row[:200]
    assert "χ² of the cut sky's EE" in text
    assert "χ² of the filled sky" not in text  # a mean is no possible sky


def test_q_and_u_alone_and_without_a_prior(fill):
    text = text_of(fill(name="qu", stokes="QU", how=DIFFUSE)[1])
    assert "Means of neighbours make B of E in the holes" in text
    assert "this method has no prior" in text
    assert "the fill has no prior" in text  # why α is not known
    assert "T, before" not in text
    assert "χ²" not in text


def test_a_report_changes_no_fill(skies, fill, tmp_path, skyfill_main):
    fill()
    alone = tmp_path / "alone.fits"
    words = ("--mask-pol", skies / "p.fits", "--stokes", "TQU", *HOW, *PRIOR)
    assert not skyfill_main(
        *("inpaint", skies / "tqu.fits", skies / "t.fits", "-o", alone, *words)
    ).status
    one, other = (
        skyfill.maps.read_stokes(path, "TQU").values for path in (alone, tmp_path / "out.fits")
    )
    np.testing.assert_array_equal(one, other)
