"""The frame of the command line: help, version, errors, interrupts, frozen options."""

import argparse
import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

import skyfill


@pytest.fixture
def frame(entry):
    """The module that the entry point lives in."""
    return importlib.import_module(entry.__module__)


def verbs(parser, name=()):
    """Give every parser below a parser, with its name."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield " ".join(name), parser
    for action in below:
        for word, child in action.choices.items():
            yield from verbs(child, (*name, word))


def test_help_is_quick_and_loads_nothing_heavy(skyfill_program):
    skyfill_program("--help")  # a first call may write byte code
    begun = time.perf_counter()
    outcome = skyfill_program("--help")
    assert time.perf_counter() - begun < 0.5
    assert outcome.status == 0
    for verb in ("inpaint", "batch", "spectrum", "simulate", "mask", "info", "models", "train"):
        assert verb in outcome.out


def test_version(skyfill_main, skyfill_program):
    expected = (0, f"skyfill {skyfill.__version__}\n", "")
    assert skyfill_main("--version") == expected
    assert skyfill_program("--version") == expected


@pytest.mark.parametrize("module", ["skyfill.cli", "cli"])
def test_module_is_the_same_command(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"skyfill {skyfill.__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("fly",), ("spectrum",), ("info", "--nside", "3")])
def test_wrong_usage_exits_2(skyfill_main, arguments):
    outcome = skyfill_main(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.startswith("skyfill: error: ")
    assert outcome.err.count("\n") == 1
    assert "--help`" in outcome.err


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("two\nlines"), 2, "skyfill: error: two lines\n"),
        (OSError("no space left"), 2, "skyfill: error: no space left\n"),
        (FileNotFoundError(2, "No such file", "a.fits"), 2, "a.fits"),
        (MemoryError(), 2, "skyfill: error: not enough memory\n"),
        (KeyboardInterrupt(), 130, "skyfill: interrupted\n"),
    ],
)
def test_errors_become_one_line(skyfill_main, monkeypatch, error, status, line):
    def describe(path):
        raise error

    monkeypatch.setattr(skyfill, "describe", describe)
    outcome = skyfill_main("info", "map.fits")
    assert outcome.status == status
    assert line in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_bug_shows_its_traceback(skyfill_main, monkeypatch):
    monkeypatch.setattr(skyfill, "describe", lambda path: {}["bug"])
    with pytest.raises(KeyError):
        skyfill_main("info", "map.fits")


@pytest.mark.filterwarnings("default")
def test_warnings_become_one_line(skyfill_main, monkeypatch):
    import warnings

    def describe(path):
        warnings.warn("3 pixels\nare missing", stacklevel=2)
        raise ValueError("stop")

    monkeypatch.setattr(skyfill, "describe", describe)
    outcome = skyfill_main("info", "map.fits")
    assert outcome.err == "skyfill: warning: 3 pixels are missing\nskyfill: error: stop\n"


def test_every_verb_explains_itself(frame):
    for name, parser in verbs(frame.build_parser()):
        assert parser.description, name
        for action in parser._actions:
            if action.option_strings and action.dest not in ("output", "help"):
                assert action.help or action.choices, f"{name} {action.option_strings}"


def test_options_are_frozen(frame):
    """Widening the command line is a decision: change this list with it."""
    found = {
        name: {
            word for action in parser._actions for word in action.option_strings or [action.dest]
        }
        - {"-h", "--help"}
        for name, parser in verbs(frame.build_parser())
    }
    own = {"info", "models", "completion"}  # without a file of options
    assert found == {
        name: {*words.split(), *([] if name in own else ["--config", "--write-config"])}
        for name, words in OPTIONS.items()
    }


PRIOR = (
    "--prior --cl --dl --cl-column --cl-unit --cl-hdu --cl-extend --beam-arcmin "
    "--beam --beam-squared --no-beam-squared --beam-column --beam-hdu --noise-uk-arcmin "
    "--pixel-window --no-pixel-window"
)
COMMON = "-o --output --overwrite --threads --json -q --quiet"
MAP = "--field --unit --hdu --missing --nside --frame"
MASK = "--mask-field --threshold --invert --bits --reproject-mask"
NOISE = "--noise-map --noise-field --noise-unit --noise-variance"
OPTIONS = {
    "inpaint": f"map mask {COMMON} {PRIOR} {MAP} {MASK} --seed "
    "--method --polish --mean --realizations --std --std-draws --report --fill --dipole "
    f"{NOISE} --tolerance --weights --device --batch-size --memory-limit --cache --dry-run "
    "--holes --footprint --accept --no-fit --save-prior --trust-prior --transform --shift --ivar "
    "--stokes --mask-pol --noise-pol-uk-arcmin --r --polcconv",
    "batch": f"maps mask {COMMON} {PRIOR} {MAP} {MASK} --seed "
    f"--method --polish --mean --realizations --fill --dipole {NOISE} --tolerance --weights "
    "--device --batch-size --memory-limit --cache --workers --scheduler --holes --footprint "
    "--accept --no-fit --trust-prior --transform --shift "
    "--stokes --mask-pol --noise-pol-uk-arcmin --r --polcconv",
    "spectrum": f"maps {COMMON} {PRIOR} {MAP} --mask {MASK} --no-fit --debias "
    "--plot --lmax --bins --binning --apodize-deg --range "
    "--stokes --mask-pol --noise-pol-uk-arcmin --r --polcconv",
    "posterior": f"map mask {COMMON} {PRIOR} {MAP} {MASK} --no-fit --trust-prior --seed "
    "--samples --chains --burn --lmax --bins --tolerance",
    "prior": f"map mask {COMMON} {PRIOR} {MAP} {MASK} --no-fit --plot",
    "simulate sky": f"{COMMON} {PRIOR} --nside --seed --lmax --stokes --noise-pol-uk-arcmin --r",
    "simulate mask": f"{COMMON} --nside --seed --kind --band-deg --holes --radius-arcmin",
    "mask": f"mask {COMMON} --field --hdu --missing --frame --nside --threshold --invert --bits "
    "--map --galactic-cut --sources --columns --as-weights --rotate --rotate-by --keep-share "
    "--radius-arcmin --fill-islands --grow-arcmin",
    "info": "file --json",
    "models": "files --json",
    "tiles": f"map mask {COMMON} {PRIOR} {MAP} {MASK} --size "
    "--projection --no-fit "
    "--pixel-arcmin --spacing-deg --split --test-map --limit "
    "--stokes --mask-pol --polcconv --paste",
    "evaluate": f"filled --mask --truth --std --optimum --exact {MAP} {MASK} "
    " --tiles --weights --limit --sample --seed --device --threads --json -q --quiet "
    "--stokes --mask-pol --polcconv",
    "validate": f"map mask {PRIOR} {MAP} {MASK} --seed "
    f"--report --overwrite --method --polish --realizations --holes --share --dipole {NOISE} "
    "--tolerance --weights --device --batch-size --threads --footprint --accept --no-fit "
    "--save-prior --trust-prior --transform --shift --json -q --quiet "
    "--stokes --mask-pol --noise-pol-uk-arcmin --r --polcconv",
    "train": f"{COMMON} {PRIOR} --no-fit --run --resume --weights --steps --batch-size --minutes "
    f"--seed --nonlinear --maps --mask {MASK} {MAP} --device --model --tiles --width-factor "
    "--max-steps "
    "--perceptual --vgg-weights --regulariser",
    "completion": "shell",
}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("simulate", "--nside", "32", "sky"), "--nside must follow the verb; give one of sky"),
        (("--quiet", "info", "a.fits"), "--quiet must follow the verb; give one of inpaint"),
        (("-V",), "did you mean --version?"),
        (("spectrum", "a.fits", "--apodise", "2"), "did you mean --apodize-deg?"),
        (("inpaint", "a.fits", "b.fits", "--apodise", "2"), "no option --apodise; see"),
    ],
)
def test_an_option_in_the_wrong_place_is_told_its_place(skyfill_main, words, said):
    outcome = skyfill_main(*words)
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
