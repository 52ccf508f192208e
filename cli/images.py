"""Fill images in CAR or any other projection: what `inpaint` does with a FITS image with a WCS."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import skyfill

from . import filling, records, theory, wording
from .progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["add_ivar", "is_asked", "run"]

Cards = dict[str, tuple[str | int | float | bool, str]]

#: Options that images do not have: the value that means not given, and the reason or the mend.
_OTHERS: dict[str, tuple[Any, str]] = {
    "field": (0, "an image has no columns; choose the HDU by --hdu"),
    "nside": (None, "an image has no Nside"),
    "missing": (None, "put NaN where the image misses a value"),
    "frame": (None, "its WCS says the frame"),
    "mask_field": (0, "a mask of an image has no columns"),
    "reproject_mask": (False, "the mask must lie on the pixels of the image"),
    "bits": (None, "a mask of an image holds 0 and 1; pass --threshold for weights"),
    "method": ("auto", "images are filled by the Gaussian posterior alone; drop it"),
    "polish": (None, "there is nothing to polish; drop it"),
    "fill": ("data", "realizations of an image have its noise; drop it"),
    "footprint": (None, "regions that reach the border stay as they are; drop it"),
    "accept": (False, "a fill of an image converges or is refused; drop it"),
    "dipole": ("marginalise", "an offset of the image is marginalised; drop it"),
    "transform": (None, "images are filled as they are; drop it"),
    "shift": (None, "images are filled as they are; drop it"),
    "prior": (None, "nothing is fitted to an image; give --cl, --beam and the noise"),
    "noise_map": (None, "pass --ivar, an image of the inverse variance"),
    "noise_field": (None, "pass --ivar alone"),
    "noise_unit": (None, "BUNIT of --ivar says its unit"),
    "noise_variance": (False, "--ivar is an inverse variance"),
    "pixel_window": (None, "--beam includes what the pixels smooth"),
    "no_fit": (False, "nothing is fitted to an image; drop it"),
    "tolerance": (0.003, "its tolerance is fixed; drop it"),
    "weights": (None, "no network is used; drop it"),
    "device": ("auto", "images are filled on the CPU; drop it"),
    "batch_size": (None, "no network is used; drop it"),
    "memory_limit": (None, "holes are solved one by one; drop it"),
    "cache": (None, "nothing is kept; drop it"),
    "std_draws": (None, "--std is computed without realizations; drop it"),
    "mask_pol": (None, "images are filled in temperature only"),
    "polcconv": (None, "images are filled in temperature only"),
    "noise_pol_uk_arcmin": (None, "images are filled in temperature only"),
    "r": (None, "images are filled in temperature only"),
    "report": (None, "reports show HEALPix maps; drop it"),
    "save_prior": (None, "nothing is fitted to an image; drop it"),
    "dry_run": (False, "the plan knows HEALPix maps only; drop it"),
}


def add_ivar(parser: argparse.ArgumentParser) -> None:
    """Declare --ivar."""
    parser.add_argument(
        "--ivar",
        type=Path,
        metavar="FILE",
        help="of an image (FITS with a WCS, docs/images.md): its inverse variance, 1/uK^2 or as "
        "BUNIT says, 0 where nothing is observed",
    )


def is_asked(args: argparse.Namespace) -> bool:
    """Tell whether MAP is an image, not a HEALPix map; refuse --ivar for the latter."""
    if skyfill.maps.is_image(args.map, hdu=args.hdu):
        return True
    if args.ivar is not None and args.map.exists():
        raise ValueError(
            "--ivar is for images in CAR and other projections; for a HEALPix map pass --noise-map"
        )
    return False


def run(args: argparse.Namespace) -> int:
    """Fill an image."""
    begun = time.perf_counter()
    _refuse(args)
    outputs = skyfill.batch.outputs_of(args.output, args.realizations)
    filling.refuse_same_files(args, outputs)
    for path in [*outputs, *filter(None, (args.std,))]:
        skyfill.check_writable(path, overwrite=args.overwrite, kind="map")
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        image = skyfill.maps.read_image(args.map, hdu=args.hdu, stokes=args.stokes, unit=args.unit)
        skyfill.maps.refuse_integers(image)
        values = image.in_uk()
        mask = _mask(args, image)
        ivar = _ivar(args, image)
        ny, nx = image.values.shape
        plane = f", plane {image.plane} of {image.planes}" if image.planes > 1 else ""
        listener.done(f"{nx} x {ny} pixels{plane}, {image.unit}")
        model = _model(args)
        found = skyfill.images.solve(
            values,
            mask,
            image.header,
            model=model,
            ivar=ivar,
            n=0 if args.mean else args.realizations,
            std=args.std is not None,
            seed=args.seed,
            holes=args.holes or "enclosed",
            trust_prior=args.trust_prior,
            threads=args.threads or 0,
            progress=listener,
        )
        listener.stage("write")
        cards = _cards(args, image, model, found)
        fills = [found.mean] if args.mean else list(found.draws)
        for index, (path, fill) in enumerate(zip(outputs, fills, strict=True)):
            kind = "mean" if args.mean else f"realization {index}"
            _write(
                args, path, image, found, fill, cards | {"SFFILL": (kind, "what the holes hold")}
            )
        if args.std is not None and found.std is not None:
            words = "std of a realization, with noise; others as they were"
            _write(args, args.std, image, found, found.std, cards | {"SFFILL": ("std", words)})
        listener.done(", ".join(str(path) for path in [*outputs, *filter(None, (args.std,))]))
    if args.json:
        summary: dict[str, object] = {
            "outputs": [str(path) for path in outputs],
            "std": str(args.std) if args.std else None,
            "shape": [ny, nx],
            "plane": image.plane,
            "planes": image.planes,
            "filled_pixels": len(found.pixels),
            "groups": found.holes,
            "groups_solved_densely": found.dense,
            "outside_pixels": int(found.outside.sum()),
            "outside_regions": found.border,
            "rms_of_decorrelated_pixels": found.whitened,
            "uk_from_exact_mean": found.distance if math.isfinite(found.distance) else None,
            "seconds": round(time.perf_counter() - begun, 2),
        }
        print(json.dumps(summary | {key.lower(): value for key, (value, _) in cards.items()}))
    else:
        print("\n".join(_lines(args, image, model, found, outputs)))
    return 0


def _refuse(args: argparse.Namespace) -> None:
    """Refuse the options that images do not have, and a noise given twice or not at all."""
    for name, (silent, why) in _OTHERS.items():
        if name in args and vars(args)[name] != silent:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} is not for images in other projections than HEALPix: {why}")
    if args.stokes not in (None, "T"):
        raise ValueError(
            f"--stokes {args.stokes}: images are filled in temperature only; pass --stokes T, which"
            " leaves other planes as they are, or reproject to HEALPix for Q and U"
        )
    if args.cl is not None and not theory.has_file(args):
        raise ValueError(f"--cl {args.cl}: no spectrum is fitted to an image; give a file")
    if args.beam is not None and args.beam_arcmin is not None:
        raise ValueError("--beam and --beam-arcmin are two beams; drop one of them")
    if args.beam is None and args.beam_arcmin is None:
        raise ValueError(
            "the beam of an image is not fitted; pass --beam FILE or --beam-arcmin FWHM (0: none)"
        )
    if args.ivar is not None and args.noise_uk_arcmin is not None:
        raise ValueError("--ivar and --noise-uk-arcmin both give the noise; drop one of them")
    if args.ivar is None and args.noise_uk_arcmin is None:
        raise ValueError(
            "the noise of an image is not fitted; pass --ivar FILE or --noise-uk-arcmin RMS"
        )


def _model(args: argparse.Namespace) -> skyfill.images.Model:
    """Give what the options say of signal and noise."""
    known = theory.spectrum(args)
    return skyfill.images.Model(
        cl=skyfill.lcdm() if known is None else known.cl,
        fwhm=math.radians((args.beam_arcmin or 0.0) / 60),
        beam=theory.tabulated(args),
        noise_uk_arcmin=args.noise_uk_arcmin,
        theory=skyfill.prior.LCDM if known is None else args.cl.name,
    )


def _beside(
    args: argparse.Namespace, image: skyfill.maps.ImageFile, path: Path, what: str
) -> skyfill.maps.ImageFile:
    """Read an image that must lie on the same pixels."""
    with wording.naming(hdu="writing it to a file of its own"):
        other = skyfill.maps.read_image(path, stokes=args.stokes, what=what)
    grids = [skyfill.images.Grid.of(one.header, one.values.shape) for one in (image, other)]
    differs = grids[0].difference(grids[1])
    if differs:
        raise ValueError(
            f"{path} has {differs}, and the {what} must lie on the pixels of {image.path};"
            " reproject it, in Python: reproject.reproject_interp((values, wcs), header of the map,"
            " order='nearest-neighbor')"
        )
    return other


def _mask(args: argparse.Namespace, image: skyfill.maps.ImageFile) -> NDArray[np.bool_]:
    """Read the mask: ``(ny, nx)``, true where observed."""
    import numpy as np

    if not skyfill.maps.is_image(args.mask):
        raise ValueError(
            f"{args.mask} is no image with a WCS, and the mask must lie on the pixels of"
            f" {args.map}; reproject it, in Python: reproject.reproject_from_healpix"
        )
    values = np.nan_to_num(_beside(args, image, args.mask, "mask").values.astype(np.float64))
    if args.threshold is not None:
        mask = values > args.threshold
    elif np.isin(values, (0.0, 1.0)).all():
        mask = values == 1
    else:
        raise ValueError(
            f"{args.mask} holds {values.min():.6g} to {values.max():.6g}, so it is not a mask of 0"
            " and 1; give the map first, then the mask, or pass --threshold X (observed above X)"
        )
    return np.asarray(~mask if args.invert else mask)


def _ivar(args: argparse.Namespace, image: skyfill.maps.ImageFile) -> NDArray[np.float64] | None:
    """Read --ivar: ``(ny, nx)``, µK⁻²."""
    if args.ivar is None:
        return None
    return _beside(args, image, args.ivar, "inverse variance").inverse_variance(image.unit)


def _cards(
    args: argparse.Namespace,
    image: skyfill.maps.ImageFile,
    model: skyfill.images.Model,
    found: skyfill.images.Filled,
) -> Cards:
    """Record in header cards how the image was filled."""
    cards: Cards = {**records.command_cards(args)}
    cards["SFMETHOD"] = ("gaussian", "how the holes were filled")
    cards["SFCL"] = (model.theory, "theory C_ell")
    fwhm = model.fwhm if model.beam is None else model.beam.fwhm
    cards["SFBEAM"] = (float(f"{math.degrees(fwhm) * 60:.6g}"), "[arcmin] FWHM of the beam")
    if model.beam is not None:
        cards["SFBEAMF"] = (model.beam.name, "tabulated beam; SFBEAM: nearest Gaussian")
    if model.noise_uk_arcmin is not None:
        cards["SFNOISE"] = (model.noise_uk_arcmin, "[uK arcmin] white noise")
    else:
        cards["SFNOIMAP"] = (args.ivar.name, "inverse variance of each pixel")
    share = len(found.pixels) / image.values.size
    cards["SFFILLED"] = (round(share, 6), "share of the image that is filled")
    cards["SFHOLES"] = (args.holes or "enclosed", "which holes were filled; others are unchanged")
    cards["SFWHITE"] = (round(found.whitened, 4), "rms of decorrelated pixels, 1 if right")
    if found.iterations:
        cards["SFITER"] = (round(found.iterations, 1), "mean number of iterations for a hole")
    if math.isfinite(found.distance):
        cards["SFDIST"] = (float(f"{found.distance:.3e}"), "[uK] estimated rms from exact mean")
    if image.planes > 1:
        cards["SFSTOKES"] = ("T", "the plane that was filled")
    return cards


def _write(
    args: argparse.Namespace,
    path: Path,
    image: skyfill.maps.ImageFile,
    found: skyfill.images.Filled,
    fill: NDArray[np.float64],
    cards: Cards,
) -> None:
    """Write one filled image."""
    skyfill.maps.write_filled_image(
        path,
        image,
        found.pixels,
        fill / image.unit_to_uk,
        provenance=cards,
        history=[args.command, f"map {args.map.name}, mask {args.mask.name}"],
        overwrite=args.overwrite,
    )


def _lines(
    args: argparse.Namespace,
    image: skyfill.maps.ImageFile,
    model: skyfill.images.Model,
    found: skyfill.images.Filled,
    outputs: list[Path],
) -> list[str]:
    """Summarise the run in lines of text."""
    fwhm = model.fwhm if model.beam is None else model.beam.fwhm
    noise = (
        f"{model.noise_uk_arcmin:.4g} uK.arcmin"
        if model.noise_uk_arcmin is not None
        else f"of {args.ivar.name}"
    )
    lines = [
        f"prior    {model.theory}, beam {math.degrees(fwhm) * 60:.4g} arcmin, noise {noise}",
        f"check    decorrelated pixels have rms {found.whitened:.3f} (1 if the prior is right)",
        f"filled   {len(found.pixels)} pixels in {found.holes} groups of holes",
    ]
    if found.dense:
        lines.append(
            f"         {found.dense} of them solved densely: no band of parallels, nor flat"
        )
    if found.border:
        lines.append(
            f"outside  {int(found.outside.sum())} pixels in {found.border} regions that reach the"
            " border stay as they are; --holes all fills them, too"
        )
    if image.planes > 1:
        lines.append(f"planes   plane {image.plane} of {image.planes} (T) filled, others unchanged")
    written = [*outputs, *filter(None, (args.std,))]
    return [*lines, *[f"output   {path}" for path in written]]
