"""The page: facts, plates, findings and uses, put into a template."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from os import PathLike

from skyfill.fidelity.figures import VERDICTS
from skyfill.files.atomic import atomic_write
from skyfill.report.findings import Finding

__all__ = ["Plate", "Report"]

#: What the worst verdict says of the whole fill.
_HEADLINES = {
    "": "Nothing on this page judges this fill: it is no sample of the sky (see its uses).",
    "good": "Nothing that was looked at speaks against this fill.",
    "doubtful": "Some of it is doubtful: look at what is marked before you use this fill.",
    "bad": "This fill fails what is marked: find out why before you use it.",
}


@dataclass(frozen=True)
class Plate:
    """A picture: PNG bytes, a title, and what is to be seen on it.

    ``wide`` ones have at most one neighbour.
    """

    title: str
    caption: str
    png: bytes = field(repr=False)
    wide: bool = False

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` address, so that the page needs no other file."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Report:
    """All that stands on the page.

    Attributes
    ----------
    title, subtitle
        Of the page.
    facts
        Tables by their headings: what was run, on what, with which prior.
    plates
        Groups of pictures by their headings.
    findings
        In the order shown.
    allowed, forbidden
        What the fill may be used for, and what not.
    """

    title: str
    subtitle: str
    facts: Mapping[str, Mapping[str, str]]
    plates: Mapping[str, Sequence[Plate]]
    findings: Sequence[Finding]
    allowed: Sequence[str]
    forbidden: Sequence[str]

    @property
    def verdict(self) -> str:
        """The worst verdict of the findings; empty where there is none."""
        given = [VERDICTS.index(each.verdict) for each in self.findings if each.verdict]
        return VERDICTS[max(given)] if given else ""

    def html(self) -> str:
        """Give the page: no script, nothing fetched."""
        from jinja2 import Environment, StrictUndefined

        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        template = resources.files("skyfill.report").joinpath("page.html").read_text("utf-8")
        return environment.from_string(template).render(
            report=self, headline=_HEADLINES[self.verdict]
        )

    def write(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the page.

        Raises
        ------
        OSError
            The file exists and `overwrite` is false, or it cannot be written.
        """
        text = self.html()
        with atomic_write(path, overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8")
