"""Each study is a folder with a README and a script, and its quick form gives sound results."""

import importlib.util
import json
import math
import os
import re
import runpy
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from unittest.mock import patch

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

PIPELINES = Path(__file__).parents[2] / "pipelines"
FOLDERS = sorted(path for path in PIPELINES.iterdir() if path.is_dir() and path.name[0] not in "_.")
# pmo/ has no script: `molvae benchmark` wrote its results
STUDIES = [path for path in FOLDERS if path.name != "shared" and any(path.glob("*.py"))]
RESULTS = [path for path in PIPELINES.rglob("*.*") if path.suffix in (".csv", ".png")]

NEEDS = {  # of an extra
    "colour_digits": "skimage",
    "faces": "resvg_py",
    "mutation": "cosmic_ray",
    "scenes": "mlxtend",
    "sketches": "kanjivg",
}

CHECKS: dict[str, Callable[[Path, str], None]] = {}


def check(function: Callable[[Path, str], None]) -> Callable[[Path, str], None]:
    """Register what the quick form of the study `check_NAME` must write and print."""
    CHECKS[function.__name__.removeprefix("check_")] = function
    return function


def is_installed(name: str) -> bool:
    """Whether a module can be imported, or a package that holds data alone is there."""
    try:
        return importlib.util.find_spec(name) is not None or bool(distribution(name))
    except PackageNotFoundError:
        return False


def read_numbers(path: Path, index: str | list[str]) -> pd.DataFrame:
    table = pd.read_csv(path).set_index(index)
    assert len(table)
    return table


def assert_pictures(folder: Path, *names: str) -> None:
    for name in names:
        image = matplotlib.image.imread(folder / f"{name}.png", format="png")
        assert min(image.shape[:2]) > 100
        assert image[..., :3].std() > 0.01, f"{name}.png is blank"


def assert_printed(output: str, label: object, form: str, *values: float) -> None:
    """A line begins with a label and these values, however wide its columns are."""
    expected = " ".join(str(part) for part in (label, *(format(v, form) for v in values)))
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert any(f"{line} ".startswith(f"{expected} ") for line in lines), expected


@check
def check_against_published(runs: Path, output: str) -> None:
    (line,) = re.findall(r"^molvae +(\d+) molecules .*?(\d+) a second; ([\d.]+)%", output, re.M)
    molecules, rate, exact = map(float, line)
    assert molecules > 0
    assert rate > 0
    assert 0 <= exact <= 100
    assert re.search(r"^moses ", output, re.M)


@check
def check_amortization_gap(runs: Path, output: str) -> None:
    folder = runs / "amortization-gap"
    table = read_numbers(folder / "gaps.csv", ["q", "images"])
    assert [images for _, images in table.index] == ["training", "test"] * 2
    images = pd.read_csv(folder / "images.csv")
    assert (images.log_likelihood > images.best_elbo - 0.5).all()  # both are estimates
    assert (table.amortisation > 0).all()
    assert (table.log_likelihood > -42).all()  # it was trained: -44 is that of fair coins
    for (q, name), row in table.iterrows():  # a table names each q once
        first = f"{q} {name}" if name == "training" else name
        assert_printed(output, first, ".3f", *row)
    assert_pictures(folder, "gaps")


@check
def check_beam_study(runs: Path, output: str) -> None:
    table = read_numbers(runs / "beam-study/beam_study.csv", ["beam", "pull"])
    assert set(table.index.get_level_values("beam")) == {1, 2, 4, 8, 16}
    assert np.isfinite(table).all(axis=None)
    assert table[["exact", "valid"]].isin(np.arange(21) / 20).all(axis=None)  # of 20 molecules
    assert (table.loc[(8, 0.25), ["exact", "valid"]] >= table.loc[(1, 0.25)][:2]).all()
    assert table.exact[8, 0.25] > 0.7
    assert table.rate[1, 0.25] > table.rate[16, 0.25] > 0
    for beam in (1, 16):
        assert_printed(output, f"{beam} 0.25", ".3f", *table.loc[(beam, 0.25)])


@check
def check_conditions(runs: Path, output: str) -> None:
    table = pd.read_csv(runs / "conditions/conditions.csv")
    assert not table.duplicated(["condition", "choice", "seed"]).any()
    assert set(table.condition) == {"noisy", "three"}
    noisy = table[table.condition == "noisy"]
    assert noisy.found.between(0, 1).all()  # of the goal itself, without the noise
    assert (noisy[["taken", "lucky"]].max(axis=1) <= noisy.found).all()
    assert (table[table.condition == "three"].found > 0).all()
    first = {("noisy", "neighbourhood"), ("three", "ehvi")}  # a table names each condition once
    for row in table.itertuples():
        label = f"{row.condition} " * ((row.condition, row.choice) in first) + row.choice
        cells = f"{row.taken:.3f} (0.000) {row.lucky:.3f} (0.000) {row.found:.3f}"
        assert_printed(output, f"{label} {cells}", "", *())


@check
def check_colour_digits(runs: Path, output: str) -> None:
    folder = runs / "colour-digits"
    table = pd.read_csv(folder / "errors.csv")
    assert not table.duplicated(["labels", "draw", "method"]).any()
    assert set(table.labels) == {50, 100}
    assert set(table["method"]) == {"M2", "classifier"}
    assert table.error.between(0, 100).all()
    mean = table.pivot_table("error", "labels", "method")
    for labels, row in mean.iterrows():
        shown = re.sub(r" \([\w.]+\)", "", output)
        assert_printed(shown, labels, ".2f", row["M2"], row["classifier"])
    (read,) = re.findall(r"right on ([\d.]+)% of test images", output)
    right = re.findall(r"in ([\d.]+)% of", output)
    assert len(right) == 2
    assert all(0 <= float(share) <= 100 for share in (read, *right))
    kept = re.findall(r"(?:frame|ink) (-?[\d.]+)%", output)
    assert len(kept) == 2
    assert all(float(share) <= 100 for share in kept)
    assert_pictures(folder, "styles", "classes")


@check
def check_completion(runs: Path, output: str) -> None:
    folder = runs / "completion"
    table = read_numbers(folder / "completion.csv", "beginning")
    assert len(table) == 2
    assert np.isfinite(table).all(axis=None)
    shares = table.filter(regex="valid|distinct|above")
    assert len(shares.columns) == 7
    assert shares.stack().between(0, 1).all()
    assert table.valid.mean() > 0.5
    assert (table.log_evidence < -5).all()
    assert (table.fitting > 0).all()
    assert (table.above_random > 0.9).all()
    for beginning, row in table.iterrows():
        assert_printed(output, beginning, ".2f", row.valid, row.prior_valid, row.distinct)
    assert_pictures(folder, "completion")


@check
def check_digits_semi(runs: Path, output: str) -> None:
    folder = runs / "digits-semi"
    table = pd.read_csv(folder / "errors.csv")
    assert not table.duplicated(["labels", "draw", "method"]).any()
    assert len(table) == 2 * 2 * 4  # numbers of labels, draws, methods
    assert table.error.between(0, 100).all()
    mean = table.pivot_table("error", "method", "labels")
    assert (mean[300] < mean[20]).drop("M2").all()  # which takes more steps than these
    assert mean.loc["logistic", 300] < 15
    methods = ["M2", "classifier", "logistic", "PPCA + logistic"]
    assert f"method {' '.join(methods)}\n" in re.sub(" +", " ", output)
    mean = mean.loc[methods]
    for labels in (20, 300):
        assert_printed(re.sub(r" \([\d.]+\)", "", output), labels, ".2f", *mean[labels])
    right = re.findall(r"in ([\d.]+)% of", output)
    assert len(right) == 2
    assert all(0 <= float(share) <= 100 for share in right)
    assert_pictures(folder, "errors", "classes", "styles")


@check
def check_digits_vae(runs: Path, output: str) -> None:
    folder = runs / "digits-vae"
    dimensions = read_numbers(folder / "latent_dimensions.csv", "D")
    extensions = read_numbers(folder / "extensions.csv", "model")
    assert list(dimensions.index) == [2, 5]
    assert (extensions.loc["plain", ["gain", "gain_se"]] == 0).all()
    for table in (dimensions, extensions):
        assert np.isfinite(table.drop(columns="total_correlation")).all(axis=None)
        assert (table.log_likelihood < 0).all()
        assert (table.kl > 0).all()
        assert (table.elbo < table.iwae).all()
        np.testing.assert_allclose(table.elbo, -table.reconstruction - table.kl, rtol=1e-6)
    gain = extensions.log_likelihood - extensions.log_likelihood["plain"]
    np.testing.assert_allclose(extensions.gain, gain, atol=1e-6)
    for table in (dimensions, extensions):
        for name, row in table.iterrows():
            assert_printed(output, name, ".2f", *row.iloc[:6])
    pictures = ("extensions", "extension_samples", "latent_samples", "manifold", "reconstructions")
    assert_pictures(folder, *pictures)


@check
def check_docking(runs: Path, output: str) -> None:
    if importlib.util.find_spec("dockstring") is None:
        assert output == (
            "left out: the package dockstring is missing: pip install 'molvae[docking]'\n"
        )
        return
    folder = runs / "docking"
    published = read_numbers(folder / "published.csv", ["target", "smiles"])
    assert ((published.docked - published.published).abs() < 1.5).all()
    table = read_numbers(folder / "docking.csv", "method")
    assert list(table.index) == ["neighbourhood", "random"]
    assert (table.best <= table.top_10).all()
    assert table.top_10.between(-12, -3).all()
    for method, row in table.iterrows():
        assert f"{method} seed 0: top 10 {row.top_10:.2f}\n" in output
        name = f"DRD2-{method}-3-seed0"
        own = pd.read_csv(folder / f"{name}.csv")
        assert own.score.mean() == pytest.approx(row.top_10)  # three molecules
        assert len(list((folder / f"{name}-poses/DRD2").glob("*.sdf"))) == 3
        assert_pictures(folder, name)


@check
def check_plausibility(runs: Path, output: str) -> None:
    table = pd.read_csv(runs / "plausibility/plausibility.csv")
    assert set(table["method"].dropna()) == {"plausible", "any", "ga, plausible", "ga"}
    own = table[table["method"].isin(["plausible", "ga, plausible"])]
    assert (own["plausible"] == 1).all()
    assert table[["struck", "unknown", "plausible"]].stack().between(0, 1).all()
    real = table[table["objective"] == "held-out ZINC"].iloc[0]
    assert real["plausible"] > 0.8
    assert_printed(output, "logP plausible", ".3f", *own[["best", "top_10"]].iloc[0])


@check
def check_drugs(runs: Path, output: str) -> None:
    table = pd.read_csv(runs / "drugs/train.csv")
    assert table.smiles.is_unique
    assert len(table) > 100
    counts = table.source.value_counts()
    for source in ("drugs", "zinc"):
        assert f"{source}: {counts.get(source, 0):,} molecules" in output
    assert not table.smiles.str.contains(r"\[NH\d?\+\]|\.").any()  # parents only


@check
def check_faces(runs: Path, output: str) -> None:
    folder = runs / "faces"
    models = read_numbers(folder / "models.csv", "model")
    assert list(models.index) == ["plain", "beta", "TC"]
    assert np.isfinite(models).all(axis=None)
    assert models.filter(like="AUC").stack().between(0, 1).all()
    assert models.MIG.between(0, 1).all()
    assert (models.filter(like="Fréchet") > 0).all(axis=None)
    edits = read_numbers(folder / "edits.csv", ["model", "attribute"])
    assert len(edits) == 3 * 4
    assert edits[["flipped", "kept"]].stack().between(0, 1).all()
    assert edits.strength.between(1, 1.5).all()
    assert (edits.error_ratio > 0).all()
    for name in ("R2", "kl", "MIG"):
        assert_printed(output, name, ".3f", *models[name])
    assert_pictures(folder, "counterfactuals", "samples", "perturbations-TC")
    (read,) = re.findall(r"^the judge reads right, of test faces: (.*)$", output, re.M)
    assert len(re.findall(r"[\d.]+%", read)) == 5


@check
def check_gradient_estimators(runs: Path, output: str) -> None:
    folder = runs / "gradient-estimators"
    table = read_numbers(
        folder / "gradient_estimators.csv", ["problem", "estimator", "K"]
    ).sort_index()
    assert np.isfinite(table).all(axis=None)
    for problem in ("Gaussian", "digits ELBO"):
        ours = table.loc[problem, "reparameterised"]
        plain = table.loc[problem, "score function, no baseline"]
        assert (plain.variance > ours.variance).all()
        for unbiased in (ours, plain):
            assert unbiased.bias_se.between(0.3, 2).all()
            assert 16 < unbiased.variance[1] / unbiased.variance[32] < 64  # about 1/K
    for (problem, estimator, k), row in table.iterrows():
        if k in (1, 2, 8):
            assert_printed(output, f"{problem} {estimator} {k}", ".3g", row.variance, row.ratio)
    assert_pictures(folder, "gradient_estimators")


@check
def check_linear_models(runs: Path, output: str) -> None:
    folder = runs / "linear-models"
    models = read_numbers(folder / "models.csv", "model")
    assert list(models.index) == ["PCA", "PPCA", "factor analysis", "FastICA", "NMF"]
    assert models.held_out_mse.idxmin() in ("PCA", "FastICA")  # the same subspace
    assert models.nats_per_row.notna().sum() == 3
    assert models.nats_per_row["PPCA"] == pytest.approx(models.nats_per_row["PCA"], rel=0.01)
    hidden = read_numbers(folder / "imputation.csv", "imputation").hidden_mse
    assert 0 < hidden["PPCA by EM"] < 0.7 * hidden["column means"]
    likelihood = read_numbers(folder / "likelihood.csv", ["model", "K"]).nats_per_row
    assert len(likelihood) == 2 * 3
    assert (likelihood["factor analysis"] > likelihood["PPCA"]).all()
    for model in ("PPCA", "factor analysis"):
        assert f"{model}: best K = {likelihood[model].idxmax()}\n" in output
    for name, error in (*models.held_out_mse.items(), *hidden.items()):
        assert_printed(output, name, ".4g", error)
    assert_pictures(folder, "components", "maps", "likelihood")


@check
def check_model_study(runs: Path, output: str) -> None:
    folder = runs / "model-study"
    table = read_numbers(folder / "model_study.csv", "configuration")
    assert list(table.index) == ["base", "kl-0.02"]
    assert np.isfinite(table.drop(columns="fcd")).all(axis=None)  # no FCD of so few
    assert (table.validity > 0.8).all()  # SELFIES; only the empty one is no molecule
    assert (table.kl_nats > 0).all()
    priors = read_numbers(folder / "priors.csv", ["configuration", "prior"])
    assert len(priors) == 2 * 3
    for name, row in table.iterrows():
        assert_printed(output, name, ".3f", row.minutes, row.molecules_per_second)
    for prior, row in priors.loc["kl-0.02"].iterrows():
        assert re.search(rf"{prior} +{row.samples:.0f} +{row.validity:.3f} ", output)
    assert_pictures(folder, "priors")


@check
def check_mutation(runs: Path, output: str) -> None:
    """The example's test forgets the parcel of exactly 500 grams, and nothing else."""
    (survivor,) = json.loads((runs / "mutation/tariff.json").read_text())["survivors"]
    before, after = survivor["diff"]
    assert "(grams > 500)" in before
    assert before.removeprefix("-") != after.removeprefix("+")
    assert f"{survivor['place']}\n{before}\n{after}\n" in output
    killed, mutants = map(int, re.findall(r"score: (\d+) of (\d+) mutants killed", output)[0])
    assert killed == mutants - 1 == output.count(" killed    tariff.py:6")


@check
def check_naive_bayes_vs_logistic(runs: Path, output: str) -> None:
    folder = runs / "naive-bayes-vs-logistic"
    curves = read_numbers(folder / "curves.csv", ["data", "classifier", "m"])
    assert len(curves) == 2 * 4 * 5  # data sets, classifiers, sizes
    assert curves.error.between(0, 0.6).all()
    grouped = curves.error.groupby(["data", "classifier"])
    assert (grouped.last() < grouped.first()).all()  # many examples against few
    for (_, classifier), rows in curves.groupby(["data", "classifier"]):
        means = 100 * rows.error
        assert_printed(re.sub(r" \([\d.]+\)", "", output), classifier, ".1f", *means)
    crossings = read_numbers(folder / "crossings.csv", "data")
    assert (crossings["they cross at m"].dropna() > 6).all()
    assert_pictures(folder, "curves")


@check
def check_oled(runs: Path, output: str) -> None:
    folder = runs / "oled"
    assert re.search(r"of 1,000 samples [\d.]+% are valid", output)
    if any(importlib.util.find_spec(name) is None for name in ("tblite", "ase", "mopactools")):
        assert "is missing: pip install 'molvae[quantum]'" in output
        return
    dyes = read_numbers(folder / "dyes.csv", "name")
    assert dyes.error.isna().all()
    assert (dyes.s1_energy - dyes.s1_ev).abs().max() < 0.6
    for own, known in (("s1_energy", "s1_ev"), ("fluorescence", "log_rate")):
        rank = dyes[own].corr(dyes[known], method="spearman")
        assert rank > 0.5
        assert f"{own}: rank correlation {rank:.3f}, root mean square error" in output
    table = read_numbers(folder / "search.csv", "method")
    assert list(table.index) == ["neighbourhood", "random"]
    assert (table.best >= table.top_10).all()
    for method, row in table.iterrows():
        assert f"{method} seed 0: best {row.best:.2f}, top 10 {row.top_10:.2f}\n" in output
        assert_pictures(folder, f"{method}-4-seed0")
    assert_pictures(folder, "dyes")


@check
def check_ppca_vs_vae(runs: Path, output: str) -> None:
    folder = runs / "ppca-vs-vae"
    table = read_numbers(folder / "ppca_vs_vae.csv", "name")
    linear = table.filter(like="linear VAE", axis=0)
    assert len(linear) == 2
    assert (linear.below_ppca.abs() < 0.05).all()  # the quick form is small enough to converge
    assert (linear.angle_degrees < 3).all()
    for name, row in table.iterrows():
        assert_printed(output, name, ".4f", row.log_likelihood, row.noise_sd)
    assert_pictures(folder, "ppca_vs_vae")


@check
def check_scenes(runs: Path, output: str) -> None:
    folder = runs / "scenes"
    table = read_numbers(folder / "scenes.csv", "scenes")
    assert list(table.index) == ["test", "overlapping", "4 digits", "5 digits"]
    assert table[["counted", "twice"]].stack().between(0, 1).all()
    assert table.counted["test"] > 0.3  # a fourth by chance
    assert_printed(output, "test 0", ".4f", *table.loc["test", ["counted", "distance"]])
    (ours, theirs) = re.findall(r"([-\d.]+) nats by molvae.latent, ([-\d.]+) by Pyro", output)[0]
    assert float(ours) == pytest.approx(float(theirs), abs=1e-4)
    assert_pictures(folder, "found", "attention", "failures")


@check
def check_search_study(runs: Path, output: str) -> None:
    table = read_numbers(runs / "search-study/search_study.csv", "part")
    assert list(table.index) == ["neighbourhood", "proposal-prior", "surrogate-latents"]
    assert (table.auc_top_10 > 0).all()
    assert (table.auc_top_10 < table.best).all()
    assert table.valid.between(0.5, 1).all()
    assert table.auc_top_10.nunique() == 3  # each row is a search of its own
    for part, auc in table.auc_top_10.items():
        assert f"{part} {auc:.3f}" in re.sub(" +", " ", output)


@check
def check_search_vs_random(runs: Path, output: str) -> None:
    table = read_numbers(runs / "search-vs-random/search_vs_random.csv", "method")
    assert list(table.index) == ["neighbourhood", "ga", "random"]
    assert (table.best >= table.best_half).all()
    assert (table.best >= table.top_10).all()
    assert table.top_10["neighbourhood"] > table.top_10["random"]
    for method, row in table.iterrows():
        line = f"best half-way {row.best_half:.3f}, best {row.best:.3f}, top 10 {row.top_10:.3f}"
        assert re.search(rf"^logP +{method} +seed 0: {line}$", output, re.M)


@check
def check_sketches(runs: Path, output: str) -> None:
    folder = runs / "sketches"
    tests = ["up to 8 strokes", "up to 12 strokes"]
    for name in tests:
        assert f"{name}: 20 sketches" in output
    table = read_numbers(folder / "reconstruction.csv", "test")
    assert list(table.index) == tests
    assert np.isfinite(table).all(axis=None)
    told = table.filter(like="told")
    assert told.isin(np.arange(21) / 20).all(axis=None)
    assert (table.filter(like="rank") < 20).all(axis=None)
    assert (table.bound_per_point > table.nats_per_point).all()
    completion = read_numbers(folder / "completion.csv", ["test", "other endings"])
    assert np.isfinite(completion).all(axis=None)
    assert completion[["true_is_likeliest", "above"]].stack().between(0, 1).all()
    for name in tests:
        assert_printed(output, name, ".3f", *table.loc[name, ["nats_per_point"]])
        assert_printed(output, f"{name} placed", ".3f", *completion.loc[name, "placed"])
    assert_pictures(folder, "reconstructions", "samples", "interpolation", "completions")


@check
def check_speed(runs: Path, output: str) -> None:
    lines = re.findall(r"^(encode|decode|train): +(\d+) molecules/s", output, re.M)
    means, refined, greedy, beam, train = (int(rate) for _, rate in lines)
    assert means > refined > 0
    assert greedy > beam > 0
    assert train > 0
    (seconds,) = re.findall(r"^optimize: +([\d.]+) s a batch", output, re.M)
    assert 0 < float(seconds) < 60


@check
def check_statistics_table(runs: Path, output: str) -> None:
    folder = runs / "statistics-table"
    table = read_numbers(folder / "statistics_table.csv", ["source", "property"])
    assert len(table) == 3 * 3
    assert (table.molecules == 200).all()
    np.testing.assert_allclose(table.standard_error, table.sd / math.sqrt(199))  # sd divides by 200
    data = table.loc["Data"]
    assert ((data["mean"] - data.published_mean).abs() < 5 * data.standard_error).all()
    for source, rows in table.groupby("source"):
        shown = rf"{source} +200 " + ".*".join(
            rf"{row['mean']:.2f} \({row.sd:.2f}\) ±{row.standard_error:.3f}"
            for _, row in rows.iterrows()
        )
        assert re.search(shown, output)
    assert_pictures(folder, "zinc")


@check
def check_studio(runs: Path, output: str) -> None:
    if "no browser" in output:
        return
    table = read_numbers(runs / "studio-study" / "results.csv", "figure")
    assert (table["value"] > 0).all()
    assert table["value"].filter(like="frames/s").min() > 1
    assert 0.01 < table["value"].filter(like="decode on click").iloc[0] < 60


@check
def check_train_elsewhere(runs: Path, output: str) -> None:
    (molecules,) = re.findall(r"job\.npz: (\d+) molecules", output)
    assert 100 < int(molecules) <= 200
    assert "model.safetensors" in output  # trained from the job alone, then written
    (loss,) = re.findall(r"best validation loss ([\d.]+) ± [\d.]+ nats per molecule", output)
    assert 10 < float(loss) < 500


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
@pytest.mark.filterwarnings("default")  # as where it is run from a shell
def test_the_quick_form_gives_sound_results(
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if study.name in NEEDS and not is_installed(NEEDS[study.name]):
        pytest.skip(f"needs {NEEDS[study.name]}, of the extras studies and dev")
    assert study.name in CHECKS, f"give {study.name} a check_{study.name} here"
    script = str(study / f"{study.name}.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, "--quick"])
    # fewer strings are drawn where molecules are completed
    monkeypatch.setattr("molvae.model.forced_decoding.LEAST_DRAWS", 100)
    monkeypatch.setattr(sys, "path", [str(study), *sys.path])
    with patch.dict(os.environ):  # what a study sets is for its own process
        runpy.run_path(script, run_name="__main__")  # which would import for 4 s
    CHECKS[study.name](tmp_path / "runs", capfd.readouterr().out)


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_a_study_says_how_it_is_run(study: Path) -> None:
    command = f"python pipelines/{study.name}/{study.name}.py"
    assert command in (study / "README.md").read_text()
    assert command in (study / f"{study.name}.py").read_text()
    assert command in (PIPELINES / "README.md").read_text()


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_a_result_says_where_it_comes_from(path: Path) -> None:
    assert f"]({path.name})" in (path.parent / "README.md").read_text()


def test_no_script_lies_loose() -> None:
    assert not list(PIPELINES.glob("*.py"))
