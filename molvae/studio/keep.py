"""What a user takes away from the page: tables, structures, and a report in one file."""

from __future__ import annotations

import pandas as pd

from molvae.reports.html import (
    write_document,
    write_facts,
    write_grid,
    write_heading,
    write_table,
)
from molvae.reports.run_report import write_sdf as write_records
from molvae.reports.values import show_value
from molvae.studio.facts import measure
from molvae.studio.view import View

DRAWN = 200  # molecules of a report


def make_table(view: View, rows: list[int]) -> pd.DataFrame:
    """Rows of a view -> a table with the user's signs."""
    found = []
    for row in rows:
        run, number = view.owners[row]
        record = view.runs[run].records[number]
        values = dict(zip(view.aims, view.y[row].tolist(), strict=False))
        others = {n: v for n, v in measure(record.smiles).items() if n not in values}
        found.append(
            {
                "smiles": record.smiles,
                **values,
                **others,
                "run": view.runs[run].name,
                "number": int(number),
                "iteration": record.iteration,
                "error": record.error or "",
            }
        )
    table = pd.DataFrame(found)
    if "heavy_atoms" in table:
        table["heavy_atoms"] = table["heavy_atoms"].astype("Int64")
    return table


def write_csv(view: View, rows: list[int]) -> str:
    """Rows of a view -> a CSV file."""
    return make_table(view, rows).to_csv(index=False, lineterminator="\n")


def write_sdf(view: View, rows: list[int]) -> str:
    """Rows of a view -> an SDF whose records carry the values."""
    return write_records(make_table(view, rows))


def write_page(view: View, rows: list[int]) -> str:
    """Rows of a view -> a report in one HTML file."""
    table = make_table(view, rows[:DRAWN])
    names = [*view.aims, *(n for n in ("logP", "SAS", "QED") if n not in view.aims)]
    captions = [
        [
            *(f"{name} {show_value(row[name])}" for name in names if name in row),
            f"{row['run']}, evaluation {row['number']}",
            row["smiles"],
        ]
        for row in table.to_dict("records")
    ]
    parts = []
    for run in view.runs:
        facts = {
            "status": run.status.text,
            **{k: v for k, v in run.config.items() if v not in (None, [])},
        }
        parts += [write_heading(run.name), write_facts(facts)]
    shown = (
        f"{len(table):,} of {len(rows):,} molecules"
        if len(rows) > DRAWN
        else f"{len(rows):,} molecules"
    )
    parts += [write_heading(shown), write_grid(table["smiles"].tolist(), captions)]
    parts += [write_heading("Table"), write_table(table)]
    return write_document("Molecules from molvae studio", parts)
