"""How the pages are built: `make docs`."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from sphinx.application import Sphinx

import skyfill

project = "skyfill"
author = "The skyfill developers"
copyright = "2026, the skyfill developers"  # noqa: A001 (Sphinx's name)
version = release = skyfill.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "verbs",
]
exclude_patterns = ["_build", "scripts"]
html_theme = "furo"
html_title = "skyfill"
html_show_sourcelink = False

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

default_role = "code"
napoleon_google_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
python_use_unqualified_type_names = True


def escape_bars(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Keep ``|a|`` an absolute value: in docstrings of ours it is never a substitution."""
    lines[:] = [re.sub(r"\|(?=\S)", r"\\|", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.connect("autodoc-process-docstring", escape_bars)
