"""How the pages are built: `make docs`."""

import logging
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import matplotlib as mpl
from sphinx.application import Sphinx
from sphinx_gallery.sorting import ExplicitOrder

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
    "sphinx_gallery.gen_gallery",
    "verbs",
]
exclude_patterns = ["_build", "scripts", "tutorials/GALLERY_HEADER.rst"]

# The tutorials are the scripts of examples/, run as the pages are built.
mpl.use("agg")
logging.getLogger("healpy").setLevel(logging.WARNING)  # it tells every dipole that it takes out
TUTORIALS = [
    "fill_a_planck_map.py",
    "is_the_fill_right.py",
    "fill_polarization.py",
    "your_own_field.py",
    "fill_many_maps.py",
]
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "tutorials",
    "filename_pattern": "|".join(TUTORIALS),
    "ignore_pattern": "demo",
    "within_subsection_order": ExplicitOrder(TUTORIALS),
    "abort_on_example_error": True,
    "show_signature": False,
    "min_reported_time": 60,
    "image_scrapers": ("matplotlib",),
    "download_all_examples": False,
}
# Functions of the configuration cannot be kept between builds; nothing else is missed by it.
suppress_warnings = ["config.cache"]
html_theme = "furo"
html_title = "skyfill"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["width.css"]

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
