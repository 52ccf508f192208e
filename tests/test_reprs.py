"""Objects say what they are in less than a line, and show themselves in notebooks."""

import base64
import dataclasses
import inspect
import re
import subprocess
import sys
from enum import Enum

import numpy as np
import pytest
import torch

import skyfill
from skyfill.prior import LCDM

NSIDE = 16
MOST = 200


def public_classes():
    rooms = [getattr(skyfill, name) for name in [*skyfill._ROOMS, *skyfill._MODULES]]
    named = [getattr(room, name) for room in rooms for name in getattr(room, "__all__", ())]
    named += [getattr(skyfill, name) for name in skyfill.__all__]
    return sorted({one for one in named if inspect.isclass(one)}, key=lambda one: one.__qualname__)


RECORDS = [one for one in public_classes() if dataclasses.is_dataclass(one)]
#: Those whose own words are tried on real objects below.
REAL = ("Prior", "SkyMap", "SpectrumComparison", "StokesComparison")


def test_there_are_many():
    assert len(RECORDS) > 40
    assert {one.__name__ for one in RECORDS} >= set(REAL)


@pytest.mark.parametrize(
    "kind", [one for one in RECORDS if one.__name__ not in REAL], ids=lambda one: one.__qualname__
)
@pytest.mark.parametrize("content", [np.zeros((3, 99)), "word " * 99, [1.0] * 999, {"a": "b" * 99}])
def test_a_record_is_short_whatever_it_holds(kind, content):
    one = object.__new__(kind)
    for each in dataclasses.fields(kind):
        object.__setattr__(one, each.name, content)
    assert len(repr(one)) < MOST
    assert repr(one).startswith(kind.__qualname__)
    assert "\n" not in repr(one)


@pytest.mark.parametrize(
    "kind", [one for one in public_classes() if one not in RECORDS], ids=lambda one: one.__name__
)
def test_other_classes_have_the_usual_repr_or_words_of_their_own(kind):
    usual = kind.__repr__ in (object.__repr__, BaseException.__repr__)
    usual = usual or issubclass(kind, Enum)
    assert usual or "__repr__" in kind.__dict__, "it may be long: give it a __repr__"


@pytest.fixture(scope="module")
def filler():
    prior = skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=0.15, noise_uk_arcmin=500.0)
    sky = skyfill.prior.draw(prior, seed=1, index=0, aliased=True, threads=1)
    observed = skyfill.simulate_mask(NSIDE, seed=2, n_holes=6)
    return skyfill.Inpainter(sky, observed, prior=prior, threads=1, device="cpu")


@pytest.fixture(scope="module")
def objects(filler, tmp_path_factory):
    path = tmp_path_factory.mktemp("reprs") / "a_map_with_quite_a_long_name_as_pipelines_make.fits"
    whole = filler.whole(filler.mean())
    skyfill.write_map(path, np.where(filler.observed, whole, np.nan))
    compared = skyfill.spectra.compare(whole, filler.prior.cl, observed=filler.observed)
    prior = skyfill.prior.PolarizedPrior.of(dataclasses.replace(filler.prior, theory=LCDM), 3.0)
    sky = skyfill.simulate.simulate_stokes(prior, seed=1)
    return {
        "Inpainter": filler,
        "Prior": filler.prior,
        "SkyMap": skyfill.read_map(path),
        "SpectrumComparison": compared,
        "StokesComparison": skyfill.spectra.compare_stokes(sky, prior, observed=filler.observed),
    }


@pytest.mark.parametrize("name", ["Inpainter", *REAL])
def test_the_central_objects_are_short_and_have_a_picture(objects, name):
    one = objects[name]
    assert repr(one).startswith(f"{name}(")
    assert len(repr(one)) < MOST
    html = one._repr_html_()
    (picture,) = re.findall(r"data:image/png;base64,([^']+)'", html)
    data = base64.b64decode(picture)
    assert data.startswith(b"\x89PNG")
    assert len(data) < 100_000
    assert html.count("<tr>") >= 3
    assert "array(" not in html + repr(one)


@pytest.fixture(scope="module")
def others(filler):
    """Objects that have words of their own and are neither records nor among `objects`."""
    size = skyfill.baselines.Size(16, 0.1)
    arch = skyfill.cosmovae.CosmoArchitecture((4, 5, 6, 7, 8, 9), 12)
    kinds = (skyfill.baselines.PConvNet, skyfill.baselines.VAEAC, skyfill.baselines.ContextEncoder)
    sky = skyfill.prior.draw(filler.prior, seed=1, index=0)
    return [
        *(kind(size) for kind in kinds),
        skyfill.baselines.PartialConv(1, 4, 3),
        skyfill.cosmovae.CosmoVAE(arch, torch.ones(12)),
        skyfill.cosmovae.Encoding(torch.zeros(99, 12), torch.zeros(99, 12), [torch.zeros(9)] * 9),
        skyfill.vae.TileVAE(skyfill.vae.Architecture(warm=0, steps=2)),
        skyfill.maps.Frame("G"),
        skyfill.inpaint.LinearFill(filler.observed, filler.prior, method="gaussian"),
        skyfill.inpaint.LinearStokesFill(filler.observed, None, method="diffuse"),
        skyfill.inpaint.TransformedInpainter(
            np.exp(sky / 200),
            filler.observed,
            transform="log",
            shift=0.0,
            prior=skyfill.prior.Given(cl="map", noise_uk_arcmin=0.0),
            threads=1,
        ),
    ]


def test_every_class_with_words_of_its_own_is_tried(others, objects):
    kinds = {type(one) for one in (*others, *objects.values())} | set(RECORDS)
    wordy = {one for one in public_classes() if "__repr__" in one.__dict__}
    assert {one.__name__ for one in wordy - kinds if not issubclass(one, Enum)} == set()
    for one in others:
        assert repr(one).startswith(type(one).__name__)
        assert len(repr(one)) < MOST
        assert "\n" not in repr(one)


def test_long_names_are_cut(objects):
    long = dataclasses.replace(objects["Prior"], theory="a/very/long/path" * 30)
    assert len(repr(long)) < MOST


def test_without_matplotlib_the_numbers_stand_alone():
    lines = [
        "import sys; sys.modules['matplotlib'] = None",
        f"import skyfill; html = skyfill.Prior({NSIDE}, skyfill.lcdm(), fwhm=0.1)._repr_html_()",
        "assert '<img' not in html and 'arcmin' in html",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
