"""What is installed is what is here."""

import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed():
    found = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for init in (ROOT / "skyfill").rglob("__init__.py")
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found | {"skyfill.cli"}
    assert not (ROOT / "skyfill" / "cli").exists(), "the command line lives in cli/"


def test_every_data_file_is_shipped():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    shipped = {
        path
        for package, globs in patterns.items()
        for glob in globs
        for path in ROOT.joinpath(*package.split(".")).glob(glob)
        if path.is_file()
    }
    data = {
        path
        for path in (ROOT / "skyfill").rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert data == shipped


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="skyfill")
    assert command.value == "skyfill.cli:main"


def test_one_version():
    assert version("skyfill") == PROJECT["project"]["version"]


def test_every_dependency_is_pinned():
    pins = {
        line.partition("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(one for extra in extras.values() for one in extra),
    ]
    names = {one.partition(">")[0].lower() for one in wanted if not one.startswith("skyfill[")}
    assert {name.replace("-", "_") for name in names} <= {pin.replace("-", "_") for pin in pins}
