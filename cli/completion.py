"""Print the completion script of a shell.

bash: `source <(skyfill completion bash)` in ~/.bashrc. zsh: the same with `zsh` in ~/.zshrc, after
`compinit`. fish: `skyfill completion fish > ~/.config/fish/completions/skyfill.fish`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import import_module

from .usage import verbs_below

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    # The parser is built by `main`, which imports this file.
    parser = import_module(".main", __package__).build_parser()
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](parser), end="")
    return 0


def _leaves(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Give every parser with the words that lead to it, the command itself first."""
    yield path, parser
    for name, below in (verbs_below(parser) or {}).items():
        yield from _leaves(below, (*path, name))


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Give the options of a parser."""
    return [action for action in parser._actions if action.option_strings]  # noqa: SLF001


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Give what may follow: verbs, else the options."""
    below = verbs_below(parser)
    if below is not None:
        return [*below, *(name for action in _options(parser) for name in action.option_strings)]
    return [name for action in _options(parser) for name in action.option_strings]


def _choices(parser: argparse.ArgumentParser) -> Iterator[tuple[list[str], list[str]]]:
    """Give options that take one of some words, with the words."""
    for action in _options(parser):
        if action.choices:
            yield list(action.option_strings), [str(one) for one in action.choices]


def _arguments(parser: argparse.ArgumentParser) -> list[str]:
    """Give the words of an argument that takes one of some."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        if not action.option_strings and action.choices and verbs_below(parser) is None:
            return [str(one) for one in action.choices]
    return []


def _bash(parser: argparse.ArgumentParser) -> str:
    """Write the script of bash; files are completed where nothing else is."""
    places, choices, verbs = [], [], []
    for path, each in _leaves(parser):
        name = "_".join(path)
        if path:
            places.append(f'            "{"_".join(path[:-1])} {path[-1]}") verb="{name}" ;;')
        for options, words in _choices(each):
            asked = " | ".join(f'"{name} {option}"' for option in options)
            reply = f'COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$word")); return'
            choices.append(f"        {asked}) {reply} ;;")
        candidates = " ".join([*_words(each), *_arguments(each)])
        verbs.append(f'        "{name}") candidates="{candidates}" ;;')
    groups = " ".join("_".join(path) for path, each in _leaves(parser) if verbs_below(each))
    return "\n".join(
        [
            "# bash completion of skyfill",
            "_skyfill() {",
            "    local word before verb candidates i",
            '    word="${COMP_WORDS[COMP_CWORD]}"',
            '    before="${COMP_WORDS[COMP_CWORD-1]}"',
            '    verb=""',
            "    for ((i = 1; i < COMP_CWORD; i++)); do",
            '        case "$verb ${COMP_WORDS[i]}" in',
            *places,
            "        esac",
            "    done",
            '    case "$verb $before" in',
            *choices,
            "    esac",
            '    case "$verb" in',
            *verbs,
            "    esac",
            "    COMPREPLY=()",
            f'    if [[ "$word" == -* || -z "$verb" || " {groups} completion " == *" $verb "* ]]',
            "    then",
            '        COMPREPLY=($(compgen -W "$candidates" -- "$word"))',
            "    fi",
            "}",
            "complete -o default -F _skyfill skyfill",
            "",
        ]
    )


def _zsh(parser: argparse.ArgumentParser) -> str:
    """Write the script of zsh, which runs that of bash."""
    return f"autoload -U +X bashcompinit && bashcompinit\n{_bash(parser)}"


def _fish(parser: argparse.ArgumentParser) -> str:
    """Write the script of fish, with the help of each option."""
    lines = ["# fish completion of skyfill"]
    for path, each in _leaves(parser):
        below = verbs_below(each)
        seen = " ".join(f"__fish_seen_subcommand_from {word};" for word in path[-1:])
        if len(path) > 1:
            seen = f"__fish_seen_subcommand_from {path[0]}; and {seen}"
        if below is not None:
            unseen = f"not __fish_seen_subcommand_from {' '.join(below)}"
            where = f"{seen} and {unseen}" if path else unseen
            for name, child in below.items():
                said = _quoted((child.description or "").splitlines()[0])
                lines.append(f"complete -c skyfill -f -n '{where}' -a {name} -d {said}")
        words = _arguments(each)
        lines += [f"complete -c skyfill -f -n '{seen.rstrip(';')}' -a {word}" for word in words]
        for action in _options(each):
            names = [
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in action.option_strings
            ]
            takes = ""
            if action.choices:
                takes = f" -x -a '{' '.join(map(str, action.choices))}'"
            elif action.nargs != 0:
                takes = " -r"
            where = f" -n '{seen.rstrip(';')}'" if path else ""
            said = _quoted((action.help or "").replace("%%", "%").partition("; ")[0])
            lines.append(f"complete -c skyfill{where} {' '.join(names)}{takes} -d {said}")
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    """Quote a text for fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
