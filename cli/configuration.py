"""Options from a file, `--config FILE.toml`, and to a file, `--write-config FILE.toml`.

A file has the names of options without their dashes, `beam-arcmin = 7.2`, and those of arguments,
`map = "map.fits"`. What stands in it is put before the words of the command line, so that these
decide. Tables named after verbs, `[inpaint]`, make one file serve several verbs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import skyfill

from .usage import nearest, verbs_below

__all__ = ["add_config", "expanded", "write"]

#: Options of this file, which it does not hold itself.
_OWN = ("config", "write_config", "help")

#: Texts that TOML and the parsers of options read as the same number.
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")

Given = dict[str, list[str]]


def add_config(parser: argparse.ArgumentParser) -> None:
    """Declare --config and --write-config."""
    group = parser.add_argument_group("configuration")
    group.add_argument(
        "--config",
        type=Path,
        metavar="FILE.toml",
        help="read options from a file; those of the command line win",
    )
    group.add_argument(
        "--write-config",
        type=Path,
        metavar="FILE.toml",
        help="write the options of this run to a file that --config reads",
    )


def expanded(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """Replace --config by the words that the file stands for.

    Parameters
    ----------
    parser
        The parser of all verbs.
    argv
        Words of the command line that `check_words` has accepted.

    Raises
    ------
    ValueError
        The file is no TOML, has a key that the verb does not know, or a value that no option takes.
    """
    verb, path, words = _verb_of(parser, argv)
    given, positional = _split(verb, words)
    files = given.pop("config", [])
    if not files:
        return list(argv)
    file = Path(files[-1])
    found = _read(parser, verb, path, file)
    # Arguments come first: an option that may have a value would take one for its own.
    out = [*path, *_places(verb, positional, found, file)]
    for action in _options(verb):
        if action.dest in found and not _is_decided(verb, action, given):
            out += _as_words(action, found[action.dest], file)
    for action in _options(verb):
        for value in given.get(action.dest, []):
            out += _as_written(action, value)
    return out


def write(parser: argparse.ArgumentParser, argv: Sequence[str], file: Path) -> None:
    """Write the options of a command line, as `expanded` gave it, to a file.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    verb, path, words = _verb_of(parser, argv)
    given, positional = _split(verb, words)
    lines = [
        f"# skyfill {skyfill.__version__}",
        f"# skyfill {' '.join(path)} --config {file.name}",
    ]
    for action, values in _assigned(verb, positional):
        many = action.nargs in ("*", "+")
        lines.append(f"{action.dest} = {_toml(values if many else values[0], False)}")
    for action in _options(verb):
        values = given.get(action.dest, [])
        if not values or action.dest in _OWN:
            continue
        value: Any = values if _repeats(action) else values[-1]
        if action.nargs == 0:
            value = not str(values[-1]).startswith("--no-")
        elif isinstance(action.nargs, int | str) and action.nargs != "?":
            value = values
        elif action.nargs == "?" and value == "":
            value = True
        lines.append(f"{_key(action)} = {_toml(value, action.type is not Path)}")
    unfinished = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _verb_of(
    parser: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.ArgumentParser, list[str], list[str]]:
    """Give the parser of the verb, its name, and the words after it."""
    rest, path = list(argv), []
    while (below := verbs_below(parser)) is not None and rest and rest[0] in below:
        path.append(rest.pop(0))
        parser = below[path[-1]]
    return parser, path, rest


def _options(verb: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Give the options of a verb."""
    yield from (action for action in verb._actions if action.option_strings)  # noqa: SLF001


def _arguments(verb: argparse.ArgumentParser) -> list[argparse.Action]:
    """Give the arguments of a verb, in order."""
    return [action for action in verb._actions if not action.option_strings]  # noqa: SLF001


def _split(verb: argparse.ArgumentParser, words: Sequence[str]) -> tuple[Given, list[str]]:
    """Divide words into the values of each option, by its destination, and arguments.

    A flag has itself as its value, and an option with an optional value that has none, nothing.
    """
    known = {name: action for action in _options(verb) for name in action.option_strings}
    given: Given = {}
    positional: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return given, positional + rest
        if not word.startswith("-") or word == "-" or re.match(r"-\.?\d", word):
            positional.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in known and not word.startswith("--"):  # -ofile, -qo file
            name, equals, value = word[:2], word[2:], word[2:]
            if name in known and known[name].nargs == 0:
                rest.insert(0, f"-{value}")
                equals = ""
        action = known.get(name)
        if action is None:  # argparse will say so
            positional.append(word)
            continue
        taken = given.setdefault(action.dest, [])
        if not _repeats(action):
            taken.clear()
        if action.nargs == 0:
            taken.append(name)
        elif equals:
            taken.append(value)
        else:
            taken += _taken(action, rest)
    return given, positional


def _taken(action: argparse.Action, rest: list[str]) -> list[str]:
    """Take the values of an option from the words that follow it."""
    if action.nargs is None:
        return [rest.pop(0)] if rest else []
    most = {"?": 1, "*": len(rest), "+": len(rest)}.get(str(action.nargs), action.nargs)
    found: list[str] = []
    while rest and len(found) < int(most) and not re.match(r"-[^\d.]", rest[0]):
        found.append(rest.pop(0))
    return found or [""]


def _repeats(action: argparse.Action) -> bool:
    """Tell whether an option may be given several times."""
    return isinstance(action, argparse._AppendAction)  # noqa: SLF001


def _key(action: argparse.Action) -> str:
    """Name an option as a file does."""
    longest = max(action.option_strings, key=lambda name: (not name.startswith("--no-"), len(name)))
    return longest.lstrip("-")


def _read(
    parser: argparse.ArgumentParser, verb: argparse.ArgumentParser, path: list[str], file: Path
) -> dict[str, Any]:
    """Read a file, and give the values of the verb by their destinations."""
    import tomllib

    try:
        with file.open("rb") as stream:
            table = tomllib.load(stream)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"--config {file} is no TOML: {error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"--config {file} is no TOML: it is not text in UTF-8") from None
    verbs = verbs_below(parser) or {}
    values = {name: each for name, each in table.items() if not isinstance(each, dict)}
    for name, each in table.items():
        if isinstance(each, dict) and name not in verbs:
            raise ValueError(f"--config {file} has a table [{name}], and there is no such verb")
    own: Any = table
    for word in path:
        own = own.get(word, {}) if isinstance(own, dict) else {}
        values |= {name: each for name, each in own.items() if not isinstance(each, dict)}
    known = {_key(action): action.dest for action in _options(verb) if action.dest not in _OWN}
    known |= {action.dest: action.dest for action in _arguments(verb)}
    found = {}
    for name, value in values.items():
        key = name.replace("_", "-")
        dest = known.get(name) or known.get(key)
        if dest is None:
            like = nearest(key, known)
            meant = f"; did you mean {like}?" if like else ""
            raise ValueError(
                f"--config {file} has {name!r}, which skyfill {' '.join(path)} does not know{meant}"
            )
        found[dest] = value
    return found


def _is_decided(verb: argparse.ArgumentParser, action: argparse.Action, given: Given) -> bool:
    """Tell whether the command line has an option, or one that excludes it."""
    if action.dest in given:
        return True
    groups = verb._mutually_exclusive_groups  # noqa: SLF001 - argparse has no other way
    alike = [group._group_actions for group in groups]  # noqa: SLF001
    return any(action in group and any(other.dest in given for other in group) for group in alike)


def _as_words(action: argparse.Action, value: Any, file: Path) -> list[str]:  # noqa: ANN401
    """Write a value of a file as words of the command line."""
    key = _key(action)
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"--config {file}: {key} is true or false, got {value!r}")
        negative = next((name for name in action.option_strings if name.startswith("--no-")), None)
        if value:
            return [f"--{key}"]
        return [negative] if negative and negative != f"--{key}" else []
    if value is True and action.nargs == "?":
        return [f"--{key}"]
    many = isinstance(value, list)
    some = value if many else [value]
    for one in some:
        if isinstance(one, bool) or not isinstance(one, str | int | float):
            raise ValueError(  # noqa: TRY004 (as for all that does not fit)
                f"--config {file}: {key} takes a number or a text, got {one!r}"
            )
    if action.nargs in (None, "?"):
        if many and not _repeats(action):
            raise ValueError(f"--config {file}: {key} takes one value, got {value!r}")
        return [f"--{key}={one}" for one in some]
    return [f"--{key}", *map(str, some)]


def _as_written(action: argparse.Action, value: str) -> list[str]:
    """Write a value of the command line as it was."""
    if action.nargs == 0:
        return [value]
    if action.nargs is None or (action.nargs == "?" and value):
        return [f"--{_key(action)}={value}"]
    return [f"--{_key(action)}", *([value] if value else [])]


def _assigned(
    verb: argparse.ArgumentParser, words: Sequence[str]
) -> Iterator[tuple[argparse.Action, list[str]]]:
    """Give each argument its words; one that takes many leaves one to each that follows."""
    rest, arguments = list(words), _arguments(verb)
    for place, action in enumerate(arguments):
        count = 1
        if action.nargs in ("*", "+"):
            count = max(len(rest) - (len(arguments) - place - 1), 0)
        if rest[:count]:
            yield action, rest[:count]
        del rest[:count]


def _places(
    verb: argparse.ArgumentParser, words: list[str], found: dict[str, Any], file: Path
) -> list[str]:
    """Give the arguments: those of the command line, and of the file those that it lacks."""
    arguments = _arguments(verb)
    if words and any(action.nargs in ("*", "+") for action in arguments):
        return words
    out = list(words)
    for action in arguments[len(words) :]:
        if action.dest not in found:
            break
        value = found[action.dest]
        some = value if isinstance(value, list) and action.nargs in ("*", "+") else [value]
        if not all(isinstance(one, str) for one in some):
            raise ValueError(f"--config {file}: {action.dest} names a file, got {value!r}")
        out += some
    return out


def _toml(value: str | bool | list[str], numbers: bool) -> str:
    """Write a value; a text that is a number as one, unless it may name a file."""
    if isinstance(value, list):
        return f"[{', '.join(_toml(one, numbers) for one in value)}]"
    if numbers and isinstance(value, str) and _NUMBER.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
