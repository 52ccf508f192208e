"""--report of inpaint and validate, by the command."""

import html
import re

import numpy as np
import pytest
from astropy.io import fits

import skyfill
from skyfill.holes import discs

PRIOR = ("--beam-arcmin", 600, "--noise-uk-arcmin", 600)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    prior = skyfill.Prior(16, skyfill.lcdm(), fwhm=np.radians(10), noise_uk_arcmin=600)
    sky = skyfill.prior.draw(prior, seed=5, index=0)
    observed = skyfill.simulate_mask(16, seed=6, n_holes=8, radii=np.radians((6, 12)))
    skyfill.write_map(folder / "map.fits", sky, column="T", unit="uK_CMB")
    skyfill.write_map(folder / "mask.fits", observed, column="M", unit="", dtype="uint8")
    return folder / "map.fits", folder / "mask.fits"


def text_of(path):
    """The words of a page, without its pictures."""
    page = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", path.read_text(encoding="utf-8"))
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


@pytest.mark.parametrize(
    ("words", "judged", "said"),
    [
        (("--method", "gaussian", "--std-draws", 3, *PRIOR), True, "each with a seed of its own"),
        (("--method", "gaussian", "--mean", "--std-draws", 3, *PRIOR), False, "too little power"),
        (("--method", "diffuse"), False, "this method has no prior"),
    ],
)
def test_inpaint(skyfill_main, files, tmp_path, words, judged, said):
    out, page = tmp_path / "filled.fits", tmp_path / "page.html"
    outcome = skyfill_main("inpaint", *files, "-o", out, "--report", page, *words, "-q")
    assert outcome.status == 0, outcome.err
    text = text_of(page)
    assert said in text
    assert "map.fits, filled" in text
    assert f"--report {page}" in text
    assert (text.split().count("good") > 1) == judged  # the check of the prior is one
    assert page.read_text(encoding="utf-8").count("data:image/png") >= 5
    again = skyfill_main("inpaint", *files, "-o", tmp_path / "b.fits", "--report", page, "-q")
    assert again.status == 2
    assert "--overwrite" in again.err
    assert not (tmp_path / "b.fits").exists()


def test_a_report_changes_no_fill(skyfill_main, files, tmp_path):
    words = ("--method", "gaussian", "--realizations", 2, *PRIOR, "-q")
    for name, more in [("a.fits", ()), ("b.fits", ("--report", tmp_path / "p.html"))]:
        assert skyfill_main("inpaint", *files, "-o", tmp_path / name, *words, *more).status == 0
    for index in range(2):
        one, other = (skyfill.read_map(tmp_path / f"{name}_00{index}.fits").values for name in "ab")
        np.testing.assert_array_equal(one, other)


def test_validate(skyfill_main, files, tmp_path):
    page = tmp_path / "page.html"
    words = ("--method", "gaussian", "--realizations", 4, *PRIOR, "--report", page, "-q")
    outcome = skyfill_main("validate", *files, *words)
    assert outcome.status == 0, outcome.err
    text = text_of(page)
    for said in (
        "map.fits, validated",
        "width of the z-scores",
        "Held-out holes",
        "copies of holes",
    ):
        assert said in text
    assert skyfill_main("validate", *files, *words).status == 2
    assert skyfill_main("validate", *files, *words, "--overwrite").status == 0


@pytest.mark.parametrize(
    ("words", "said", "drawn", "unsaid"),
    [
        (
            ("--method", "gaussian", "--mean", "--std-draws", 3, *PRIOR),
            ("share of a bin's power that the mean lacks, α", "How much power the mean lacks"),
            ("Dashed: (1 - α)", "debiased spectra have these", "χ² of the cut sky"),
            ("are divided by 1 - α", "the prior's power", "χ² of the filled sky"),
        ),
        (
            ("--method", "gaussian", "--std-draws", 3, *PRIOR, "--footprint"),
            ("follows from the prior, α", "of the patch of ", "pseudo-C_l"),
            ("How much of the filled patch's spectrum follows from the prior",),
            ("Spectrum of the filled sky", "not known"),
        ),
        (
            ("--method", "diffuse"),
            ("follows from the prior, α", "not known", "the fill has no prior"),
            ("has not the right power in its holes",),
            ("How much of the filled", "Dashed"),
        ),
    ],
)
def test_alpha_is_shown_where_it_is_defined_and_else_the_reason(
    skyfill_main, files, tmp_path, words, said, drawn, unsaid
):
    page = tmp_path / "page.html"
    if words[-1] == "--footprint":
        footprint = ~discs(16, [1.0], [0.4], 0.9)
        skyfill.write_map(tmp_path / "foot.fits", footprint, unit="", column="M", dtype="uint8")
        words = (*words, tmp_path / "foot.fits")
    outcome = skyfill_main(
        *("inpaint", *files, "-o", tmp_path / "f.fits", "--report", page, *words, "-q")
    )
    assert outcome.status == 0, outcome.err
    text = " ".join(text_of(page).split())
    for each in (*said, *drawn):
        assert each in text, each
    assert ("second realization minus the first" in text) == ("diffuse" not in words)
    for each in unsaid:
        assert each not in text, each


@pytest.mark.parametrize(
    ("kind", "noise", "error", "said"), [("holes", 3000, 0.0, "exact"), ("band", 600, 0.5, "50%")]
)
def test_an_uncertainty_says_how_well_it_is_known(skyfill_main, tmp_path, kind, noise, error, said):
    """The page has the difference of two realizations and α, also where the spread is exact."""
    sky, mask = tmp_path / "noisy.fits", tmp_path / "mask.fits"  # the exact spread needs noise
    prior = skyfill.Prior(16, skyfill.lcdm(), fwhm=np.radians(10), noise_uk_arcmin=noise)
    skyfill.write_map(sky, skyfill.prior.draw(prior, seed=5, index=0), column="T", unit="uK_CMB")
    seen = discs(16, [1.0, 4.0], [0.3, -0.8], [0.1, 0.15])
    if kind == "band":
        seen = skyfill.simulate_mask(16, kind="band", seed=1, half_width=0.3)
    skyfill.write_map(mask, seen, column="M", unit="", dtype="uint8")
    std, page = tmp_path / "std.fits", tmp_path / "page.html"
    words = ("--method", "gaussian", "--std", std, "--std-draws", 3, "--report", page)
    words += ("--beam-arcmin", 600, "--noise-uk-arcmin", noise)
    outcome = skyfill_main("inpaint", sky, mask, "-o", tmp_path / "f.fits", *words, "-q")
    assert outcome.status == 0, outcome.err
    assert fits.getheader(std, 1)["SFSTDERR"] == error
    (line,) = [each for each in outcome.out.splitlines() if each.startswith("spread ")]
    assert said in line
    text = text_of(page)
    assert "Difference of two realizations" in text
    assert "share of a bin's power that follows from the prior, α" in text
    assert "Its mask is " in text
    assert ("known to 50%" in text) == (kind == "band")
