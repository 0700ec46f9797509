"""The command line helps: suggestions, examples, completion, and output for scripts."""

import json
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest

import molvae
from molvae.cli import build_parser, find_verbs, main, options
from molvae.cli.options import shield_minus_names
from molvae.cli.verbs.optimize import count_reasons

VERBS = find_verbs()
LEADS = ["CC(=O)Oc1ccccc1C(=O)O", "CC(=O)Nc1ccc(O)cc1", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str, str]:
    """Command-line words -> exit code, stdout, stderr."""
    try:
        code: object = main(words)
    except SystemExit as usage:
        code = usage.code
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian"], "did you mean train?"),
        (["interpolte", "CCO", "CCN"], "did you mean interpolate?"),
        (["optimize", "--objectiv_e", "QED"], "did you mean --objective?"),
        (["sample", "--number=3", "--bean=4"], "--bean: did you mean --beam?"),
        (["zzz"], "known are train, fit-prior, fit-posterior"),
    ],
)
def test_a_misspelling_is_answered_with_what_was_meant(
    capsys: pytest.CaptureFixture[str], words: list[str], meant: str
) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert meant in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("verb", VERBS)
def test_help_ends_with_examples_that_are_understood(
    capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    code, out, _ = run(capsys, verb, "--help")
    assert code == 0
    parser, parsers = build_parser(VERBS, VERBS)
    examples = out.partition("examples:\n")[2].splitlines()
    assert len(examples) >= 2
    for command in (part for line in examples for part in line.split(" | ")):
        words = shlex.split(command)
        assert words[0] == "molvae"
        assert parser.parse_args(shield_minus_names(words[1:])).verb == words[1]
    assert parsers[verb].description
    for line in out.splitlines():
        assert line.count("(default:") <= 1


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_script_knows_verbs_and_options(
    capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    code, out, _ = run(capsys, "--print-completion", shell)
    assert code == 0
    for word in (*VERBS, "--objective", "--recombine"):
        assert word in out
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=out, text=True, check=True)


def test_quiet_prints_results_and_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("encode", LEADS[0], "nonsense", "--refine", "0")
    code, out, err = run(capsys, *words)
    assert code == 0
    assert "skipped" in err
    assert run(capsys, *words, "--quiet") == (0, out, "")
    code, out, err = run(capsys, "encode", "nonsense", "--quiet")
    assert (code, out) == (1, "")
    assert "none of the 1 rows" in err


def test_a_search_answers_a_script_in_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("optimize", "--objective", "QED", "--budget", "12", "--batch", "6")
    words += ("--out", str(tmp_path / "run"))
    code, out, err = run(capsys, *words, "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["evaluations"], found["failed"]) == (12, 0)
    values = [row["QED"] for row in found["best"]]
    assert values == sorted(values, reverse=True)
    assert "best.csv" in err
    assert (Path(found["folder"]) / "best.csv").exists()
    code, out, err = run(capsys, *words[:-1], str(tmp_path / "two"), "--json", "--quiet")
    assert (code, json.loads(out)["best"], err) == (0, found["best"], "")


def test_a_run_is_repeated_from_the_settings_that_another_wrote(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    file = tmp_path / "run.toml"
    file.write_text('objective = "QED"\nbudget = 30\nbatch = 6\nheavy-atoms = [10, 20]\n')
    words = ("--config", str(file), "--budget", "12", "--seed", "3", "--quiet")
    assert run(capsys, "optimize", *words, "--out", str(first))[0] == 0
    settings = json.loads((first / "config.json").read_text())
    assert (settings["objective"], settings["budget"], settings["seed"]) == (["QED"], 12, 3)
    again = ("--config", str(first / "config.json"), "--quiet", "--out", str(second))
    assert run(capsys, "optimize", *again)[0] == 0
    assert (second / "best.csv").read_text() == (first / "best.csv").read_text()
    assert max(row["heavy_atoms"] for _, row in pd.read_csv(first / "best.csv").iterrows()) <= 20


@pytest.mark.parametrize("verb", ["optimize", "train"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budgte = 3\nepocs = 3", "unknown option 'budgte'"),
        ("seed = 'x'", "seed must be of type int, not 'x'"),
        ("seed = ", "is not valid TOML"),
        ("seed = \x00", "is not valid TOML"),
    ],
)
def test_a_wrong_file_of_settings_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str, text: str, message: str
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    code, _, err = run(capsys, verb, "--config", str(file), "--out", str(tmp_path / "out"))
    assert code == 1
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("verb", "text"),
    [
        ("optimize", "heavy-atoms = ['a', 3]"),
        ("optimize", "heavy-atoms = [3]"),
        ("optimize", "values = [1]"),
        ("optimize", "objective = [1]"),
        ("train", "properties = [1]"),
    ],
)
def test_a_list_of_wrong_things_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str, text: str
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    code, _, err = run(capsys, verb, "--config", str(file), "--out", str(tmp_path / "out"))
    assert code == 1
    assert "must be" in err
    assert err.count("\n") == 1


def test_a_program_that_only_a_file_names_does_not_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the program leaves its files
    mark, file = tmp_path / "ran", tmp_path / "run.json"
    program = f"cmd:touch {mark} {{smiles}}"
    file.write_text(json.dumps({"objective": [program], "budget": 10}))
    words = ("optimize", "--config", str(file), "--out", str(tmp_path / "out"))
    code, _, err = run(capsys, *words)
    assert code == 1
    assert "which runs code" in err
    assert not mark.exists()
    run(capsys, *words, "--objective", program)
    assert mark.exists()


def test_lists_are_json_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "list", "alerts", "--json")
    assert {"PAINS", "BRENK", "NIH"} <= set(json.loads(out)["alerts"])
    _, out, _ = run(capsys, "list", "suites")
    assert "23 tasks" in out
    _, out, _ = run(capsys, "list", "descriptors")
    assert "TPSA" in out


def test_some_molecules_are_drawn_from_all() -> None:
    names = [str(i) for i in range(1_000)]
    some = options.draw(names, 100, seed=3)
    assert len(set(some)) == 100
    assert some == options.draw(names, 100, seed=3)
    assert some != options.draw(names, 100, seed=4)
    assert 400 < sum(map(int, some)) / 100 < 600
    assert options.draw(names, 1_000, seed=3) == names


def test_a_model_is_named_by_the_same_option_everywhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for verb in ("report", "fit-prior", "fit-posterior"):
        code, _, err = run(capsys, verb, "--model", "nowhere.safetensors")
        assert code == 1
        assert "nowhere.safetensors: no such file" in err
    code, _, err = run(capsys, "fit-prior")
    assert code == 1
    assert "name a model" in err
    for other in ("drugs", "zinc"):
        code, _, err = run(capsys, "report", "qm9", "--model", other)
        assert code == 1
        assert "name one model" in err


def test_failures_are_counted_by_their_reason() -> None:
    errors = ["took longer than 2.0 s", "exit code 3", "took longer than 2.0 s", "exit code 4"]
    assert count_reasons(errors).most_common() == [
        ("took longer than 2.0 s", 2),
        ("exit code 3", 2),
    ]


def test_things_say_what_they_are() -> None:
    named = {name for name in dir(molvae) if not name.startswith("_")}
    assert named - {"base", "chem", "cli", "latent", "loop", "model", "oracles"} == set(
        molvae.__all__
    )
    assert molvae.__version__.count(".") == 2
    text = repr(molvae.MolVAE.load("zinc"))
    assert "zinc" in text
    assert "64 latent dimensions" in text
    result = molvae.optimize(molvae.MolVAE.load("zinc"), molvae.Oracle("QED", 12), start=LEADS * 4)
    best = result.best(1)
    assert f"12 evaluations (0 failed), best QED {best['y'][0]:.3f}" in repr(result)
    assert best["smiles"][0] in repr(result)
    assert result._repr_html_().count("<svg") == 1
