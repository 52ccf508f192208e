"""Show progress on stderr: a bar on a terminal, one line a stage in logs."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import skyfill

__all__ = ["progress"]


def progress(*, quiet: bool) -> AbstractContextManager[skyfill.Progress]:
    """Choose a listener: none, a bar on a terminal, or plain lines."""
    if quiet:
        return nullcontext(skyfill.Silent())
    return skyfill.progress.Bar() if sys.stderr.isatty() else skyfill.progress.Lines()
