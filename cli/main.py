"""Parse the command line, run a verb, and report an error as one line and an exit status."""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

import skyfill

from .configuration import add_config, expanded, write
from .usage import Parser, check_words, verbs_below
from .wording import as_options

__all__ = ["VERBS", "build_parser", "main"]

VERBS = (
    "inpaint",
    "batch",
    "validate",
    "spectrum",
    "posterior",
    "prior",
    "simulate",
    "mask",
    "info",
    "models",
    "tiles",
    "train",
    "evaluate",
    "completion",
)
"""Each verb is a module with `configure(parser)`, its options, and `run(args) -> int`."""

#: Verbs without --config: they have hardly any options.
_UNCONFIGURED = ("completion", "info", "models")
WRONG_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
TERMINATED = 143  # 128 + SIGTERM, which batch systems send before they kill
#: Options of mallopt, bytes: free memory at the top that is kept (M_TRIM_THRESHOLD), steps in which
#: it grows (M_TOP_PAD), and the smallest array that is the system's own (M_MMAP_THRESHOLD).
_ALLOCATION = {-1: 2**31 - 1, -2: 2**26, -3: 2**30}
_NO_ROOM = {errno.ENOSPC, errno.EROFS, errno.EACCES}


class _Version(argparse.Action):
    """Look up the version only when it is printed, since that takes time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"skyfill {skyfill.__version__}")
        parser.exit()


def build_parser() -> Parser:
    """Build the parser of every verb; the documentation and the tests also use it."""
    parser = Parser(
        prog="skyfill",
        description="Fill the holes of a HEALPix sky map, and check the result.",
        epilog="`skyfill VERB --help` explains a verb. Masks: 1 = observed.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(metavar="VERB", required=True, title="verbs")
    for name in VERBS:
        module = import_module(f".{name}", __package__)
        summary = (module.__doc__ or "").strip()
        verb = verbs.add_parser(
            name,
            help=summary.splitlines()[0].rstrip("."),
            description=summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.configure(verb)
        verb.set_defaults(run=module.run)
        if name not in _UNCONFIGURED:
            for leaf in (verbs_below(verb) or {name: verb}).values():
                add_config(leaf)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status; docs/cli.md says what each means."""
    argv = sys.argv[1:] if argv is None else argv
    args = argparse.Namespace()
    with warnings.catch_warnings(), _stopped_cleanly():
        try:
            parser = build_parser()
            verb = check_words(parser, argv)
            argv = expanded(parser, argv)
            args, others = parser.parse_known_args(argv)
            if others:
                verb.error(f"there are too many arguments: {' '.join(others)}")
            args.command = shlex.join(["skyfill", *argv])  # recorded in the outputs
            warnings.showwarning = _teller()
            return _run(parser, argv, args)
        except BrokenPipeError:  # `skyfill info ... | head`: the reader has closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except ValueError as error:
            return _fail(str(error))
        except OSError as error:
            return _fail(_named(error, args))
        except MemoryError as error:
            return _fail(str(error) or "not enough memory")
        except _Terminated:
            print("skyfill: terminated", file=sys.stderr)
            return TERMINATED
        except KeyboardInterrupt:
            print("skyfill: interrupted", file=sys.stderr)
            return INTERRUPTED


def _keep_memory() -> None:
    """Let arrays be made in the memory of freed ones, where the C library is glibc.

    It gives whole maps back to the system by default, and fresh pages for the next ones cost 6 to
    9% of the time of a fill. A map has up to 0.8 GB below Nside 4096.
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, size in _ALLOCATION.items():
            mallopt(option, size)


def _run(parser: argparse.ArgumentParser, argv: Sequence[str], args: argparse.Namespace) -> int:
    """Run the verb, without the options of configuration, and write those of the run if asked."""
    options = vars(args)
    options.pop("config", None)
    file: Path | None = options.pop("write_config", None)
    if file is not None:
        skyfill.check_writable(file, overwrite=bool(options.get("overwrite")))
    _keep_memory()
    status = int(args.run(args))
    if file is not None and not status:
        write(parser, argv, file)
    return status


class _Terminated(KeyboardInterrupt):
    """SIGTERM was received. Handled like Ctrl-C, with another exit status."""


@contextmanager
def _stopped_cleanly() -> Iterator[None]:
    """Let SIGTERM unwind the stack, as Ctrl-C does, so that unfinished files are removed."""

    def stop(*_: object) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals only in the main thread
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _named(error: OSError, args: argparse.Namespace) -> str:
    """Write an error of the operating system with the file it concerns."""
    if error.errno is None or error.strerror is None:  # raised by skyfill with its own message
        return str(error)
    name = error.filename or getattr(args, "output", None)
    mend = "; write elsewhere" if error.errno in _NO_ROOM else ""
    return f"{name}: {error.strerror}{mend}" if name else f"{error.strerror}{mend}"


def _fail(message: str) -> int:
    """Print an error in one line."""
    print("skyfill: error:", " ".join(as_options(message).split()), file=sys.stderr)
    return WRONG_INPUT


def _teller() -> Callable[..., None]:
    """Print each warning once, as a sentence without its place in the source."""
    shown: set[str] = set()

    def tell(message: Warning | str, *_: object) -> None:
        text = " ".join(as_options(str(message)).split())
        if text not in shown:
            print("skyfill: warning:", text, file=sys.stderr)
        shown.add(text)

    return tell
