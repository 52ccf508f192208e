"""Read T, Q and U as `--stokes` asks: the options of polarization, its maps, masks and noise."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import skyfill

from . import options, reading, theory, wording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "add_columns",
    "add_cut",
    "add_stokes",
    "chosen",
    "is_polarized",
    "left",
    "left_lines",
    "masks_of",
    "noise_of",
    "of_one_column",
    "or_t_alone",
    "read",
    "refuse",
    "seen_of",
    "settled",
    "shares_mask",
    "sky_of",
    "with_t_alone",
]

#: Options that a fill of polarization does not have: the value that means not given, and the mend.
_OTHERS: dict[str, tuple[Any, str]] = {
    "transform": (None, "it is for one column; drop it"),
    "nside": (None, "a multi-order map of polarization is not read; convert it first"),
    "polish": (None, "drop it; --method gaussian is exact"),
    "holes": (None, "it fills every hole; drop it"),
    "footprint": (None, "it fills every hole; drop it, or fill T alone with --stokes T"),
    "weights": (None, "drop it; only --method vae has a network, for T"),
}
#: The same of --method diffuse, which has neither prior nor realizations.
_PRIOR_ONLY = ("noise_map", "std", "std_draws", "save_prior", "prior", "cache")


def add_stokes(parser: argparse.ArgumentParser) -> None:
    """Declare --stokes, and the options of polarization."""
    group = parser.add_argument_group("polarization")
    group.add_argument(
        "--stokes",
        choices=("TQU", "T", "QU"),
        help="fill T, Q and U of the file together, or one of T and QU, with --method gaussian, "
        "diffuse or, TQU only, vae; their columns are found by name, or "
        "named by --field T,Q,U (default: what the file has; T alone, which is said, with options "
        "that only T has; the column of --field alone, if it is given)",
    )
    _add_mask_and_sign(group)
    group.add_argument(
        "--noise-pol-uk-arcmin",
        type=options.amount,
        metavar="RMS",
        help="white noise of Q, and of U, in µK·arcmin (default: fitted to the observed Q and U; "
        "where that cannot be, √2 times that of T)",
    )
    theory.add_r(group)


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Declare --stokes for a verb that compares maps."""
    group = parser.add_argument_group("polarization")
    group.add_argument(
        "--stokes",
        choices=("TQU", "T", "QU"),
        help="compare T, Q and U of the files, or one of T and QU; their columns are found by "
        "name, or named by --field T,Q,U (default: the column of --field alone)",
    )
    _add_mask_and_sign(group)


def add_cut(parser: argparse.ArgumentParser) -> None:
    """Declare --stokes for the verb that cuts tiles."""
    group = parser.add_argument_group("polarization")
    group.add_argument(
        "--stokes",
        choices=("TQU", "T", "QU"),
        help="T: cut the column of temperature, found by name; TQU, QU: write FITS cubes around "
        "the holes, with Q and U in the axes of the sky at each pixel, north up (default: the "
        "column of --field alone)",
    )
    _add_mask_and_sign(group)
    group.add_argument(
        "--paste",
        type=Path,
        metavar="DIR",
        help="paste the cubes of DIR into the holes of MAP, and write the map to -o",
    )


def _add_mask_and_sign(group: argparse._ArgumentGroup) -> None:
    """Declare --mask-pol and --polcconv."""
    group.add_argument(
        "--mask-pol",
        type=Path,
        metavar="FILE",
        help="mask of Q and U, 1 = observed (default: MASK; its column PMASK, if it has TMASK and "
        "PMASK)",
    )
    group.add_argument(
        "--polcconv",
        choices=("COSMO", "IAU"),
        help="sign of U in the file (default: its card POLCCONV, else COSMO)",
    )


def is_polarized(args: argparse.Namespace) -> bool:
    """Say whether --stokes asks for Q and U."""
    return args.stokes in ("TQU", "QU")


def chosen(
    args: argparse.Namespace, path: Path, methods: Sequence[str] | None = None
) -> argparse.Namespace:
    """Give --stokes: TQU or QU where the map has their columns and neither it nor --field is given.

    The options may be those of T alone. Then Q and U are left, and ``left_why`` says why.
    """
    if args.stokes is not None or args.field != 0 or skyfill.maps.is_image(path):
        return args
    for letters in ("TQU", "QU"):
        with suppress(ValueError, OSError):  # other columns, or no FITS file
            skyfill.maps.stokes_columns(path, letters, hdu=args.hdu)
            break
    else:
        return args
    asked = argparse.Namespace(**vars(args) | {"stokes": letters})
    try:
        refuse(asked, methods)
        theory.sky_spectra(asked)
    except ValueError as error:
        if letters == "QU":
            raise
        return argparse.Namespace(**vars(args) | {"left_why": str(error)})
    return asked


#: What an error of polarization names.
_OF_POLARIZATION = re.compile(
    r"\b([QU](?![A-Za-z])|(P|EE|BB|TE|POLCCONV)\b)|pol\b|polari[sz]ation", re.IGNORECASE
)


@contextmanager
def or_t_alone(args: argparse.Namespace, found: argparse.Namespace) -> Iterator[None]:
    """Add to errors what `with_t_alone` does."""
    try:
        yield
    except ValueError as error:
        text = with_t_alone(str(error), args, found)
        if text != str(error):
            error.args = (text,)
        raise


def with_t_alone(text: str, args: argparse.Namespace, found: argparse.Namespace) -> str:
    """Say in an error that T alone can be filled, if T, Q and U were `chosen` without being asked.

    An error that says nothing of polarization is one of T as well.
    """
    if args.stokes is None and found.stokes == "TQU" and _OF_POLARIZATION.search(text):
        return f"{text}; --stokes T takes T alone"
    return text


def left(args: argparse.Namespace, path: Path) -> list[str]:
    """Name the columns of Q and U that a map keeps as they are, though T alone is not asked for."""
    found: list[str] = []
    if args.stokes is None and not skyfill.maps.is_image(path):
        for letter in "QU":
            with suppress(ValueError, OSError):  # it has none, or is no FITS file
                found += skyfill.maps.stokes_columns(path, letter, hdu=args.hdu)
    return found


def left_lines(args: argparse.Namespace, path: Path) -> list[str]:
    """Say which columns are left as they are, and why; nothing if there are none."""
    names = left(args, path)
    if not names:
        return []
    why = vars(args).get("left_why")
    mend = f": {wording.as_options(why)}" if why else ""
    if not why and len(names) == 2:
        mend = "; --stokes TQU fills them, too"
    return [f"left     {' and '.join(names)}, whose holes remain{mend}"]


def of_one_column(args: argparse.Namespace) -> argparse.Namespace:
    """Give the options that fill one column; refuse those of polarization."""
    for name in ("mask_pol", "noise_pol_uk_arcmin", "polcconv", "r"):
        if vars(args).get(name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} is an option of polarization; pass --stokes TQU or QU too")
    if args.stokes is None and vars(args).get("left_why") is None:
        return args
    if args.field != 0:
        raise ValueError("--stokes T and --field both name a column; drop one of them")
    (name,) = skyfill.maps.stokes_columns(args.map, "T", hdu=args.hdu)
    both = _both_masks(args)
    mask = args.mask_field if both is None else both[0]
    return argparse.Namespace(**vars(args) | {"field": name, "mask_field": mask})


def refuse(args: argparse.Namespace, methods: Sequence[str] | None = None) -> None:
    """Refuse methods and options that do not exist for polarization, of any verb."""
    methods = methods or skyfill.inpaint.POLARIZED_METHODS
    if args.method not in (*methods, "auto"):
        raise ValueError(
            f"--stokes {args.stokes} is not filled by --method {args.method}; pass --method"
            f" {' or '.join(methods)}"
        )
    if args.dipole == "fit":
        raise ValueError("--dipole fit is for T alone; pass --dipole marginalise or prior")
    _refuse_others(args)
    if theory.fits_cl(args):
        raise ValueError(
            "--cl map fits a spectrum of T, and EE, BB and TE are not known then; drop it, or pass"
            " --cl FILE with four spectra"
        )
    if args.prior is not None and (args.r is not None or args.cl is not None):
        raise ValueError("--prior holds four spectra; drop it, or --cl and --r")
    if args.noise_map == reading.AUTO:
        raise ValueError("--noise-map auto is for T alone; give a file with II, QQ, QU and UU")
    if args.noise_field is not None or args.noise_variance:
        raise ValueError(
            "with --stokes, --noise-map finds II, QQ, QU and UU by name; drop --noise-field and"
            " --noise-variance"
        )
    _refuse_of_diffuse(args)


def _refuse_others(args: argparse.Namespace) -> None:
    """Refuse options that a fill of polarization does not have."""
    for name, (nothing, mend) in _OTHERS.items():
        value = vars(args).get(name, nothing)
        if name == "weights" and (args.method, args.stokes) in (("vae", "TQU"), ("auto", "TQU")):
            continue
        if name == "holes" and isinstance(value, int):  # the number of copies of validate
            continue
        if value != nothing:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"--stokes {args.stokes} does not take {flag}: {mend}")


def _refuse_of_diffuse(args: argparse.Namespace) -> None:
    """Refuse options of the prior with a method that has none."""
    if args.method != "diffuse":
        return
    for name in (*_PRIOR_ONLY, "noise_pol_uk_arcmin", "r"):
        if vars(args).get(name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"diffuse has no prior and no realizations; drop {flag}, or pass --method gaussian"
            )


def _both_masks(args: argparse.Namespace) -> tuple[str, str] | None:
    """Name the masks of T and of P that one file holds; None if that is not asked for."""
    if args.mask_pol is not None or args.mask_field != 0 or skyfill.maps.is_image(args.mask):
        return None
    return skyfill.maps.mask_columns(args.mask)


def shares_mask(args: argparse.Namespace) -> bool:
    """Say whether the mask of T is taken for Q and U, too."""
    return args.stokes == "TQU" and args.mask_pol is None and _both_masks(args) is None


def masks_of(
    args: argparse.Namespace, like: skyfill.SkyMap | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None, str]:
    """Read the masks of T and of P, and say where they are if one file holds both."""
    both = _both_masks(args)
    if both is not None:
        t, p = (
            reading.mask_of(
                argparse.Namespace(**vars(args) | {"mask_field": name}), args.mask, like=like
            )
            for name in both
        )
        return t, p, f", masks {both[0]} and {both[1]} of {args.mask.name}"
    observed = reading.mask_of(args, args.mask, like=like)
    if args.mask_pol is None:
        return observed, None, ""
    with wording.naming(field="--mask-field"):
        return observed, reading.mask_of(args, args.mask_pol, like=like), ""


def settled(
    args: argparse.Namespace, seen: Mapping[str, NDArray[np.bool_]], *, shares: int = 1
) -> argparse.Namespace:
    """Give options with a method in place of `auto`, and the reason for it as ``why``.

    ``seen`` says of T and of P, or of P, where it is observed; ``shares`` processes share the
    memory limit.
    """
    limit: float | None = vars(args).get("memory_limit")
    asked = skyfill.inpaint.FillOptions(
        method=args.method, tolerance=args.tolerance, weights=args.weights, device=args.device
    )
    choice = skyfill.inpaint.choose_stokes(
        asked,
        seen,
        mapped=args.noise_map is not None,
        limit=None if limit is None else limit / shares,
    )
    return argparse.Namespace(**vars(args) | {"method": choice.method, "why": choice.reason})


def seen_of(
    sky: skyfill.maps.StokesMap,
    observed: NDArray[np.bool_],
    observed_pol: NDArray[np.bool_] | None,
) -> dict[str, NDArray[np.bool_]]:
    """Say of T and of P where it is observed and in the map."""
    import numpy as np

    pol = observed if observed_pol is None else observed_pol
    out = {"P": pol & np.isfinite(sky.components[-1]) & np.isfinite(sky.components[-2])}
    if sky.stokes == "TQU":
        out = {"T": observed & np.isfinite(sky.components[0]), **out}
    return out


def sky_of(args: argparse.Namespace) -> skyfill.maps.StokesMap:
    """Read the columns of --stokes."""
    columns = None if args.field == 0 else [options.field(x) for x in str(args.field).split(",")]
    return skyfill.maps.read_stokes(
        args.map,
        args.stokes,
        columns=columns,
        polcconv=args.polcconv,
        unit=args.unit,
        single=args.method == "diffuse",  # as for T alone
        hdu=args.hdu,
        missing=args.missing,
        frame=args.frame,
        like=reading.beside(args, args.mask),
    )


def noise_of(args: argparse.Namespace, first: skyfill.SkyMap) -> NDArray[np.float64] | None:
    """Read --noise-map: II, QQ, QU and UU, or those of them that are there; None without it."""
    if args.noise_map is None:
        return None
    with wording.naming(unit="--noise-unit"):
        noise = skyfill.maps.read_noise_stokes(
            args.noise_map,
            polcconv=args.polcconv,
            unit=args.noise_unit,
            frame=args.frame,
            like=first,
        )
    if args.stokes == "QU" and noise.ndim == 1:
        raise ValueError(
            f"--noise-map {args.noise_map} has no QQ, QU and UU, and Q and U are filled;"
            " give their white noise by --noise-pol-uk-arcmin"
        )
    return noise[-3:] if args.stokes == "QU" else noise


def read(
    args: argparse.Namespace, listener: skyfill.Progress
) -> tuple[
    skyfill.maps.StokesMap,
    NDArray[np.bool_],
    NDArray[np.bool_] | None,
    NDArray[np.float64] | None,
]:
    """Read the map, the mask, the mask of P, and the noise map."""
    listener.stage("read")
    sky = sky_of(args)
    first = sky.skies[0]
    observed, observed_pol, masks = masks_of(args, first)
    noise = noise_of(args, first)
    said = "assumed, the file does not say" if sky.assumed else "given"
    listener.done(
        f"nside {first.nside}, {', '.join(each.column for each in sky.skies)}, {first.unit},"
        f" {sky.polcconv} ({said}){masks}{reading.said_of_mask(args, first)}"
    )
    return sky, observed, observed_pol, noise
