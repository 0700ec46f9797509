"""report.html of a search: what was asked, what was found, and how to repeat it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from molvae.loop.result import Result
from molvae.oracles.history import Steer
from molvae.oracles.objectives import Objective
from molvae.reports.html import (
    list_versions,
    write_code,
    write_command,
    write_document,
    write_facts,
    write_figure,
    write_grid,
    write_heading,
    write_table,
    write_text,
)
from molvae.reports.run_report import (
    DRAWN,
    UNKNOWN,
    Known,
    mark_rare,
    name_with_unit,
    pick_best_of_clusters,
    plot_front,
    plot_trace,
)
from molvae.reports.values import MISSING, show_value

LISTED = 50  # rows of the table
INSIDE = ("run", "history")  # settings that are no options of another run
FOLDED = ("nearest", "number", "iteration", "cluster")


def write_run_page(
    result: Result,
    best: pd.DataFrame,
    settings: Mapping[str, Any],
    known: Known = UNKNOWN,
    refused: Mapping[str, int] | None = None,
    wishes: Sequence[Steer] = (),
) -> str:
    """Result of a search -> report.html.

    Args:
        result: what was found.
        best: the table of `run_report.write_run_report`.
        settings: the options of the run by name, as config.json has them.
        known: what a molecule is compared with.
        refused: constraint -> how many strings it refused.
        wishes: what the user said while it ran.
    """
    aims = result.objectives
    title = " and ".join(
        f"{'maximise' if one.maximise else 'minimise'} {one.title}" for one in aims
    )
    made = [record for record in result.records if not record.known]
    failed = [record for record in made if record.error is not None]
    facts = {
        "evaluations": len(made),
        "failed": len(failed),
        "known before": result.known,
        "rounds": len(result.iterations),
        "decoded points that were admissible": f"{result.valid_fraction:.0%}",
        "seconds a round, without the oracle": result.seconds / max(len(result.iterations), 1),
        "ended because": result.stopped,
    }
    if result.bred_fraction:
        facts["molecules bred from others, not decoded"] = f"{result.bred_fraction:.0%}"
    several = len(aims) > 1
    leaders = (best if several else pick_best_of_clusters(best)).head(DRAWN)
    smiles = leaders["smiles"].tolist()
    parts = [
        write_facts(facts),
        write_heading(
            "Pareto front" if several else "The best of each cluster of similar molecules"
        ),
        write_grid(
            smiles,
            [list_captions(row, aims) for row in leaders.to_dict("records")],
            marked=None if known.domain is None else mark_rare(smiles, known.domain),
        ),
    ]
    if known.domain is not None:
        parts.append(write_text("Marked: parts that the model's training data hardly has."))
    parts += [
        write_heading("Progress"),
        write_figure(
            plot_trace(result),
            "Hypervolume of the evaluated molecules."
            if several
            else "Each evaluated molecule, and the best value so far.",
        ),
    ]
    if several:
        caption = (
            "All evaluated molecules, and those that no other one surpasses in every objective."
        )
        parts.append(write_figure(plot_front(result, result.best(len(result.records))), caption))
    shown = best.head(LISTED).drop(columns=[n for n in FOLDED if n in best])
    parts += [
        write_heading(f"The first {len(shown)} molecules"),
        write_table(shown.rename(columns=name_with_unit(result))),
    ]
    if refused:
        parts += [write_heading("Refused without being evaluated"), write_facts(refused)]
    if wishes:
        said = pd.DataFrame(
            {
                "since round": [MISSING if w.iteration is None else w.iteration for w in wishes],
                "said": [str(wish) for wish in wishes],
            }
        )
        parts += [
            write_heading("What was said while it ran"),
            write_table(said),
            write_text(
                "The command below repeats the run without this; the run folder holds it, and "
                "--resume goes on with it."
            ),
        ]
    if failed:
        counts = pd.Series([str(record.error)[:200] for record in failed]).value_counts()
        parts += [write_heading("Failures"), write_facts(counts.head(10).to_dict())]  # type: ignore[arg-type]
    options = {name: value for name, value in settings.items() if name not in INSIDE}
    parts += [
        write_heading("How to repeat it"),
        write_code(write_command("optimize", options)),
        write_facts(options),
        write_heading("Versions"),
        write_facts(list_versions()),
    ]
    return write_document(title[:1].upper() + title[1:], parts)


def list_captions(row: Mapping[Hashable, Any], objectives: Sequence[Objective]) -> list[str]:
    """Row of the best molecules -> the lines below its drawing."""
    names = {one.name for one in objectives}
    lines = [
        f"{one.name} {show_value(float(row[one.name]))} {one.unit}".rstrip() for one in objectives
    ]
    shown = [name for name in ("logP", "SAS", "QED", "plausibility") if name in row]
    lines.append("  ".join(f"{n} {row[n]:.2f}" for n in shown if n not in names))
    if row.get("alerts"):
        lines.append(f"alerts: {row['alerts']}")
    return [*lines, str(row["smiles"])]
