"""The command as it is installed: in this process, and as a program of its own."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import pytest
from map_files import sims_and_mask


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def entry():
    """The function behind the console script."""
    (command,) = entry_points(group="console_scripts", name="skyfill")
    return command.load()


@pytest.fixture
def skyfill_main(entry, capsys):
    """Run the command in this process: quick, and seen by coverage."""

    def call(*arguments):
        try:
            status = entry([str(argument) for argument in arguments])
        except SystemExit as stopped:  # argparse: wrong usage, --help
            status = stopped.code
        return Outcome(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def skyfill_program():
    """Run the installed program, as a user does."""
    program = Path(sys.executable).with_name("skyfill")

    def call(*arguments, **options):
        words = [str(program), *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    """Four maps and their mask."""
    path = tmp_path_factory.mktemp("many")
    sims_and_mask(path, [f"{letter}.fits" for letter in "abcd"], 16)
    return path


@pytest.fixture
def sims(many, tmp_path, monkeypatch):
    """Find these maps in ``sims/`` and ``mask.fits`` of the working folder, which is given."""
    (tmp_path / "sims").symlink_to(many / "sims")
    (tmp_path / "mask.fits").symlink_to(many / "mask.fits")
    monkeypatch.chdir(tmp_path)
    return tmp_path
