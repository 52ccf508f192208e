"""Thousands of broken files: each is read, or refused in one line, and nothing else happens."""

import json
import os
import signal
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from broken_files import KINDS, sky_and_mask
from map_files import planck_like

DIFFUSE = ("--method", "diffuse", "--holes", "all")  # one of the maps is a part of the sky
SECONDS = 20  # far more than any call takes; a hang is for ever


@contextmanager
def in_time(what):
    def late(*_):
        pytest.fail(f"{what}: hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Valid files to break: map and mask as we write them, and as others do."""
    folder = tmp_path_factory.mktemp("whole")
    paths = sky_and_mask(folder)
    foreign = [
        planck_like(folder / f"{layout}.fits", layout=layout, nest=nest, form=form)
        for layout, nest, form in (("rows", True, "E"), ("partial", False, "D"), ("vector", 0, "I"))
    ]
    return [path.read_bytes() for path in (*paths, *foreign)]


@pytest.mark.parametrize("count", [65, pytest.param(2002, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("default")
def test_broken_files(skyfill_main, whole, tmp_path, monkeypatch, count):
    monkeypatch.chdir(tmp_path)
    sound = sky_and_mask(tmp_path)
    kept = [path.read_bytes() for path in sound]
    written = tmp_path / "out.fits"
    first = None  # what info says
    outcomes = Counter()
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        rng = np.random.default_rng((20, number))
        which = number // len(KINDS) % len(whole)
        content = kind(rng, whole[which])
        broken = tmp_path / ("broken.fits.gz" if content[:2] == b"\x1f\x8b" else "broken.fits")
        broken.write_bytes(content)
        here = sorted(tmp_path.iterdir())
        pair = (sound[0], broken) if which == 1 else (broken, sound[1])
        # Foreign maps are in mK, against which another unit is refused.
        unit = ("--unit", "uK" if which < 2 else "mK") if rng.random() < 0.5 else ()
        calls = {
            "info": ("info", broken, *(("--json",) if number % 2 else ())),
            "inpaint": ("inpaint", *pair, *unit, *DIFFUSE, "-o", "out.fits", "-q"),
        }
        for verb, words in calls.items():
            what = f"{verb} of {kind.__name__} {number}"
            with in_time(what):
                outcome = skyfill_main(*words)
            assert outcome.status in (0, 2), what
            assert (outcome.status == 2) == ("skyfill: error: " in outcome.err), what
            if outcome.status == 2:
                assert outcome.err.splitlines()[-1].startswith("skyfill: error: "), what
                assert str(tmp_path) in outcome.err, f"{what}: {outcome.err}"
            if verb == "inpaint" and outcome.status == 0:
                again = skyfill_main("info", written)
                # What lies beside the map is copied with the checksums that it came with.
                beside = "checksums of HDU" in first.err and "checksums of HDU 1 " not in again.err
                assert again.status == 0 or beside, f"{what}: {again.err}"
                written.unlink()
            first = outcome
            assert sorted(tmp_path.iterdir()) == here, what
            assert broken.read_bytes() == content, what
            result = "refused" if outcome.status else "read"
            if "checksums of HDU" in outcome.err:
                result = "read, checksum wrong"
            outcomes[kind.__name__, verb, result] += 1
        broken.unlink()
    assert sum(outcomes.values()) == 2 * count
    assert {result for *_, result in outcomes} == {"read", "read, checksum wrong", "refused"}
    assert [path.read_bytes() for path in sound] == kept
    if report := os.environ.get("SKYFILL_FUZZ_REPORT"):  # how many of which kind: docs/errors.md
        table = [[*key, n] for key, n in sorted(outcomes.items())]
        Path(report).write_text(json.dumps(table), encoding="utf-8")
