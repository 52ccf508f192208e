"""The page says what it is given, needs nothing else, and opens in a real browser."""

import html
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from skyfill import report
from skyfill.fidelity import judge, score_sky
from skyfill.holes import discs, galactic_cut, label_holes
from skyfill.prior import Prior, draw, lcdm
from skyfill.report.pictures import planck_colours, show
from skyfill.report.plates import _draw_left, canvas, hardest, png_of, reach_apart
from skyfill.spectra import compare

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NSIDE = 16
PRIOR = Prior(NSIDE, lcdm(), fwhm=np.radians(8), noise_uk_arcmin=500)


@pytest.fixture(scope="module")
def page():
    sky = draw(PRIOR, seed=1, index=0)
    observed = discs(NSIDE, *np.radians([[30, 200], [10, -50], [20, 8]]))
    before, std = np.where(observed, sky, np.nan), np.where(observed, 0, 10.0)
    plates = {
        "The sky": report.skies(before, sky, std),
        "The hardest holes": report.close_ups(
            observed, {"before": before, "filled": sky, "uncertainty": std}
        ),
        "Spectrum": [report.spectrum(compare(sky, PRIOR.total_cl()))],
        "Distributions": [
            report.histogram("z", "of holes", {"z": sky[:90]}, label="z", normal=True)
        ],
    }
    findings = [
        report.Finding("width of z", "1.01 ± 0.02", "good", "1"),
        report.Finding("<b>seams</b>", "2 & 3", "doubtful", "1 < x"),
        report.Finding("filled", "20%"),
    ]
    facts = {"Run": {"map": "a_very_long_name_" * 12 + ".fits", "seed": "3"}}
    return report.Report(
        "filled.fits", "by skyfill", facts, plates, findings, *report.uses("realization")
    )


class Pieces(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_all_is_there_and_nothing_is_fetched(page):
    pieces = Pieces(page.html())
    for words in ("filled.fits", "<b>seams</b>", "2 & 3", "1 < x", *page.allowed, *page.forbidden):
        assert words in pieces.text
    names = [tag for tag, _ in pieces.tags]
    assert not {"script", "link", "iframe", "b "} & set(names)
    images = [attrs["src"] for tag, attrs in pieces.tags if tag == "img"]
    assert len(images) == sum(len(group) for group in page.plates.values())
    assert all(src.startswith("data:image/png;base64,iVBOR") for src in images)
    assert not re.search(r"(href|src)=.?https?:", page.html())


def test_the_headline_is_the_worst_verdict(page):
    assert page.verdict == "doubtful"
    assert "Some tests are doubtful" in html.unescape(page.html())
    better = report.Report("t", "s", {}, {}, [page.findings[0]], (), ())
    assert better.verdict == "good"
    silent = report.Report("t", "s", {}, {}, [page.findings[2]], (), ())
    assert silent.verdict == ""
    assert "This fill has no verdicts" in silent.html()
    with pytest.raises(ValueError, match="verdict"):
        report.Finding("a", "b", "fine")
    with pytest.raises(ValueError, match="choose one"):
        report.uses("fine")


def test_marked_figures_stand_before_the_pictures_and_all_figures_below(page):
    bad, doubtful = report.Finding("wrong", "9", "bad"), page.findings[0]
    every = [replace(doubtful, verdict="good", name="right"), replace(doubtful, verdict="doubtful")]
    text = replace(page, findings=[*every, bad]).html()
    top, pictures, below = text.partition("<img ")
    below = below.rpartition("<img ")[2]
    assert top.index(">wrong<") < top.index(f">{html.escape(doubtful.name)}<")
    assert ">right<" not in top
    assert "3 figures: 1 good, 1 doubtful, 1 bad, 0 without a verdict." in top
    assert pictures
    assert all(f">{html.escape(each.name)}<" in below for each in [*every, bad])


def test_few_colours_keep_a_picture_as_it_is_and_small():
    figure, rng = canvas(6, 4), np.random.default_rng(3)
    for number, colours in enumerate((planck_colours(), "viridis", "PuOr_r"), 1):
        axes = figure.add_subplot(1, 3, number)
        show(axes, rng.normal(size=(90, 90)).cumsum(0).cumsum(1), {"cmap": colours})
        axes.set_title("three maps")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    found = png_of(figure)
    of_all, of_few = (
        np.asarray(Image.open(io.BytesIO(each)).convert("RGB"), np.float64)
        for each in (buffer.getvalue(), found)
    )
    assert len(found) < 0.45 * len(buffer.getvalue())
    assert np.abs(of_few - of_all).max() <= 40  # of 255
    assert np.sqrt(np.mean((of_few - of_all) ** 2)) < 4


def test_the_hardest_holes_are_the_deepest():
    observed = discs(32, *np.radians([[0, 90, 180], [0, 30, -60], [3, 12, 6]]))
    found = hardest(observed, 2)
    depths = [np.degrees(depth) for _, depth in found]
    assert depths == [pytest.approx(12, abs=2), pytest.approx(6, abs=2)]
    assert len(hardest(observed, 9)) == 3
    assert hardest(np.ones(12, dtype=bool), 3) == []


def test_a_wide_hole_is_shown_once_while_there_are_others():
    observed = galactic_cut(64, np.radians(12)) & discs(
        64, *np.radians([[0, 90], [60, -50], [4, 3]])
    )
    holes = label_holes(observed)
    pixels = [pixel for pixel, _ in hardest(observed, 3)]
    assert np.unique(holes.labels[pixels]).size == 3
    more = hardest(observed, 5)
    assert len(more) == 5
    assert np.unique(holes.labels[[pixel for pixel, _ in more]]).size == 3
    assert np.all(np.diff([depth for _, depth in more]) <= 0)


def test_captions_say_the_frame_the_draws_and_the_hole():
    sky = draw(PRIOR, seed=1, index=0)
    observed = discs(NSIDE, *np.radians([[30], [10], [20]]))
    std = np.where(observed, 0, 10.0)
    before, _, spread = report.skies(np.where(observed, sky, np.nan), sky, std, frame="G", draws=9)
    assert "Galactic coordinates: longitude 0 in the middle" in before.caption
    assert "9 realizations" in spread.caption
    assert "25%" in spread.caption  # 1 / sqrt(2 (9 - 1))
    assert "coordinates" not in report.skies(sky, sky, None)[0].caption
    (hole,) = report.close_ups(observed, {"filled": sky})
    assert f"A hole of {int((~observed).sum())} pixels" in hole.caption


def test_writing(page, tmp_path):
    path = tmp_path / "report.html"
    page.write(path)
    assert path.read_text(encoding="utf-8") == page.html()
    with pytest.raises(FileExistsError, match="overwrite"):
        page.write(path)
    page.write(path, overwrite=True)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt install chromium")
@pytest.mark.parametrize("width", [380, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser(page, tmp_path, width, dark):
    """No sideways scrolling, all images drawn, readable in the scheme that is asked for."""
    probe = """
        const frame = document.querySelector("iframe");
        frame.onload = () => {
            const page = frame.contentDocument, root = page.documentElement;
            const style = frame.contentWindow.getComputedStyle(page.body);
            document.body.innerHTML = "<pre>" + JSON.stringify({
                across: root.scrollWidth, height: root.scrollHeight,
                images: [...page.images].map(image => image.naturalWidth),
                ground: style.backgroundColor, ink: style.color}) + "</pre>";
        };
        frame.srcdoc = document.querySelector("template").innerHTML;
    """
    # The page forbids scripts; a page around it looks in from outside.
    around = (
        f'<body><iframe style="width:{width}px;height:900px;border:0"></iframe>'
        f"<template>{page.html()}</template><script>{probe}</script></body>"
    )
    (tmp_path / "around.html").write_text(around, encoding="utf-8")
    words = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    words += [
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--window-size=1400,1000",
    ]
    words += ["--virtual-time-budget=8000", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*words, (tmp_path / "around.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    said = json.loads(html.unescape(re.search("<pre>(.*?)</pre>", done.stdout)[1]))
    assert said["across"] <= width
    assert len(said["images"]) == 3 + 2 + 1 + 1
    assert min(said["images"]) > 300
    ground, ink = (
        sum(map(int, re.findall(r"\d+", said[key])[:3])) / 765 for key in ("ground", "ink")
    )
    assert (ink - ground if dark else ground - ink) > 0.6


def test_figures_in_words():
    figures = {
        "z_width": judge("z_width", 1.2, 1.0, 0.01),
        "rms_uk": judge("rms_uk", 51.234, None, 0.7),
        "multipole_3": judge("multipole_3", 1100.0, 1000.0, 200.0),
        "seam_step": judge("seam_step", 1.0, 1.0, 0.01),
    }
    width, rms, octupole, seam = report.findings(figures)
    assert (width.verdict, octupole.verdict, seam.verdict) == ("bad", "good", "good")
    assert width.value == "1.200"
    assert "1.000 ± 0.010 by chance" in width.reason
    assert (rms.value, rms.verdict) == ("51.23 ± 0.70", "")
    assert octupole.name.startswith("D_3")
    assert float(octupole.value) == pytest.approx(6 / np.pi * 1100, rel=1e-3)
    assert {each.verdict for each in report.findings(figures, judged=False)} == {""}


def test_every_figure_has_words():
    sky = draw(PRIOR, seed=2, index=0)
    observed = discs(NSIDE, 1.0, 0.5, 0.4)
    skies = [np.where(observed, sky, draw(PRIOR, seed=2, index=k)) for k in (1, 2, 3)]
    figures = score_sky(skies, observed, truth=sky, optimum=skies[0]).figures
    for finding in report.findings(figures):
        assert "_" not in finding.name or finding.name.startswith("D_")


def test_a_low_multipole_without_a_truth_stands_beside_the_theory():
    figures = {"multipole_2": judge("multipole_2", 1000.0), "rms_uk": judge("rms_uk", 5.0)}
    multipole, rms = report.findings(figures, theory_cl=np.full(6, 900.0))
    assert float(multipole.value) == pytest.approx(3 / np.pi * 1000, rel=1e-3)
    assert f"theory: {3 / np.pi * 900:.0f}" in multipole.reason
    assert f"± {np.sqrt(2 / 5) * 3 / np.pi * 900:.0f}" in multipole.reason
    assert rms.reason == ""
    assert report.findings(figures)[0].reason == ""


def test_chi2_in_words():
    sky = draw(PRIOR, seed=3, index=0)
    right, wrong = (compare(factor * sky, PRIOR, ranges=[(2, 32)]) for factor in (1, 3))
    (good,), (bad,) = map(report.chi2_findings, (right, wrong))
    assert (good.verdict, bad.verdict) == ("good", "bad")
    assert f"PTE {right.full_tests[0].pte:.2g}" in good.value
    assert report.chi2_findings(wrong, judged=False)[0].verdict == ""


def test_the_cut_sky_tests_the_prior_and_the_filled_sky_informs():
    observed = discs(NSIDE, *np.radians([[30, 200], [10, -50], [20, 8]]))
    sky = draw(PRIOR, seed=3, index=0)
    found = report.chi2_findings(compare(sky, PRIOR, observed=observed, ranges=[(2, 9), (10, 32)]))
    cut, filled = found[:2], found[2:]
    assert [each.verdict for each in cut] == ["good", "good"]
    assert [each.verdict for each in filled] == ["", ""]
    assert all("the observed part" in each.name for each in cut)
    for each in cut:
        assert "test of the prior" in each.reason
        assert "Good from a PTE of 0.003: this allows for the 4 χ² on this page" in each.reason
    for each in filled:
        assert "the filled part follows from the prior and counts as data" in each.reason
    # a fill that is wrong in the holes is marked, though the observed part is right
    wrong = np.where(observed, sky, 9 * sky)
    wrong_found = report.chi2_findings(compare(wrong, PRIOR, observed=observed))
    assert {each.verdict for each in wrong_found if "observed part" in each.name} == {"good"}
    assert "bad" in {each.verdict for each in wrong_found if "filled sky" in each.name}


def test_the_difference_of_realizations_has_its_own_scale():
    sky = draw(PRIOR, seed=1, index=0)
    observed = discs(NSIDE, *np.radians([[30], [10], [20]]))
    apart = np.where(observed, 0, sky)
    *_, last = report.skies(np.where(observed, sky, np.nan), sky, None, difference=apart)
    assert last.title == "Difference of two realizations"
    assert "the observed sky does not decide" in last.caption
    assert "colour scale of its own" in last.caption


EDGES = np.array([2, 5, 9, 17, 33])
SHARE = np.array([0.1, 0.25, 0.3, 0.2])


@pytest.mark.parametrize(
    ("words", "name", "reason", "caption"),
    [
        ({}, "follows from the prior", "are divided by 1 - α", "+ α C_l of the prior"),
        (
            {"kind": "mean"},
            "the mean lacks",
            "debiasing undoes it",
            "(1 - α) of that of the theory",
        ),
        ({"patch": 0.17}, "follows from the prior", "patch of 17.0% of the sky", "pseudo-C_l"),
        ({"patch": 0.17, "kind": "mean"}, "the mean lacks", "patch of 17.0%", "pseudo-C_l"),
    ],
)
def test_the_share_of_the_prior_is_drawn_where_it_is_known(words, name, reason, caption):
    share = report.PriorShare(SHARE, EDGES, more="Noise is not counted.", **words)
    (finding,) = report.share_findings(share)
    assert finding.value == "10% to 30%"
    assert name in finding.name
    assert reason in finding.reason
    plate = report.prior_share_of_bins(share)
    assert "10% to 30%" in plate.caption
    assert caption in plate.caption
    assert plate.caption.endswith("Noise is not counted.")
    assert ("error bars" in plate.caption) == (not words)


def test_where_the_share_is_not_known_the_page_says_why():
    blank = report.PriorShare(why="the fill has no prior", of="BB")
    (finding,) = report.share_findings(blank)
    assert finding.value == "not known"
    assert finding.reason == "the fill has no prior"
    assert finding.name.endswith("α, BB")
    assert report.prior_share_of_bins(blank) is None
    for words in ({}, {"values": SHARE}, {"values": SHARE, "edges": EDGES[1:]}):
        with pytest.raises(ValueError, match="share"):
            report.PriorShare(**words)
    with pytest.raises(ValueError, match="kind 'guess' is unknown"):
        report.PriorShare(SHARE, EDGES, kind="guess")


def test_the_spectrum_of_a_mean_shows_what_it_lacks():
    """The dashes of a bin lie at (1 - α) of signal and noise, in D_l and in units of σ."""
    sky = draw(PRIOR, seed=1, index=0)
    comparison = compare(sky, PRIOR, bins=EDGES)
    figure = canvas(7.2, 5.6)
    upper, lower = figure.subplots(2)
    _draw_left(upper, lower, comparison, SHARE)
    for axes, band in ((upper, comparison.full.dl_theory), (lower, np.zeros(4))):
        dashes = np.array([each[0] for each in axes.collections[0].get_segments()])
        np.testing.assert_allclose(dashes[:, 0], EDGES[:-1] - 0.5)
        if axes is upper:
            lost = SHARE * comparison.full.theory * comparison.full.dl_per_cl
        else:
            lost = SHARE * comparison.full.theory / comparison.full.sigma
        np.testing.assert_allclose(dashes[:, 1], band - lost)
    caption = report.spectrum(comparison, kind="mean", lacking=SHARE).caption
    assert "Dashed: (1 - α)" in caption
    assert "lacks power in its holes" in caption
    assert "the prior's power" not in report.spectrum(comparison, kind="guess").caption


def test_the_deepest_places_show_what_two_realizations_differ_by():
    sky = draw(PRIOR, seed=1, index=0)
    observed = discs(NSIDE, *np.radians([[30], [10], [20]]))
    apart = np.where(observed, 0, 0.5 * sky)
    images = {"before": np.where(observed, sky, np.nan), "filled": sky}
    (plain,) = report.close_ups(observed, images)
    (plate,) = report.close_ups(observed, images | {"uncertainty": apart, report.DIFFERENCE: apart})
    assert "the second realization minus the first" in plate.caption
    assert "the second realization" not in plain.caption
    assert plate.full
    assert not plain.full
    # Of Q and U as well, on one scale.
    (polarized,) = report.close_ups_pol(
        observed, [sky] * 2, [sky] * 2, None, difference=[apart] * 2
    )
    assert "the second realization minus the first" in polarized.caption
    assert reach_apart([apart]) == pytest.approx(3 * np.std(0.5 * sky[~observed]))


def test_the_caption_says_how_the_mask_is_apodised():
    observed = discs(NSIDE, *np.radians([[30], [10], [20]]))
    sky = draw(PRIOR, seed=1, index=0)
    soft = compare(sky, PRIOR, observed=observed, apodize=np.radians(10))
    assert "Its mask is apodised: C2, 10 deg." in report.spectrum(soft).caption
    hard = compare(sky, PRIOR, observed=observed)
    assert "Its mask is not apodised." in report.spectrum(hard).caption
