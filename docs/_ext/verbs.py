"""Directives that show what a verb of the command line says: its help, or its answer."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
from importlib.metadata import entry_points
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

import skyfill


class VerbHelp(Directive):
    """Show the help of one verb, ``simulate sky``, straight from its parser."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Find the verb's parser and print it into a literal block."""
        (command,) = entry_points(group="console_scripts", name="skyfill")
        parser = command.load().__globals__["build_parser"]()
        for verb in self.arguments[0].split():
            parser = _subparsers(parser)[verb]
        os.environ["COLUMNS"] = "88"  # argparse asks the terminal otherwise
        return [nodes.literal_block(text=parser.format_help(), language="text")]


class VerbSays(Directive):
    """Run a command, ``models``, and show what it prints."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Run it here."""
        (command,) = entry_points(group="console_scripts", name="skyfill")
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            command.load()(self.arguments[0].split())
        text = said.getvalue().replace(str(Path(skyfill.__file__).parents[1]), "...")
        return [nodes.literal_block(text=text, language="text")]


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Give the parsers below a parser, by name."""
    (below,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))  # noqa: SLF001
    return dict(below.choices)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("verb-help", VerbHelp)
    app.add_directive("verb-says", VerbSays)
    return {"parallel_read_safe": True}
