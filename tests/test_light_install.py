"""Without the optional libraries what needs none of them works, the rest says what to install."""

import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from skyfill import lazy

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
#: What `pip install skyfill` leaves out.
OPTIONAL = (
    *("torch", "zarr", "jinja2", "matplotlib", "distributed"),
    *("reproject", "healsparse", "h5py"),
)
PROGRAM = f"""
import sys
from importlib.machinery import PathFinder

class Light(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in {OPTIONAL!r}:
            return super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Light
from skyfill.cli import main

sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("light")
    prior = ("--beam-arcmin", 600, "--noise-uk-arcmin", 500)
    assert skyfill(path, "simulate", "sky", "-o", "sky.fits", "--nside", 16, *prior)[0] == 0
    words = ("simulate", "mask", "-o", "mask.fits", "--nside", 16, "--holes", 6)
    assert skyfill(path, *words)[0] == 0
    return path


def skyfill(path, *words):
    """Run the command in a process that has none of the optional libraries."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        cwd=path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("method", [[], ["--method", "gaussian"], ["--method", "diffuse"]])
def test_a_map_is_filled_without_them(folder, method, tmp_path):
    prior = ["--beam-arcmin", 600, "--noise-uk-arcmin", 500] if "diffuse" not in method else []
    out = tmp_path / "filled.fits"
    status, said, err = skyfill(
        folder, "inpaint", "sky.fits", "mask.fits", "-o", out, *prior, *method
    )
    assert status == 0, err
    assert ("gaussian: vae needs torch, which is not installed" in said) == (not method)


def test_spectra_masks_and_descriptions_need_none(folder, tmp_path):
    status, _, err = skyfill(folder, "spectrum", "sky.fits", "-o", tmp_path / "cl.ecsv")
    assert status == 0, err
    assert skyfill(folder, "info", "sky.fits")[0] == 0
    assert skyfill(folder, "models")[0] == 0
    assert (
        skyfill(folder, "mask", "mask.fits", "-o", tmp_path / "m.fits", "--grow-arcmin", 60)[0] == 0
    )


@pytest.mark.parametrize(
    ("words", "library", "extra"),
    [
        (["inpaint", "sky.fits", "mask.fits", "--method", "vae"], "torch", "vae"),
        (["inpaint", "sky.fits", "mask.fits", "--method", "cosmovae"], "torch", "vae"),
        (["inpaint", "sky.fits", "mask.fits", "--device", "cuda"], "torch", "vae"),
        (["spectrum", "sky.fits", "--plot", "cl.png"], "matplotlib", "plot"),
        (["inpaint", "sky.fits", "mask.fits", "--report", "page.html"], "jinja2", "report"),
    ],
)
def test_what_needs_one_names_it_and_its_extra(folder, words, library, extra, tmp_path):
    out = ["-o", tmp_path / ("cl.ecsv" if words[0] == "spectrum" else "filled.fits")]
    words = [tmp_path / one if one in ("cl.png", "page.html") else one for one in words]
    prior = ["--beam-arcmin", 600, "--noise-uk-arcmin", 500]
    status, _, err = skyfill(folder, *words, *out, *prior, "-q")
    assert status == 2
    (line,) = err.strip().splitlines()
    assert f"need {library}, which is not installed: pip install 'skyfill[{extra}]'" in line
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".png", ".html")]


def test_every_extra_that_is_named_installs_what_is_missing():
    for library, (extra, _) in lazy._EXTRAS.items():
        assert any(one.lower().startswith(library) for one in EXTRAS[extra])
        assert f"[{extra}" in EXTRAS["all"][0] or f",{extra}" in EXTRAS["all"][0]


def test_an_installed_library_is_let_through():
    assert find_spec("matplotlib") is not None
    lazy.needs("matplotlib")


def test_the_extras_of_developers_have_all():
    assert all("skyfill[all]" in EXTRAS[name] for name in ("test", "docs"))
    assert "skyfill[test]" in EXTRAS["dev"]
