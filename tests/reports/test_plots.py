"""What the plots show, read from the figures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from molvae.reports.plots import plot_learning_curve, plot_property_distributions


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    found: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *args: object, **options: object) -> None:
        found.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return found


def test_a_learning_curve_shows_training_and_validation_of_both_terms(
    tmp_path: Path, figures: list[Figure]
) -> None:
    table = pd.DataFrame({"step": [25, 50, 75], "reconstruction_nats": [9.0, 8.0, 7.0]})
    table["kl_nats"] = [0.0, 1.0, 2.0]
    table["validation_reconstruction_nats"] = [np.nan, 8.5, np.nan]
    table["validation_kl_nats"] = [np.nan, 1.5, np.nan]
    table.to_csv(tmp_path / "metrics.csv", index=False)
    plot_learning_curve(tmp_path / "metrics.csv", tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = figures
    for axes, name, own, held_out in zip(
        figure.axes, ("reconstruction", "kl"), ([9, 8, 7], [0, 1, 2]), (8.5, 1.5), strict=True
    ):
        training, validation = axes.lines
        assert list(zip(training.get_xdata(), training.get_ydata(), strict=True)) == list(
            zip([25, 50, 75], own, strict=True)
        )
        assert (validation.get_xdata().tolist(), validation.get_ydata().tolist()) == (
            [50],
            [held_out],
        )
        assert axes.get_ylabel() == f"{name} (nats per molecule)"
        assert axes.get_ylim()[0] == 0
        assert [t.get_text() for t in axes.get_legend().texts] == ["training", "validation"]


def test_distributions_have_area_one_and_share_their_bins(figures: list[Figure]) -> None:
    rng = np.random.default_rng(0)
    sets = {
        name: pd.DataFrame(rng.normal(mean, 1, (n, 3)), columns=["logP", "SAS", "QED"])
        for name, mean, n in (("Data", 0, 3_000), ("GA", 1, 700), ("VAE", 2, 300))
    }
    sets["GA"].loc[0, "SAS"] = np.nan
    sets["Data"].loc[0, "logP"] = 1e6  # an outlier hides nothing
    plot_property_distributions(sets)
    (figure,) = figures
    assert [axes.get_xlabel() for axes in figure.axes] == ["logP", "SAS", "QED"]
    for axes in figure.axes:
        steps = [patch.get_data() for patch in axes.patches]
        assert len(steps) == 3
        for heights, edges, _ in steps:
            assert (heights * np.diff(edges)).sum() == pytest.approx(1)
            np.testing.assert_array_equal(edges, steps[0].edges)
        centres = [np.average((e[1:] + e[:-1]) / 2, weights=h) for h, e, _ in steps]
        assert centres == pytest.approx([0, 1, 2], abs=0.15)
        assert -4 < steps[0].edges[0] < steps[0].edges[-1] < 6
        assert len({to_hex(patch.get_edgecolor()) for patch in axes.patches}) == 3
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == [
        "Data (3000 molecules)", "GA (700 molecules)", "VAE (300 molecules)",
    ]  # fmt: skip
    shown = [to_hex(line.get_color()) for line in legend.get_lines()]
    assert shown == [to_hex(patch.get_edgecolor()) for patch in figure.axes[0].patches]
