"""`skyfill models`: what it lists, and that it believes no file."""

import json
import shutil

import pytest

from skyfill import vae


@pytest.fixture
def copied(tmp_path):
    """The shipped weights and their card, in another place."""
    (path,) = vae.shipped()
    for suffix in (".safetensors", ".json"):
        shutil.copy(path.with_suffix(suffix), tmp_path)
    return tmp_path / path.name


def test_the_shipped_models_are_listed(skyfill_main):
    outcome = skyfill_main("models")
    assert outcome.status == 0
    (path,) = vae.shipped()
    _, card = vae.load(path)
    assert outcome.out.startswith(f"{vae.DEFAULT}\n")
    assert f"{path}, {path.stat().st_size} bytes" in outcome.out
    assert f"{card.sha256}, agrees with its card" in outcome.out
    assert f"excess: {card.measured['excess']:.4g}" in outcome.out
    model, published = json.loads(skyfill_main("models", "--json").out)["models"]
    assert published["name"] == "cosmovae-1"
    assert (model["name"], model["sha256"]) == (card.name, card.sha256)
    assert model["training"] == card.training


def test_errors_by_kind_are_a_line_each(skyfill_main, tmp_path):
    network, _ = vae.load()
    path = tmp_path / "kinds.safetensors"
    measured = {"excess": 0.0123456, "by_mask": {"discs": {"floor": 0.5, "excess": 0.001}}}
    training = {"rate": 0.0015, "nside": [256, 4096], "architecture": {"warm": 8, "linear": True}}
    vae.save(network, path, name="kinds", training=training, measured=measured)
    lines = skyfill_main("models", path).out.splitlines()
    assert "  measured  excess: 0.01235" in lines
    assert "  measured  by_mask discs: floor 0.5, excess 0.001" in lines
    assert "  trained   architecture: warm 8, linear True" in lines
    assert "  trained   rate: 0.0015" in lines


def test_a_file_without_a_card_is_not_called_verified(skyfill_main, copied):
    copied.with_suffix(".json").unlink()
    assert "no card to compare with" in skyfill_main("models", copied).out


def test_a_changed_file_is_found_out(skyfill_main, copied):
    changed = bytearray(copied.read_bytes())
    changed[-1] ^= 1
    copied.write_bytes(changed)
    outcome = skyfill_main("models", copied)
    assert (outcome.status, outcome.out) == (2, "")
    assert f"{copied}: not the file that {copied.stem}.json describes" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_file_that_is_not_there(skyfill_main, tmp_path):
    outcome = skyfill_main("models", tmp_path / "none.safetensors")
    assert outcome.status == 2
    assert "none.safetensors: no such file" in outcome.err
