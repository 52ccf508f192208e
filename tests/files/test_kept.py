"""What is kept on disk between maps and processes: found again, made anew, never trusted."""

import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import skyfill
from skyfill.files import cache
from skyfill.files.cache import Kept
from skyfill.gaussian import blocks, solver
from skyfill.holes import discs
from skyfill.mosaic import MosaicConfig, tileset
from skyfill.prior import ARCMIN, Prior, draw, lcdm

VALUES = np.linspace(0, 1, 12).reshape(-1, 3)


def kept(folder, *deciding, make=lambda: VALUES.copy(), name="thing"):
    """Find the values, or make them."""
    return Kept(folder).of(*deciding).array(name, make, dtype=np.float64, shape=(-1, 3))


def refuse():
    """Make nothing."""
    raise AssertionError("it is there already")


def test_what_was_made_is_found(tmp_path):
    folder = tmp_path / "not" / "there"
    assert np.array_equal(kept(folder, 1), VALUES)
    found = kept(folder, 1, make=refuse)
    assert np.array_equal(found, VALUES)
    assert not found.flags.writeable
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("shape", [(0, 3), (1, 3)])
def test_an_array_may_be_empty(tmp_path, shape):
    for make in (lambda: np.zeros(shape), refuse):
        assert kept(tmp_path, make=make).shape == shape


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = kept(None, 1)
    made[0] = 5
    assert np.array_equal(kept(None, 1), VALUES)
    assert not list(tmp_path.iterdir())


def test_the_key_is_of_all_that_decides(tmp_path):
    array = np.arange(6)
    deciding = [
        *((1,), (1.0,), ("1",), (1, 1), (11,), ()),
        *((array,), (array + 0.0,), (array.reshape(2, 3),), (array.tobytes(),), (array[::-1],)),
        (MosaicConfig(),),
        (MosaicConfig(cover=1.3),),
    ]
    for number, one in enumerate(deciding):
        values = np.full((1, 3), float(number))
        assert np.array_equal(kept(tmp_path, *one, make=lambda values=values: values), values)
    for number, one in enumerate(deciding):
        assert kept(tmp_path, *one, make=refuse)[0, 0] == number
    assert kept(tmp_path, 1, name="other")[0, 1] == VALUES[0, 1]
    Kept(tmp_path).of(1).array("thing", lambda: VALUES, dtype=np.float32, shape=(-1, 3))
    assert len(list(tmp_path.iterdir())) == len(deciding) + 2


def other_content(path):
    """Put the file of another key in its place."""
    folder = path.with_name("other")
    kept(folder, 2, make=lambda: VALUES + 1)
    (other,) = folder.iterdir()
    shutil.copy(other, path)
    shutil.rmtree(folder)


class Hostile:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("was_run"),))


DAMAGES = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 24),
    "too short": lambda path: os.truncate(path, 7),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + bytes(24)),
    "a bit": lambda path: path.write_bytes(b"\1" + path.read_bytes()[1:]),
    "end": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
    "of another key": other_content,
    "pickle": lambda path: path.write_bytes(pickle.dumps(Hostile())),
    "npy of objects": lambda path: np.save(path.open("wb"), np.array([Hostile()], dtype=object)),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # numpy's writer is handed an open file
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_anew(tmp_path, damage, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "kept"
    kept(folder, 1)
    (path,) = folder.iterdir()
    DAMAGES[damage](path)
    assert np.array_equal(kept(folder, 1), VALUES)
    assert np.array_equal(kept(folder, 1, make=refuse), VALUES)  # the file is mended
    assert list(folder.iterdir()) == [path]
    assert not Path("was_run").exists()


@pytest.mark.parametrize("kind", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_left_alone(tmp_path, kind):
    kept(tmp_path, 1)
    (path,) = tmp_path.iterdir()
    path.unlink()
    kind(path)
    assert np.array_equal(kept(tmp_path, 1), VALUES)
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_can_be_written_it_is_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert np.array_equal(kept(tmp_path / "file" / "folder"), VALUES)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_, **__: False)  # a folder of somebody else's
        assert np.array_equal(kept(tmp_path / "foreign"), VALUES)
    with monkeypatch.context() as patch:
        usage = shutil.disk_usage(tmp_path)._replace(free=9 * VALUES.nbytes)
        patch.setattr(cache.shutil, "disk_usage", lambda _: usage)
        assert np.array_equal(kept(tmp_path / "full"), VALUES)
    assert not list((tmp_path / "foreign").iterdir())
    assert not list((tmp_path / "full").iterdir())
    if Path("/dev/full").exists():
        with monkeypatch.context() as patch:
            whole = cache.atomic_write

            def full(path):
                manager = whole(path)
                temporary = manager.__enter__()
                temporary.unlink()
                temporary.symlink_to("/dev/full")
                manager.__enter__ = lambda: temporary
                return _Full(manager, temporary)

            patch.setattr(cache, "atomic_write", full)
            assert np.array_equal(kept(tmp_path / "filled"), VALUES)
        assert not list((tmp_path / "filled").iterdir())


class _Full:
    """A temporary file on a device that is full."""

    def __init__(self, manager, temporary):
        self._manager, self._temporary = manager, temporary

    def __enter__(self):
        return self._temporary

    def __exit__(self, *error):
        return self._manager.__exit__(*error)


def test_two_that_make_it_at_once_share_the_first_file(tmp_path):
    both = threading.Barrier(2, timeout=30)

    def make():
        both.wait()
        return VALUES

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: kept(tmp_path, 1, make=make), range(2)))
    assert all(np.array_equal(one, VALUES) for one in results)
    assert len(list(tmp_path.iterdir())) == 1


NSIDE = 64
KNOWN = Prior(NSIDE, lcdm(), fwhm=100 * ARCMIN, noise_uk_arcmin=800.0)
CONFIG = MosaicConfig(side=64, guard=8, margin=16, whole_nside=32, small=10.0, polish=1)
METHODS = {
    "vae": {"method": "vae", "network": False, "refine": 20, "batch_size": 8, "config": CONFIG},
    "gaussian": {"method": "gaussian"},
}
#: What takes the time of a set-up.
SLOW = (
    *((blocks, "label_holes"), (blocks, "grow"), (solver, "distance_to_edge")),
    *((tileset, "_worth_it"), (blocks.HoleBlocks, "_factor")),
)


@pytest.fixture(scope="module")
def observed():
    """Observe all but nine small holes and two wide ones."""
    lon = np.linspace(0, 6, 11)
    return discs(NSIDE, lon, np.sin(5 * lon), np.where(np.arange(11) % 5, 0.03, 0.2))


@pytest.fixture(scope="module")
def skies():
    return [draw(KNOWN, seed=seed, threads=1) for seed in range(2)]


def fill(sky, observed, method, folder, prior=KNOWN):
    options = METHODS[method] | {"prior": prior, "cache": folder, "threads": 1, "device": "cpu"}
    return skyfill.Inpainter(sky, observed, **options).realization()


@pytest.mark.parametrize("method", METHODS)
def test_fills_are_the_same_whatever_is_kept(skies, observed, method, tmp_path, monkeypatch):
    monkeypatch.setattr(solver, "affordable", lambda sizes, **_: sizes < 100)  # bands
    plain = fill(skies[0], observed, method, None)
    assert np.array_equal(fill(skies[0], observed, method, tmp_path), plain)
    with monkeypatch.context() as patch:
        for owner, name in SLOW:
            patch.setattr(owner, name, lambda *_, **__: refuse())
        assert np.array_equal(fill(skies[0], observed, method, tmp_path), plain)
    before = {path.name for path in tmp_path.iterdir()}
    assert {"depths", "factors", "labels"} <= kinds(tmp_path).keys()
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    assert np.array_equal(fill(skies[0], observed, method, tmp_path), plain)
    assert {path.name for path in tmp_path.iterdir()} == before


def kinds(folder):
    """Count the files of each kind."""
    names = [path.name.partition("-")[0] for path in folder.iterdir()]
    return {name: names.count(name) for name in sorted(names)}


def test_another_mask_or_prior_has_its_own(skies, observed, tmp_path, monkeypatch):
    monkeypatch.setattr(solver, "affordable", lambda sizes, **_: sizes < 100)  # tiles
    fill(skies[0], observed, "vae", tmp_path)
    first = kinds(tmp_path)
    # two: coarse, where all small ones are filled, and polish
    assert first == {"course": 2, "depths": 2, "factors": 1, "labels": 2, "steps": 1, "tiles": 1}
    louder = Prior(NSIDE, lcdm(), fwhm=100 * ARCMIN, noise_uk_arcmin=801.0)
    plain = fill(skies[0], observed, "vae", None, louder)
    assert np.array_equal(fill(skies[0], observed, "vae", tmp_path, louder), plain)
    assert kinds(tmp_path) == first | {"course": 4, "factors": 2, "steps": 2}
    another = observed.copy()
    another[np.flatnonzero(observed)[1000]] = False
    plain = fill(skies[0], another, "vae", None)
    assert np.array_equal(fill(skies[0], another, "vae", tmp_path), plain)
    # the hole is none to the coarse level
    assert kinds(tmp_path) == {
        "course": 6,
        "depths": 3,
        "factors": 3,
        "labels": 3,
        "steps": 3,
        "tiles": 2,
    }


def test_maps_with_fitted_priors_share_what_the_mask_decides(
    skies, observed, tmp_path, monkeypatch
):
    monkeypatch.setattr(solver, "affordable", lambda sizes, **_: sizes < 100)
    for sky in skies:
        plain = fill(sky, observed, "vae", None, None)
        assert np.array_equal(fill(sky, observed, "vae", tmp_path, None), plain)
        # factors of a prior that no other map has would fill the disk
        found = kinds(tmp_path)
        assert found.pop("labels") <= 4
        assert found == {"depths": 2, "tiles": 1}
