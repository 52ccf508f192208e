"""What GitHub runs is what a newcomer runs, on the versions that pyproject.toml promises."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps_of(path):
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def test_there_are_some():
    assert {path.name for path in WORKFLOWS} == {"pages.yml", "tests.yml"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_step_is_an_action_of_one_version_or_valid_shell(path):
    for step in steps_of(path):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])
            continue
        shell = re.sub(r"\$\{\{.*?\}\}", "x", step["run"])
        done = subprocess.run(
            ["bash", "-n"], input=shell, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_goal_of_make_exists(path):
    goals = set(
        re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    for job in read(path)["jobs"].values():
        for step in job["steps"]:
            if step.get("run", "").startswith("make "):
                assert set(job["strategy"]["matrix"]["goal"]) <= goals


def test_both_systems_run_the_oldest_and_the_newest_by_the_script_of_newcomers():
    (job,) = read(ROOT / ".github" / "workflows" / "tests.yml")["jobs"].values()
    assert [step for step in job["steps"] if step.get("run") == ".ci/run"]
    matrix = job["strategy"]["matrix"]
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert min(matrix["python"], key=lambda text: tuple(map(int, text.split(".")))) == oldest
    kinds = {(each["system"], each["dependencies"]) for each in matrix["include"]}
    systems = ("ubuntu-latest", "macos-latest")
    assert kinds == {(system, kind) for system in systems for kind in ("oldest", "newest")}
    assert {each["python"] for each in matrix["include"] if each["dependencies"] == "oldest"} == {
        oldest
    }


def test_the_oldest_dependencies_are_those_of_pyproject():
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "oldest"], capture_output=True, text=True, check=True
    )
    extras = PROJECT["optional-dependencies"]
    own = {f"skyfill[{','.join(extras)}]"} | {one for each in extras.values() for one in each}
    needed = {*PROJECT["dependencies"], *extras["test"], *extras["vae"], *extras["report"]}
    wanted = {one.replace(">=", "==") for one in needed if "[" not in one}
    told = done.stdout.split()
    assert {one.replace(">=", "==") for one in wanted if not one.startswith("skyfill[")} <= set(
        told
    )
    assert {one.replace("==", ">=") for one in told} <= {*PROJECT["dependencies"], *own}
    assert len(told) == len(set(told))


def test_the_makefile_takes_other_constraints():
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "test", "CONSTRAINTS=/dev/null"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install --quiet --disable-pip-version-check -c /dev/null -e" in done.stdout


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms_have_what_github_asks_for(path):
    form = read(path)
    if path.name == "config.yml":
        assert form == {"blank_issues_enabled": True}
        return
    assert form["name"]
    assert form["description"]
    names = [field["id"] for field in form["body"]]
    assert len(set(names)) == len(names)
    for field in form["body"]:
        assert field["type"] in {"textarea", "input"}
        assert field["attributes"]["label"]
