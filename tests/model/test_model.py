import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molvae import MolVAE
from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.chem.molecules import canonicalize
from molvae.chem.property_tables import compute_properties
from molvae.chem.tokenizers import Tokenizer
from molvae.latent.autoregressive import beam_search
from molvae.latent.checkpoint import read_tensors, write_tensors
from molvae.latent.posteriors import posteriors
from molvae.latent.priors import priors
from molvae.latent.training import FitConfig
from molvae.model.decoding import BEAM, MARGIN, PULL, decode_points
from molvae.model.shipped import list_shipped_models
from molvae.model.training import TrainingSet
from molvae.reports.reconstruction import measure_reconstruction

STRANGE = ["", " ", "C1CC", "not a molecule", "C" * 400, "[235U]", "[Xe]", "Ω", "CC(C)(C)(C)C"]


def test_encode_is_deterministic_canonical_and_independent_of_the_batch(
    small_model: MolVAE, zinc: list[str]
) -> None:
    z = small_model.encode(zinc[:20])
    assert z.shape == (20, small_model.latent)
    assert z.dtype == torch.float32
    alone = torch.cat([small_model.encode([s]) for s in zinc[:20]])
    torch.testing.assert_close(z, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(small_model.encode(["OCC"]), small_model.encode(["CCO"]))


@pytest.mark.parametrize("smiles", STRANGE)
def test_a_string_that_cannot_be_encoded_is_refused_in_one_line(
    small_model: MolVAE, smiles: str
) -> None:
    assert not small_model.can_encode(smiles)
    with pytest.raises(MolvaeError) as error:
        small_model.encode(["CCO", smiles])
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


@settings(max_examples=60)
@given(st.text(max_size=40))
def test_any_text_is_encoded_or_refused_never_a_crash(small_model: MolVAE, text: str) -> None:
    if small_model.can_encode(text):
        assert torch.isfinite(small_model.encode([text])).all()


def test_decode_takes_arrays_and_tensors_and_refuses_other_shapes(small_model: MolVAE) -> None:
    z = small_model.sample_latents(700, seed=1)
    strings = small_model.decode(z)
    assert len(strings) == 700
    assert strings == small_model.decode(z.numpy().astype(np.float64))
    assert small_model.sample(700, seed=1) == strings
    assert small_model.sample(700, seed=2) != strings
    assert small_model.sample(9, seed=1, standard=True) == small_model.decode(
        small_model.sample_latents(9, seed=1, standard=True)
    )
    for wrong in (z[0], z[:, :3], torch.full((1, small_model.latent), torch.nan)):
        with pytest.raises(MolvaeError, match="latent points must"):
            small_model.decode(wrong)


def test_a_beam_finds_molecules_that_greedy_decoding_misses(small_model: MolVAE) -> None:
    z = small_model.sample_latents(100, seed=1)
    greedy, found = small_model.decode(z, beam=1), small_model.decode(z)
    valid = [sum(canonicalize(s) is not None for s in strings) for strings in (greedy, found)]
    assert valid[1] > valid[0]
    alone = [small_model.decode(point[None])[0] for point in z]
    same = sum(a == b for a, b in zip(found, alone, strict=True))
    assert same >= 97  # rounding decides where two strings are equally likely
    with pytest.raises(MolvaeError, match="at least 1"):
        small_model.decode(z, beam=0)


def test_of_the_strings_in_the_beam_the_best_molecule_counts(small_model: MolVAE) -> None:
    z = small_model.sample_latents(40, seed=2)
    ids, log_p, _ = beam_search(small_model.vae.sequence_decoder, z, 4, MARGIN)
    strings = [small_model.tokenizer.decode(beam.numpy()) for beam in ids]
    found = [
        [s for s, p in zip(*beam, strict=True) if p > -np.inf]
        for beam in zip(strings, log_p.tolist(), strict=True)
    ]
    for some, chosen in zip(found, decode_points(small_model, z, beam=4, pull=0.0), strict=True):
        assert chosen == next((s for s in some if small_model.can_encode(s)), some[0])
    for some, point, chosen in zip(
        found, z, decode_points(small_model, z, beam=4, pull=1e6), strict=True
    ):
        known = [s for s in some if small_model.can_encode(s)]
        if known:
            apart = (small_model.encode(known, refine=0) - point).norm(dim=1)
            mean = small_model.encode([chosen], refine=0)
            assert (mean - point).norm() <= apart.min() + 1e-4


def test_nothing_is_lost_by_what_a_search_leaves_out(zinc: list[str]) -> None:
    """All strings of a beam, each with its score: the best one is what `decode` gives."""
    model = MolVAE.load("zinc")
    near = model.encode(zinc[:80], refine=0)
    noise = torch.randn(80, model.latent, generator=torch.Generator().manual_seed(3))
    z = torch.cat([near[:20], near + 0.5 * noise, model.sample_latents(20, seed=3)])
    ids, log_p, _ = beam_search(model.vae.sequence_decoder, z, BEAM, MARGIN)
    expected = []
    for point, beam, chances in zip(z, ids, log_p.tolist(), strict=True):
        strings = model.tokenizer.decode(beam.numpy())
        scores = dict.fromkeys(strings[:1], -np.inf)
        for text, p in zip(strings, chances, strict=True):
            form = canonicalize(text) if p > -np.inf else None
            if form is not None and model.can_encode_canonical(form):
                apart = model.encode([form], refine=0)[0] - point
                scores[text] = max(scores.get(text, -np.inf), p - PULL * float(apart @ apart))
        expected.append(max(scores, key=scores.__getitem__))
    assert model.decode(z) == expected
    assert len({*expected} - {*model.decode(z, beam=1)}) > 10  # the search has had to work


def test_properties_are_predicted_stored_and_differentiable(
    small_model: MolVAE, small_model_file: str, zinc: list[str]
) -> None:
    z = small_model.encode(zinc[:400])
    predicted = small_model.predict_properties(z)
    assert list(predicted) == ["logP", "SAS", "QED"]
    true = compute_properties(zinc[:400])
    assert abs(predicted["SAS"].mean() - true["SAS"].mean()) < 0.3
    loaded = MolVAE.load(small_model_file).predict_properties(z)
    np.testing.assert_allclose(loaded, predicted, atol=0.02)
    slope = small_model.property_gradient(z[:5], "SAS")
    step = 0.01 * slope / slope.norm(dim=1, keepdim=True)
    up, down = (small_model.predict_properties(z[:5] + s)["SAS"] for s in (step, -step))
    np.testing.assert_allclose((up - down) / 0.02, slope.norm(dim=1), rtol=0.02)
    with pytest.raises(MolvaeError, match="does not predict 'gap': choose from logP, SAS, QED"):
        small_model.property_gradient(z, "gap")


def test_a_property_that_few_molecules_have_is_learned_from_them(zinc: list[str]) -> None:
    some = zinc[:300]
    known = compute_properties(some)[["SAS"]].set_axis(some)
    true = known["SAS"].copy()
    known["nothing"] = np.nan
    known.loc[some[::2], "SAS"] = np.nan
    shape = {"latent": 8, "encoder_hidden": 64, "decoder_hidden": 32}
    config = FitConfig(epochs=30, batch=32, kl_weight=1e-3, learning_rate=1e-2, precision="32-true")
    model = MolVAE.fit(some, some[:40], shape=shape, properties=known[:250], config=config)
    predicted = model.predict_properties(model.encode(some))
    assert predicted.notna().all(axis=None)
    assert np.corrcoef(predicted["SAS"][1:250:2], true[1:250:2])[0, 1] > 0.8
    bare = MolVAE.fit(zinc[:100], zinc[100:120], shape=shape, config=FitConfig(epochs=1))
    with pytest.raises(MolvaeError, match="predicts no properties"):
        bare.predict_properties(bare.encode(["CCO"]))


def test_a_training_may_start_from_another_model(small_model: MolVAE, zinc: list[str]) -> None:
    train, validation = zinc[:300], zinc[300:400]
    before = measure_reconstruction(small_model, validation)["elbo_nats"]
    weights = {k: v.clone() for k, v in small_model.vae.state_dict().items()}
    config = FitConfig(epochs=2, batch=32, kl_weight=1.0, kl_warmup=0.0)
    tuned = MolVAE.fit(train, validation, start=small_model, config=config)
    assert measure_reconstruction(tuned, validation)["elbo_nats"] > before
    assert tuned.tokenizer.vocabulary == small_model.tokenizer.vocabulary
    assert tuned.vae.property_head is None
    assert tuned.summary.start == small_model.summary
    assert all(torch.equal(v, weights[k]) for k, v in small_model.vae.state_dict().items())
    known = compute_properties(zinc[:400])[["logP", "SAS", "QED"]].set_axis(zinc[:400])
    again = MolVAE.fit(
        train,
        validation,
        start=small_model,
        properties=known,
        config=FitConfig(epochs=1, learning_rate=0),
    )
    z = torch.randn(4, 8)
    assert list(again.predict_properties(z)) == list(small_model.predict_properties(z))


def test_a_saved_model_is_the_same_model(
    small_model: MolVAE, small_model_file: str, zinc: list[str]
) -> None:
    loaded = MolVAE.load(small_model_file)
    assert loaded.summary == small_model.summary
    torch.testing.assert_close(
        loaded.encode(zinc[:50]), small_model.encode(zinc[:50]), atol=1e-2, rtol=1e-2
    )  # weights are kept in half precision


def test_a_wrong_model_file_is_one_clear_error(small_model_file: str, tmp_path: Path) -> None:
    whole = Path(small_model_file).read_bytes()
    tensors, metadata = read_tensors(Path(small_model_file))
    cut, text, foreign = tmp_path / "cut.safetensors", tmp_path / "text", tmp_path / "foreign"
    cut.write_bytes(whole[:5000])
    text.write_text("hello")
    write_tensors(foreign, tensors, {"some": "thing"})
    wrong_shape = tmp_path / "shape"
    write_tensors(wrong_shape, tensors, metadata | {"config": metadata["config"] | {"latent": 9}})
    for path in (cut, text, foreign, wrong_shape, tmp_path / "none", "zinkk"):
        with pytest.raises(MolvaeError):
            MolVAE.load(path)


def test_reading_a_file_executes_nothing(small_model_file: str, tmp_path: Path) -> None:
    tensors, metadata = read_tensors(Path(small_model_file))
    path = tmp_path / "evil.safetensors"
    for change in (
        {"config": metadata["config"] | {"prior": "antigravity:fly"}},
        {"config": metadata["config"] | {"prior": "os:system"}},
        {"config": metadata["config"] | {"encoder": "subprocess:Popen"}},
        {"tokenizer": "antigravity:fly"},
    ):
        write_tensors(path, tensors, metadata | change)
        with pytest.raises(MolvaeError, match=r"if you trust it|not a class derived from"):
            MolVAE.load(path)
    assert "antigravity" not in sys.modules


def test_evaluate_counts_what_it_says(small_model: MolVAE, zinc: list[str]) -> None:
    some = zinc[:64]
    figures = measure_reconstruction(small_model, some)
    decoded = small_model.decode(small_model.encode(some))
    exact = sum(a == canonicalize(b) for a, b in zip(some, decoded, strict=True)) / len(some)
    assert figures["exact_reconstruction"] == pytest.approx(exact)
    greedy = small_model.decode(small_model.encode(some), beam=1)
    exact = sum(a == b for a, b in zip(some, greedy, strict=True)) / len(some)
    assert figures["exact_reconstruction_greedy"] == pytest.approx(exact)
    means = small_model.decode(small_model.encode(some, refine=0), beam=1)
    exact = sum(a == b for a, b in zip(some, means, strict=True)) / len(some)
    assert figures["exact_reconstruction_means"] == pytest.approx(exact)
    unrefined = measure_reconstruction(small_model, some, refine=0)
    assert unrefined["exact_reconstruction_greedy"] == pytest.approx(exact)
    assert 0 < figures["token_accuracy"] < 1
    assert figures["elbo_nats"] == pytest.approx(
        -figures["reconstruction_nats"] - figures["kl_nats"], rel=1e-5
    )


@pytest.mark.parametrize("posterior", posteriors)
@pytest.mark.parametrize("prior", priors)
def test_any_prior_and_posterior_is_trained_stored_and_sampled(
    posterior: str, prior: str, zinc: list[str], tmp_path: Path
) -> None:
    shape = {"latent": 4, "encoder_hidden": 32, "decoder_hidden": 32}
    config = FitConfig(epochs=1, batch=32, validate_every=10, precision="32-true")
    options = {"components": 12} if prior in ("mixture", "vamp") else {}
    options = {"layers": 1, "hidden": 8} if prior == "flow-matching" else options
    parts = {"prior": prior, "posterior": posterior, "prior_options": options}
    model = MolVAE.fit(zinc[:100], zinc[100:140], shape=shape | parts, config=config)
    assert model.encode(zinc[:50]).isfinite().all()
    model.save(tmp_path / "model.safetensors")
    loaded = MolVAE.load(tmp_path / "model.safetensors")
    assert loaded.vae.config == model.vae.config
    torch.testing.assert_close(
        loaded.sample_latents(20), model.sample_latents(20), atol=0.05, rtol=0.05
    )
    assert np.isfinite(measure_reconstruction(loaded, zinc[:30])["kl_nats"])


@pytest.mark.parametrize("prior", ["mixture", "vamp", "flow", "flow-matching"])
def test_a_prior_fitted_afterwards_is_stored_and_changes_nothing_else(
    prior: str, small_model: MolVAE, small_model_file: str, zinc: list[str], tmp_path: Path
) -> None:
    model = MolVAE.load(small_model_file)
    weights = {k: v.clone() for k, v in model.vae.state_dict().items()}
    config = FitConfig(
        epochs=5, batch=64, validate_every=20, learning_rate=0.03, precision="32-true"
    )
    options = {"components": 30}
    if "flow" in prior:
        options = {"transforms": 2} if prior == "flow" else {"layers": 2}
        options["hidden"] = 32
    with pytest.warns(MolvaeWarning, match=r"1 of 201 validation .* '\[Xe\]' contains xenon"):
        gained = model.fit_prior(
            prior, zinc[:800], [*zinc[800:1000], "[Xe]"], config=config, options=options
        )
    # they are nearly a standard normal already, and a velocity field starts far from it
    assert gained.after > gained.before - (0.6 if prior == "flow-matching" else 0.2)
    assert model.summary.prior.name == prior
    for name, tensor in model.vae.state_dict().items():
        if not name.startswith("prior_module"):
            assert torch.equal(tensor, weights[name])
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = MolVAE.load(path)
    assert loaded.vae.config.prior == prior
    torch.testing.assert_close(
        loaded.sample_latents(20), model.sample_latents(20), atol=0.05, rtol=0.05
    )
    assert all(p.requires_grad for p in model.vae.parameters())
    normal = torch.randn(20, 8, generator=torch.Generator().manual_seed(3))
    assert torch.equal(model.sample_latents(20, seed=3, standard=True), normal)
    with pytest.raises(MolvaeError, match="no molecules left"):
        model.fit_prior(prior, [], zinc)


def test_a_fitted_posterior_is_better_and_is_stored(
    small_model_file: str, zinc: list[str], tmp_path: Path
) -> None:
    model, old = MolVAE.load(small_model_file), MolVAE.load(small_model_file)
    known = compute_properties(zinc[:1000]).set_axis(zinc[:1000])[["logP", "SAS", "QED"]]
    held_out = zinc[800:1000]
    config = FitConfig(epochs=6, batch=50, learning_rate=5e-3, kl_warmup=0.0, kl_weight=0.1)
    with pytest.warns(MolvaeWarning, match=r"1 of 201 validation .* '\[Xe\]' contains xenon"):
        found = model.fit_posterior(
            2, zinc[:800], [*held_out, "[Xe]"], properties=known, config=config
        )
    assert found.after > found.before + 0.1
    z = model.sample_latents(20)
    assert model.decode_greedily(z) == old.decode_greedily(z)
    figures, before = (measure_reconstruction(m, held_out[:30]) for m in (model, old))
    assert (figures["learned_steps"], before["learned_steps"]) == (2, 0)
    assert figures["token_accuracy"] != before["token_accuracy"]
    for name in ("encoder", "means"):
        key = f"exact_reconstruction_{name}"
        assert figures["exact_reconstruction_encoder"] == before[key]
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = MolVAE.load(path)
    assert loaded.summary.posterior == model.summary.posterior
    assert loaded.summary.posterior is not None
    assert loaded.summary.posterior.after == found.after
    means = loaded.encode_ids([loaded.tokenize(s) for s in held_out[:20]], refine=0)
    torch.testing.assert_close(model.encode(held_out[:20], refine=0), means, atol=0.05, rtol=0.05)
    alone = torch.cat([model.encode([s], refine=0) for s in held_out[:20]])
    torch.testing.assert_close(model.encode(held_out[:20], refine=0), alone, atol=1e-4, rtol=1e-4)
    with pytest.raises(MolvaeError, match="no molecules left"):
        model.fit_posterior(2, [], zinc)


@pytest.mark.parametrize(
    ("tokenizer", "forms"), [("atom", 0), ("atom", 3), ("selfies", 0), ("selfies-pairs", 0)]
)
def test_a_few_molecules_can_be_learned_by_heart(
    tokenizer: str, forms: int, zinc: list[str]
) -> None:
    some = sorted(zinc, key=len)[:8]
    model = MolVAE.fit(
        some,
        some,
        tokenizer=tokenizer,
        random_smiles=forms,
        shape={"latent": 8, "encoder_hidden": 64, "decoder_hidden": 128},
        blur=0.0,
        config=FitConfig(
            epochs=200, batch=8, kl_weight=1e-3, learning_rate=1e-2, precision="32-true"
        ),
    )
    decoded = model.decode(model.encode(some))
    assert sum(canonicalize(a) == b for a, b in zip(decoded, some, strict=True)) >= 7


def test_the_encoder_may_read_random_forms_of_what_the_decoder_writes(zinc: list[str]) -> None:
    train, held_out = zinc[:30], zinc[:5]
    words = Tokenizer.fit("atom", zinc)
    data = TrainingSet.make((train, held_out), words, forms=4)
    assert len(data.validation) == 1
    ids, unknown, read = data.train
    assert unknown.shape == (30, 0)
    strings = [words.decode(form) for form in read]  # 30 times 4
    assert len({s for forms in strings for s in forms}) > 100
    for smiles, forms in zip(words.decode(ids), strings, strict=True):
        assert {canonicalize(form) for form in forms} == {smiles}
    short = TrainingSet.make((train, held_out), words, longest=len(ids[0]), forms=4)
    assert short.left_out == 0  # longer forms are replaced, not their molecule


@pytest.mark.parametrize("name", ["zinc", "zinc-selfies"])
def test_points_decode_to_their_molecules_and_are_means_where_these_do(
    name: str, zinc: list[str]
) -> None:
    model, some = MolVAE.load(name), zinc[:100]
    means, points = model.encode(some, refine=0), model.encode(some)
    exact = [
        np.array([canonicalize(a) == b for a, b in zip(model.decode(z, beam=1), some, strict=True)])
        for z in (means, points)
    ]
    assert exact[0].mean() < exact[1].mean()
    assert exact[1].mean() >= 0.95
    assert torch.equal(points[exact[0]], means[exact[0]])
    assert (points - means).square().mean(dim=1).max() < 0.5**2  # not far away
    assert not points.requires_grad
    assert all(weight.grad is None for weight in model.vae.parameters())


def test_processes_write_the_molecules_as_one_does(
    zinc: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [*zinc[:100], "C[Ti]C", *zinc[100:150]], zinc[150:160]

    def written() -> tuple[Tokenizer, TrainingSet]:
        words = Tokenizer.fit("selfies-pairs", zinc[:160])
        with pytest.warns(MolvaeWarning, match=r"1 of 151 training .* 'C\[Ti\]C' contains titan"):
            return words, TrainingSet.make(parts, words, forms=2)

    words, data = written()
    monkeypatch.setattr("molvae.base.parallel.CHUNK", 40)
    again, same = written()
    assert words.vocabulary == again.vocabulary
    assert data.smiles == same.smiles
    assert data.left_out == same.left_out == 1
    for a, b in zip(data.train + data.validation, same.train + same.validation, strict=True):
        np.testing.assert_array_equal(a, b)


def test_shipped_models_load_by_name_and_keep_to_their_size() -> None:
    for name, path in list_shipped_models().items():
        assert path.stat().st_size < 10e6
        model = MolVAE.load(name)
        assert model.decode(model.encode(["CC(=O)Oc1ccccc1C(=O)O"]))


def test_a_file_of_another_format_says_which_version_reads_it(
    small_model_file: str, tmp_path: Path
) -> None:
    weights, metadata = read_tensors(Path(small_model_file))
    path = tmp_path / "newer.safetensors"
    write_tensors(path, weights, metadata | {"format": 99, "molvae": "7.1"})
    with pytest.raises(
        MolvaeError, match=r"format 99, written by molvae 7\.1.*install molvae 7\.1"
    ):
        MolVAE.load(path)
    write_tensors(path, weights, {k: v for k, v in metadata.items() if k != "molvae"})
    assert MolVAE.load(path).summary.data == "zinc"  # as the first version wrote it
