"""What is said in Python names parameters; what is said on the command line, options."""

import argparse
import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from skyfill.cli.main import build_parser
from skyfill.cli.usage import check_words
from skyfill.cli.wording import OTHER_NAMES, as_options, naming

import skyfill

ROOT = Path(__file__).parents[2]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
PHRASE = re.compile(r"`[a-z][a-z0-9_]*(?:=[^`]+)?`")


def said(path):
    """Give the strings of a file that are neither docstrings nor declare options of their own."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = set()
    for node in ast.walk(tree):
        aside = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            aside = node.func.attr == "add_argument"
        if aside:
            silent.update(map(id, ast.walk(node)))
    for node in ast.walk(tree):
        if (
            id(node) not in silent
            and isinstance(node, ast.Constant)
            and isinstance(node.value, str)
        ):
            yield node.value


LIBRARY = sorted((ROOT / "skyfill").rglob("*.py"))
SAID = [(path, text) for path in LIBRARY for text in said(path)]


def declared(parser=None):
    """Give every option of every verb."""
    parser = parser or build_parser()
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from declared(child)


def test_no_message_of_the_library_names_an_option():
    named = [f"{path.name}: {text}" for path, text in SAID if FLAG.search(text)]
    assert named == []


def test_every_parameter_that_a_message_names_is_an_option_of_some_verb():
    phrases = {phrase for _, text in SAID for phrase in PHRASE.findall(text)}
    assert len(phrases) > 10
    options = set(declared())
    unknown = {p: as_options(p) for p in phrases if as_options(p).split()[0] not in options}
    assert unknown == {}


def test_no_name_is_listed_without_need():
    for name, option in OTHER_NAMES.items():
        assert option != "--" + name.replace("_", "-"), name


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("pass `overwrite=True`", "pass --overwrite"),
        ("pass `pixel_window=False`", "pass --no-pixel-window"),
        ("use `method='vae'`, or", "use --method vae, or"),
        ('pass `unit="mK"`', "pass --unit mK"),
        ("give `noise_rms`", "give --noise-map"),
        ("(`fwhm`, `noise_uk_arcmin`)", "(--beam-arcmin, --noise-uk-arcmin)"),
        ("pass `threads=1`", "pass --threads 1"),
        ("pass `missing=-32768`", "pass --missing -32768"),
        ("call `skyfill.grow(mask, 0.1)`", "call `skyfill.grow(mask, 0.1)`"),
        ("no backticks", "no backticks"),
    ],
)
def test_parameters_become_options(message, line):
    assert as_options(message) == line


def test_a_verb_may_have_another_name_for_an_option():
    with (
        pytest.raises(ValueError, match="pass --mask-field") as caught,
        naming(field="--mask-field"),
    ):
        raise ValueError("no column 3; pass `field`")
    assert as_options(str(caught.value)) == "no column 3; pass --mask-field"
    with pytest.raises(FileNotFoundError) as caught, naming(field="--mask-field"):
        raise FileNotFoundError(2, "No such file", "a.fits")
    assert caught.value.filename == "a.fits"


def test_errors_and_warnings_name_options(skyfill_main, monkeypatch):
    import warnings

    def describe(path):
        warnings.warn("pass `batch_size=2`", stacklevel=2)
        raise ValueError("pass `overwrite=True`")

    monkeypatch.setattr(skyfill, "describe", describe)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        outcome = skyfill_main("info", "map.fits")
    assert outcome.err == (
        "skyfill: warning: pass --batch-size 2\nskyfill: error: pass --overwrite\n"
    )


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("inpant a b", "did you mean inpaint?"),
        ("Inpaint a b", "did you mean inpaint?"),
        ("fill a b", "did you mean inpaint?"),
        ("spectrm a", "did you mean spectrum?"),
        ("simulate ski", "did you mean sky?"),
        ("fly", "choose one of inpaint, batch"),
        ("inpaint a b -o c --fwhm 5", "did you mean --beam-arcmin?"),
        ("inpaint a b -o c --beam 5", "did you mean --beam-arcmin?"),
        ("inpaint a b -o c --fwhm=5", "did you mean --beam-arcmin?"),
        ("inpaint a b -o c --beam_arcmin 5", "did you mean --beam-arcmin?"),
        ("inpaint a b -o c --noise 4", "did you mean --noise-uk-arcmin or --noise-map?"),
        ("simulate sky -o c --nside 4 --noise 4", "did you mean --noise-uk-arcmin?"),
        ("inpaint a b --out c", "did you mean -o?"),
        ("inpaint a b --output-file c", "did you mean -o?"),
        ("inpaint a b -o c --force", "did you mean --overwrite?"),
        ("inpaint a b -o c --clobber", "did you mean --overwrite?"),
        ("inpaint a b -o c -overwrite", "did you mean --overwrite?"),
        ("inpaint a b -output c", "did you mean --output?"),
        ("inpaint a b -o c --nsims 3", "did you mean --realizations?"),
        ("inpaint a b -o c --n-realizations 3", "did you mean --realizations?"),
        ("inpaint a b -o c --rng 3", "did you mean --seed?"),
        ("inpaint a b -o c --random-seed 3", "did you mean --seed?"),
        ("inpaint a b -o c --gpu", "did you mean --device cuda?"),
        ("inpaint a b -o c --theory x", "did you mean --cl?"),
        ("inpaint a b -o c --realisations 3", "did you mean --realizations?"),
        ("inpaint a b -o c --verbose", "unless -q is given"),
        ("inpaint a b -o c --nest", "read from its header"),
        ("inpaint a b -o c --method gausian", "did you mean gaussian?"),
        ("inpaint a b -o c --seed x", "--seed takes a whole number, 0 or more, got 'x'"),
        ("inpaint a b -o c d", "inpaint: there are too many arguments: d"),
        ("mask --nside 4 -o c --galactic-cut 95", "must be at most 90 degrees, got 95"),
        ("spectrum", "required: FILLED"),
        ("", "required: VERB"),
    ],
)
def test_what_was_meant_is_said_in_one_line(skyfill_main, words, meant):
    outcome = skyfill_main(*words.split())
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("skyfill: error: ")
    assert meant in outcome.err
    assert outcome.err.count("\n") == 1
    assert re.search(r"[;?] [Ss]ee `skyfill[a-z ]* --help`\n$", outcome.err)


@pytest.mark.parametrize(
    "words",
    [
        "inpaint a b -oc",
        "inpaint a b -qo c",
        "inpaint a b --output=c --seed=3",
        "spectrum a --range 2 29 --range 30 60",
        "inpaint a b -o c --threshold -0.5",
        "inpaint a b -o c -- -d",
        "simulate mask -o c --nside 4 --radius-arcmin 1 2",
    ],
)
def test_right_words_pass(words):
    check_words(build_parser(), words.split())


def test_every_option_that_is_suggested_exists():
    from skyfill.cli.usage import _OPTIONS

    options = set(declared()) | {"--frame", "--hdu"}  # of this other parts
    for name, meant in _OPTIONS.items():
        for option in meant:
            assert option.split()[0] in options, name
            assert option != f"--{name}"


FITS_OUT = [
    ("inpaint", "map.fits", "mask.fits"),
    ("simulate", "sky", "--nside", "4"),
    ("simulate", "mask", "--nside", "4"),
    ("mask", "--nside", "4"),
]


@pytest.mark.parametrize("verb", FITS_OUT, ids=lambda verb: "-".join(verb[:2]))
@pytest.mark.parametrize("ending", [".npy", ".npz", ".txt", ".csv", ".h5", ".png", ".fits.bz2"])
def test_an_output_of_another_format_is_refused_before_anything_is_read(
    skyfill_main, tmp_path, monkeypatch, verb, ending
):
    monkeypatch.chdir(tmp_path)
    for name in ("read_map", "read_mask", "simulate_sky", "simulate_mask", "galactic_cut"):
        monkeypatch.setattr(skyfill, name, lambda *_, **__: pytest.fail("it was read"))
    outcome = skyfill_main(*verb, "-o", f"x{ending}")
    assert outcome.status == 2
    assert f"cannot write x{ending}: it is a FITS map, whose name ends in .fits" in outcome.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "name", "kind"),
    [
        ("--std", "s.npy", "a FITS map"),
        ("--report", "r.pdf", "a page"),
    ],
)
def test_other_outputs_too(skyfill_main, tmp_path, monkeypatch, option, name, kind):
    monkeypatch.chdir(tmp_path)
    outcome = skyfill_main("inpaint", "map.fits", "mask.fits", "-o", "x.fits", option, name)
    assert outcome.status == 2
    assert f"cannot write {name}: it is {kind}" in outcome.err


@pytest.mark.parametrize("option", [("-o", "t.npy"), ("--plot", "p.jpg")])
def test_spectra_too(skyfill_main, tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    outcome = skyfill_main("spectrum", "map.fits", *option)
    assert outcome.status == 2
    assert f"cannot write {option[1]}: it is a " in outcome.err


@pytest.mark.parametrize("name", ["a.fits", "a.FITS", "a.fit", "a.fits.gz", "a.fts", "a", "a_v1.2"])
def test_names_of_fits_files_are_taken(skyfill_main, tmp_path, name):
    out = tmp_path / name
    assert skyfill_main("simulate", "mask", "--nside", 4, "-o", out, "-q").status == 0
    assert skyfill.read_mask(out).size == 192


def test_the_version_of_a_source_tree_is_told(tmp_path):
    """A copy, since an installation leaves its metadata beside the tree."""
    (tmp_path / "skyfill").mkdir()
    for name in ("pyproject.toml", "skyfill/__init__.py", "skyfill/lazy.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    code = "import skyfill; print(skyfill.__version__)"
    done = subprocess.run(  # -S: without site-packages skyfill is not installed
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert re.fullmatch(r"\d+\.\d+\.\d+\+source\n", done.stdout)
