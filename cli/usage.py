"""Report a wrong command line in one line, with a suggestion where there is one."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

__all__ = ["Parser", "check_words", "nearest", "verbs_below"]

WRONG_USAGE = 2

#: Words that users of other programs type, and the verbs that they mean.
_VERBS = {
    "fill": "inpaint",
    "run": "inpaint",
    "power": "spectrum",
    "cl": "spectrum",
    "anafast": "spectrum",
    "synfast": "simulate sky",
    "sim": "simulate",
    "describe": "info",
    "header": "info",
    "check": "validate",
    "test": "validate",
    "score": "evaluate",
    "weights": "models",
    "help": "--help",
    "version": "--version",
}
#: Options of other programs, and their names here, the likeliest first. Only options that the verb
#: has are suggested.
_OPTIONS = {
    "apod": ("--apodize-deg",),
    "apodize": ("--apodize-deg",),
    "apodise": ("--apodize-deg",),
    "apodisation": ("--apodize-deg",),
    "apodization": ("--apodize-deg",),
    "b": ("--batch-size",),
    "batch": ("--batch-size",),
    "beam-file": ("--beam",),
    "bl": ("--beam",),
    "beam-fwhm": ("--beam-arcmin",),
    "beam-size": ("--beam-arcmin",),
    "clobber": ("--overwrite",),
    "column": ("--field",),
    "col": ("--field",),
    "coord": ("--frame",),
    "coordsys": ("--frame",),
    "cpus": ("--threads",),
    "cores": ("--threads",),
    "cut": ("--galactic-cut",),
    "debug": (),
    "dryrun": ("--dry-run",),
    "epochs": ("--steps", "--max-steps"),
    "ext": ("--hdu",),
    "extension": ("--hdu",),
    "f": ("--overwrite",),
    "force": ("--overwrite",),
    "fwhm": ("--beam-arcmin",),
    "fwhm-arcmin": ("--beam-arcmin",),
    "gpu": ("--device cuda",),
    "cuda": ("--device cuda",),
    "cpu": ("--device cpu",),
    "grow": ("--grow-arcmin",),
    "inverse": ("--invert",),
    "jobs": ("--workers", "--threads"),
    "j": ("--workers", "--threads"),
    "l-max": ("--lmax",),
    "lmax-out": ("--lmax",),
    "logl": ("--quiet",),
    "mask-threshold": ("--threshold",),
    "memory": ("--memory-limit",),
    "mem": ("--memory-limit",),
    "model": ("--weights", "--method"),
    "n": ("--realizations",),
    "n-procs": ("--workers", "--threads"),
    "nproc": ("--workers", "--threads"),
    "n-realizations": ("--realizations",),
    "n-sims": ("--realizations",),
    "n-threads": ("--threads",),
    "nthreads": ("--threads",),
    "niter": ("--polish", "--steps"),
    "noise": ("--noise-uk-arcmin", "--noise-map"),
    "noise-arcmin": ("--noise-uk-arcmin",),
    "noise-level": ("--noise-uk-arcmin",),
    "noise-rms": ("--noise-map", "--noise-uk-arcmin"),
    "nsim": ("--realizations",),
    "nsims": ("--realizations",),
    "nreal": ("--realizations",),
    "num-realizations": ("--realizations",),
    "num-threads": ("--threads",),
    "num-workers": ("--workers",),
    "samples": ("--realizations",),
    "out": ("-o",),
    "outfile": ("-o",),
    "output-dir": ("-o",),
    "outdir": ("-o",),
    "output-file": ("-o",),
    "output-map": ("-o",),
    "pixwin": ("--pixel-window",),
    "pixel-win": ("--pixel-window",),
    "power-spectrum": ("--cl",),
    "prior-cl": ("--cl",),
    "progress": (),
    "radius": ("--radius-arcmin",),
    "random-seed": ("--seed",),
    "replace": ("--overwrite",),
    "rng": ("--seed",),
    "sigma": ("--noise-uk-arcmin", "--std"),
    "silent": ("--quiet",),
    "spectrum": ("--cl",),
    "spectra": ("--cl",),
    "std-dev": ("--std",),
    "theory": ("--cl",),
    "theory-cl": ("--cl",),
    "tol": ("--tolerance",),
    "units": ("--unit",),
    "v": (),
    "verbose": (),
}
#: Options of other programs that have no counterpart here, and why.
_NOT_HERE = {
    "debug": "progress is shown unless -q is given, and errors are one line",
    "progress": "progress is shown unless -q is given",
    "v": "progress is shown unless -q is given",
    "verbose": "progress is shown unless -q is given",
    "nest": "the order of a file's pixels is read from its header",
    "nested": "the order of a file's pixels is read from its header",
    "ring": "the order of a file's pixels is read from its header",
    "nside": "the resolution is the file's own",
}
#: Similarity (0 to 1, of difflib) above which a word counts as a misspelling of another.
_LIKE = 0.6
#: What an option takes, by the name of the function in `options` that reads it.
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "whole": "a whole number, 0 or more",
    "positive": "a whole number, 1 or more",
    "amount": "a number, 0 or more",
    "fraction": "a number above 0 and at most 1",
    "arcmin": "an angle in arcminutes",
    "latitude": "an angle in degrees, from 0 to 90",
    "size": "an amount of memory, for example 8G",
}


class Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line and does not accept abbreviated options.

    A new option can make an abbreviation ambiguous; `--noise` already matches two options.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (those of argparse)
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line and exit with status 2."""
        line = " ".join(_plain(message).split())
        end = " See" if line.endswith("?") else "; see"
        self.exit(WRONG_USAGE, f"skyfill: error: {_verb(self)}{line}{end} `{self.prog} --help`\n")


def check_words(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.ArgumentParser:
    """Refuse verbs and options that do not exist; return the parser of the verb.

    argparse alone would first complain of a missing argument, and would read `-overwrite` as
    `-o verwrite`.
    """
    rest = list(argv)
    while True:
        below = verbs_below(parser)
        if below is None:
            break
        place = next((i for i, word in enumerate(rest) if not word.startswith("-")), None)
        _check_options(parser, rest if place is None else rest[:place], below)
        if place is None:
            return parser  # --help, or no verb: argparse's own message is clear
        word = rest[place]
        if word not in below:
            parser.error(f"there is no verb {word!r}{_meant_verb(word, below)}")
        parser, rest = below[word], rest[place + 1 :]
    _check_options(parser, rest)
    return parser


def _check_options(
    parser: argparse.ArgumentParser,
    words: Iterable[str],
    verbs: Mapping[str, argparse.ArgumentParser] | None = None,
) -> None:
    """Refuse words that look like options but are unknown here; `verbs` are searched for them."""
    known = {
        option: action
        for action in parser._actions  # noqa: SLF001 - argparse has no other way
        for option in action.option_strings
    }
    for word in words:
        if word == "--":
            return
        if not word.startswith("-") or word == "-" or re.match(r"-\.?\d", word):
            continue
        name = word.partition("=")[0]
        if name in known:
            continue
        if not word.startswith("--"):
            long = f"-{name}"
            if word[:2] in known and long not in known and name[1:] not in _OPTIONS:
                continue  # -ofile, -qo file
        theirs = [verb for verb, below in (verbs or {}).items() if name in _names(below)]
        if theirs and name not in ("-v", "-V"):
            parser.error(f"{name} must follow the verb; give one of {', '.join(theirs)} first")
        parser.error(f"there is no option {name}{_meant_option(name.lstrip('-'), known)}")


def _names(parser: argparse.ArgumentParser) -> set[str]:
    """Give the options of a parser and of its subparsers."""
    names = set(parser._option_string_actions)  # noqa: SLF001 - argparse has no other way
    return names.union(*map(_names, (verbs_below(parser) or {}).values()))


def _meant_verb(word: str, verbs: Iterable[str]) -> str:
    lower = word.lower()
    if lower in _VERBS:
        meant = [_VERBS[lower]]
    else:
        meant = difflib.get_close_matches(lower, list(verbs), n=1, cutoff=_LIKE)
    if meant:
        return f"; did you mean {meant[0]}?"
    return f"; choose one of {', '.join(verbs)}"


def _meant_option(name: str, known: Iterable[str]) -> str:
    """Suggest the name of an unknown option; an empty string without a suggestion."""
    if name == "V" and "--version" in known:
        return "; did you mean --version?"
    name = name.lower().replace("_", "-")
    options = [option for option in known if option.startswith("--")]
    every = {*known}
    if f"--{name}" in every:
        return f"; did you mean --{name}?"
    meant = [each for each in _OPTIONS.get(name, ()) if each.partition(" ")[0] in every]
    if not meant and name in _NOT_HERE:
        return f": {_NOT_HERE[name]}"
    if not meant:
        meant = [option for option in options if option.startswith(f"--{name}-")]
    if not meant and not _OPTIONS.get(name):  # a known word for an option that this verb lacks
        like = difflib.get_close_matches(name, [each[2:] for each in options], n=1, cutoff=_LIKE)
        meant = [f"--{each}" for each in like]
    return f"; did you mean {' or '.join(meant)}?" if meant else ""


def verbs_below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser] | None:
    """Give the verbs of a parser, None if it has none."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return None


def nearest(name: str, known: Iterable[str]) -> str:
    """Give the known name that is most like another; an empty string if none is."""
    name = name.lower()
    by_others = [each.lstrip("-") for each in _OPTIONS.get(name, ())]
    among = list(known)
    like = [each for each in by_others if each in among]
    like += difflib.get_close_matches(name, among, n=1, cutoff=_LIKE)
    return like[0] if like else ""


def _verb(parser: argparse.ArgumentParser) -> str:
    """Name the verb for the start of a message; an empty string for the command itself."""
    name = parser.prog.partition(" ")[2]
    return f"{name}: " if name else ""


def _plain(message: str) -> str:
    """Rewrite messages of argparse that name its functions."""
    found = re.fullmatch(r"argument (\S+): invalid (\w+) value: (.*)", message, re.DOTALL)
    if found and found[2] in _KINDS:
        return f"{found[1]} takes {_KINDS[found[2]]}, got {found[3]}"
    found = re.fullmatch(
        r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL
    )
    if found:
        choices = [word.strip(" '\"") for word in found[3].split(",")]
        like = difflib.get_close_matches(found[2].lower(), choices, n=1, cutoff=_LIKE)
        meant = f"; did you mean {like[0]}?" if like else ""
        return f"{found[1]} {found[2]!r} is unknown; choose one of {', '.join(choices)}{meant}"
    return message
