"""Code on the pages runs: every Python and console block, page by page, as a reader would run it.

A block is run unless an HTML comment before it says why not: ``<!-- not run: needs a cluster -->``.
``<!-- not run "pip install .": ... -->`` leaves out one line of a console block. Of a console block
the lines that begin with ``$`` are run; they must succeed; where the line after one is an error, it
must be the very one that is shown.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from skyfill.cli.main import build_parser, main
from skyfill.cli.usage import check_words

import skyfill

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?P<before>(?:<!--.*?-->\s*)*)^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
REASON = re.compile(r"<!--\s*not run(?: \"(?P<line>[^\"]+)\")?: (?P<why>.*?)\s*-->", re.DOTALL)
#: What only a shell understands, besides words, quotes and patterns of file names.
SHELL = re.compile(r"[|&;<>`$()]")
#: Kinds of blocks that are code; others must not appear without a decision here.
RUN, READ = ("python", "console"), ("json", "bash")
#: Files that pages take for granted, beside a map, its mask and simulations of it.
NSIDE = 16
GIVEN = {
    "one-page.md": ["truth.fits"],
    "spectra.md": ["filled_000.fits", "filled_001.fits"],
    "trust.md": ["fill_000.fits", "fill_001.fits", "filled.fits", "sky.fits", "exact.fits"],
}


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    kind: str
    text: str
    line: int
    reason: str | None
    left_out: tuple[str, ...]

    def commands(self):
        """Give the commands of a console block, and what stands below each."""
        found = []
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found:
                found[-1][1].append(line)
        return found


def blocks_of(page):
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        whys = [(why["line"], why["why"]) for why in REASON.finditer(found["before"])]
        yield Block(
            found["kind"],
            found["text"],
            text.count("\n", 0, found.start("kind")) + 1,
            next((why for line, why in whys if line is None), None),
            tuple(line for line, _ in whys if line is not None),
        )


BLOCKS = {page.name: list(blocks_of(page)) for page in PAGES}


def run_of(name):
    return [block for block in BLOCKS[name] if block.kind in RUN and block.reason is None]


#: A block of this page names every verb: a minute, where all other blocks take as much together.
HEAVY = "one-page.md"
CASES = [
    *(
        pytest.param(name, run_of(name), id=name)
        for name in BLOCKS
        if name != HEAVY and run_of(name)
    ),
    *(
        pytest.param(
            HEAVY,
            [block],
            id=f"{HEAVY}-{block.kind}",
            marks=[pytest.mark.slow] if block.kind == "console" else [],
        )
        for block in run_of(HEAVY)
    ),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write the files that pages name: a small map, its mask, truth, simulations and fills."""
    folder = tmp_path_factory.mktemp("files")
    observed = skyfill.simulate_mask(NSIDE, seed=3, half_width=0.15, n_holes=9, radii=(0.05, 0.1))
    skyfill.write_map(folder / "mask.fits", observed, unit="", dtype=np.uint8, column="MASK")
    beam = {"fwhm": np.radians(5 / 60), "noise_uk_arcmin": 30.0}
    (folder / "sims").mkdir()
    names = ["truth.fits", *(f"sims/sim_{number:03d}.fits" for number in range(3))]
    for seed, name in enumerate(names):
        skyfill.write_map(folder / name, skyfill.simulate_sky(NSIDE, seed=seed, **beam))
    shutil.copy(folder / "truth.fits", folder / "sky.fits")
    sky = skyfill.read_map(folder / "truth.fits")
    skyfill.write_map(folder / "map.fits", np.where(observed, sky.values, np.nan))
    words = ["map.fits", "mask.fits", "-o", "fill.fits", "--method", "gaussian", "-q"]
    done = shell(shlex.join(["skyfill", "inpaint", *words, "--realizations", "2"]), folder)
    assert done.returncode == 0, done.stderr
    done = shell("skyfill inpaint map.fits mask.fits -o filled.fits -q", folder)
    assert done.returncode == 0, done.stderr
    for source, name in (
        ("fill_000", "exact"),
        ("fill_000", "filled_000"),
        ("fill_001", "filled_001"),
    ):
        shutil.copy(folder / f"{source}.fits", folder / f"{name}.fits")
    return folder


def shell(command, folder):
    """Run a command as a reader's shell does, with this environment's programs first."""
    bin_ = str(Path(sys.executable).parent)
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env={
            **os.environ,
            "PATH": os.pathsep.join([bin_, os.environ.get("PATH", "")]),
            "HOME": str(folder),
            "MPLBACKEND": "agg",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def reader(tmp_path, monkeypatch, capsys):
    """Run commands as `shell` does; skyfill alone in this process, which has it loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")

    def run(command):
        """Give the exit status of a command, and what it writes to the standard error."""
        if not command.startswith("skyfill ") or SHELL.search(command):
            done = shell(command, tmp_path)
            return done.returncode, done.stderr
        done = shell(f"printf '%s\\0' {command}", tmp_path)  # the shell finds words and files
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            status = main(done.stdout.split("\0")[1:-1])
        return status, capsys.readouterr().err

    return run


@pytest.mark.parametrize(("name", "blocks"), CASES)
def test_the_code_of_a_page_runs(name, blocks, files, tmp_path, reader):
    for given in ("map.fits", "mask.fits", *GIVEN.get(name, [])):
        shutil.copy(files / given, tmp_path / given)
    shutil.copytree(files / "sims", tmp_path / "sims")
    for block in blocks:
        if block.kind == "python":
            done = subprocess.run(
                [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", block.text],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{name}, line {block.line}:\n{done.stderr}"
            continue
        for command, below in block.commands():
            if any(command.startswith(left) for left in block.left_out):
                continue
            status, told = reader(command)
            where = f"{name}, line {block.line}: {command}\n{told}"
            error = next((line for line in below if line.startswith("skyfill: error:")), None)
            assert status == (0 if error is None else 2), where
            assert error is None or error in told, where


@pytest.mark.parametrize("name", [name for name in BLOCKS if BLOCKS[name]])
def test_every_block_is_run_or_says_why_not(name):
    for block in BLOCKS[name]:
        where = f"{name}, line {block.line}"
        assert block.kind in RUN + READ, f"{where}: what is {block.kind}?"
        if block.kind in RUN and block.reason is None:
            assert block.kind == "python" or block.commands(), f"{where}: no line begins with $"
        elif block.kind == "json":
            json.loads(block.text)
        else:
            assert block.reason, f"{where}: say why it is not run"
        for left in block.left_out:
            commands = [command for command, _ in block.commands()]
            assert any(each.startswith(left) for each in commands), f"{where}: no {left!r}"


@pytest.mark.parametrize("name", [name for name in BLOCKS if BLOCKS[name]])
def test_every_command_on_a_page_has_words_that_exist(name):
    """Also of blocks that are not run: options that were renamed are found."""
    for block in BLOCKS[name]:
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            for start in ("skyfill", "skyfill.cli"):
                if start in words[:5] and block.kind in ("console", "bash"):
                    argv = words[words.index(start) + 1 :]
                    parser = build_parser()
                    check_words(parser, argv)
                    if "--config" not in argv:  # the file has what is missing here
                        parser.parse_args(argv)


def test_there_are_pages_to_run():
    assert sum(len(run_of(name)) for name in BLOCKS) >= 10
