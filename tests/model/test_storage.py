"""A model file with anything wrong in it is one clear error, and never a model that fails later."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize
from molvae.model.molvae import MolVAE
from molvae.model.shipped import list_shipped_models
from molvae.model.storage import write_model

ABSURD = [
    None, True, -1, 0, 1, 3, 10**9, 10**30, -2.5, 0.5, 1e308, float("nan"), float("inf"), "", "x",
    "no.module:Part", [], [[]], ["a", "a"], [1, 2], {}, {"a": {}}, {"components": 10**9},
]  # fmt: skip


def read(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        metadata = {key: json.loads(value) for key, value in file.metadata().items()}
        return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118


def write(path: Path, weights: dict[str, torch.Tensor], metadata: Mapping[str, Any]) -> Path:
    save_file(weights, path, {key: json.dumps(value) for key, value in metadata.items()})
    return path


def change_each_value(values: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """JSON object -> the same with one value changed or missing, for every value at any depth."""
    for key, value in values.items():
        here = f"{place}.{key}"
        rest = {k: v for k, v in values.items() if k != key}
        yield f"{here} missing", rest
        for other in ABSURD:
            if other is not value:
                yield f"{here} = {other!r}", {**values, key: other}
        if isinstance(value, dict):
            for name, inner in change_each_value(value, here):
                yield name, {**values, key: inner}


def use(model: MolVAE) -> None:
    """What is done with a model: each of these must work, or be one clear error."""
    strings = model.decode(model.encode(["CCO", "c1ccccc1"], refine=1), beam=1)
    assert len(strings) == 2
    assert len(model.sample(2, beam=1)) == 2
    if model.vae.property_head is not None:
        assert len(model.predict_properties(model.encode_means(["CCO"]))) == 1
    low, high = model.heavy_atoms
    assert 0 <= low <= high


def test_a_file_with_one_wrong_value_is_an_error_or_a_model_that_works(
    small_model_file: str, tmp_path: Path
) -> None:
    weights, metadata = read(small_model_file)
    refused = []
    for name, changed in change_each_value(metadata):
        path = write(tmp_path / "model.safetensors", weights, changed)
        try:
            use(MolVAE.load(path))
        except MolvaeError as error:
            refused.append(str(error))
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}") from error
    assert len(refused) > 500
    assert [text for text in refused if "\n" in text] == []


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_one_error(
    wrong: float, small_model: MolVAE, small_model_file: str, tmp_path: Path
) -> None:
    weights, metadata = read(small_model_file)
    for name, tensor in weights.items():
        if tensor.is_floating_point():
            damaged = tensor.clone()
            damaged.view(-1)[-1] = wrong
            path = write(tmp_path / "model.safetensors", {**weights, name: damaged}, metadata)
            reason = f"its weights {name} are not finite|its plausibility has the sizes"
            with pytest.raises(MolvaeError, match=reason):
                MolVAE.load(path)
    small_model = MolVAE.load(small_model_file)
    next(iter(small_model.vae.parameters())).data.fill_(1e6)  # which half precision lacks
    with pytest.raises(MolvaeError, match="is not written: the weights"):
        write_model(tmp_path / "new.safetensors", *small_model.parts)
    assert not (tmp_path / "new.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v[:-1], "the vocabulary has .* tokens, the model"),
        (lambda v: [*v, "Xx"], "the vocabulary has .* tokens, the model"),
        (lambda v: [*v[:-1], v[0]], "has a token twice"),
        (lambda v: [*v[:-1], ""], "is not a list of tokens"),
        (lambda v: [*v[:-1], 7], "is not a list of tokens"),
        (lambda v: "".join(v), "is not a list of tokens"),
    ],
)
def test_a_vocabulary_that_is_not_that_of_the_model_is_one_error(
    change: Any, message: str, small_model_file: str, tmp_path: Path
) -> None:
    weights, metadata = read(small_model_file)
    metadata["vocabulary"] = change(metadata["vocabulary"])
    path = write(tmp_path / "model.safetensors", weights, metadata)
    with pytest.raises(MolvaeError, match=f"{path}.*{message}"):
        MolVAE.load(path)


def test_json_that_is_nested_too_deeply_is_one_error(small_model_file: str, tmp_path: Path) -> None:
    weights, metadata = read(small_model_file)
    text = {key: json.dumps(value) for key, value in metadata.items()}
    summary = json.dumps(metadata["summary"])[:-1] + ', "start": '
    for key, deep in [
        ("summary", "[" * 100_000 + "]" * 100_000),
        ("config", '{"a":' * 100_000 + "1" + "}" * 100_000),
        ("summary", summary * 400 + "null" + "}" * 400),
        ("config", "{"),
        ("config", "[1]"),
    ]:
        path = tmp_path / "model.safetensors"
        save_file(weights, path, text | {key: deep})
        with pytest.raises(MolvaeError, match="damaged"):
            MolVAE.load(path)


@pytest.mark.parametrize("name", list_shipped_models())
def test_the_shipped_models_pass_the_checks(name: str) -> None:
    model, cresol = MolVAE.load(name), "Cc1ccccc1O"
    assert canonicalize(model.decode(model.encode([cresol]))[0]) == cresol
