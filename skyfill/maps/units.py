"""Say what the numbers of a column are, by its name and its unit.

Files are written by many programs, and each spells units and names in its own way. The rules for
temperatures, for noise and for polarization are here, and nowhere else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal, NamedTuple

__all__ = [
    "Noise",
    "Unit",
    "noise_of_name",
    "parse_unit",
    "stated_unit",
    "stokes_of",
    "unit_in_name",
    "unit_in_uk",
]

Noise = Literal["rms", "variance", "inverse variance", "weights", "hits"]
"""How a column gives the noise of a map."""


class Unit(NamedTuple):
    """A power of a temperature unit."""

    uk: float
    """The unit itself in µK to that power: 1e6 for K, 1e12 for K^2."""
    power: int
    """1 for a temperature, 2 for a variance, -2 for an inverse variance."""


_THERMO = r"(?i:cmb|thermo(?:dynamic)?)"
# Case tells m from M, but no unit begins with U, and words are words.
_PREFIX = r"m|(?i:milli)|[uU]|(?i:mu)|\\mu|(?i:micro)|μ|n|(?i:nano)"
_UNIT = re.compile(
    rf"(?:{_THERMO}[ _])?(?:(?P<prefix>|{_PREFIX})[ -]?(?:K|(?i:kelvins?))|(?P<small>{_PREFIX})k)"
    rf"(?:[ _,.-]*{_THERMO}(?: temperature)?)*"
)
_FACTORS = {"": 1e6, "m": 1e3, "milli": 1e3, "n": 1e-3, "nano": 1e-3}  # other prefixes are micro
#: A number before the unit: 1e-6 K, 10^-6 K, 10**(-6) K.
_NUMBER = re.compile(
    r"(?:10 ?(?:\^|\*\*) ?(?P<ten>[+-]?\d+)|(?P<plain>\d+\.?\d*(?:[eE][+-]?\d+)?))[ *]+(?=\D)"
)
_POWER = re.compile(r" ?(?:\^|\*\*)? ?(?P<power>[+-]?[12])(?:\.0*)?(?![0-9.])")
_BRACKETS = str.maketrans("()[]{}", "      ", "$")
#: Words that other programs put in TUNIT where they know no unit.
_NO_UNIT = {
    "",
    "-",
    "1",
    "none",
    "null",
    "unknown",
    "undefined",
    "unitless",
    "dimensionless",
    "adimensional",
    "n/a",
    "na",
    "no unit",
    "no units",
}


def stated_unit(text: str) -> str:
    """Return the unit that a file states, "" where it has a word for none."""
    text = text.strip()
    return "" if text.lower() in _NO_UNIT else text


def parse_unit(text: str) -> Unit | None:
    """Read a unit of temperature, or a power of one; None where it is no such unit.

    Knows the spellings of map files: K, K_CMB, Kcmb, mK, "mK,thermodynamic", uK_CMB, muK, microK,
    µK, MICROKELVIN, 1e-6 K, 10^-6 K, and of powers K^2, K_CMB**2, (K)^2, K2, 1/K^2, K^-2.
    """
    word = unicodedata.normalize("NFKC", text.strip()).replace("−", "-")
    inverse = re.match(r"1(?:\.0*)? ?/ ?", word)
    if inverse:
        word = word[inverse.end() :]
    word = re.sub(r"\\(?:rm|mathrm|text)\b", " ", word.strip("'\""))
    word = re.sub(r" ?\bsquared\b", "^2", word.translate(_BRACKETS))
    word = " ".join(re.sub(r"(?<=[\^*]) +(?=[+-]?\d)", "", word).split())
    power = 1
    times = 1.0
    number = None if inverse else _NUMBER.match(word)
    if number:
        times = 10.0 ** int(number["ten"]) if number["ten"] else float(number["plain"])
        word = word[number.end() :]
    found = _POWER.search(word)
    if found:
        power = int(found["power"])
        word = f"{word[: found.start()]} {word[found.end() :]}"
    match = _UNIT.fullmatch(" ".join(word.split()))
    if match is None or not times or (number and power != 1):
        return None
    power = -power if inverse else power
    prefix = (match["prefix"] or match["small"] or "").lower()
    return Unit(times * _FACTORS.get(prefix, 1.0) ** power, power)


_IN_BRACKETS = re.compile(r".*[\[(](?P<unit>[^\[\]()]+)[\])]\s*")
_AT_END = re.compile(r".*[ _](?P<unit>(?:[mu]|mu|micro|milli|μ)K(?:_?CMB)?)", re.IGNORECASE)


def unit_in_name(name: str) -> str:
    """Return the unit of temperature that a column's name ends in, "" where there is none.

    Knows brackets, as in "T [mK]", and T_uK. A K alone may be WMAP's band.
    """
    found = _IN_BRACKETS.fullmatch(name) or _AT_END.fullmatch(unicodedata.normalize("NFKC", name))
    unit = found["unit"].strip() if found else ""
    return unit if parse_unit(unit) else ""


def unit_in_uk(unit: str) -> float:
    """Return how many µK one `unit` is.

    Parameters
    ----------
    unit
        Kelvin, mK or µK in the spellings of map files: K, K_CMB, Kcmb, mK, "mK,thermodynamic",
        uK_CMB, muK, microK, µK.

    Raises
    ------
    ValueError
        The unit is not a CMB temperature. Antenna temperature (K_RJ), brightness (MJy/sr) and
        variances (K^2) are not.

    """
    parsed = parse_unit(unit)
    if parsed is None or parsed.power != 1:
        raise ValueError(f"{unit!r} is no CMB temperature unit; pass `unit` K, mK or uK")
    return parsed.uk


_POL = r"(?:POL|POLARI[SZ]ATION|STOKES)"
_MODE = r"(?:MAP|MODES?|POL|POLARI[SZ]ATION|STOKES)"
_GLUED = re.compile(rf"{_POL}(?P<after>[ITQUVEBP])|(?P<before>[ITQUVEBP]){_MODE}")
_TEMPERATURE = {"TEMPERATURE", "TEMP", "INTENSITY", "T", "I"}
_PAIR = re.compile(r"(?P<pair>[ITQUEBV]{2})(?:(?:COV|VAR)[A-Z]*)?")  # QU, QQCOV
_POLARIZED = re.compile(r"POL(?:ARI[SZ](?:ATION|ED))?|POL(?:ANG|ANGLE|FRAC|FRACTION|AMP|INT)")


def stokes_of(name: str, beside: Iterable[str] = ()) -> str | None:
    """Return the Stokes parameter that a column's name states, alone or beside other columns.

    "T" for temperature; "Q", "U", "V", "E", "B" or "P" (the polarized intensity); two letters for
    a covariance ("TT", "QU"); None where the name does not say. Knows the names that healpy,
    Planck, WMAP and LiteBIRD write: Q_STOKES, Q_POLARISATION, "POLARIZATION Q", E_MODE. Of dT, dQ
    and dU, or T150, Q150 and U150, each says by the others what it is.
    """
    return _stokes_alone(name) or _stokes_beside(name, {other.upper() for other in beside})


def _stokes_beside(name: str, beside: set[str]) -> str | None:
    """Find a letter in which a name differs from that of a column of temperature."""
    name = name.upper()
    for at, letter in enumerate(name):
        rest = name[:at], name[at + 1 :]
        like = {other: f"{rest[0]}{other}{rest[1]}" in beside for other in "TIQUEBV"}
        scalar = like["T"] or like["I"]
        pair = (like["Q"] and like["U"]) or (like["E"] and like["B"])
        if scalar and letter in "QUEBV" and (pair or letter in "QU"):
            return letter
    return None


def _stokes_alone(name: str) -> str | None:
    """Return the Stokes parameter that a name states by itself."""
    words: list[str] = re.findall(r"[A-Z0-9]+", name.upper())
    if len(words) == 1 and words[0] in set("ITQUVEBP"):
        return "T" if words[0] == "I" else words[0]
    for word in words:
        pair = _PAIR.fullmatch(word)
        if pair and word != "BE":
            return str(pair["pair"]).replace("I", "T")
    polarized = any(map(_POLARIZED.fullmatch, words))
    if "BAND" in words or (not polarized and _TEMPERATURE & set(words)):
        # WMAP's bands are Q and V, too; "POLARIZED INTENSITY" is no temperature.
        return "T" if _TEMPERATURE & set(words) else None
    strong = polarized or bool({"STOKES", "MODE", "MODES"} & set(words))
    for word in words:
        # MAP_B may be the second half of the data, so E, B, V and P alone are not enough.
        if word in {"Q", "U"} or (strong and word in set("VEBP")):
            return word
        if glued := _GLUED.fullmatch(word):
            letter = str(glued["after"] or glued["before"])
            return "T" if letter in "IT" else letter
    return "P" if polarized else None


_NOISE_WORDS: tuple[tuple[Noise, re.Pattern[str]], ...] = (
    ("inverse variance", re.compile(r"I(?:NV(?:ERSE)?)?(?:N|NOISE)?(?:VAR|COV)[A-Z]*|INV|INVERSE")),
    ("inverse variance", re.compile(r"INV(?:ERSE)?(?:N|NOISE)|N(?:OISE)?INV(?:ERSE)?|PRECISION")),
    ("variance", re.compile(r"(?:[ITQUEB]{2}|[ITN]|NOISE|N)?(?:VAR|COV)(?:IANCE|AR)?S?(?:MAP)?")),
    ("variance", re.compile(r"COVARIANCES?|(?:SIGMA|STD|STDDEV|RMS|ERR|ERROR|NOISE)(?:2|SQ)")),
    ("variance", re.compile(r"SQUARED?|SQ")),
    ("hits", re.compile(r"N?HITS?(?:COUNTS?|MAP|S)?|N?OBS(?:ERVATIONS)?|N?COUNTS?|N?SAMP(?:LES)?")),
    ("hits", re.compile(r"EXPOSURE")),
    ("weights", re.compile(r"WEIGHTS?|WGTS?|WHT|WTS?")),
    (
        "rms",
        re.compile(r"STD(?:DEV|EV)?|SIGMA|RMS|ERR(?:ORS?)?|NOISE|UNCERT(?:AINTY)?|STDDEV|STDEV"),
    ),
    ("rms", re.compile(r"WHITENOISE")),
    ("variance", re.compile(r"II|TT")),
)
#: Powers written as such: SIGMA^2, STD**2, SIGMA_2; not SIGMA_T_2, which may be the second one.
_SQUARED = re.compile(
    r"(?<=SIGMA|NOISE|ERROR)[ _]?(?:\^|\*\*)? ?2\b|(?<=STD|RMS|ERR)[ _]?(?:\^|\*\*)? ?2\b"
)


def noise_of_name(name: str) -> Noise | None:
    """Return how a column gives the noise, by its name; None where the name does not say.

    II_COV, VARIANCE and TT are variances; IVAR, INV_COV inverse variances; HITS, N_OBS count
    observations; STD, SIGMA, RMS, ERROR are standard deviations.
    """
    words: list[str] = re.findall(r"[A-Z0-9]+", _SQUARED.sub(" SQ ", name.upper()))
    for kind, pattern in _NOISE_WORDS:
        if any(map(pattern.fullmatch, words)):
            return kind
    return "weights" if words == ["W"] else None
