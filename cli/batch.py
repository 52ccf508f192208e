"""Fill the holes of many maps of one mask.

Each map is filled as `skyfill inpaint` fills it. Its seed is derived from --seed and its position
among the inputs, sorted by name. The output has the name of the input. The same command, started
again, continues where it stopped: DIR/manifest.jsonl lists finished maps. The exit status is 1 if a
map failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import skyfill

from . import filling, options, polarized, reading, stokes, theory, transforms, wording
from .progress import progress

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["configure", "run"]

_Fitter = TypeVar("_Fitter", "skyfill.Inpainter", "skyfill.inpaint.PolarizedInpainter")

SUMMARY = "summary.ecsv"
SOME_FAILED = 1
#: Methods whose results change by up to 0.1 µK with the number of torch threads. A batch gives them
#: one torch thread, so that no fill depends on workers or threads. Other libraries may use more.
_NETWORKS = ("vae", *filling.NETWORKS)
#: Options that do not change a fill: they say where, when and by which process it is made.
_ASIDE = {
    *("maps", "output", "overwrite", "workers", "scheduler", "threads", "device", "batch_size"),
    *("memory_limit", "cache"),
    *("json", "quiet", "run", "command", "version", "why", "left_why"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        "maps", nargs="+", metavar="MAPS", help="maps to fill, or a pattern: 'sims/*.fits'"
    )
    parser.add_argument("mask", type=Path, metavar="MASK", help="their mask, 1 = observed")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="fill again what was filled with other settings, and replace foreign files",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=options.positive,
        default=1,
        metavar="N",
        help="number of processes; they share the threads, and each uses its own GPU where the "
        "machine has GPUs (default: 1)",
    )
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="fill on a Dask cluster: address (tcp://host:8786) or scheduler file",
    )
    filling.add_fill(parser)
    transforms.add_transform(parser)
    stokes.add_stokes(parser)
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    transforms.refuse(args)
    filling.refuse(args)
    inputs = skyfill.batch.inputs_of(args.maps)
    if args.mask.absolute() in inputs:
        raise ValueError(f"{args.mask} is the mask and among the maps; pass another pattern")
    tasks = skyfill.batch.tasks_of(
        inputs, args.output, seed=args.seed, realizations=args.realizations
    )
    # Read the mask and the prior once before the maps: an error in them concerns every map.
    asked, chosen = args, stokes.chosen(args, inputs[0])
    with stokes.or_t_alone(asked, chosen):
        args = _checked(chosen, inputs[0])
    settings = _settings(args)
    theory.given(args)
    args = _on_its_own(args)
    crew = _crew(args)
    said = [*filling.method_lines(args), *stokes.left_lines(args, inputs[0])]
    for line in [] if args.json else said:
        print(line)
    with (
        skyfill.batch.Manifest(args.output, settings, overwrite=args.overwrite) as manifest,
        progress(quiet=args.quiet) as listener,
    ):
        left = manifest.pending(tasks)
        before = len(tasks) - len(left)
        if before:
            listener.stage("go on")
            listener.done(f"{before} of {len(tasks)} maps are done")
        if left:
            manifest.begin(left)
        job = _Job(args, manifest.digest)
        failed = _fill(left, job, crew, manifest, listener, quiet=args.json, asked=asked)
        if not failed:
            manifest.forget()
        done = manifest.done(tasks)
        summary = _summarise(args, done, failed, before, listener)
    if args.json:
        print(json.dumps(summary))
    return SOME_FAILED if failed else 0


def _checked(args: argparse.Namespace, first: Path) -> argparse.Namespace:
    """Read the masks, and give options that keep to the memory limit; refuse what cannot be."""
    if stokes.is_polarized(args):
        stokes.refuse(args)
        theory.sky_spectra(args)
        observed, observed_pol, _ = stokes.masks_of(_with_map(args, first))
        seen = {"P": observed if observed_pol is None else observed_pol}
        if args.stokes == "TQU":
            seen = {"T": observed, **seen}
        args = stokes.settled(args, seen, shares=args.workers)
        polarized.within_limit(args, seen, shares=args.workers)
        return args
    one = stokes.of_one_column(_with_map(args, first))
    observed = reading.mask_of(one, args.mask)
    args = filling.settled(args, observed, shares=args.workers)
    kept = filling.stay_within(_with_map(args, first), observed, shares=args.workers)
    args = argparse.Namespace(**vars(args) | {"batch_size": kept.batch_size})
    if args.footprint is not None:
        footprint = filling.footprint_of(_with_map(args, first))
        skyfill.masks.enclosed_holes(observed, footprint)
    return args


def _with_map(args: argparse.Namespace, path: Path) -> argparse.Namespace:
    """Give the options of a run on one map."""
    return argparse.Namespace(**vars(args) | {"map": path})


def _fill(
    tasks: list[skyfill.batch.Task],
    job: _Job,
    crew: skyfill.batch.Here | skyfill.batch.Processes | skyfill.batch.Cluster,
    manifest: skyfill.batch.Manifest,
    listener: skyfill.Progress,
    *,
    quiet: bool,
    asked: argparse.Namespace,
) -> int:
    """Fill the maps; give the number of those that failed. ``asked`` are the options as given."""
    failed = number = 0
    told = ""
    if not tasks:
        return failed
    begun = time.perf_counter()
    listener.stage("fill")
    try:
        with closing(skyfill.batch.fill_all(tasks, job, crew)) as records:
            for number, record in enumerate(records, 1):
                manifest.add(record)
                for line in record.warnings:
                    line = wording.as_options(line)
                    print(f"skyfill: warning: {record.name}: {line}", file=sys.stderr)
                if record.error is not None:
                    failed += 1
                    why = stokes.with_t_alone(wording.as_options(record.error), asked, job.args)
                    print(f"skyfill: failed: {record.name}: {why}", file=sys.stderr)
                told = _told(record, told, quiet=quiet)
                left = (time.perf_counter() - begun) / number * (len(tasks) - number)
                listener.done(f"{record.name}, {number} of {len(tasks)}, {_span(left)} left")
                listener.stage("fill")
    except KeyboardInterrupt:
        print(
            f"skyfill: {number - failed} of {len(tasks)} maps were filled; the same command "
            "continues from there",
            file=sys.stderr,
        )
        raise
    listener.done(f"{len(tasks) - failed} of {len(tasks)} maps")
    return failed


def _told(record: skyfill.batch.Record, before: str, *, quiet: bool) -> str:
    """Print the prior of a map and the filled share of the sky if they differ from the last."""
    if not record.about:
        return before
    prior = record.about["prior"]
    words = "no prior" if prior is None else f"prior {prior['text']}"
    filled = record.about["filled"]
    if isinstance(filled, dict):
        words += "; " + ", ".join(f"{name} {share:.2%}" for name, share in filled.items())
        words += " of the sky filled"
    else:
        words += f"; {filled:.2%} of the sky filled"
    if words != before and not quiet:
        print(f"{record.name}: {words}")
    return words


def _summarise(
    args: argparse.Namespace,
    done: list[skyfill.batch.Record],
    failed: int,
    before: int,
    listener: skyfill.Progress,
) -> dict[str, Any]:
    """Write the mean spectrum, and say what was done."""
    seconds = sum(record.seconds for record in done)
    counts: dict[str, Any] = {
        "done": len(done),
        "done_before": before,
        "failed": failed,
        "seconds_per_map": round(seconds / max(len(done), 1), 2),
    }
    path = args.output / SUMMARY
    priors = [record.about.get("prior") for record in done]
    # Fitted priors differ from map to map; the manifest has each.
    counts["prior"] = priors[0] if priors and all(one == priors[0] for one in priors) else None
    counts["unconverged"] = sum(not record.converged for record in done)
    nside = done[0].nside if done else None
    whole = all(output.cl or output.cl_pol for record in done for output in record.outputs)
    if nside is not None and whole:  # a partial sky has no full-sky spectrum
        listener.stage("summary")
        about = {"seed": args.seed, "method": args.method, "seconds": round(seconds, 2)}
        each = [[{"TT": o.cl, **o.cl_pol} for o in record.outputs] for record in done]
        names = [name for name, cl in each[0][0].items() if cl]
        spectra = {name: [[fill[name] for fill in fills] for fills in each] for name in names}
        skyfill.batch.write_summary(path, nside, spectra, about | {"failed": failed})
        words = f"{len(done)} maps done, {failed} failed, {counts['seconds_per_map']} s a map"
        listener.done(f"{path}: {words}")
    return counts | {
        "method": args.method,
        "why": args.why,
        "folder": str(args.output),
        "summary": str(path) if done and whole else None,
        "outputs": [output.name for record in done for output in record.outputs],
    }


@dataclass(frozen=True)
class _Job:
    """Fill a map as `skyfill inpaint` does it."""

    args: argparse.Namespace
    settings: str

    def __call__(
        self, task: skyfill.batch.Task
    ) -> Generator[NDArray[np.float64], None, dict[str, Any]]:
        """Fill one map; arrays that depend on mask and prior only are kept from the map before."""
        options.set_threads(self.args.threads)
        words = {"map": task.input, "seed": task.seed, "overwrite": True}
        args = argparse.Namespace(**vars(self.args) | words)
        args.command = _alone(args)
        if stokes.is_polarized(args):
            return (yield from self._polarized(args, task))
        args = stokes.of_one_column(args)
        scalar = filling.has_scalar_prior(args)
        sky = reading.map_of(args, args.map, like=args.mask, single=True, scalar=scalar)
        silent = skyfill.Silent()
        last = self._last(skyfill.Inpainter)
        # A transform is fitted to each map anew, and a shift is in the unit of its own map.
        if last is None or args.transform is not None:
            observed = reading.mask_of(args, args.mask, like=sky)
            fitter = filling.inpainter_of(args, sky, observed, silent)
        else:
            _LAST[self.settings] = last  # kept in case this map cannot be read
            fitter = last.with_map(sky.values, seed=task.seed)
        _LAST[self.settings] = fitter
        if args.method in _NETWORKS:
            skyfill.vae.pick_device(args.device, threads=1)
        mean = args.mean or not fitter.stochastic
        for index, path in enumerate(task.outputs):
            fill = fitter.mean() if mean else fitter.realization(index)
            filling.write(args, sky, fitter, path, fill, None if mean else index, silent)
            yield fitter.whole(fill)
        if isinstance(fitter, skyfill.inpaint.TransformedInpainter):
            prior: dict[str, Any] | None = transforms.as_json(fitter)
        else:
            prior = theory.as_json(args, fitter.prior, fitter.noise)
        return {
            "prior": prior,
            "check": None if fitter.plausibility is None else fitter.plausibility.as_dict(),
            "filled": round(float(fitter.holes.mean()), 6),
        }

    def _polarized(
        self, args: argparse.Namespace, task: skyfill.batch.Task
    ) -> Generator[NDArray[np.float64], None, dict[str, Any]]:
        """Fill one map of T, Q and U, or of Q and U."""
        sky, silent = stokes.sky_of(args), skyfill.Silent()
        last = self._last(skyfill.inpaint.PolarizedInpainter)
        if last is None:
            first = sky.skies[0]
            masks, noise = stokes.masks_of(args, first)[:2], stokes.noise_of(args, first)
            fitter = polarized.fitter_of(args, sky, masks, noise, silent)
        else:
            _LAST[self.settings] = last  # kept in case this map cannot be read
            fitter = last.with_map(sky.components, seed=task.seed)
        _LAST[self.settings] = fitter
        if args.method in _NETWORKS:
            skyfill.vae.pick_device(args.device, threads=1)
        mean = args.mean or not fitter.stochastic
        for index, path in enumerate(task.outputs):
            fills = fitter.mean() if mean else fitter.realization(index)
            kind = "mean" if mean else f"realization {index}"
            polarized.write(args, sky, fitter, path, kind, fills, silent)
            yield fitter.whole(fills)
        prior = fitter.prior
        return {
            "prior": theory.as_json(args, None if prior is None else prior.temperature),
            "prior_pol": None if prior is None else polarized.prior_as_json(fitter, prior),
            "check": None if fitter.plausibility is None else fitter.plausibility.as_dict(),
            "filled": {
                name: round(float(holes.mean()), 6)
                for name, holes in zip(sky.stokes, fitter.holes, strict=True)
            },
        }

    def _last(self, kind: type[_Fitter]) -> _Fitter | None:
        """Take the inpainter of the last map out of the store, and forget those of other runs."""
        last = _LAST.pop(self.settings, None)
        _LAST.clear()
        return last if isinstance(last, kind) else None


#: The inpainter of the last map that this process filled, by the settings.
_LAST: dict[str, skyfill.Inpainter | skyfill.inpaint.PolarizedInpainter] = {}


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Collect the settings that change a fill; of files, the sha256 of their contents."""
    chosen = {name: value for name, value in vars(args).items() if name not in _ASIDE}
    # Options added later are left out at their defaults, so that older folders can be continued.
    before = {"realizations": 1, "holes": None, "footprint": None, "accept": False}
    before |= dict.fromkeys(("stokes", "mask_pol", "noise_pol_uk_arcmin", "polcconv", "r"))
    before |= {"reproject_mask": False, "transform": None, "shift": None}
    chosen = {name: value for name, value in chosen.items() if before.get(name, ...) != value}
    settings: dict[str, Any] = {"version": skyfill.__version__}
    for name, value in sorted(chosen.items()):
        if isinstance(value, Path):
            settings[name] = skyfill.batch.sha256_of(value)
        elif isinstance(value, list) and isinstance(value[0], Path):
            settings[name] = [skyfill.batch.sha256_of(path) for path in value]
        else:
            settings[name] = value
    return settings


def _alone(args: argparse.Namespace) -> str:
    """Give the `skyfill inpaint` command that makes the same fill of this map, for its header."""
    words = ["skyfill", "inpaint", args.map.name, args.mask.name]
    for name in sorted(vars(args).keys() - _ASIDE - {"map", "mask"}):
        option, value = f"--{name.replace('_', '-')}", getattr(args, name)
        if value is False and name == "pixel_window":
            words.append("--no-pixel-window")
        elif value is True:
            words.append(option)
        elif isinstance(value, tuple):
            words += [option, ",".join(map(str, value))]
        elif value is not None and value is not False and (name, value) != ("realizations", 1):
            for one in value if isinstance(value, list) else [value]:
                words += [option, one.name if isinstance(one, Path) else str(one)]
    return shlex.join(words + (["--threads", "1"] if args.method in _NETWORKS else []))


def _on_its_own(args: argparse.Namespace) -> argparse.Namespace:
    """Make the options independent of the working folder, for use in other processes."""
    words = {
        name: value.resolve() if isinstance(value, Path) and name != "output" else value
        for name, value in vars(args).items()
    }
    words["cache"] = words["cache"] or (args.output / skyfill.batch.Manifest.SETUP).resolve()
    words["weights"] = [path.resolve() for path in args.weights] if args.weights else None
    shared = args.scheduler is not None or args.workers > 1
    if shared and args.threads is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        words["threads"] = 1 if args.scheduler else max(1, (cores or 1) // args.workers)
    return argparse.Namespace(**words)


def _crew(
    args: argparse.Namespace,
) -> skyfill.batch.Here | skyfill.batch.Processes | skyfill.batch.Cluster:
    """Choose where maps are filled: in this process, in several, or on a cluster."""
    if args.scheduler is not None:
        return skyfill.batch.Cluster(args.scheduler)
    options.set_threads(args.threads)  # processes begin with this environment
    return skyfill.batch.Processes(args.workers) if args.workers > 1 else skyfill.batch.Here()


def _span(seconds: float) -> str:
    """Write a duration in words."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
