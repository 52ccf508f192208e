"""What is installed is what is here."""

import re
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
#: Extras that add a library for users.
_ADDED = ("vae", "tiles", "plot", "report", "cluster", "images", "healsparse", "hdf5")


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


def test_the_conda_recipe_asks_for_what_pip_asks_for():
    text = (ROOT / ".github" / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    recipe = yaml.safe_load(text)
    assert recipe["context"]["version"] == PROJECT["project"]["version"]
    names = {"astropy-base": "astropy", "matplotlib-base": "matplotlib", "pytorch": "torch"}

    def asked(lines):
        pairs = (line.split(" ", 1) for line in lines if not line.startswith("python "))
        return {names.get(name, name) + bound for name, bound in pairs}

    project = PROJECT["project"]
    assert asked(recipe["requirements"]["run"]) == set(project["dependencies"])
    extras = project["optional-dependencies"]
    wanted = {one for name in _ADDED for one in extras[name]}
    assert asked(recipe["requirements"]["run_constraints"]) == wanted
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert entry == f"skyfill = {project['scripts']['skyfill']}"
    assert recipe["context"]["python_min"] == project["requires-python"].removeprefix(">=")


def test_the_conda_recipe_renders():
    rattler_build = pytest.importorskip("rattler_build")
    recipe = rattler_build.Stage0Recipe.from_file(ROOT / ".github" / "conda" / "recipe.yaml")
    (rendered,) = recipe.render(rattler_build.VariantConfig())
    found = rendered.recipe.to_dict()
    version = PROJECT["project"]["version"]
    assert found["package"] == {"name": "skyfill", "version": version}
    assert found["source"][0]["url"].endswith(f"/skyfill-{version}.tar.gz")
    assert "python 3.11.*" in found["requirements"]["host"]


def test_read_the_docs_builds_what_make_docs_builds():
    config = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text(encoding="utf-8"))
    assert config["version"] == 2
    assert (ROOT / config["sphinx"]["configuration"]).is_file()
    assert config["sphinx"]["fail_on_warning"] is True
    (install,) = config["python"]["install"]
    assert set(install["extra_requirements"]) <= set(PROJECT["project"]["optional-dependencies"])


def test_the_citation_is_of_this_version_and_its_papers_can_be_found():
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert found["version"] == PROJECT["project"]["version"]
    for paper in found["references"]:
        assert paper["authors"], paper["title"]
        assert re.fullmatch(r"10\.\d{4,}/\S+", paper.get("doi", "")) or paper["url"].startswith(
            "https://"
        )
