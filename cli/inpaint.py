"""Fill the holes of a map.

Writes the map again with its holes filled and nothing else changed: observed pixels, unit, dtype,
ordering, frame and the other columns stay as they are. The fill is a sample of what the holes can
hold (a constrained realization), or, with --mean, the mean of it, which has less power.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import options, records
from .progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "add_engine",
    "add_fill",
    "configure",
    "inpainter_of",
    "observed_of",
    "refuse",
    "run",
    "write",
]

STD_DRAWS = 16  # realizations behind --std where fewer are written


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("map", type=Path, metavar="MAP", help="map to fill")
    parser.add_argument("mask", type=Path, metavar="MASK", help="its mask, 1 = observed")
    options.add_output(parser)
    kind = add_fill(parser)
    kind.add_argument(
        "--realizations",
        type=options.positive,
        default=1,
        metavar="N",
        help="write N of them: OUT_000.fits, OUT_001.fits, ... (default: one, OUT.fits)",
    )
    parser.add_argument(
        "--std",
        type=Path,
        metavar="FILE",
        help=f"also write the standard deviation over the realizations (at least {STD_DRAWS}); in "
        "small holes gaussian gives it without them",
    )
    add_engine(parser)
    options.add_threads(parser)
    options.add_quiet(parser)


def add_fill(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Declare how maps are read and what stands in their holes; give the group of --mean."""
    options.add_read(parser)
    options.add_read_mask(parser)
    parser.add_argument(
        "--method",
        choices=("vae", "gaussian", "diffuse", "cosmovae"),
        default="vae",
        help="vae: posterior under the prior, by the network; gaussian: the same, exactly; "
        "diffuse: neighbour means; cosmovae: the published network, for comparison (default: vae)",
    )
    parser.add_argument(
        "--polish",
        type=options.whole,
        metavar="N",
        help="N exact iterations after vae or diffuse (default: for vae 4 up to Nside 512, 1 in "
        "small holes beyond; for diffuse 0)",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--mean", action="store_true", help="the posterior mean, not a realization")
    parser.add_argument(
        "--fill",
        choices=("data", "signal"),
        default="data",
        help="realizations with noise in the holes, like the noise around them, or without "
        "(default: data)",
    )
    parser.add_argument(
        "--dipole",
        choices=("marginalise", "fit"),
        default="marginalise",
        help="monopole and dipole are as uncertain in the holes as the observed sky leaves them, "
        "or what is fitted to it is taken for the truth (default: marginalise)",
    )
    options.add_seed(parser)
    options.add_prior(parser, otherwise="Where nothing is given: fitted to the observed sky.")
    parser.add_argument(
        "--noise-map",
        type=Path,
        metavar="FILE",
        help="standard deviation of the noise in every pixel (gaussian only)",
    )
    return kind


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Declare how holes are filled."""
    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--tolerance",
        type=options.fraction,
        default=0.003,
        metavar="X",
        help="gaussian: estimated distance to the exact mean to stop at, in units of the map's rms "
        "(default: 0.003)",
    )
    engine.add_argument(
        "--weights",
        type=Path,
        action="append",
        metavar="FILE",
        help="weights (default: shipped); of several for cosmovae (--weights A --weights B), "
        "realizations take turns",
    )
    options.add_device(engine)
    engine.add_argument(
        "--batch-size",
        type=options.positive,
        metavar="N",
        help="tiles at once (default: what free memory allows)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    begun = time.perf_counter()
    options.set_threads(args.threads)
    refuse(args)
    if args.method == "diffuse" and (args.std or args.realizations > 1):
        raise ValueError("diffuse has one fill and no spread; drop --std and --realizations")
    outputs = _outputs(args)
    for path in [*outputs, *([args.std] if args.std else [])]:
        skyfill.check_writable(path, overwrite=args.overwrite)
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = skyfill.read_map(args.map, field=args.field, unit=args.unit)
        observed = observed_of(args)
        if args.threshold is not None:
            sense = "at or below" if args.invert else "above"
            listener.done(f"nside {sky.nside}, observed where the mask is {sense} {args.threshold}")
        else:
            listener.done(f"nside {sky.nside}, {sky.unit}, {'NESTED' if sky.nest else 'RING'}")
        fitter = inpainter_of(args, sky, observed, listener)
        spread = _Spread()
        draws = 0 if args.mean or args.method == "diffuse" else args.realizations
        if draws == 0:
            write(args, sky, fitter, outputs[0], fitter.mean(), None, listener)
        for index in range(max(draws, _draws_for_std(args, fitter))):
            fill = fitter.realization(index)
            if index < draws:
                write(args, sky, fitter, outputs[index], fill, index, listener)
            if args.std:
                spread.add(fill)
        if args.std:
            _write_std(args, sky, fitter, spread, listener)
    if args.json:
        print(json.dumps(_summary(args, sky, fitter, outputs, time.perf_counter() - begun)))
    return 0


def observed_of(args: argparse.Namespace) -> NDArray[np.bool_]:
    """Read the mask."""
    return skyfill.read_mask(
        args.mask, field=args.mask_field, threshold=args.threshold, invert=args.invert
    )


def inpainter_of(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    observed: NDArray[np.bool_],
    listener: skyfill.Progress,
) -> skyfill.Inpainter:
    """Prepare to fill a map as the options say."""
    return skyfill.Inpainter(
        sky.values,
        observed,
        method=args.method,
        prior=options.given_prior(args, sky.nside) if options.has_prior(args) else None,
        noise_rms=_noise_rms(args),
        fill=args.fill,
        dipole=args.dipole,
        polish=args.polish,
        tolerance=args.tolerance,
        seed=args.seed,
        weights=args.weights,
        device=args.device,
        batch_size=args.batch_size,
        threads=args.threads or 0,
        progress=listener,
    )


def _draws_for_std(args: argparse.Namespace, fitter: skyfill.Inpainter) -> int:
    """Say how many realizations --std needs: none where the spread is known everywhere."""
    import numpy as np

    return STD_DRAWS if args.std and not np.all(np.isfinite(fitter.std())) else 0


def refuse(args: argparse.Namespace) -> None:
    """Refuse options that say nothing together."""
    options.has_prior(args)
    if args.method == "cosmovae" and args.fill == "signal":
        raise ValueError("cosmovae cannot tell noise from signal; drop --fill, or use vae")
    if args.method == "gaussian" and args.polish:
        raise ValueError("gaussian is exact already; drop --polish, or pass a smaller --tolerance")


def _noise_rms(args: argparse.Namespace) -> NDArray[np.float64] | None:
    """Read --noise-map, µK."""
    if args.noise_map is None:
        return None
    return skyfill.read_map(args.noise_map, unit=args.unit).values


class _Spread:
    """Running mean and variance (Welford), so that realizations need not be kept."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: NDArray[np.float64] | float = 0.0
        self._squares: NDArray[np.float64] | float = 0.0

    def add(self, fill: NDArray[np.float64]) -> None:
        """Count one more realization."""
        self.count += 1
        away = fill - self._mean
        self._mean = self._mean + away / self.count
        self._squares = self._squares + away * (fill - self._mean)

    def std(self) -> NDArray[np.float64]:
        """Give the standard deviation, with n - 1; NaN of fewer than two."""
        import numpy as np

        if self.count < 2:
            return np.asarray(np.nan)
        return np.sqrt(np.asarray(self._squares) / (self.count - 1))


def _outputs(args: argparse.Namespace) -> list[Path]:
    """Name the files to be written."""
    if args.realizations == 1:
        return [args.output]
    name = args.output.name
    stem, dot, rest = name.partition(".fits")
    if not dot:
        stem, rest = name, ""
    return [
        args.output.with_name(f"{stem}_{index:03d}{dot}{rest}")
        for index in range(args.realizations)
    ]


def _cards(
    args: argparse.Namespace, fitter: skyfill.Inpainter
) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record what was done."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {**records.command_cards(args)}
    cards["SFMETHOD"] = (args.method, "how the holes were filled")
    if args.method in ("vae", "gaussian") and not args.mean:
        cards["SFLIKE"] = (args.fill, "what realizations are like: data or signal")
    if fitter.prior is not None:
        theory = args.cl.name if args.cl else records.LCDM
        cards |= records.prior_cards(fitter.prior, theory)
        cards["SFFITTED"] = (bool(fitter.prior.fitted), "beam and noise fitted to this map?")
    if fitter.polish:
        cards["SFPOLISH"] = (fitter.polish, "exact iterations after the method")
    if fitter.certificate is not None:
        found = fitter.certificate
        cards["SFITER"] = (found.iterations, "iterations on the holes")
        cards["SFCORR"] = (found.corrections, "corrections on the whole sphere")
        cards["SFRESID"] = (float(f"{found.residual:.3e}"), "residual, relative")
        if math.isfinite(found.distance):
            cards["SFDIST"] = (float(f"{found.distance:.3e}"), "[uK] estimated rms from exact mean")
        cards["SFCONV"] = (found.converged, "is that within the tolerance?")
    if fitter.card is not None:
        cards["SFMODEL"] = (fitter.card.name, "model card")
        cards["SFSHA256"] = (fitter.card.sha256, "sha256 of the weights")
    if args.weights and len(args.weights) > 1:
        cards["SFMODELS"] = (len(args.weights), "models that take turns, SFMODEL the first")
    return cards


def write(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    fitter: skyfill.Inpainter,
    path: Path,
    fill: NDArray[np.float64],
    index: int | None,
    listener: skyfill.Progress,
) -> NDArray[np.float64]:
    """Write one filled map; give the whole sky."""
    listener.stage("write")
    whole = sky.values.copy()
    whole[fitter.holes] = fill
    kind = "mean" if index is None else f"realization {index}"
    skyfill.write_filled(
        path,
        sky,
        whole,
        fitter.holes,
        provenance=_cards(args, fitter) | {"SFFILL": (kind, "what stands in the holes")},
        history=[args.command, f"map {args.map.name}, mask {args.mask.name}"],
        overwrite=args.overwrite,
    )
    listener.done(f"{path}, {kind}")
    return whole


def _write_std(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    fitter: skyfill.Inpainter,
    spread: _Spread,
    listener: skyfill.Progress,
) -> None:
    """Write the uncertainty map: zero where observed."""
    import numpy as np

    listener.stage("write")
    std = np.zeros(fitter.holes.size)
    exact = fitter.std()
    std[fitter.holes] = np.where(np.isfinite(exact), exact, spread.std())
    skyfill.write_map(
        args.std,
        std,
        column="STD",
        unit=sky.unit,
        nest=sky.nest,
        coord=sky.coord,
        provenance=_cards(args, fitter) | {"SFDRAWS": (spread.count, "realizations behind it")},
        history=[args.command],
        overwrite=args.overwrite,
    )
    listener.done(f"{args.std}, from {spread.count} realizations")


def _summary(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    fitter: skyfill.Inpainter,
    outputs: list[Path],
    seconds: float,
) -> dict[str, object]:
    """Say for a machine what was done."""
    summary: dict[str, object] = {
        "outputs": [str(path) for path in outputs],
        "std": str(args.std) if args.std else None,
        "nside": sky.nside,
        "filled_pixels": int(fitter.holes.sum()),
        "fsky": 1 - float(fitter.holes.mean()),
        "seconds": round(seconds, 2),
    }
    return summary | {key.lower(): value for key, (value, _) in _cards(args, fitter).items()}
