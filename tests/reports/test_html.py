"""Reports that open anywhere: everything inside, text as text."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from molvae import MolVAE, OptimizeConfig, Oracle, optimize
from molvae.chem.datasets import DataSet
from molvae.chem.pictures import HIGHLIGHT
from molvae.oracles.history import Steer
from molvae.reports.html import (
    write_command,
    write_document,
    write_facts,
    write_grid,
    write_heading,
    write_table,
    write_text,
)
from molvae.reports.model_page import write_model_page
from molvae.reports.model_report import ReportConfig, measure_model
from molvae.reports.run_page import write_run_page
from molvae.reports.run_report import write_run_report

EVIL = '<script>alert(1)</script><img src=x onerror="alert(1)">'


class Elements(HTMLParser):
    """The elements of a page, and where they point."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.targets: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "data", "action"):
                self.targets.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def check_alone(page: str) -> Elements:
    """A page runs nothing and fetches nothing."""
    found = Elements(page)
    assert not {"script", "iframe", "object", "link", "img"} & set(found.names)
    assert not found.handlers
    assert all(target.startswith("#") for target in found.targets)
    assert "url(http" not in page
    assert "@import" not in page
    return found


def test_text_from_anywhere_is_shown_as_text() -> None:
    parts = [write_heading(EVIL), write_text(EVIL), write_facts({EVIL: EVIL})]
    parts += [
        write_table(pd.DataFrame({EVIL: [EVIL]})),
        write_grid(["CCO", EVIL], [[EVIL], [EVIL]]),
    ]
    page = write_document(EVIL, parts)
    check_alone(page)
    assert page.count("&lt;script&gt;") == 10


def test_the_command_repeats_the_settings() -> None:
    settings = {"objective": ["QED", "-SAS"], "heavy_atoms": (6, 38), "start": None, "adapt": True}
    settings |= {"constraint": ["has:c1ccccc1", "SAS<4"], "values": [], "asynchronous": False}
    assert write_command("optimize", settings) == (
        "molvae optimize --objective QED -SAS --heavy-atoms 6 38 --adapt "
        "--constraint has:c1ccccc1 'SAS<4'"
    )


@pytest.fixture(scope="module")
def page(small_model: MolVAE, zinc: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run")
    oracle = Oracle(["QED", "-SAS"], 24)
    result = optimize(small_model, oracle, start=zinc, config=OptimizeConfig(initial=16, batch=8))
    best = write_run_report(result, folder)
    settings = {"objective": ["QED", "-SAS"], "budget": 24, "seed": 0, "start": EVIL}
    wishes = [Steer(0, "ban", "CCO", 2), Steer(1, "add", EVIL, None)]
    return write_run_page(result, best, settings, refused={EVIL: 3}, wishes=wishes)


def test_a_run_report_stands_alone_and_says_how_to_repeat_it(page: str) -> None:
    found = check_alone(page)
    assert found.names.count("svg") > 2
    for text in ("Maximise QED and minimise SAS", "Pareto front", "lower is better", "--budget 24"):
        assert text in page
    assert re.search(r"<th>torch</th><td>\d", page)
    assert "never evaluate CCO" in page  # what was said while it ran, which the command lacks
    assert "repeats the run without this" in page


def test_the_figures_of_a_report_do_not_share_ids(page: str) -> None:
    ids = re.findall(r'<clipPath id="([^"]+)"', page)
    assert ids
    assert len(ids) == len(set(ids))


def test_a_model_report_stands_alone_and_shows_what_was_lost(
    small_model: MolVAE, zinc: list[str], tmp_path: Path
) -> None:
    data = DataSet("my data", zinc[:400], 0, "own")
    report = measure_model(small_model, data, ReportConfig(40, 40))
    figures = [("validity", "50 %", EVIL)]
    page = write_model_page(small_model, data, report, figures, {"model": "my.safetensors"})
    check_alone(page)
    for text in ("Reconstructions", "comes back as", "molvae report my.safetensors", "Smoothness"):
        assert text in page
    red, green, blue = (int(255 * share) for share in HIGHLIGHT)
    assert f"#{red:02X}{green:02X}{blue:02X}" in page  # highlighted atoms
