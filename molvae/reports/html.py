"""Reports that open anywhere: one HTML file with its pictures inside, no script and no network.

Think of a printed page: headings, tables, figures with captions. Each function here makes one such
part from plain values; all text is escaped, so that a name or an error message that comes from a
file is shown as it is.
"""

from __future__ import annotations

import importlib.metadata
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from molvae.chem.pictures import draw_molecules
from molvae.reports.values import show_value

VERSIONS = ("molvae", "torch", "rdkit", "botorch", "numpy")
STYLE = """
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1d2733; background: #fff;
  max-width: 1000px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.7em; margin-bottom: 0; } h2 { font-size: 1.2em; margin-top: 1.8em; }
table { border-collapse: collapse; font-size: 13px; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: 3px 10px 3px 0; border-bottom: 1px solid #dfe3e8;
  vertical-align: top; }
td { overflow-wrap: anywhere; } .facts th { overflow-wrap: anywhere; min-width: 110px; }
td.number { text-align: right; white-space: nowrap; }
.wide td:not(.smiles) { overflow-wrap: break-word; }
code, .smiles { font: 12px/1.4 "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(210px, 45%), 1fr)); }
.grid { gap: 10px; } td.smiles { min-width: 190px; }
.grid figure { border: 1px solid #dfe3e8; border-radius: 6px; }
figure { margin: 0; padding: 6px; min-width: 0; break-inside: avoid; } figcaption {
  font-size: 12px; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; display: block; } .note { color: #5a6675; font-size: 13px; }
@media print { body { margin: 0; max-width: none; font-size: 11px; }
  .grid { grid-template-columns: repeat(4, 1fr); } .wide { overflow: visible; }
  .wide td:not(.smiles):not(.words) { overflow-wrap: anywhere; } h2 {
  break-after: avoid; } tr { break-inside: avoid; } }
"""


def write_document(title: str, parts: Iterable[str]) -> str:
    """Title and parts made by the functions below -> a whole HTML file."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def write_heading(text: str) -> str:
    """Text -> a heading."""
    return f"<h2>{escape(text)}</h2>"


def write_text(text: str) -> str:
    """Text -> a paragraph."""
    return f"<p>{escape(text)}</p>"


def write_code(text: str) -> str:
    """Text -> a paragraph in typewriter type."""
    return f"<p><code>{escape(text)}</code></p>"


def write_facts(facts: Mapping[str, object]) -> str:
    """Name -> value, as a table of two columns."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(show_value(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f'<table class="facts">{rows}</table>'


def write_table(table: pd.DataFrame) -> str:
    """Table -> the same with short numbers."""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in table)
    rows = []
    for row in table.itertuples(index=False):
        cells = []
        for name, value in zip(table, row, strict=True):
            kind = "smiles" if name in ("smiles", "nearest") else ""
            kind = "words" if name == "alerts" else kind
            kind = "number" if isinstance(value, int | float) else kind
            cells.append(f'<td class="{kind}">{escape(show_value(value))}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>{"".join(rows)}</table></div>'


def write_figure(figure: Figure, caption: str) -> str:
    """Matplotlib figure -> a figure with its caption."""
    content = io.StringIO()
    # texts stay text; the salt keeps the ids of two figures of a page apart, the same every time
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": caption}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return _wrap(content.getvalue(), caption)


def write_grid(
    smiles: Sequence[str],
    captions: Sequence[Sequence[str]],
    highlighted: Mapping[int, Sequence[int]] | None = None,
    marked: Mapping[int, tuple[list[int], list[int]]] | None = None,
) -> str:
    """Molecules and the lines below each -> a grid of drawings.

    Args:
        smiles: the molecules.
        captions: lines of text for each.
        highlighted: position of a molecule -> its atoms to highlight.
        marked: position of a molecule -> atoms and bonds to mark in another colour.
    """
    cells = []
    for i, (one, lines) in enumerate(zip(smiles, captions, strict=True)):
        picture = draw_molecules(
            [one],
            columns=1,
            picture="svg",
            highlighted={0: highlighted[i]} if highlighted and i in highlighted else {},
            marked={0: marked[i]} if marked and i in marked else None,
        )
        first, *others = [escape(line) for line in lines] or [""]
        text = "<br>".join([f"<b>{first}</b>", *others])
        cells.append(f"<figure>{_inline(picture.decode())}<figcaption>{text}</figcaption></figure>")
    return f'<div class="grid">{"".join(cells)}</div>'


def list_versions() -> dict[str, str]:
    """Return the versions of the packages that matter for a result."""
    return {name: importlib.metadata.version(name) for name in VERSIONS}


def write_command(verb: str, settings: Mapping[str, Any]) -> str:
    """Verb and the settings of its run by option -> the command that repeats it."""
    words = ["molvae", verb]
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, list | tuple):
            words += [option, *map(str, value)] if value else []
        elif value is not None and value is not False:
            words += [option, str(value)]
    return shlex.join(words)


def _wrap(svg: str, caption: str) -> str:
    return f"<figure>{_inline(svg)}<figcaption>{escape(caption)}</figcaption></figure>"


def _inline(svg: str) -> str:
    """SVG file -> the element, without what stands before it."""
    return svg[svg.index("<svg") :]
