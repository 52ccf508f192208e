"""Files of weights: what is written comes back, and nothing else is believed."""

import hashlib
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from skyfill.vae import DEFAULT, Architecture, ModelCard, TileVAE, load, save, weights

SMALL = Architecture(warm=1, steps=1, channels=(4, 6), gates=(4, 6), bands=6, scales=2)
FOLDER = Path(weights.__file__).parent / "weights"


@pytest.fixture
def network():
    torch.manual_seed(1)
    made = TileVAE(SMALL)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return made


@pytest.fixture
def path(network, tmp_path):
    where = tmp_path / "small.safetensors"
    save(network, where, name="small", training={"steps": 3}, measured={"excess": 0.1})
    return where


def about(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["skyfill"])


def rewrite(path, network, **change):
    """Write a file of the right kind with something else in it, without its card."""
    path.with_suffix(".json").unlink()
    head = about(path) | change
    save_file(network.state_dict(), path, metadata={"skyfill": json.dumps(head)})


def test_round_trip(network, path):
    back, card = load(str(path))
    assert back.arch == SMALL
    assert not back.training
    assert not any(parameter.requires_grad for parameter in back.parameters())
    tile, observed = torch.randn(2, 1, 16, 16), (torch.rand(2, 1, 16, 16) > 0.3).float()
    spectrum = torch.rand(1, 16, 9) + 0.5
    with torch.no_grad():
        assert torch.equal(back(tile, observed, spectrum), network(tile, observed, spectrum))
    assert (card.name, card.training, card.measured) == ("small", {"steps": 3}, {"excess": 0.1})
    assert card.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) == vars(card)


def test_others_may_read_them(path):
    """As far as the user's umask says, like the card."""
    assert path.stat().st_mode == path.with_suffix(".json").stat().st_mode


def test_nothing_is_written_over(network, path):
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"small\.safetensors"):
        save(network, path, name="other", training={}, measured={})
    assert path.read_bytes() == before
    card = save(network, path, name="other", training={}, measured={}, overwrite=True)
    assert load(path)[1] == card
    assert sorted(entry.name for entry in path.parent.iterdir()) == [
        "small.json",
        "small.safetensors",
    ]


def refused(path, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_another_file_than_the_cards(network, path):
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    card["sha256"] = "0" * 64
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    refused(path, "not the file that small.json describes")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '"sha"', "\xff"])
def test_a_card_that_is_none(path, content):
    path.with_suffix(".json").write_bytes(content.encode("latin-1"))
    refused(path, "small.json")


def test_a_flipped_bit_is_noticed(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    refused(path, "not the file that small.json describes")


def test_weights_may_come_without_a_card(path):
    path.with_suffix(".json").unlink()
    assert load(path)[1].name == "small"


def test_a_wrong_shape(network, path):
    network.steps[0].head.weight = torch.nn.Parameter(torch.zeros(3, 3))
    rewrite(path, network)
    refused(
        path, r"tensor steps.0.head.weight has shape \(3, 3\), the network wants \(8, 4, 3, 3\)"
    )


def test_a_tensor_too_many_or_too_few(network, path):
    network.register_buffer("more", torch.zeros(2))
    rewrite(path, network)
    refused(path, r"tensor more has shape \(2,\), the network wants None")
    state = TileVAE(SMALL).state_dict()
    state.pop("mask_path.stem.bias")
    save_file(state, path, metadata={"skyfill": json.dumps(about(path))})
    refused(path, r"tensor mask_path.stem.bias has shape None, the network wants \(4,\)")


def test_another_architecture(network, path):
    rewrite(path, network, architecture=SMALL.as_dict() | {"channels": [8, 6]})
    refused(path, "the network wants")


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": SMALL.as_dict() | {"depth": 3}},
        {"architecture": SMALL.as_dict() | {"channels": "wide"}},
        {"architecture": SMALL.as_dict() | {"channels": []}},
        {"architecture": None},
        {"architecture": 7},
        {"training": None, "name": None, "architecture": {"warm": "x", "steps": "y"}},
    ],
)
def test_an_architecture_that_is_none(network, path, change):
    rewrite(path, network, **change)
    refused(path, "architecture")


@pytest.mark.parametrize("missing", ["architecture", "name", "training", "measured"])
def test_missing_facts(network, path, missing):
    path.with_suffix(".json").unlink()
    head = about(path)
    head.pop(missing)
    save_file(network.state_dict(), path, metadata={"skyfill": json.dumps(head)})
    refused(path, missing)


def test_another_format(network, path):
    rewrite(path, network, format=2)
    refused(path, "format 2, this skyfill reads 1")


@pytest.mark.parametrize("size", [0, 5, 300, -4])
def test_a_truncated_file(path, size):
    path.write_bytes(path.read_bytes()[:size])
    refused(path, "no skyfill weights")


class Harm:
    """What a pickle could do."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "harm.safetensors"
    path.write_bytes(pickle.dumps(Harm()))
    refused(path, "no skyfill weights")
    torch.save({"state": torch.zeros(3)}, path)
    refused(path, "no skyfill weights")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"skyfill": "{"}, {"skyfill": "[]"}])
def test_foreign_safetensors(tmp_path, metadata):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    refused(path, "no skyfill weights|format None")


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors: no such file"):
        load(tmp_path / "none.safetensors")


def test_the_shipped_weights():
    network, card = load()
    shipped = FOLDER / f"{DEFAULT}.safetensors"
    assert shipped.stat().st_size < 15 * 2**20
    assert card.name == DEFAULT
    beside = json.loads(shipped.with_suffix(".json").read_text(encoding="utf-8"))
    assert beside["sha256"] == hashlib.sha256(shipped.read_bytes()).hexdigest() == card.sha256
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


ARCMIN = np.pi / 180 / 60


def card_of(**training):
    ranges = {"nside": [256, 4096], "beam": [0.7, 10.0], "noise_uk_arcmin": [1.0, 100.0]}
    return ModelCard("small", "", ranges | training, {})


def test_a_map_like_those_of_training_is_inside():
    for nside in (256, 2048, 4096):
        pixel = np.sqrt(np.pi / 3) / nside
        for beam in (0.71, 9.9):
            for noise in (0.0, 50.0):
                told = card_of().outside(nside=nside, fwhm=beam * pixel, noise_uk_arcmin=noise)
                assert told is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nside": 8192, "fwhm": 1 * ARCMIN}, r"Nside 8192 \(trained on 256 to 4096\)"),
        ({"nside": 128, "fwhm": 90 * ARCMIN}, r"Nside 128 \(trained on"),
        ({"fwhm": 60 * ARCMIN}, r"a beam of 35 pixels \(trained on 0.7 to 10\)"),
        ({"fwhm": 0.0}, "a beam of 0 pixels"),
        ({"noise_uk_arcmin": 101.0}, r"noise of 101 µK·arcmin \(trained up to 100\)"),
        ({"fwhm": 0.0, "noise_uk_arcmin": 200.0}, "pixels .* and noise"),
    ],
)
def test_another_map_is_outside(change, said):
    usual = {"nside": 2048, "fwhm": 5 * ARCMIN, "noise_uk_arcmin": 30.0}
    told = card_of().outside(**usual | change)
    assert re.search(said, told)
    assert told.startswith("small was not trained for ")
    assert told.endswith("pass `method='gaussian'`, or train weights with skyfill train")
    assert "\n" not in told
    assert card_of().outside(**usual) is None


def test_noise_may_grow_with_the_pixels():
    at = {"nside": 256, "fwhm": 40 * ARCMIN}
    assert card_of().outside(**at, noise_uk_arcmin=799.0) is None
    assert "up to 800" in card_of().outside(**at, noise_uk_arcmin=801.0)


def test_the_shipped_card_knows_its_limits():
    _, card = load()
    assert card.outside(nside=2048, fwhm=5 * ARCMIN, noise_uk_arcmin=30.0) is None
    assert "Nside 8192" in card.outside(nside=8192, fwhm=1 * ARCMIN, noise_uk_arcmin=5.0)


def test_own_tiles_have_no_limits():
    card = ModelCard("own", "", {"steps": 3}, {})
    assert card.outside(nside=8192, fwhm=0.0, noise_uk_arcmin=1e9) is None


def test_an_architecture_beyond_all_memory(network, path):
    """It is refused before anything of its size is made."""
    rewrite(path, network, architecture=SMALL.as_dict() | {"channels": [30_000, 30_000]})
    refused(path, "the network wants")
