"""The site: `sphinx-build -W docs site` makes it, without a network.

The reference has a page for every public module, found in the package tree at each build.
"""

import importlib.metadata
import re

from sphinx.application import Sphinx

project = "molvae"
author = "molvae developers"
copyright = author
release = importlib.metadata.version("molvae")

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_title = project
html_copy_source = False
myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 3
default_role = "code"  # `name` in a docstring
apidoc_modules = [
    {
        "path": "../molvae",
        "destination": "reference",
        "separate_modules": True,
        "module_first": True,
        "exclude_patterns": ["../molvae/cli/*", "../molvae/__main__.py"],
    }
]
autodoc_member_order = "bysource"
napoleon_use_ivar = True


def setup(app: Sphinx) -> None:
    """Read docstrings as plain text: only backticks and sections mean something."""
    app.connect("autodoc-process-docstring", escape_docstring, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", skip_member)


def escape_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Escape what reStructuredText would take for markup: |x|^2, (B, *shape), x_."""
    code = r"(`+[^`]*`+|^ *>>> (?:.+\n?)*)"
    parts = re.split(code, "\n".join(lines), flags=re.MULTILINE)
    parts[::2] = [re.sub(r"[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", text) for text in parts[::2]]
    lines[:] = "".join(parts).split("\n")


def skip_member(
    app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object
) -> bool | None:
    """Leave out the methods that scikit-learn adds to a class at run time."""
    return True if re.fullmatch(r"set_\w+_request", name) else None
