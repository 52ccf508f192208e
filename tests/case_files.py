"""Small inputs of kinds that turn up in public bug reports and in archives, and what is right."""

from pathlib import Path

import healpy as hp
import numpy as np
from astropy.io import fits
from astropy.table import Table

import skyfill

NSIDE = 32
NPIX = 12 * NSIDE**2
Column = fits.Column


def sky(nside, seed=3, fwhm_deg=2.0, noise=5.0):
    """Draw a sky of ΛCDM."""
    cl = skyfill.lcdm(3 * nside - 1)
    np.random.seed(seed)  # noqa: NPY002 - healpy knows no other
    signal = hp.synfast(cl, nside, fwhm=np.radians(fwhm_deg))
    return signal + np.random.default_rng(seed).normal(0, noise, signal.size)


def holes(nside, seed=5, cut=8, n=20, radius=3.0):
    """Mask a band and discs: 1 where observed."""
    rng = np.random.default_rng(seed)
    mask = np.ones(12 * nside**2)
    theta = hp.pix2ang(nside, np.arange(mask.size))[0]
    mask[np.abs(90 - np.degrees(theta)) < cut] = 0
    for _ in range(n):
        v = rng.normal(size=3)
        mask[hp.query_disc(nside, v / np.linalg.norm(v), np.radians(radius))] = 0
    return mask


def full(**more):
    cards = {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE, "FIRSTPIX": 0}
    return cards | {"LASTPIX": NPIX - 1, "INDXSCHM": "IMPLICIT"} | more


def table(path, columns, cards, primary=None):
    hdu = fits.BinTableHDU.from_columns(columns)
    for key, value in cards.items():
        hdu.header[key] = value
    first = fits.PrimaryHDU()
    for key, value in (primary or {}).items():
        first.header[key] = value
    fits.HDUList([first, hdu]).writeto(path, overwrite=True)


def temperature(values, unit="uK_CMB", name="T"):
    return Column(name=name, format="E", unit=unit, array=values)


SKY, MASK = sky(NSIDE), holes(NSIDE)
SIGMA = np.where(np.arange(NPIX) < NPIX // 2, 60.0, 30.0)
ELL = np.arange(2, 200)
DL = skyfill.lcdm(199)[2:] * ELL * (ELL + 1) / (2 * np.pi)
CL = DL * 2 * np.pi / ELL / (ELL + 1)


def write_frames(folder: Path):
    rng = np.random.default_rng(2)
    for frame in ("EQUATORIAL", "ICRS", "C", "G"):
        path = folder / f"frame_{frame.lower()}.fits"
        table(path, [temperature(SKY)], full(COORDSYS=frame))
    mask = Column("MASK", "B", array=MASK.astype("u1"))
    table(folder / "map.fits", [temperature(SKY)], full(COORDSYS="G"))
    table(folder / "mask.fits", [mask], full(COORDSYS="G"))
    table(folder / "mask_c.fits", [mask], full(COORDSYS="C"))
    table(folder / "ones.fits", [Column("M", "B", array=np.ones(NPIX, "u1"))], full())
    ra = rng.uniform(0, 360, 30)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, 30)))
    mag = rng.uniform(17, 24, 30)
    Table({"RA": ra, "DEC": dec}).write(folder / "sources.csv")
    magnitudes = {"ra": ra, "dec": dec, "g": mag + 0.5, "r": mag, "i": mag - 0.3}
    Table(magnitudes).write(folder / "magnitudes_gri.csv")
    degrees = [Column(name, "D", unit="degrees", array=x) for name, x in (("RA", ra), ("DEC", dec))]
    fits.BinTableHDU.from_columns(degrees).writeto(folder / "unit_degrees.fits")
    rows = "".join(f"{a:9.5f}\t{d:9.5f}\t{m:.2f}\n" for a, d, m in zip(ra, dec, mag, strict=True))
    head = "#\n#Column\n\nRAJ2000\tDEJ2000\tS\ndeg\tdeg\tmJy\n--------\t--------\t----\n"
    (folder / "vizier.tsv").write_text(head + rows, encoding="utf-8")


def write_layouts(folder: Path):
    order = np.random.default_rng(4).permutation(NPIX)
    explicit = {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE, "INDXSCHM": "EXPLICIT"}
    listed = [temperature(SKY[order], name="SIGNAL"), Column("PIXEL", "J", array=order)]
    table(folder / "pixel_second.fits", listed, explicit)
    nested = [temperature(hp.reorder(SKY, r2n=True))]
    without = {key: value for key, value in full().items() if key != "ORDERING"}
    table(folder / "ordering_in_primary.fits", nested, without, {"ORDERING": "NESTED"})
    wmap = [
        Column("TEMPERATURE", "E", array=np.zeros(NPIX)),
        Column("N_OBS", "E", array=hp.reorder(MASK, r2n=True)),
    ]
    table(folder / "wmap_like_mask.fits", wmap, full(ORDERING="NESTED"))
    cells = np.r_[4 * 4**5 + np.arange(0, 6144), 4 * 4**4 + np.arange(1536, 3072)]
    columns = [Column("UNIQ", "K", array=cells), temperature(np.ones(cells.size))]
    cards = {"PIXTYPE": "HEALPIX", "ORDERING": "NUNIQ", "INDXSCHM": "EXPLICIT", "MOCORDER": 5}
    table(folder / "multiorder.fits", columns, cards)
    soft = np.clip(hp.smoothing(MASK, fwhm=np.radians(6)), 0, 1)
    soft[MASK == 0] = 0
    table(folder / "apodised.fits", [Column("W", "D", array=soft)], full(COORDSYS="G"))
    rounded = np.where(MASK == 1, 1.0000016666803668, -7.49e-15)
    table(folder / "apodised_rounding.fits", [Column("W", "D", array=rounded)], full(COORDSYS="G"))


def write_numbers(folder: Path):
    noisy = SKY + np.random.default_rng(6).normal(size=NPIX) * SIGMA
    table(folder / "noisy_mK_nounit.fits", [Column("T", "E", array=noisy * 1e-3)], full())
    table(folder / "noisy_uK.fits", [temperature(noisy)], full())
    table(folder / "sigma_uK.fits", [temperature(SIGMA, name="SIGMA")], full())
    one = np.ones(NPIX)
    one[hp.query_disc(NSIDE, hp.ang2vec(1.0, 1.0), 0.1)] = 0
    table(folder / "one_hole.fits", [Column("MASK", "E", array=one)], full())
    for name, value in (("unseen_times_1e6", hp.UNSEEN * 1e6), ("minus_32768", -32768.0)):
        lost = np.where(MASK == 0, value, SKY)
        table(folder / f"{name}.fits", [temperature(lost)], full(SKYCOORD="Galactic"))


def write_theories(folder: Path):
    np.savetxt(folder / "dl_camb.txt", np.c_[ELL, DL, DL * 0.01], header="L TT EE")
    words = "dimensionless total [l(l+1)/2pi] C_l's"
    np.savetxt(folder / "dl_class.dat", np.c_[ELL, DL / 2.7255e6**2], header=words)
    np.savetxt(folder / "cl.txt", np.c_[ELL, CL])
    rows = [f"{ell},{0.01 * cl},{cl}" for ell, cl in zip(ELL, CL, strict=True)]
    (folder / "named.csv").write_text("\n".join(["ell,ee,tt", *rows]) + "\n", encoding="utf-8")
    x = np.arange(96.0)
    steep = np.zeros(96)
    steep[1:] = x[1:] ** -2.6 * 1e12
    np.random.seed(8)  # noqa: NPY002
    synchrotron = hp.synfast(steep, NSIDE, fwhm=np.radians(3)) + 2e7
    table(folder / "synchrotron.fits", [temperature(synchrotron, unit="uK")], full())
    flat = np.zeros(96)
    flat[2:] = 1e-7 * (x[2:] / 50) ** -0.3
    np.random.seed(9)  # noqa: NPY002
    table(folder / "kappa.fits", [temperature(hp.synfast(flat, NSIDE), unit=None)], full())
    np.savetxt(folder / "kappa_cl.txt", np.c_[x, flat])


def write_patch(folder: Path):
    nside = 64
    values = sky(nside, fwhm_deg=1.0)
    seen = np.zeros(values.size)
    seen[hp.query_disc(nside, hp.ang2vec(1.2, 2.0), np.radians(26))] = 1
    words = {"partial": True, "coord": "C", "column_units": "uK_CMB", "dtype": np.float32}
    hp.write_map(folder / "patch.fits", np.where(seen == 1, values, hp.UNSEEN), **words)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            centre = hp.ang2vec(1.2 + 0.1 * i, 2.0 + 0.12 * j)
            seen[hp.query_disc(nside, centre, np.radians(1.5))] = 0
    hp.write_map(folder / "patch_mask.fits", seen.astype(np.uint8), dtype=np.uint8, coord="C")


def write_cases(folder: Path):
    """Write all of them."""
    for write in (write_frames, write_layouts, write_numbers, write_theories, write_patch):
        write(folder)
