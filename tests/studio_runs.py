"""Run folders for the tests of the studio, written as `molvae optimize` writes them."""

import json
from pathlib import Path

from molvae.oracles.history import History

EVIL = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'


def write_run(folder: Path, model: str, aims: list[str], budget: int = 60) -> History:
    """Begin a run as `molvae optimize` does, and return its history."""
    folder.mkdir(parents=True)
    names = [aim.removeprefix("-") for aim in aims]
    config = {"objective": aims, "model": model, "budget": budget, "seed": 0, "run": "run"}
    (folder / "config.json").write_text(json.dumps(config))
    history = History(folder / "history.sqlite")
    history.save_settings({"objective": ", ".join(names), "maximised": aims, "strategy": "prior"})
    return history
