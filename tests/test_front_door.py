"""The public names: all there, all lazy, and widened only on purpose."""

import subprocess
import sys

import pytest

import skyfill

HEAVY = ("torch", "healpy", "numba", "astropy", "numpy", "scipy", "matplotlib", "ducc0", "rich")


@pytest.mark.parametrize("name", [*skyfill.__all__, "__version__"])
def test_every_name_resolves(name):
    assert getattr(skyfill, name) is not None
    assert name in dir(skyfill)


def test_no_name_hides_a_room():
    assert len(set(skyfill.__all__)) == len(skyfill.__all__)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        skyfill.fly  # noqa: B018


def test_import_loads_nothing_heavy():
    code = f"import sys, skyfill, skyfill.cli; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_frozen():
    assert sorted(skyfill.__all__) == sorted(PUBLIC.split())


@pytest.mark.parametrize(("name", "home"), skyfill._MODULES.items())
@pytest.mark.parametrize("first", ["import", "attribute"])
def test_modules_of_other_names_are_one_with_their_own(name, home, first):
    lines = [f"from skyfill.{name} import __all__ as names", f"import skyfill.{name}"]
    lines += [f"assert all(hasattr(skyfill.{name}, one) for one in names)"]
    lines += [f"import skyfill.{home} as own", f"assert skyfill.{name} is own"]
    lines += [f"assert own.__name__ == own.__spec__.name == 'skyfill.{home}'"]
    before = ["import skyfill", *([f"skyfill.{name}"] if first == "attribute" else [])]
    subprocess.run([sys.executable, "-c", "\n".join([*before, *lines])], check=True)


@pytest.mark.parametrize("room", skyfill._ROOMS)
def test_a_module_does_not_replace_the_function_of_its_name(room):
    """`skyfill.report.findings` is a function, also after its module has been imported."""
    lines = [
        "import pkgutil, types",
        f"import skyfill.{room} as room",
        "modules = [one.name for one in pkgutil.iter_modules(getattr(room, '__path__', []))]",
        "kept = set(getattr(room, '_HOMES', ())) & set(modules)",
        "import importlib",
        "[importlib.import_module(f'{room.__name__}.{name}') for name in kept]",
        "assert not any(isinstance(getattr(room, name), types.ModuleType) for name in kept)",
        "print(*kept)",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    if room == "report":
        assert sorted(done.stdout.split()) == ["findings", "uses"]


PUBLIC = """
    Holes Inpainter Layout MapInfo Prior Progress Silent SkyMap SpectrumComparison baselines batch
    blending
    check_writable cosmovae dataset describe diffuse discs distance_to_edge enclosed_holes fidelity
    fill fill_islands find_holes flatsky galactic_cut gaussian gaussian_beam grow harmonics healpix
    holes images inpaint label_holes lcdm maps masks methods mosaic optimum owntiles pictures plan
    posterior prior progress read_catalogue read_cl read_map read_mask read_noise read_tile
    read_weights regrade_mask report rotate_mask simulate simulate_mask simulate_sky spectra
    tilefill tiling vae write_filled write_map write_tile
"""
