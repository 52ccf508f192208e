"""What can go wrong with files: one line that names the file, status 2, and nothing changed."""

import gzip
import json
import pickle
import resource
import shutil
import sys

import numpy as np
import pytest
from astropy.io import fits
from broken_files import BLOCK, bomb, sky_and_mask, with_cards
from map_files import names

import skyfill

DIFFUSE = ("--method", "diffuse", "-q")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with a map and its mask."""
    folder = tmp_path_factory.mktemp("sound")
    sky_and_mask(folder)
    return folder


@pytest.fixture
def folder(sound, tmp_path, monkeypatch):
    """The same files in a folder of the test's own, to work in."""
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(skyfill_main, folder):
    """Check that a command ends in one line, and that no file of the folder has changed."""

    def check(*words, why, name):
        before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        outcome = skyfill_main(*words)
        assert (outcome.status, outcome.out) == (2, ""), outcome
        assert outcome.err.startswith("skyfill: error: ")
        assert outcome.err.count("\n") == 1
        assert name in outcome.err
        assert why in outcome.err
        after = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        assert after == before

    return check


BROKEN = {  # cards of the map's table -> what is said
    "a row of all memory": ({"NAXIS1": "999999999999"}, "truncated FITS file"),
    "rows without end": ({"NAXIS2": "99999999999999999999999"}, "truncated FITS file"),
    "negative rows": ({"NAXIS2": "-4"}, "has NAXIS2 = -4"),
    "too few rows": ({"NAXIS2": "2"}, "column 'TEMPERATURE' has 2048 pixels, Nside 16 has 3072"),
    "axes without end": ({"NAXIS": "999999999"}, "has NAXIS = 999999999"),
    "columns without end": ({"TFIELDS": "999999999"}, "has TFIELDS = 999999999"),
    "no columns": ({"TFIELDS": "0"}, "take 0 bytes, NAXIS1 says 4096"),
    "an absurd format": ({"TFORM1": "'9999999999E'"}, "take 39999999996 bytes, NAXIS1 says 4096"),
    "no format": ({"TFORM1": "'?'"}, "TFORM1 = '?' is not a FITS column format"),
    "a negative heap": ({"PCOUNT": "-1"}, "has PCOUNT = -1"),
    "a heap that is not there": ({"PCOUNT": "1000000"}, "truncated FITS file"),
    "other words": ({"BITPIX": "1"}, "must have NAXIS = 2 and BITPIX = 8"),
    "negative Nside": ({"NSIDE": "-16"}, "Nside must be a power of two from 1 to 8192, got -16"),
    "Nside 12 in NESTED": (
        {"NSIDE": "12", "ORDERING": "'NESTED'"},
        "Nside must be a power of two from 1 to 8192, got 12",
    ),
    "no Nside": ({"NSIDE": "'high'"}, "has NSIDE = high"),
    "an infinite Nside": ({"NSIDE": "1E300"}, "has NSIDE = 1e+300"),
    "no order": ({"ORDERING": "'SPIRAL'"}, "no ORDERING keyword that says RING or NESTED"),
    "a foreign unit": ({"TUNIT1": "'Jy'"}, "is in Jy (TUNIT1), not a CMB temperature"),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("zipped", [False, True])
def test_headers_that_lie(refused, folder, case, zipped):
    values, why = BROKEN[case]
    content = (folder / "map.fits").read_bytes()
    content = content[:BLOCK] + with_cards(content[BLOCK:], **values)
    name = "broken.fits.gz" if zipped else "broken.fits"
    (folder / name).write_bytes(gzip.compress(content) if zipped else content)
    refused("inpaint", name, "mask.fits", "-o", "out.fits", *DIFFUSE, why=why, name=name)


@pytest.mark.parametrize("at", [0, 1000, BLOCK + 100, 2 * BLOCK, 3 * BLOCK, -3000, -1])
def test_files_that_end_early(refused, folder, at):
    content = (folder / "map.fits").read_bytes()
    (folder / "cut.fits").write_bytes(content[:at])
    if at == -1:  # of the padding; the standard wants it, no number needs it
        skyfill.read_map("cut.fits")
        return
    words = ("inpaint", "cut.fits", "mask.fits", "-o", "out.fits", *DIFFUSE)
    refused(*words, why="empty" if at == 0 else "truncated FITS file", name="cut.fits")


def test_what_follows_the_map_must_be_whole_too(refused, folder):
    """It is copied, and nobody could read the copy."""
    with fits.open("map.fits") as file:
        file.append(fits.ImageHDU(np.ones((50, 50))))
        file.writeto("more.fits")
    content = (folder / "more.fits").read_bytes()
    for name, data in (("cut.fits", content), ("cut.fits.gz", content)):
        cut = data[:-4000]
        (folder / name).write_bytes(gzip.compress(cut) if name.endswith("gz") else cut)
        words = ("inpaint", name, "mask.fits", "-o", "out.fits", *DIFFUSE)
        refused(*words, why="truncated FITS file", name=name)


def test_a_gzip_file_that_does_not_add_up(refused, folder):
    packed = bytearray(gzip.compress((folder / "map.fits").read_bytes()))
    packed[-6] ^= 1  # of the checksum at its end
    (folder / "map.fits.gz").write_bytes(packed)
    words = ("inpaint", "map.fits.gz", "mask.fits", "-o", "out.fits", *DIFFUSE)
    refused(*words, why="damaged or truncated gzip file; fetch it again", name="map.fits.gz")


def test_gzip_bombs(refused, folder):
    """Tens of GB are refused by what the header says, a header without end by its length."""
    content = (folder / "map.fits").read_bytes()
    ends = [at for at in range(0, len(content), 80) if content[at : at + 80].rstrip() == b"END"]
    head = content[: -(-ends[1] // BLOCK) * BLOCK]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    huge = with_cards(head[:BLOCK] + b"", NAXIS="1").replace(
        b"EXTEND  =                    T", b"NAXIS1  =          30000000000"
    )
    bomb(folder / "image.fits.gz", huge, 30 << 30)
    table = head[:BLOCK] + with_cards(head[BLOCK:], NAXIS2="7000000")
    bomb(folder / "table.fits.gz", table, 30 << 30)
    bomb(folder / "header.fits.gz", head[:BLOCK] + head[BLOCK : BLOCK + 160], 1 << 30)
    for name in ("image", "table"):
        words = (f"{name}.fits.gz", "mask.fits", "-o", "out.fits", *DIFFUSE)
        refused("inpaint", *words, why="expand it with gunzip first", name=name)
        refused("info", f"{name}.fits.gz", why="expand it with gunzip first", name=name)
    words = ("header.fits.gz", "mask.fits", "-o", "out.fits", *DIFFUSE)
    refused("inpaint", *words, why="no END in its first 65536 cards", name="header.fits.gz")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 200 << 20


@pytest.mark.slow
def test_a_gzip_bomb_behind_a_sound_map(refused, folder):
    path = bomb(folder / "tail.fits.gz", (folder / "map.fits").read_bytes(), 30 << 30)
    words = (path.name, "mask.fits", "-o", "out.fits", *DIFFUSE)
    refused("inpaint", *words, why="expand it with gunzip first", name="tail.fits.gz")


def test_letters_that_no_header_may_hold(skyfill_main, folder):
    """They are kept, and shown as far as they can be."""
    content = (folder / "map.fits").read_bytes()
    odd = content.replace(b"COORDSYS= 'G       '", "COORDSYS= 'Ḡµ\x00\x07'".encode()[:20].ljust(20))
    assert odd != content
    odd = odd.replace(b"OBJECT  = 'FULLSKY '", b"(*[\xff\x00   = 'FULLSKY '"[:21])
    (folder / "odd.fits").write_bytes(odd)
    for more in ((), ("--json",)):
        outcome = skyfill_main("info", "odd.fits", *more)
        assert outcome.status == 2  # the checksums
        assert outcome.err.count("\n") == 1
    words = ("inpaint", "odd.fits", "mask.fits", "-o", "out.fits", *DIFFUSE)
    assert skyfill_main(*words).status == 0
    assert b"(*[\xff\x00   = 'FULLSKY '" in (folder / "out.fits").read_bytes()


def test_masks_that_say_nothing(refused, folder):
    npix = 12 * 16**2
    for name, values, why in (
        ("nan.fits", np.full(npix, np.nan), "the mask leaves no pixel observed"),
        ("zero.fits", np.zeros(npix), "the mask leaves no pixel observed"),
        ("one.fits", np.ones(npix), "the mask has no hole and the map misses nothing"),
        ("half.fits", np.full(npix, 0.5), "pass --threshold X"),
        ("small.fits", np.arange(12.0) > 3, "map.fits has Nside 16, small.fits has Nside 1"),
    ):
        skyfill.write_map(name, values, unit="")
        refused("inpaint", "map.fits", name, "-o", "out.fits", *DIFFUSE, why=why, name=name)


@pytest.mark.filterwarnings("ignore:the prior may not describe")
def test_a_map_of_one_value(refused, skyfill_main, folder):
    """It has no power to continue, but a mean it has."""
    skyfill.write_map("flat.fits", np.full(12 * 16**2, 2.5))
    for method in ("vae", "gaussian"):
        words = ("flat.fits", "mask.fits", "-o", "out.fits", "--method", method, "-q")
        refused("inpaint", *words, why="the observed sky is constant", name="flat.fits")
        given = ("--beam-arcmin", 600, "--noise-uk-arcmin", 100, "--mean", "--overwrite")
        given = (*given, "--trust-prior")
        assert skyfill_main("inpaint", *words, *given).status == 0
        np.testing.assert_allclose(skyfill.read_map("out.fits").values, 2.5, atol=1e-3)
        (folder / "out.fits").unlink()
    words = ("flat.fits", "mask.fits", "-o", "out.fits", *DIFFUSE)
    assert skyfill_main("inpaint", *words).status == 0
    np.testing.assert_allclose(skyfill.read_map("out.fits").values, 2.5)


class Evil:
    def __reduce__(self):
        return open, ("unpickled", "w")


def test_weights_that_are_none(refused, folder):
    (folder / "pickle.safetensors").write_bytes(pickle.dumps(Evil()))
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "long.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    (folder / "deep.safetensors").write_bytes((90_000).to_bytes(8, "little") + b"[" * 90_000)
    (folder / "folder.safetensors").mkdir()
    for name in ("pickle", "empty", "long", "deep", "folder"):
        path = f"{name}.safetensors"
        why = "no such file of weights" if name == "folder" else "give a .safetensors file"
        for method in ("vae", "cosmovae"):
            words = ("map.fits", "mask.fits", "-o", "out.fits", "--method", method, "-q")
            refused("inpaint", *words, "--weights", path, why=why, name=path)
        refused("models", path, why=why, name=path)
    assert not (folder / "unpickled").exists()


def test_weights_of_other_bytes(refused, folder):
    (shipped,) = skyfill.vae.shipped()
    for suffix in (".safetensors", ".json"):
        shutil.copy(shipped.with_suffix(suffix), folder)
    changed = bytearray((folder / shipped.name).read_bytes())
    changed[-100] ^= 4
    (folder / shipped.name).write_bytes(changed)
    words = ("map.fits", "mask.fits", "-o", "out.fits", "-q", "--weights", shipped.name)
    refused("inpaint", *words, why="not the file that", name=shipped.name)


def test_an_output_that_is_the_input(refused, folder):
    """It needs --overwrite, by whatever name."""
    (folder / "link.fits").symlink_to("map.fits")
    (folder / "hard.fits").hardlink_to("map.fits")
    for name in ("map.fits", "./map.fits", "link.fits", "hard.fits"):
        words = ("inpaint", "map.fits", "mask.fits", "-o", name, *DIFFUSE)
        refused(*words, why="exists already; pass --overwrite to replace it", name=name[-8:])
    words = ("inpaint", "map.fits", "mask.fits", "-o", "mask.fits", "--overwrite", *DIFFUSE)
    refused(*words, why="is also an input", name="mask.fits")


def test_the_input_overwritten(skyfill_main, folder):
    sky, observed = skyfill.read_map("map.fits").values, skyfill.read_mask("mask.fits")
    words = ("inpaint", "map.fits", "mask.fits", "-o", "map.fits", "--overwrite", *DIFFUSE)
    assert skyfill_main(*words).status == 0
    after = skyfill.read_map("map.fits").values
    np.testing.assert_array_equal(after[observed], sky[observed])
    assert np.any(after[~observed] != sky[~observed])
    assert names(folder) == ["map.fits", "mask.fits"]


@pytest.mark.parametrize("name", ["map.fits", "mask.fits"])
def test_checksums_are_shown(skyfill_main, folder, name):
    """Every file we write has them, and one changed bit is found."""
    outcome = skyfill_main("info", name)
    assert outcome.status == 0
    assert f"{name}\nchecksums: right\n" in outcome.out
    with fits.open(name, checksum=True) as file:  # astropy warns where they are wrong
        for hdu in file:
            assert hdu.verify_checksum() == hdu.verify_datasum() == 1
    content = bytearray((folder / name).read_bytes())
    content[-BLOCK - 5] ^= 16
    (folder / "bad.fits").write_bytes(content)
    outcome = skyfill_main("info", "bad.fits", "--json")
    assert outcome.status == 2
    assert json.loads(outcome.out)["checksums"] == "WRONG in HDU 1"
    assert outcome.err == (
        "skyfill: error: bad.fits: the checksums of HDU 1 are wrong: the file has changed since it"
        " was written; fetch it again\n"
    )
    zipped = gzip.compress(content)
    (folder / "bad.fits.gz").write_bytes(zipped)
    assert skyfill_main("info", "bad.fits.gz").status == 2


def test_files_without_checksums(skyfill_main, folder):
    with fits.open("map.fits") as file:
        for hdu in file:
            for key in ("CHECKSUM", "DATASUM"):
                hdu.header.remove(key, ignore_missing=True)
        file.writeto("bare.fits")
    outcome = skyfill_main("info", "bare.fits", "--json")
    assert (outcome.status, json.loads(outcome.out)["checksums"]) == (0, "none")


def test_filled_maps_show_their_provenance(skyfill_main, folder):
    words = ("inpaint", "map.fits", "mask.fits", "-o", "out.fits", "--mean", "-q")
    given = ("--beam-arcmin", 1031, "--noise-uk-arcmin", 100, "--std", "std.fits")
    assert skyfill_main(*words, *given).status == 0
    for name in ("out.fits", "std.fits"):
        outcome = skyfill_main("info", name)
        assert outcome.status == 0
        for word in ("checksums: right", "SFMETHOD", "SFBEAM", "skyfill inpaint map.fits"):
            assert word in outcome.out
