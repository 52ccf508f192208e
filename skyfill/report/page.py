"""The page: a template with facts, pictures, findings and uses."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from os import PathLike

from skyfill.brief import brief
from skyfill.fidelity.figures import VERDICTS
from skyfill.files.atomic import atomic_write
from skyfill.lazy import needs
from skyfill.report.findings import Finding

__all__ = ["Plate", "Report", "check_libraries"]

#: Headline of the page, by its worst verdict.
_HEADLINES = {
    "": "This fill has no verdicts, because it is not a sample of possible skies (see its uses).",
    "good": "This fill passes every test on this page.",
    "doubtful": "Some tests are doubtful: look at the marked ones before you use this fill.",
    "bad": "This fill fails the marked tests: find out why before you use it.",
}


def check_libraries() -> None:
    """Check that the optional libraries of a report are installed.

    Raises
    ------
    ImportError
        (Also a ValueError.) One is not; the message says how to install it.
    """
    needs("jinja2", "report")
    needs("matplotlib", "report")


@dataclass(frozen=True)
class Plate:
    """A picture with title and caption; the bytes are PNG.

    Not more than two ``wide`` pictures stand side by side; a ``full`` one stands alone.
    """

    __repr__ = brief

    title: str
    caption: str
    png: bytes = field(repr=False)
    wide: bool = False
    full: bool = False

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` address, so that the page needs no other file."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Report:
    """The content of a page.

    Attributes
    ----------
    title, subtitle
        Title and subtitle of the page.
    facts
        Tables by heading: the command, the files, the prior.
    plates
        Groups of pictures by heading.
    findings
        Findings in the order shown.
    allowed, forbidden
        Uses for which the fill is suited, and for which it is not.
    notes
        Further remarks on uses, by heading.
    unjudged
        The headline of a page without verdicts, if the fill is a sample of possible skies.
    """

    __repr__ = brief

    title: str
    subtitle: str
    facts: Mapping[str, Mapping[str, str]]
    plates: Mapping[str, Sequence[Plate]]
    findings: Sequence[Finding]
    allowed: Sequence[str]
    forbidden: Sequence[str]
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unjudged: str = ""

    @property
    def verdict(self) -> str:
        """The worst verdict of the findings; empty if there is none."""
        given = [VERDICTS.index(each.verdict) for each in self.findings if each.verdict]
        return VERDICTS[max(given)] if given else ""

    @property
    def marked(self) -> list[Finding]:
        """The findings that are not good, the worst first."""
        found = [each for each in self.findings if each.verdict not in ("", VERDICTS[0])]
        return sorted(found, key=lambda each: -VERDICTS.index(each.verdict))

    def html(self) -> str:
        """Give the page as HTML, without scripts or external files."""
        needs("jinja2")
        from jinja2 import Environment, StrictUndefined

        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        template = resources.files("skyfill.report").joinpath("page.html").read_text("utf-8")
        headline = (not self.verdict and self.unjudged) or _HEADLINES[self.verdict]
        return environment.from_string(template).render(
            report=self, headline=headline, counts=self._counts()
        )

    def _counts(self) -> str:
        """Say how many findings have which verdict."""
        given = [each.verdict for each in self.findings]
        parts = [f"{given.count(word)} {word}" for word in VERDICTS]
        return f"{len(given)} figures: {', '.join(parts)}, {given.count('')} without a verdict."

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
