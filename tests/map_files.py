"""Map files for tests, and their bytes as astropy finds them."""

import gzip
import os
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
from astropy.io import fits

import skyfill
from skyfill.maps import SkyMap

NSIDE = 16
NPIX = 12 * NSIDE**2
REAL = os.environ.get("SKYFILL_REAL_DATA", "")
DTYPES = {"E": ">f4", "D": ">f8", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8"}


def planck_like(
    path: Path,
    *,
    form: str = "E",
    nest: bool = False,
    layout: str = "rows",
    scaled: bool = False,
    seed: int = 0,
) -> Path:
    """Write a file with four columns of a sky, an odd header and two further HDUs."""
    rng = np.random.default_rng(seed)
    pixels = np.arange(NPIX)
    if layout == "partial":
        pixels = rng.permutation(NPIX)[: NPIX // 3]
    elif layout == "range":
        pixels = pixels[700:1700]
    whole = DTYPES[form][1] in "i1"
    sky = rng.normal(0, 100, pixels.size)
    if whole:
        sky = 1 + np.abs(np.rint(sky)) % 200
    sky[rng.random(pixels.size) < 0.1] = 0 if whole else hp.UNSEEN
    bits = rng.integers(0, 2**32, pixels.size, dtype=np.uint32)  # NaNs of every kind among them
    columns = {
        "PIXEL": ("J", pixels),
        "I_STOKES": (form, sky),
        "Q_STOKES": ("E", bits.view(np.float32)),
        "HITS": ("J", rng.integers(-5, 99, pixels.size)),
        "TMASK": ("B", rng.integers(0, 2, pixels.size)),
    }
    if layout != "partial":
        del columns["PIXEL"]
    repeat = 1024 if layout == "vector" else 1
    cells = {name: values.astype(DTYPES[kind]) for name, (kind, values) in columns.items()}
    cells["Q_STOKES"] = bits.astype(">u4").view(">f4")
    parts = [values.reshape(-1, repeat).view(np.uint8) for values in cells.values()]
    rows = np.concatenate(parts, axis=1)

    header = fits.BinTableHDU().header
    header["NAXIS2"], header["NAXIS1"] = rows.shape
    header["TFIELDS"] = len(columns)
    for i, (name, (kind, _)) in enumerate(columns.items(), 1):
        header[f"TTYPE{i}"] = name
        header[f"TFORM{i}"] = f"{repeat}{kind}"
    n = 1 + list(columns).index("I_STOKES")
    header[f"TUNIT{n}"] = ("mK_CMB", "thermodynamic")
    header[f"TUNIT{n + 1}"] = "mK_CMB"
    header[f"TNULL{n + 2}"] = -5
    if whole:
        header[f"TNULL{n}"] = 0
    if scaled:
        header[f"TSCAL{n}"] = 0.25
        header[f"TZERO{n}"] = -10.0
    header["PIXTYPE"] = "HEALPIX"
    header["ORDERING"] = "NESTED" if nest else "RING"
    header["COORDSYS"] = ("GALACTIC", "spelled out, as Planck does")
    header["NSIDE"] = NSIDE
    header["INDXSCHM"] = "EXPLICIT" if layout == "partial" else "IMPLICIT"
    header["FIRSTPIX"], header["LASTPIX"] = int(pixels[0]), int(pixels[-1])
    header["OBJECT"] = "PARTIAL" if layout in {"partial", "range"} else "FULLSKY"
    header["BAD_DATA"] = -1.63750e30
    header["LONG"] = "a value that goes on and on;" * 6
    header["COMMENT"] = "TUNIT1 stands in this comment"
    header["HISTORY"] = "made for a test"
    header["FREQ"] = (143.0, "GHz")

    primary = fits.PrimaryHDU()
    primary.header["ORIGIN"] = "elsewhere"
    beam = fits.ImageHDU(rng.normal(size=(3, 5)), name="BEAM")
    content = b"".join(
        [
            primary.header.tostring().encode(),
            header.tostring().encode(),
            rows.tobytes().ljust(-(-rows.size // 2880) * 2880, b"\0"),
            beam.header.tostring().encode(),
            beam.data.astype(">f8").tobytes().ljust(2880, b"\0"),
        ]
    )
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def raw(path: Path, column: str) -> np.ndarray[Any, Any]:
    """Read the bytes of a column, (pixels, bytes of one), from where astropy says they are."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    with fits.open(path) as file:
        hdu = file[1]
        start, length, count = hdu.fileinfo()["datLoc"], hdu.header["NAXIS1"], hdu.header["NAXIS2"]
        rows = np.frombuffer(content[start : start + length * count], np.uint8)
        offset, dtype = hdu.columns.dtype.fields[column][1], hdu.columns.dtype[column]
    cells = rows.reshape(count, length)[:, offset : offset + dtype.itemsize]
    return np.ascontiguousarray(cells).reshape(-1, dtype.base.itemsize)


def cards(path: Path, hdu: int = 1) -> list[str]:
    with fits.open(path) as file:
        return [str(card) for card in file[hdu].header.cards]


def fill_of(sky: SkyMap, seed: int = 1) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Give a fill that the file's type can hold, and holes: what is missing and some more."""
    rng = np.random.default_rng(seed)
    holes = np.isnan(sky.values) | (rng.random(sky.values.size) < 0.2)
    fill = rng.uniform(20, 90, sky.values.size) * sky.unit_to_uk
    fill[~holes] = np.nan  # never looked at
    return fill, holes


def in_file_order(values: np.ndarray[Any, Any], *, nest: bool) -> np.ndarray[Any, Any]:
    return values[hp.nest2ring(NSIDE, np.arange(NPIX))] if nest else values


def names(folder: Path) -> list[str]:
    """List what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def sims_and_mask(path, sims, nside):
    """Write the mask, and maps into ``sims``; ``b.fits`` misses a pixel that the mask has."""
    (path / "sims").mkdir()
    observed = skyfill.simulate_mask(nside, seed=3, half_width=0.15, n_holes=10, radii=(0.05, 0.12))
    for seed, name in enumerate(sims):
        sky = skyfill.simulate_sky(nside, seed=seed, fwhm=np.radians(400 / 60), noise_uk_arcmin=100)
        if name == "b.fits":
            sky[np.flatnonzero(observed)[5]] = np.nan
        skyfill.write_map(path / "sims" / name, sky, dtype="float64")
    skyfill.write_map(path / "mask.fits", observed, column="MASK", unit="", dtype="uint8")
