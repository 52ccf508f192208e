"""The command line: `skyfill VERB ...`."""

from .main import main

__all__ = ["main"]
