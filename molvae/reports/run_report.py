"""Run report: tables and pictures of the best molecules of a search."""

from __future__ import annotations

import io
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rdkit import Chem
from rdkit.Chem.rdDepictor import Compute2DCoords

from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.chem.alerts import find_alerts
from molvae.chem.molecules import parse
from molvae.chem.neighbors import Neighbors, find_clusters
from molvae.chem.pictures import DPI, draw_molecules
from molvae.chem.plausibility import Domain
from molvae.chem.properties import REPORTED, Property, compute_or_nan, properties
from molvae.loop.result import Result
from molvae.oracles.goals import Goals
from molvae.oracles.measurements import DOMAIN, Learned
from molvae.oracles.objectives import Objective

NEAREST, SPREAD = " nearest", " deviation"  # columns beside what is learned from measurements
EXPECTED = " expected"  # column beside a noisy objective
LISTED, DRAWN = 100, 20  # rows of best.csv for one objective at least, molecules in best.png
PALE, STRONG = "#b0b8c4", "#2a7fb8"


class Known(NamedTuple):
    """What a report compares molecules with; None for what is not known."""

    domain: Domain | None = None
    """The parts of the model's training molecules."""
    neighbors: Neighbors | None = None
    """The data set that the search started from."""


UNKNOWN = Known()


def write_run_report(result: Result, folder: Path, known: Known = UNKNOWN) -> pd.DataFrame:
    """Result of a search -> table of its best molecules, best first, with the user's signs.

    Writes best.csv, best.sdf, best.smi, best.png and trace.png to `folder`. The column `cluster`
    numbers groups of similar molecules in the order of their best one (`chem.neighbors`);
    `cluster_size` counts all evaluated molecules of the group. best.png shows the best of each. For
    several objectives, the best molecules are the Pareto front, which is also plotted in front.png.

    Raises:
        MolvaeError: no evaluation succeeded.
    """
    several = len(result.objectives) > 1
    found = result.best(len(result.records))
    if found.empty:
        raise MolvaeError("no evaluation succeeded")
    cluster = pd.Series(find_clusters(found["smiles"].tolist()))
    sizes = cluster.map(cluster.value_counts())
    first = ~cluster.duplicated()
    rows = (
        found.index
        if several
        else found.index[(found.index < LISTED) | (first & (cluster <= DRAWN))]
    )
    best = _describe(found.loc[rows].reset_index(drop=True), result, known)
    best["cluster"], best["cluster_size"] = cluster[rows].tolist(), sizes[rows].tolist()
    write_file(folder / "best.csv", best.to_csv(index=False, lineterminator="\n"))
    write_file(folder / "best.sdf", write_sdf(best))
    write_file(folder / "best.smi", "".join(f"{s}\n" for s in best["smiles"]))
    drawn = pick_best_of_clusters(best).head(DRAWN)
    legends = [_legend(row, result.objectives) for row in drawn.to_dict("records")]
    smiles = drawn["smiles"].tolist()
    marked = {} if known.domain is None else mark_rare(smiles, known.domain)
    write_file(folder / "best.png", draw_molecules(smiles, legends, marked=marked))
    write_file(folder / "trace.png", _render_png(plot_trace(result)))
    if several:
        write_file(folder / "front.png", _render_png(plot_front(result, found)))
    return best


def pick_best_of_clusters(best: pd.DataFrame) -> pd.DataFrame:
    """Table of `write_run_report` -> the best molecule of each cluster, best first."""
    return best[~best["cluster"].duplicated()]


def mark_rare(smiles: Sequence[str], domain: Domain) -> dict[int, tuple[list[int], list[int]]]:
    """Molecules -> row -> its rare atoms and bonds."""
    found = {}
    for row, mol in enumerate(map(parse, smiles)):
        why = None if mol is None else domain.explain(mol)
        if why is not None and why.atoms:
            found[row] = list(why.atoms), list(why.bonds)
    return found


def write_sdf(best: pd.DataFrame) -> str:
    """Table -> an SDF whose records carry its columns."""
    content = io.StringIO()
    with Chem.SDWriter(content) as writer:
        for row in best.to_dict("records"):
            mol = parse(row["smiles"])
            if mol is not None:
                Compute2DCoords(mol)
                for name, value in row.items():
                    mol.SetProp(str(name), str(value))
                writer.write(mol)
    return content.getvalue()


def note_guesses(best: pd.DataFrame) -> list[str]:
    """Table of best molecules -> a line for each table of measurements that some are far from."""
    lines = []
    for column in best.columns[best.columns.str.endswith(NEAREST)]:
        if far := int((best[column] < DOMAIN).sum()):
            lines.append(
                f"{far} of these {len(best)} molecules are less than {DOMAIN} similar to every "
                f"measured one: what {column.removesuffix(NEAREST)} says of them is a guess"
            )
    return lines


def note_noise(result: Result) -> list[str]:
    """Result -> a line for each objective whose values are noisy."""
    return [
        f"{one.label} is noisy, with a standard deviation of about {result.noise[one.label]:.2g}: "
        f"the best values are partly luck. The column '{one.name}{EXPECTED}' is what another "
        "evaluation would give on average; choose by it, or repeat the best"
        for one in result.objectives
        if one.label in result.noise
    ]


def name_with_unit(result: Result) -> dict[str, str]:
    """Result -> name of each objective and component -> the name with its unit, for headers."""
    return {
        one.name: one.title
        for objective in result.objectives
        for one in _with_components(objective)
    }


def _with_components(objective: Objective) -> tuple[Objective, ...]:
    return (objective, *objective.components)


def _restore_signs(table: pd.DataFrame, objectives: Sequence[Objective]) -> pd.DataFrame:
    """Table of a result -> the objectives alone, by name, with the user's signs."""
    columns = ["y"] if len(objectives) == 1 else [one.label for one in objectives]
    pairs = zip(objectives, columns, strict=True)
    return pd.DataFrame({one.name: table[c].map(one.restore_sign) for one, c in pairs})


def _describe(best: pd.DataFrame, result: Result, known: Known) -> pd.DataFrame:
    """Best molecules -> objectives, SMILES, components, properties, evaluation number, iteration.

    Beside a noisy objective stands what the surrogate expects of another evaluation.
    The components of a goals file are their values, and for desirabilities also these. Beside what
    is learned from measurements stand its standard deviation and the similarity to the nearest
    measured molecule. Behind the properties come what is known of the parts of a molecule: its
    plausibility, structural alerts, net charge, and the most similar molecule of the data.
    `known` tells values that were known before the run.
    """
    objectives = result.objectives
    table = _restore_signs(best, objectives)
    if result.noise:
        expected = result.expect(best["smiles"].tolist())
        for one, values in zip(objectives, expected.T, strict=True):
            if one.label in result.noise:
                table[f"{one.name}{EXPECTED}"] = [one.restore_sign(y) for y in values]
    table["smiles"] = best["smiles"]
    mols = [mol for mol in map(parse, best["smiles"]) if mol is not None]
    for objective in objectives:
        if isinstance(objective.function, Goals):
            rows = objective.function.measure(mols)
            for part, values in zip(objective.function.parts, zip(*rows, strict=True), strict=True):
                table[part.quantity.objective.name] = values
                if part.points is not None:
                    name = f"{part.quantity.objective.name} desirability"
                    table[name] = [part.desirability(value) for value in values]
    learned = [one.function for objective in objectives for one in _with_components(objective)]
    for regression in dict.fromkeys(f.regression for f in learned if isinstance(f, Learned)):
        beside: dict[str, Property] = {
            f"{regression.name}{SPREAD}": regression.measure_deviation,
            f"{regression.name}{NEAREST}": regression.measure_nearest,
        }
        for name, function in beside.items():
            table[name] = [compute_or_nan(function, mol) for mol in mols]
    for name in REPORTED:
        if name not in table:
            function = properties[name].function
            table[name] = [function(mol) for mol in mols]
    table["heavy_atoms"] = table["heavy_atoms"].astype(int)
    table["charge"] = [Chem.GetFormalCharge(mol) for mol in mols]
    table["alerts"] = ["; ".join(find_alerts(mol)) for mol in mols]
    if known.domain is not None:
        table["plausibility"] = [known.domain.find_plausibility(mol) for mol in mols]
    if known.neighbors is not None:
        table = table.join(known.neighbors.find_nearest(best["smiles"].tolist()))
    origin = [name for name in ("known", "number", "iteration") if name in best]
    return table.join(best[origin])


def _legend(row: dict[Hashable, Any], objectives: Sequence[Objective]) -> str:
    """Row of the best molecules -> the values below the drawing."""
    texts = [f"{one.name} {row[one.name]:.3f} {one.unit}".rstrip() for one in objectives]
    if row.get("known"):
        texts.append("(known)")
    shown = [name for name in ("SAS", "QED", "plausibility") if name in row]
    others = [name for name in shown if all(name != one.name for one in objectives)]
    lines = "  ".join(texts), "  ".join(f"{name} {row[name]:.2f}" for name in others)
    return "\n".join(filter(None, lines))


def _axis(objective: Objective) -> str:
    return objective.title if objective.maximise else f"{objective.title}, lower is better"


def plot_trace(result: Result) -> Figure:
    """Plot all evaluations and the best value so far, or the hypervolume of several objectives."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    x = np.arange(len(result.records)) - result.known  # what was known lies below 0
    if len(result.objectives) > 1:
        axes.plot(x, result.trace, color=STRONG, drawstyle="steps-post", label="hypervolume")
        axes.set(xlabel="evaluations", ylabel="hypervolume")
    else:
        (one,) = result.objectives
        sign = one.restore_sign(1.0)
        axes.plot(x, sign * result.table["y"], ".", color=PALE, label="evaluated molecule")
        if result.known:
            known = result.table["known"].to_numpy()
            y = sign * result.table["y"][known]
            axes.plot(x[known], y, ".", color=STRONG, label="known before")
        axes.plot(x, sign * result.trace, color=STRONG, drawstyle="steps-post", label="best so far")
        axes.set(xlabel="evaluations", ylabel=_axis(one))
    axes.legend(loc="lower right" if len(result.objectives) > 1 or one.maximise else "upper right")
    return figure


def plot_front(result: Result, best: pd.DataFrame) -> Figure:
    """Plot all evaluations and the Pareto front: the first objective against each other one."""
    x, *others = result.objectives
    seen, front = (_restore_signs(table, result.objectives) for table in (result.table, best))
    figure = Figure(figsize=(5 * len(others), 4), layout="constrained")
    for axes, y in zip(figure.subplots(1, len(others), squeeze=False)[0], others, strict=True):
        axes.plot(seen[x.name], seen[y.name], ".", color=PALE, label="evaluated molecule")
        axes.plot(front[x.name], front[y.name], "o", color=STRONG, label="Pareto front")
        axes.set(xlabel=_axis(x), ylabel=_axis(y))
        axes.legend(loc="lower left")
    return figure


def _render_png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    return picture.getvalue()
