"""Recognise the words that files use for columns of a spectrum, their units, and D_l."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BIN_EDGES",
    "L_NAMES",
    "T_CMB",
    "cmb_power",
    "comments_say_dl",
    "compact",
    "in_uk2",
    "is_known",
    "is_other",
    "is_scaled",
    "is_unsaid",
    "meaning",
    "polarized",
    "units_in",
]

#: Names of l as `compact` writes them, the first the most telling.
L_NAMES: tuple[str, ...] = ("l", "ell", "ells", "multipole", "multipoles", "multipolemoment")
L_NAMES += ("multipolel", "leff", "elleff", "lmean", "ellmean", "lcenter", "lcentre")
L_NAMES += ("ellcenter", "ellcentre", "lbin", "ellbin", "lavg", "lb")
#: Names of the first and the last l of bins.
BIN_EDGES: tuple[tuple[str, str], ...] = (("lmin", "lmax"), ("ellmin", "ellmax"), ("llo", "lhi"))
BIN_EDGES += (("lstart", "lend"), ("elllow", "ellhigh"), ("lfirst", "llast"), ("llow", "lhigh"))
#: D_l of the CMB at some l, µK² (Planck 2018 ΛCDM).
_CMB = (
    (2, 10, 30, 60, 100, 150, 220, 300),
    (1020.0, 820.0, 1050.0, 1630.0, 2700.0, 4380.0, 5730.0, 4080.0),
)

#: Mean temperature of the CMB, µK, by which CLASS and CAMB divide (Fixsen 2009).
T_CMB = 2.7255e6
#: Size in µK² of the square of a unit, by the prefix of K.
_PREFIXES = {"": 1e12, "m": 1e6, "milli": 1e6, "u": 1.0, "mu": 1.0, "micro": 1.0, "μ": 1.0}
_PREFIXES |= {"n": 1e-6, "nano": 1e-6}
_K2 = re.compile(
    r"[\[({\\]*(?<![a-z])(?P<prefix>micro|milli|nano|mu|[umnμ])?[- _]?(?:(?-i:K)|kelvin)s?"
    r"(?:[_ ]?\{?cmb\}?)?[\])}]*(?:(?:\^|\*\*)?\{?[2²]\}?(?!\d)|[- ]?squared)[\])}]*",
    re.IGNORECASE,
)
_NUMBER_OF_ITS_OWN = re.compile(r"dimensionless|unitless|1|dT/T|\(dT/T\)\^?2", re.IGNORECASE)
_UNSAID_UNITS = {"", "unknown", "none", "?", "n/a", "na", "-", "--"}
#: The factor l (l + 1) of D_l, and words that negate it.
_L_L1 = re.compile(r"(?:l|ell)[ *]*[(\[] *(?:l|ell) *\+ *1 *[)\]]", re.IGNORECASE)
#: Other powers of l, roots and logarithms of C_l or D_l, which are neither C_l nor D_l.
_CL = r"[cd]_?\^?(?:l|ell|tt)"
_SCALED = re.compile(
    r"(?:l|ell) ?(?:\^|\*\*) ?[1-9](?:\.\d)? ?[*]? ?(?:\([^()]*\)(?:\^2)? ?[*]? ?)?" + _CL
    + r"|(?:^|[\s,;:])(?:l|ell) ?[*] ?" + _CL
    + r"|\((?:2 ?[*]? ?(?:l|ell) ?\+ ?1|(?:l|ell) ?\+ ?1/2)\) ?[*]? ?" + _CL
    + r"|[\[(](?:l|ell) ?\((?:l|ell) ?\+ ?1\)[\])] ?(?:\^|\*\*) ?2"
    + r"|(?:sqrt|log(?:_?10)?|ln) ?[\[(]?[^,;\s]*?" + _CL,
    re.IGNORECASE,
)  # fmt: skip
_TWO_PI = re.compile(r"2 ?[*·]? ?(?:pi|π)|twopi|6\.28", re.IGNORECASE)
_DENIED = re.compile(
    r"\b(?:not?|without|un-?(?:multiplied|scaled|weighted|normali[sz]ed)|divided? by|never"
    r"|multiply|convert|to (?:get|obtain))\b[^.;\n]{0,30}$",
    re.IGNORECASE,
)
_D_WORD = re.compile(r"\bD(?:_?\{?\\?(?:l|L|ell|ELL)s?)\b")
# Names as `compact` writes them: with C or D, of TT or of nothing in particular.
_T = r"(?:tt?|txt|temp(?:erature)?)"
_QUALIFIER = r"(?:lensed|total|scalar|lensedscalar|theory|bestfit)"
_SPELLINGS = (
    (rf"{_QUALIFIER}?{_T}{_QUALIFIER}?", None, True),
    (rf"{_QUALIFIER}?(?:c(?:l|ell)s?{_T}|{_T}c(?:l|ell)s?){_QUALIFIER}?", False, True),
    (rf"{_QUALIFIER}?(?:d(?:l|ell)s?{_T}|{_T}d(?:l|ell)s?){_QUALIFIER}?", True, True),
    (rf"{_QUALIFIER}?c(?:l|ell)s?{_QUALIFIER}?", False, False),
    (rf"{_QUALIFIER}?d(?:l|ell)s?{_QUALIFIER}?", True, False),
    (r"(?:power)?(?:spectrum)?(?:power)?", None, False),
)
#: Spectra that are not the temperature's.
_OTHERS = r"(?:[cd]l|[cd]ell)?(?:te|et|ee|bb|eb|be|tb|bt|pp|pt|tp|pe|phiphi|tphi|ephi|dd|dt|de"
_OTHERS += r"|gradient|curl|gt|ct|cg|exe|bxb|txe|kk|kappakappa)(?:[cd]l|[cd]ell)?"
#: Names of the spectra of polarization as `compact` writes them; healpy's are GRADIENT, CURL, G-T.
_POLARIZED = {"EE": "ee|gradient|exe", "BB": "bb|curl|bxb", "TE": "te|et|gt|txe"}


def comments_say_dl(comments: str) -> bool | None:
    """Look for l (l + 1) or D_l in the comments; if it is negated, the spectrum is C_l."""
    comments = _plain(comments)
    found = [*_L_L1.finditer(comments), *_D_WORD.finditer(comments)]
    if not found:
        return None
    denied = {bool(_DENIED.search(comments[: match.start()])) for match in found}
    return None if len(denied) == 2 else denied == {False}


def _plain(text: str) -> str:
    """Replace TeX and symbols by letters."""
    text = re.sub(r"\\(?:mathcal|mathrm|rm|left|right|,|;)", "", text)
    return unicodedata.normalize("NFKC", re.sub(r"[\\${}]", "", text))


def is_scaled(text: str) -> bool:
    """Tell whether words name C_l times a factor other than l (l + 1) / 2π."""
    text = _plain(text)
    if _SCALED.search(text):
        return True
    return _L_L1.search(text) is not None and not _TWO_PI.search(text)


def cmb_power(ell: NDArray[np.float64], cl: NDArray[np.float64], *, within: float) -> bool | None:
    """Tell whether C_l agrees with the CMB within a factor at l of 2 to 300; None if too few l."""
    there = (ell >= 2) & (ell <= _CMB[0][-1])
    if np.count_nonzero(there) < 3:
        return None
    ell, cl = ell[there], cl[there]
    known = np.interp(np.log(ell), np.log(_CMB[0]), _CMB[1]) * 2 * np.pi / (ell * (ell + 1))
    near = (cl < within * known) & (cl > known / within)
    return bool(near.mean() > 0.8)


def in_uk2(unit: str) -> float | None:
    """Give the size in µK² of a unit of a spectrum; None if it is another unit."""
    unit = unicodedata.normalize("NFKC", unit.strip().strip("'\""))
    if _NUMBER_OF_ITS_OWN.fullmatch(unit):
        return T_CMB**2
    match = _K2.fullmatch(unit)
    return _PREFIXES[(match["prefix"] or "").lower()] if match else None


def is_unsaid(unit: str) -> bool:
    """Tell whether a word means "no unit"."""
    return unit.strip().lower() in _UNSAID_UNITS


def units_in(comments: str) -> dict[float, str]:
    """Find the units that comments name: their sizes in µK² and their names."""
    comments = unicodedata.normalize("NFKC", comments)
    words = sorted({match.group() for match in _K2.finditer(comments)})
    if "dimensionless" in comments.lower():
        words.append("dimensionless")
    return {factor: word for word in words if (factor := in_uk2(word)) is not None}


def compact(name: str) -> str:
    """Reduce a name to lower-case letters and digits, without CLASS's number before it."""
    name = unicodedata.normalize("NFKC", name).lower()
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^\d+:", "", name))


def meaning(name: str) -> tuple[bool | None, bool] | None:
    """Tell whether a column of the temperature is D_l (None if unknown) and whether it is TT."""
    name = _plain(name)
    if _L_L1.search(name):
        rest = compact(_L_L1.sub("", name))
        return None if re.search(r"ee|bb|te|pp|phi", rest) else (True, "tt" in rest)
    plain = compact(name)
    for pattern, dl, tt in _SPELLINGS:
        if plain and re.fullmatch(pattern, plain):
            return dl, tt
    return None


def is_other(name: str) -> bool:
    """Tell whether a name is that of polarization or lensing."""
    return re.fullmatch(_OTHERS, compact(name)) is not None


def polarized(name: str) -> tuple[str, bool | None] | None:
    """Tell which of EE, BB and TE a column is, and whether it is D_l (None if unknown)."""
    name = _plain(name)
    scaled = _L_L1.search(name) is not None
    plain = compact(_L_L1.sub("", name))
    for spectrum, words in _POLARIZED.items():
        found = re.fullmatch(rf"(?:(?P<kind>[cd])(?:l|ell))?(?:{words})", plain)
        found = found or re.fullmatch(rf"(?:{words})(?P<kind>[cd])(?:l|ell)", plain)
        if found:
            return spectrum, True if scaled else {"c": False, "d": True}.get(found["kind"])
    return None


def is_known(name: str) -> bool:
    """Tell whether a name is that of l or of a spectrum."""
    edges = {edge for pair in BIN_EDGES for edge in pair}
    return compact(name) in {*L_NAMES, *edges} or meaning(name) is not None or is_other(name)
