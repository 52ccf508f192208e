"""`skyfill batch --realizations`: many fills of many maps."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable

import skyfill

BLUR = ("--beam-arcmin", "400", "--noise-uk-arcmin", "100")
NAMES = ["a.fits", "b.fits", "c.fits", "d.fits"]


@pytest.fixture
def batch(skyfill_main, sims):
    """Run the verb in a folder that is empty but for maps and mask."""

    def call(*more, out="out"):
        return skyfill_main("batch", "sims/*.fits", "mask.fits", "-o", out, *BLUR, *more, "-q")

    return call


def contents(path):
    return {one.name: one.read_bytes() for one in Path(path).glob("*.fits")}


def lines(path):
    return [json.loads(line) for line in (Path(path) / "manifest.jsonl").read_text().splitlines()]


@pytest.mark.filterwarnings("default")  # b.fits misses a pixel
@pytest.mark.parametrize(
    "options",
    [
        ("--method", "gaussian"),
        pytest.param(("--workers", 2, "--threads", 1), marks=pytest.mark.slow),
    ],
)
def test_several_fills_are_those_of_inpaint(batch, skyfill_main, options):
    options = (*options, "--realizations", 3)
    assert batch(*options).status == 0
    records = lines("out")[1:]
    assert sorted(one["name"] for one in records) == NAMES
    names = [f"{name[0]}_00{k}.fits" for name in NAMES for k in range(3)]
    assert sorted(contents("out")) == names
    assert sorted(out["name"] for one in records for out in one["outputs"]) == names
    more = [word for word in options if word not in ("--workers", 2)]
    for one in records[1:3]:
        words = ("-o", one["name"], "--seed", one["seed"], *BLUR, *more, "-q")
        skyfill_main("inpaint", one["input"], "mask.fits", *words)
        for out in one["outputs"]:
            values = [skyfill.read_map(Path(where) / out["name"]).values for where in (".", "out")]
            assert np.array_equal(*values)
    table = QTable.read("out/summary.ecsv", format="ascii.ecsv")
    each = np.array([[out["cl"] for out in one["outputs"]] for one in records])
    flat = each.reshape(12, -1)
    found = [table[name].to_value("uK2") for name in ("cl", "scatter", "fill_scatter")]
    within = np.sqrt(np.mean([np.var(fills, axis=0, ddof=1) for fills in each], axis=0))
    for value, wanted in zip(found, (flat.mean(0), flat.std(0, ddof=1), within), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9)
    assert (table.meta["maps"], table.meta["realizations"]) == (4, 3)


@pytest.mark.filterwarnings("default")  # b.fits misses a pixel
def test_a_map_is_done_when_all_its_fills_are(batch):
    options = ("--method", "gaussian", "--realizations", 2, "--json")
    assert json.loads(batch(*options).out)["done"] == 4
    before = contents("out")
    Path("out", "c_001.fits").unlink()
    told = json.loads(batch(*options).out)
    assert (told["done"], told["done_before"], len(told["outputs"])) == (4, 3, 8)
    assert [one.get("name") for one in lines("out")[-2:]] == [None, "c.fits"]
    assert contents("out") == before
    alone = ("--method", "gaussian")
    assert "other settings (realizations)" in batch(*alone).err
    Path("out", "d_001.fits").write_text("mine")
    assert batch(*alone, "--overwrite").status == 0
    assert sorted(contents("out")) == [*NAMES[:3], "d.fits", "d_001.fits"]  # no fills of before
    assert "drop --realizations" in batch("--method", "diffuse", "--realizations", 2, out="new").err


def test_manifests_of_old_are_read(batch):
    assert batch("--method", "diffuse").status == 0
    before = lines("out")
    for one in before[1:]:
        (output,) = one.pop("outputs")
        one |= {f"output_{key}": output[key] for key in ("sha256", "stat")} | {"cl": output["cl"]}
    text = "".join(json.dumps(one) + "\n" for one in before)
    Path("out", "manifest.jsonl").write_text(text)
    summary = Path("out", "summary.ecsv").read_bytes()
    assert batch("--method", "diffuse").status == 0
    assert lines("out") == before
    assert Path("out", "summary.ecsv").read_bytes() == summary
