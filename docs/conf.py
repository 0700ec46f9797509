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
        "automodule_options": ["members", "show-inheritance"],
        "exclude_patterns": ["../molvae/cli/*", "../molvae/studio/*", "../molvae/__main__.py"],
    }
]
autoclass_content = "both"
autodoc_default_options = {"special-members": "__call__"}
autodoc_member_order = "bysource"
napoleon_use_ivar = True


def setup(app: Sphinx) -> None:
    """Connect what follows."""
    app.connect("source-read", shorten_title)
    app.connect("autodoc-process-docstring", escape_docstring, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", skip_member)


def shorten_title(app: Sphinx, name: str, source: list[str]) -> None:
    """Title a page of the reference "encoders" and not "molvae.latent.encoders module"."""
    if name.startswith("reference/"):
        title = r"\A(?:[\w\\]+\.)*([\w\\]+) (?:package|module)$"
        source[0] = re.sub(title, r"\1", source[0], flags=re.MULTILINE)


def escape_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Read a docstring as plain text with `code` and sections: escape |x|^2, (B, *shape), x_."""
    code = r"(`+[^`]*`+|^ *>>> (?:.+\n?)*)"
    parts = re.split(code, "\n".join(lines), flags=re.MULTILINE)
    parts[::2] = [re.sub(r"[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", text) for text in parts[::2]]
    lines[:] = "".join(parts).split("\n")


def skip_member(
    app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object
) -> bool | None:
    """Leave out what scikit-learn and NamedTuple add to a class, and names that have a page."""
    if app.env.docname == "reference/molvae":
        return True  # the public names, each described where it is defined
    added = re.fullmatch(r"set_\w+_request", name) or str(obj.__doc__).startswith("Alias for field")
    return True if added else None
