"""Options from a file and to a file: --config, --write-config."""

import shlex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyfill.cli.configuration import expanded, write
from skyfill.cli.main import build_parser

import skyfill

PARSER = build_parser()
FILE = """
map = "map.fits"
mask = "mask.fits"
beam-arcmin = 7.2
mean = true
pixel-window = false
weights = ["a.safetensors", "b.safetensors"]
[inpaint]
output = "out.fits"
seed = 3
[batch]
workers = 2
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(FILE)
    return path


def parsed(words):
    """Give the options of a command line without those of configuration."""
    found = vars(PARSER.parse_args(words))
    return {name: value for name, value in found.items() if name not in ("config", "write_config")}


def test_a_file_stands_for_the_words_of_a_command_line(config):
    words = expanded(PARSER, ["inpaint", "--config", str(config)])
    same = (
        "inpaint map.fits mask.fits -o out.fits --seed 3 --beam-arcmin 7.2 --mean"
        " --no-pixel-window --weights a.safetensors --weights b.safetensors"
    )
    assert parsed(words) == parsed(same.split())


def test_the_command_line_wins(config):
    words = ["inpaint", "other.fits", f"--config={config}", "--seed", "4", "-oq.fits"]
    found = parsed(expanded(PARSER, [*words, "--weights", "c.safetensors", "--pixel-window"]))
    assert (found["map"].name, found["mask"].name) == ("other.fits", "mask.fits")
    assert (found["seed"], found["output"].name, found["pixel_window"]) == (4, "q.fits", True)
    assert [path.name for path in found["weights"]] == ["c.safetensors"]


def test_an_option_of_the_command_line_puts_out_those_that_it_excludes(config):
    found = parsed(expanded(PARSER, ["inpaint", "--config", str(config), "--realizations", "5"]))
    assert (found["mean"], found["realizations"]) == (False, 5)


def test_without_a_file_the_words_stay_as_they_are():
    words = ["inpaint", "a.fits", "b.fits", "-qo", "c.fits"]
    assert expanded(PARSER, words) == words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("beam_arcmn = 7", "'beam_arcmn', which skyfill inpaint does not know; did you mean beam-"),
        ("fwhm = 7", "did you mean beam-arcmin?"),
        ("config = 'x'", "'config', which skyfill inpaint does not know"),
        ("[fill]\nseed = 1", "a table [fill], and there is no such verb"),
        ("seed = ", "is no TOML"),
        ("mean = 1", "mean is true or false, got 1"),
        ("seed = [1, 2]", "seed takes one value, got [1, 2]"),
        ("seed = true", "seed takes a number or a text, got True"),
        ("map = 3", "map names a file, got 3"),
        ("seed = -1", "--seed: must be 0 or more, got -1"),
        ("method = 'best'", "--method 'best' is unknown; choose one of auto, vae"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(skyfill_main, tmp_path, text, said):
    path = tmp_path / "run.toml"
    path.write_text(text)
    outcome = skyfill_main("inpaint", "--config", path, "-o", tmp_path / "out.fits")
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_file_that_is_not_there_is_named(skyfill_main, tmp_path):
    outcome = skyfill_main("inpaint", "--config", tmp_path / "no.toml")
    assert outcome.status == 2
    assert "no.toml" in outcome.err
    assert outcome.err.count("\n") == 1


LINES = [
    "inpaint a.fits b.fits -o c.fits --mean --weights x --weights y --no-pixel-window -q",
    "inpaint a.fits b.fits -o c.fits --memory-limit 8G --beam-arcmin=7.25 --seed 12",
    "batch a.fits b.fits mask.fits -o out --workers 2",
    "simulate sky -o sky.fits --nside 16 --seed 1",
    "mask -o m.fits --nside 16 --galactic-cut 10 --rotate C",
    "evaluate f.fits --truth t.fits --mask m.fits --exact",
    "spectrum a.fits --lmax 30 --plot p.png",
]


@pytest.mark.parametrize("line", LINES)
def test_a_written_file_gives_the_same_options(tmp_path, line):
    path = tmp_path / "run.toml"
    words = line.split()
    write(PARSER, words, path)
    verb = words[:2] if words[0] == "simulate" else words[:1]
    again = expanded(PARSER, [*verb, "--config", str(path)])
    assert parsed(again) == parsed(words)
    assert list(tmp_path.iterdir()) == [path]


@given(st.text(st.characters(exclude_categories=("C",)), min_size=1).filter(lambda x: x[0] != "-"))
def test_any_name_of_a_file_comes_back(tmp_path_factory, name):
    path = tmp_path_factory.mktemp("names") / "run.toml"
    words = ["inpaint", name, "mask.fits", "--output", name]
    write(PARSER, words, path)
    found = expanded(PARSER, ["inpaint", "--config", str(path)])
    assert parsed(found) == parsed(words)


def test_a_run_writes_the_file_that_makes_the_same_map(skyfill_main, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "simulate sky -o a.fits --nside 16 --beam-arcmin 300 --seed 5"
    assert skyfill_main(*words.split(), "--write-config", "sky.toml").status == 0
    assert "seed = 5" in (tmp_path / "sky.toml").read_text()
    outcome = skyfill_main("simulate", "sky", "--config", "sky.toml", "-o", "b.fits")
    assert outcome.status == 0, outcome.err
    one, two = (skyfill.read_map(tmp_path / name).values for name in ("a.fits", "b.fits"))
    assert np.array_equal(one, two)


def test_a_file_is_not_replaced_and_a_failed_run_writes_none(skyfill_main, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sky.toml").write_text("seed = 1\n")
    words = shlex.split("simulate sky -o a.fits --nside 16 --write-config")
    assert skyfill_main(*words, "sky.toml").status == 2
    assert (tmp_path / "sky.toml").read_text() == "seed = 1\n"
    assert not (tmp_path / "a.fits").exists()
    assert skyfill_main(*words, "other.toml", "--beam-arcmin", "-1").status == 2
    assert not (tmp_path / "other.toml").exists()
