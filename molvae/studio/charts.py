"""Curves, fronts and comparisons of runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np
from nicegui import ui
from nicegui.element import Element
from nicegui.events import EChartPointClickEventArguments
from numpy.typing import NDArray

from molvae.reports.values import MISSING, show_value
from molvae.studio.runs import WatchedRun

# Okabe & Ito 2008: a colour-blind reader can tell them apart
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
VIRIDIS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
POINTS = 600  # of a curve
DOTS = 3_000  # of the front
NOTHING = "No evaluation yet."
SHORT = {"maxWidth": 240, "ellipsis": "…"}  # names of axes
TOP = 100  # molecules of a run that are compared
PLAIN = {"animation": False, "grid": {"left": 70, "right": 24, "top": 36, "bottom": 48}}


def draw_scale(name: str, low: float, high: float) -> str:
    """Name and limits of the colours -> the scale as HTML."""
    return (
        '<span style="display:inline-flex;align-items:center;gap:6px">'
        f'{escape(name)} {low:.3g}<span style="width:110px;height:10px;border-radius:3px;'
        f'background:linear-gradient(90deg,{",".join(VIRIDIS)})"></span>{high:.3g}</span>'
    )


def draw_key(names: Sequence[str]) -> str:
    """Names of runs -> the key to the colours that the map gives them, as HTML."""
    spots = [
        f'<span style="color:{COLOURS[min(i, 3)]}">●</span> {escape(name)}'  # as in map.js
        for i, name in enumerate(names)
    ]
    return '<span style="display:inline-flex;flex-wrap:wrap;gap:2px 10px">' + (
        "".join(f"<span>{spot}</span>" for spot in spots) + "</span>"
    )


def show(
    place: Element,
    options: dict[str, Any],
    act: Callable[[EChartPointClickEventArguments], Any] | None = None,
) -> None:
    """Show a chart alone in a place; the library for it is loaded with the first one.

    Args:
        place: where; it holds nothing else.
        options: of the chart.
        act: what a click at a point does.
    """
    charts = list(place)
    chart = charts[0] if charts else None
    # a scale of colours that is no longer wanted would stay
    if not isinstance(chart, ui.echart) or ("visualMap" in chart.options) != (
        "visualMap" in options
    ):
        place.clear()
        with place:
            ui.echart(options, on_point_click=act).classes("w-full").style("height:340px")
        return
    chart.options.clear()
    chart.options.update(options)
    chart.update()


def best_so_far(run: WatchedRun) -> NDArray[np.float64]:
    """Run -> the best value of its first objective after each evaluation (n,)."""
    y = run.values[:, 0]
    best = np.fmax.accumulate(y) if run.objectives[0].maximise else np.fmin.accumulate(y)
    found: NDArray[np.float64] = best
    return found


def draw_curves(runs: Sequence[WatchedRun]) -> dict[str, Any]:
    """Runs -> the chart of their best values so far; the spread of runs that differ in the seed."""
    series: list[dict[str, Any]] = []
    shown = [run for run in runs if run.records]
    if not shown:
        return _say(NOTHING)
    for i, run in enumerate(shown):
        best = best_so_far(run)
        rows = np.unique(np.linspace(0, len(best) - 1, POINTS).astype(int))
        line = [[int(n) + 1, _round(best[n])] for n in rows]
        colour = COLOURS[i % len(COLOURS)]
        series.append(
            {
                "type": "line",
                "step": "end",
                "name": run.name,
                "data": line,
                "showSymbol": False,
                "lineStyle": {"width": 2.2, "color": colour},
                "itemStyle": {"color": colour},
            }
        )
        if len(shown) == 1:
            series[-1]["markLine"] = _mark_wishes(run)
            y = run.values[:, 0]
            dots = np.unique(np.linspace(0, len(y) - 1, DOTS).astype(int))
            series.append(
                {
                    "type": "scatter",
                    "name": "evaluated",
                    "symbolSize": 4,
                    "silent": True,
                    "data": [[int(n) + 1, _round(y[n])] for n in dots],
                    "itemStyle": {"color": "#9aa5b1", "opacity": 0.7},
                }
            )
    series += _draw_spread(shown)
    one = shown[0].objectives[0]
    better = "" if one.maximise else ", lower is better"
    return PLAIN | {
        "legend": {"top": 4, "type": "scroll"},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "value", "name": "evaluations", "nameLocation": "middle", "nameGap": 28},
        "yAxis": {
            "type": "value",
            "scale": True,
            "nameLocation": "middle",
            "nameGap": 50,
            "nameTruncate": SHORT,
            "name": f"best {one.title} so far{better}",
        },
        "series": series,
    }


def _say(text: str) -> dict[str, Any]:
    """Text -> a chart that holds it alone."""
    style = {"left": "center", "top": "middle", "textStyle": {"fontSize": 14}}
    return {"title": {"text": text, **style}, "series": []}


def _mark_wishes(run: WatchedRun) -> dict[str, Any]:
    """Run -> vertical lines where what its user said was heeded first."""
    first: dict[int, int] = {}
    for n, record in enumerate(run.records):
        first.setdefault(record.iteration, n + 1)
    said: dict[int, list[str]] = {}
    for wish in run.reader.wishes:
        if wish.iteration in first:
            said.setdefault(first[wish.iteration], []).append(str(wish)[:36])
    # along the line, so that those of neighbouring rounds do not cover each other
    lines = [
        {
            "xAxis": x,
            "label": {"formatter": "; ".join(texts), "fontSize": 10, "position": "insideEndTop"},
        }
        for x, texts in said.items()
    ]
    return {"symbol": "none", "silent": True, "lineStyle": {"color": "#d55e00"}, "data": lines}


def _draw_spread(runs: Sequence[WatchedRun]) -> list[dict[str, Any]]:
    """Runs -> a band from least to greatest for those whose settings differ in the seed alone."""
    groups: dict[str, list[WatchedRun]] = {}
    for run in runs:
        settings = {n: v for n, v in run.config.items() if n not in ("seed", "run", "history")}
        groups.setdefault(str(sorted(settings.items())), []).append(run)
    series: list[dict[str, Any]] = []
    for i, group in enumerate(one for one in groups.values() if len(one) > 1):
        shortest = min(len(run.records) for run in group)
        rows = np.unique(np.linspace(0, shortest - 1, POINTS).astype(int))
        best = np.array([best_so_far(run)[rows] for run in group])
        low, high = np.nanmin(best, axis=0), np.nanmax(best, axis=0)
        for name, y, area in (("", low, None), (f"spread of {len(group)} seeds", high - low, 0.18)):
            series.append(
                {
                    "type": "line",
                    "step": "end",
                    "name": name,
                    "stack": f"spread{i}",
                    "showSymbol": False,
                    "data": [[int(n) + 1, _round(v)] for n, v in zip(rows, y, strict=True)],
                    "lineStyle": {"opacity": 0},
                    "itemStyle": {"color": "#0072b2"},
                    "silent": True,
                    **(
                        {} if area is None else {"areaStyle": {"color": "#0072b2", "opacity": area}}
                    ),
                }
            )
    return series


def draw_front(runs: Sequence[WatchedRun]) -> dict[str, Any]:
    """Runs -> the chart of the first two objectives with the Pareto front of all of them."""
    shown = [one for one in runs if one.records]
    run = next((one for one in shown if len(one.objectives) > 1), None)
    if run is None:
        return _say("One objective: there is no front to show." if shown else NOTHING)
    from molvae.search.pareto import find_undominated

    y, aims = run.values, run.objectives
    front = find_undominated(y * [one.restore_sign(1.0) for one in aims])
    dots = np.unique(np.linspace(0, len(y) - 1, DOTS).astype(int))

    def axis(i: int, gap: int) -> dict[str, Any]:
        better = "" if aims[i].maximise else ", lower is better"
        return {
            "type": "value",
            "scale": True,
            "name": f"{aims[i].title}{better}",
            "nameLocation": "middle",
            "nameGap": gap,
            "nameTruncate": SHORT,
        }

    def rows(numbers: Any) -> list[dict[str, Any]]:
        return [
            {"name": run.records[n].smiles, "value": [_round(v) for v in y[n]]} for n in numbers
        ]

    named = {
        "type": "scatter",
        "dimensions": [one.title for one in aims],
        "encode": {"x": 0, "y": 1, "tooltip": list(range(len(aims)))},
    }

    third: dict[str, Any] = {}
    if len(aims) > 2:
        low, high = float(np.nanmin(y[:, 2])), float(np.nanmax(y[:, 2]))
        third["visualMap"] = {
            "dimension": 2,
            "min": low,
            "max": high,
            "seriesIndex": 1,
            "inRange": {"color": list(VIRIDIS)},
            "orient": "horizontal",
            "left": "center",
            "bottom": 0,
            "itemHeight": 110,
            "text": ["", aims[2].title[:40]],
            "calculable": True,
            "precision": 0 if high - low >= 10 else 2,
        }
    grid = {"left": 70, "right": 24, "top": 36, "bottom": 100 if third else 48}
    return (
        PLAIN
        | third
        | {
            "grid": grid,
            "legend": {"top": 4},
            "tooltip": {},
            "xAxis": axis(0, 28),
            "yAxis": axis(1, 46),
            "series": [
                named
                | {
                    "name": "evaluated",
                    "symbolSize": 5,
                    "data": rows(dots),
                    "itemStyle": {"color": "#c3cad2"},
                },
                named
                | {
                    "name": "Pareto front",
                    "symbolSize": 10,
                    "data": rows(front),
                    "itemStyle": {
                        "color": VIRIDIS[2] if third else COLOURS[1],
                        "borderColor": "#fff",
                    },
                },
            ],
        }
    )


def build_comparison(runs: Sequence[WatchedRun]) -> None:
    """Show runs side by side: figures, and how many of their best molecules they share."""
    shown = [run for run in runs if run.records]
    if not shown:
        ui.label(NOTHING if runs else "Choose runs above.").classes("note")
        return
    rows, tops = [], []
    for run in shown:
        aim, y = run.objectives[0], run.values[:, 0]
        order = np.argsort(-y if aim.maximise else y)
        order = order[~np.isnan(y[order])]
        tops.append({run.records[n].smiles for n in order[:TOP]})
        rounds = run.reader.iterations
        decoded = sum(one.decoded for one in rounds)
        chosen = sum(one.candidates for one in rounds)
        rows.append(
            {
                "run": run.name,
                "strategy": str(run.reader.settings.get("strategy", MISSING)),
                "evaluations": f"{len(run.records):,}",
                "failed": f"{sum(r.error is not None for r in run.records):,}",
                "best": show_value(float(y[order[0]])) if len(order) else MISSING,
                "top 10": show_value(float(y[order[:10]].mean())) if len(order) else MISSING,
                "admissible": f"{sum(one.valid for one in rounds) / decoded:.0%}"
                if decoded
                else MISSING,
                "bred": f"{sum(one.bred for one in rounds) / chosen:.0%}" if chosen else MISSING,
                "seconds": f"{sum(one.seconds for one in rounds):.0f}",
            }
        )
    labels = {
        "best": f"best {aim.title}",
        "top 10": "mean of the best 10",
        "admissible": "decoded points admissible",
        "bred": "bred, not decoded",
        "seconds": "seconds without the oracle",
    }
    _build_table(rows, labels)
    if len(shown) > 1:
        ui.label(f"Molecules that the best {TOP} of two runs share").classes(
            "text-sm font-bold q-mt-sm"
        )
        _build_table(
            [
                {"run": run.name}
                | {
                    other.name: str(len(mine & theirs))
                    for other, theirs in zip(shown, tops, strict=True)
                }
                for run, mine in zip(shown, tops, strict=True)
            ],
            {},
        )


def _build_table(rows: list[dict[str, str]], labels: dict[str, str]) -> None:
    columns = [
        {"name": f"c{i}", "label": labels.get(name, name), "field": f"c{i}", "align": "left"}
        for i, name in enumerate(rows[0])
    ]
    values = [{f"c{i}": value for i, value in enumerate(row.values())} for row in rows]
    ui.table(columns=columns, rows=values).props(
        "dense flat hide-pagination :rows-per-page-options=[0]"
    ).classes("w-full")


def _round(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 5)
