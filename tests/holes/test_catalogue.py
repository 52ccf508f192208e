"""Lists of sources in every format that people have them in."""

import bz2
import gzip
import io
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from skyfill.holes import galactic_cut, read_catalogue, read_sources

RADIUS = math.radians(1.0)
RA, DEC = [188.73625, 15.5125], [-5.391111, 4.085]


def degrees(path: Path, *args: Any, **options: Any) -> np.ndarray[Any, Any]:
    return np.degrees(read_catalogue(path, *args, **options))


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_text_catalogues(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("# lon lat radius\n10 20 30\n40 -50 60\n")
    assert np.allclose(degrees(path), [[10, 40], [20, -50], [0.5, 1]])
    path.write_text("lon,lat\n10,20\n40,-50\n")
    assert np.allclose(degrees(path, 0.1), [[10, 40], [20, -50], np.degrees([0.1, 0.1])])
    path.write_text("10 20 30\n")
    assert np.allclose(degrees(path), [[10], [20], [0.5]])


@pytest.mark.parametrize("end", ["ecsv", "fits", "fits.gz", "vot"])
def test_table_catalogues(tmp_path: Path, end: str) -> None:
    table = Table({"RA": [10.0, 40.0], "DEC": [20.0, -50.0], "Radius": [0.5, 2.0]})
    for name, unit in {"RA": "deg", "DEC": "deg", "Radius": "deg"}.items():
        table[name].unit = unit
    kind = {"vot": "votable", "ecsv": "ascii.ecsv"}.get(end, "fits")
    table.write(tmp_path / f"a.{end}", format=kind)
    path = tmp_path / f"a.{end}"
    assert np.allclose(degrees(path, coord="C"), [[10, 40], [20, -50], [0.5, 2]])
    sky = SkyCoord([10, 40], [20, -50], unit="deg").galactic
    assert np.allclose(degrees(path), [sky.l.deg, sky.b.deg, [0.5, 2]])


MACHINE_READABLE = """Title: Sources
Authors: Nobody
Table: 1
================================================================================
Byte-by-byte Description of file: table.dat
--------------------------------------------------------------------------------
 Bytes Format Units  Label    Explanations
--------------------------------------------------------------------------------
 1- 2  I2     h      RAh      Hour
 4- 5  I2     min    RAm      Minute
 7-11  F5.2   s      RAs      Second
13     A1     ---    DE-      Sign
14-15  I2     deg    DEd      Degree
17-18  I2     arcmin DEm      Minute
20-23  F4.1   arcsec DEs      Second
--------------------------------------------------------------------------------
12 34 56.70 -05 23 28.0
01 02 03.00 +04 05 06.0
"""
VIZIER = """#RESOURCE=yCat_2246
#Column\t_RAJ2000\t(F10.6)\tRight ascension (FK5, Equinox=J2000.0)\t[ucd=pos.eq.ra]
#Column\tJmag\t(F6.3)\tJ magnitude\t[ucd=phot.mag]

_RAJ2000\t_DEJ2000\tRAJ2000\tJmag
deg\tdeg\t"h:m:s"\tmag
----------\t----------\t---------\t------
188.73625\t-5.391111\t12 34 56.7\t 9.453
 15.51250\t 4.085000\t01 02 03.0\t \

"""
WORDS = "ra{0}dec\n12:34:56.7{0}-05:23:28\n1:2:3{0}+4:5:6\n"
SOURCES = {
    "vizier.tsv": VIZIER,
    "vizier_hms.tsv": (
        '#\nRAJ2000\tDEJ2000\n"h:m:s"\t"d:m:s"\n----\t----\n12 34 56.7\t-05 23 28\n'
        "01 02 03\t+04 05 06\n"
    ),
    "vizier.csv": "#\n\nRAJ2000;DEJ2000;S\ndeg;deg;mJy\n---;---;--\n"
    "188.73625;-5.391111;3\n15.5125;4.085; \n",
    "colons.txt": WORDS.format(" "),
    "colons.csv": WORDS.format(","),
    "spaces.csv": "name,ra,dec\nA 1,12 34 56.7,-05 23 28\nB 2,1 2 3,+4 5 6\n",
    "letters.csv": "ra,dec\n12h34m56.7s,-05d23m28s\n1h2m3s,4d5m6s\n",
    "quoted.txt": 'name ra dec\nA "12 34 56.7" "-05 23 28"\nB "1 2 3" "+4 5 6"\n',
    "hours.csv": "RA [hours],Dec [deg]\n12.582416667,-5.391111\n1.034166667,4.085\n",
    "names.txt": "# from nowhere, with thanks\n#ra,dec\n188.73625,-5.391111\n15.5125,4.085\n",
    "radians.csv": "ra_rad,dec_rad\n3.2940689,-0.09409264\n0.27074420,0.07129670\n",
    "units.txt": "ra dec\nDEGREES Radians\n188.73625 -0.09409264\n15.5125 0.07129670\n",
    "machine.mrt": MACHINE_READABLE,
    "bars.txt": "| ra | dec |\n|188.73625|-5.391111|\n|15.5125|4.085|\n",
    "ipac.tbl": "|ra        |dec       |\n|double    |double    |\n|deg       |deg       |\n"
    " 188.73625  -5.391111 \n 15.5125    4.085     \n",
    "sextractor.cat": "#   1 NUMBER Running number\n#   2 ALPHA_J2000 RA [deg]\n"
    "#   3 DELTA_J2000 Dec [deg]\n 1 188.73625 -5.391111\n 2 15.5125 4.085\n",
    "ds9.reg": "# Region file format: DS9 version 4.1\nglobal color=green\nfk5\n"
    "circle(12:34:56.7,-05:23:28,60') # text={a}\ncircle(15.5125,4.085,1d)\n",
    "latin1.csv": "# café\nra,dec\n188.73625,-5.391111\n15.5125,4.085\n".encode("latin-1"),
    "windows.csv": "ra,dec\r\n188.73625,-5.391111\r\n15.5125,4.085\r\n".encode("utf-8-sig"),
    "brackets.csv": "RA (J2000),Dec (J2000)\n188.73625,-5.391111\n15.5125,4.085\n",
    "words.csv": "ra (hh:mm:ss),dec (dd:mm:ss)\n12:34:56.7,\u22125:23:28\n1:2:3,4:5:6\n",
    "comma.csv": 'name,ra,dec\n"A, 1",188.73625,-5.391111\n"B, 2",15.5125,4.085\n',
    "topcat.txt": "+---+-----------+-----------+\n| n | ra        | dec       |\n"
    "+---+-----------+-----------+\n| a | 188.73625 | -5.391111 |\n| b | 15.5125   | 4.085     |\n"
    "+---+-----------+-----------+\n",
    "restructured.txt": "========= =========\nra dec\n========= =========\n188.73625 -5.391111\n"
    "15.5125 4.085\n========= =========\n",
    "ds9.txt": "fk5\ncircle(12:34:56.7,-05:23:28,3600\")\ncircle(15.5125,4.085,60')\n",
    "casa.crtf": "#CRTFv0\nglobal coord=J2000\ncircle[[188.73625deg, -5.391111deg], 1deg]\n"
    "circle[[15.5125deg, 4.085deg], 1deg]\n",
    "missing.csv": "ra,dec,radius\n188.73625,-5.391111,-\n15.5125,4.085,60\n",
    "c.csv.bz2": bz2.compress(b"ra,dec\n188.73625,-5.391111\n15.5125,4.085\n"),
    "b.csv.gz": gzip.compress(b"ra,dec\n188.73625,-5.391111\n15.5125,4.085\n"),
    "b.txt.gz": gzip.compress(b"ra dec\n188.73625 -5.391111\n15.5125 4.085\n"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_equatorial_positions_are_read_from(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, SOURCES[name])
    lon, lat, radius = degrees(path, RADIUS, coord="C")
    assert np.allclose(lon, RA, atol=1e-5)
    assert np.allclose(lat, DEC, atol=1e-5)
    assert np.allclose(radius, 1)


@pytest.mark.parametrize("unit", ["degrees", "DEGREE", "Degrees", "deg"])
def test_units_that_astropy_does_not_know(tmp_path: Path, unit: str) -> None:
    columns = [
        fits.Column(name, "D", unit=unit, array=np.array(values))
        for name, values in (("RA", RA), ("DEC", DEC))
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    sources = read_sources(tmp_path / "a.fits", RADIUS, coord="C")
    assert np.allclose(np.degrees(sources.lon), RA)
    assert sources.said[0] == "FITS, positions: RA, DEC (deg); equatorial"


@pytest.mark.parametrize("unit", ["RADIANS", "radian", "Rad"])
def test_radians_that_astropy_does_not_know(tmp_path: Path, unit: str) -> None:
    columns = [
        fits.Column(name, "D", unit=unit, array=np.radians(values))
        for name, values in (("glon", RA), ("glat", DEC))
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    assert np.allclose(degrees(tmp_path / "a.fits", RADIUS)[:2], [RA, DEC])


def test_the_second_table_of_a_file_may_hold_the_positions(tmp_path: Path) -> None:
    tables = [Table({"flux": [1.0]}), Table({"ra": RA, "dec": DEC})]
    hdus = [fits.PrimaryHDU(), *map(fits.table_to_hdu, tables)]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    sources = read_sources(tmp_path / "a.fits", RADIUS, coord="C")
    assert np.allclose(np.degrees(sources.lon), RA)
    assert "table 2 of 2" in sources.said[0]


@settings(max_examples=40, deadline=None)
@given(
    order=st.permutations(["ra", "dec", "g", "r", "i", "l", "b", "rad"]),
    mark=st.sampled_from([",", " ", "\t", ";", "|"]),
    upper=st.booleans(),
)
def test_names_count_and_order_does_not(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], mark: str, upper: bool
) -> None:
    """r is a magnitude, l and b may be anything beside ra and dec."""
    values = dict(zip(order, np.arange(20.0, 28.0), strict=True)) | {"ra": 150.5, "dec": -30.25}
    head = mark.join(order)
    row = mark.join(str(values[name]) for name in order)
    path = tmp_path_factory.mktemp("c") / "a.txt"
    path.write_text(f"{head.upper() if upper else head}\n{row}\n")
    assert np.allclose(degrees(path, RADIUS, coord="C"), [[150.5], [-30.25], [1]])


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "ra,dec,l,b,r\n1,2,30,40,6\n")
    chosen = {"lon": "L", "lat": "b", "radius": "r"}
    assert np.allclose(degrees(path, columns=chosen), [[30], [40], [0.1]])
    assert np.allclose(degrees(path, RADIUS, columns={"lon": "2", "lat": 3}), [[30], [40], [1]])
    chosen = {"lon": "ra", "lat": "dec", "frame": "G"}
    assert np.allclose(degrees(path, RADIUS, columns=chosen), [[1], [2], [1]])
    equatorial = SkyCoord(1, 2, unit="deg").galactic
    turned = degrees(path, RADIUS, columns={"lon": "ra", "lat": "dec"})
    assert np.allclose(turned[:2, 0], [equatorial.l.deg, equatorial.b.deg])


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"lon": "ra"}, "needs lon and lat"),
        ({"lon": "ra", "lat": "dec", "size": "r"}, "needs lon and lat, and takes radius"),
        ({"lon": "ra", "lat": "delta"}, "no column 'delta'; there are ra, dec"),
        ({"lon": "ra", "lat": "dec", "frame": "FK9"}, "frame must be G, E, C or B"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, columns: Any, why: str) -> None:
    path = written(tmp_path, "a.csv", "ra,dec\n1,2\n")
    with pytest.raises(ValueError, match=why):
        read_catalogue(path, RADIUS, columns=columns)


def test_what_was_taken_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "ra,dec,radius_arcsec\n1,2,60\n3,4,\n")
    assert read_sources(path, RADIUS).said == (
        "text, positions: ra, dec (deg, assumed); equatorial, turned to Galactic",
        "radius: column radius_arcsec (arcsec), the given one where it has none",
    )
    assert np.allclose(degrees(path, RADIUS)[2], [1 / 60, 1])


def test_an_unknown_frame_will_do_for_lon_and_lat_only(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "lon,lat\n1,2\n")
    assert np.allclose(degrees(path, RADIUS, coord=None), [[1], [2], [1]])
    path.write_text("ra,dec\n1,2\n")
    with pytest.raises(ValueError, match=r"equatorial .*frame of the map is unknown; pass `coord"):
        read_catalogue(path, RADIUS, coord=None)
    with pytest.raises(ValueError, match="pass `coord='G'`"):
        galactic_cut(8, 0.1, coord=None)


def test_radians_and_hours_without_a_unit_are_suspected(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(0, 2 * np.pi, 20), rng.uniform(-1.5, 1.5, 20)
    for names, x, y, why in (
        (["ra", "dec"], lon, lat, "if they are radians"),
        (["ra", "dec"], lon * 24 / 7, np.degrees(lat), "if they are hours"),
    ):
        Table([x, y], names=names).write(tmp_path / "a.csv", overwrite=True)
        with pytest.warns(UserWarning, match=why):
            read_catalogue(tmp_path / "a.csv", RADIUS)
    Table([np.degrees(lon), np.degrees(lat)], names=["ra", "dec"]).write(
        tmp_path / "a.csv", overwrite=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_catalogue(tmp_path / "a.csv", RADIUS)


SKY = SkyCoord(RA, DEC, unit="deg")


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"RADESYS": "FK4", "EQUINOX": 1950.0}, "fk4"),
        ({"EQUINOX": 1950.0}, "fk4"),
        ({"RADECSYS": "FK5", "EQUINOX": 2000.0}, "icrs"),
        ({"COMMENT": "positions of equinox B1950"}, "fk4"),
        ({"COMMENT": "precessed from B1950 to J2000"}, "icrs"),
        ({"COORDSYS": "GALACTIC"}, "icrs"),
    ],
)
def test_right_ascension_has_the_equinox_of_the_header(
    tmp_path: Path, cards: dict[str, Any], frame: str
) -> None:
    places = SKY.transform_to(frame)
    table = fits.table_to_hdu(Table({"RA": places.ra.deg, "DEC": places.dec.deg}))
    table.header.update(cards)
    table.writeto(tmp_path / "a.fits")
    lon, lat, _ = degrees(tmp_path / "a.fits", RADIUS, coord="C")
    assert np.allclose([lon, lat], [RA, DEC], atol=1e-3)


@pytest.mark.parametrize("word", ["C", "EQUATORIAL", "ICRS"])
def test_lon_and_lat_have_the_frame_of_the_header(tmp_path: Path, word: str) -> None:
    table = fits.table_to_hdu(Table({"LON": RA, "LAT": DEC}))
    table.header["COORDSYS"] = word
    table.writeto(tmp_path / "a.fits")
    lon, lat, _ = degrees(tmp_path / "a.fits", RADIUS)
    assert np.allclose([lon, lat], [SKY.galactic.l.deg, SKY.galactic.b.deg])
    with pytest.raises(ValueError, match="frame of the map is unknown"):
        read_sources(tmp_path / "a.fits", RADIUS, coord=None)
    table.header["COORDSYS"] = "supergalactic"
    table.writeto(tmp_path / "b.fits")
    with pytest.raises(ValueError, match=r"not understood \(COORDSYS = 'supergalactic'\); pass"):
        read_sources(tmp_path / "b.fits", RADIUS)


@pytest.mark.parametrize(
    ("system", "frame"),
    [
        ('system="eq_FK4" equinox="B1950"', "fk4"),
        ('system="eq_FK5" equinox="J2000"', "icrs"),
        ('system="galactic"', "galactic"),
        ('system="ICRS"', "icrs"),
    ],
)
def test_a_votable_says_its_frame(tmp_path: Path, system: str, frame: str) -> None:
    places = SKY.transform_to(frame).spherical
    names = ["lon", "lat"] if frame == "galactic" else ["RA", "DEC"]
    text = io.BytesIO()
    Table([places.lon.deg, places.lat.deg], names=names, units=["deg", "deg"]).write(
        text, format="votable"
    )
    content = text.getvalue().decode().replace("<FIELD ", '<FIELD ref="s" ')
    content = content.replace("<TABLE", f'<COOSYS ID="s" {system}/><TABLE', 1)
    other = "<TABLE><FIELD name='flux' datatype='double'/></TABLE>"
    content = content.replace("</COOSYS>", "").replace("</TABLE>", f"</TABLE>{other}")
    lon, lat, _ = degrees(written(tmp_path, "a.vot", content), RADIUS, coord="C")
    assert np.allclose([lon, lat], [RA, DEC], atol=1e-3)


@pytest.mark.parametrize(
    ("comment", "frame"),
    [
        ("galactic coordinates", "G"),
        ("Positions: J2000", "C"),
        ("by right ascension and declination, all in degrees", "C"),
        ("ecliptic", "E"),
    ],
)
def test_comments_that_name_another_frame_ask_for_it(
    tmp_path: Path, comment: str, frame: str
) -> None:
    path = written(tmp_path, "a.txt", f"# {comment}\n188.7 -5.4\n15.5 4.1\n")
    other = "C" if frame == "G" else "G"
    with pytest.raises(ValueError, match=rf"and frame={frame}, or frame={other}"):
        read_catalogue(path, RADIUS, coord=other)
    chosen = {"lon": "col1", "lat": "col2", "frame": frame}
    assert np.allclose(
        degrees(path, RADIUS, coord=other, columns=chosen),
        degrees(
            written(tmp_path, "b.txt", "188.7 -5.4\n15.5 4.1\n"),
            RADIUS,
            coord=other,
            columns=chosen,
        ),
    )
    assert np.allclose(degrees(path, RADIUS, coord=frame)[0], [188.7, 15.5])


@pytest.mark.parametrize("comment", ["extragalactic sources", "galactic plane excluded", ""])
def test_comments_that_name_no_frame_are_none(tmp_path: Path, comment: str) -> None:
    path = written(tmp_path, "a.txt", f"# {comment}\n188.7 -5.4\n15.5 4.1\n")
    assert np.allclose(degrees(path, RADIUS, coord="C")[0], [188.7, 15.5])


def test_sexagesimal_longitudes_without_a_frame_are_hours_or_degrees(tmp_path: Path) -> None:
    for names in ("", "lon lat\n"):
        path = written(tmp_path, "a.txt", f"{names}12:34:56.7 -5:23:28\n1:2:3 4:5:6\n")
        with pytest.raises(ValueError, match="frame=C for hours, G or E for degrees"):
            read_catalogue(path, RADIUS, coord="C")
        chosen = {"lon": 0, "lat": 1, "frame": "C"}
        assert np.allclose(degrees(path, RADIUS, coord="C", columns=chosen)[:2], [RA, DEC])
        assert np.allclose(degrees(path, RADIUS, columns=chosen | {"frame": "G"})[0, 0], 12.582417)
    path = written(tmp_path, "a.txt", "12h34m56.7s -5d23m28s\n1h2m3s 4d5m6s\n")
    assert np.allclose(degrees(path, RADIUS, coord="C")[:2], [RA, DEC])


@pytest.mark.parametrize(
    ("lon", "lat"), [("ra_1", "dec_1"), ("TARGET_RA", "TARGET_DEC"), ("raMean", "decMean")]
)
def test_a_name_with_more_in_it_says_its_frame(tmp_path: Path, lon: str, lat: str) -> None:
    path = written(tmp_path, "a.csv", f"{lon},{lat}\n188.73625,-5.391111\n15.5125,4.085\n")
    turned = degrees(path, RADIUS, columns={"lon": lon, "lat": lat})
    assert np.allclose(turned[0], SKY.galactic.l.deg, atol=1e-4)


BAD = {
    "1 10 20\n2 30 40\n3 50 60\n": "counts by one, so it may number the rows; .* lon=1, lat=2",
    "name ra dec\nM31 1 2\nM 31 1 2\n": "row 2 has 4 columns and not 3: 'M 31 1 2'; put quotes",
    "lon lat\n1 2\n": "not every source has a radius .*; pass `radius`",
    "name flux\na 2\n": "no positions; name columns lon and lat.*there are name, flux",
    "lon lat radius\n1 95 3\n": "latitude within ±90 degrees, but 1, 95",
    "lon lat radius\n1 5 3\n1000 5 3\n": "row 2 has no position with longitude within -360",
    "lon lat radius\n1 5 -3\n": "a radius is negative .* row 1",
    "lon lat radius\n1 x 3\n": "column lat is no angle: row 1 has 'x'",
    "lon,lat,radius\n1,,3\n": "row 1 has no position",
    "ra dec radius\n1:2:3 1 3\n100 1 3\n": "row 2 has '100' among sexagesimal rows",
    "ra,dec,radius [kpc]\n1,2,3\n": r"radius \[kpc\] is no angle: its unit is kpc",
    "lon;lat;radius\n1;2,5;3\n": "column lat is no angle: row 1 has '2,5'",
    "1 2 3 4\n": "4 columns without names; put a line of names",
    "# a list of ra dec and more\n1 2 3\n": "no line of them names its 3 columns",
    "ra,dec,radius\n1,2\n": "3 names for 2 columns",
    "ra,ra,dec\n1,2,3\n": "two columns are called 'ra'",
    "": "cannot be read as a table",
    "|ra    |dec   |\n|double|double|\n 1.0   -2.0   \n": "has something under the bars",
}


@pytest.mark.parametrize(("content", "why"), BAD.items())
def test_bad_catalogues(tmp_path: Path, content: str, why: str) -> None:
    path = written(tmp_path, "a.txt", content)
    with pytest.raises(ValueError, match=why) as caught:
        read_catalogue(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('fk5\ncircle(1,2,3")\nellipse(1,2,3",4",0)\n', "only circles .* there are Ellipse"),
        ("image\ncircle(10,20,5)\n", "pixels of an image"),
        ("fk5\ncircle(1,2,3d)\n-circle(1,2,1d)\n", "excluded circles"),
        ("fk5\ncircle(1,2,3d)\nvector(1,2,3,4)\n", "vector.* not supported"),
        ("circle(10,20,5d)\n", "frame was not found"),
        ("hello\n", "not a valid frame or region"),
        ("", "no regions in it"),
    ],
)
def test_bad_regions(tmp_path: Path, content: str, why: str) -> None:
    with pytest.raises(ValueError, match=rf"cannot be read as a table \(DS9 regions\): .*{why}"):
        read_catalogue(written(tmp_path, "a.reg", content))


def test_regions_have_radii_and_frames(tmp_path: Path) -> None:
    path = written(tmp_path, "a.reg", "galactic\ncircle(10,20,30')\necliptic\ncircle(0,0,90\")\n")
    lon, lat, radius = degrees(path)
    ecliptic = SkyCoord(0, 0, unit="deg", frame="barycentricmeanecliptic").galactic
    assert np.allclose(lon, [10, ecliptic.l.deg], atol=1e-4)
    assert np.allclose(lat, [20, ecliptic.b.deg], atol=1e-4)
    assert np.allclose(radius, [0.5, 0.025])


def test_catalogues_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_catalogue(tmp_path / "a.txt")
    for name, content in (
        ("a.fits", b"no"),
        ("a.csv", bytes(range(256))),
        ("a.html", b"<!DOCTYPE html><html><body>404</body></html>"),
    ):
        with pytest.raises(ValueError, match="cannot be read as a table"):
            read_catalogue(written(tmp_path, name, content))
    with pytest.raises(ValueError, match="damaged or truncated gzip"):
        read_catalogue(written(tmp_path, "a.csv.gz", gzip.compress(b"ra,dec\n1,2\n")[:-9]))


@pytest.mark.parametrize("word", ["C", "c", "icrs", "Equatorial"])
def test_a_frame_is_chosen_by_any_word_for_it(tmp_path: Path, word: str) -> None:
    path = written(tmp_path, "a.csv", "x,y\n188.73625,-5.391111\n15.5125,4.085\n")
    turned = degrees(path, RADIUS, columns={"lon": "x", "lat": "y", "frame": word})
    assert np.allclose(turned[0], SKY.galactic.l.deg, atol=1e-4)
