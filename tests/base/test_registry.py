import importlib
import math
import pkgutil
import re
import sys
from collections.abc import Mapping

import pytest

import molvae
from molvae.base.errors import MolvaeError
from molvae.base.registry import Registry, UnknownNameError
from molvae.chem.datasets import datasets
from molvae.chem.tokenizers import tokenizers
from molvae.cli import main
from molvae.latent.decoders import decoders
from molvae.latent.encoders import encoders
from molvae.latent.likelihoods import likelihoods
from molvae.latent.posteriors import posteriors
from molvae.latent.priors import priors
from molvae.oracles.objectives import objectives
from molvae.search.strategies import strategies

REGISTRIES = [datasets, tokenizers, encoders, decoders, likelihoods, posteriors, priors]
REGISTRIES += [objectives, strategies]


def test_a_wrong_name_is_answered_with_the_nearest_and_all_known() -> None:
    colours: Registry[str] = Registry("colour")
    colours.register("red")("#f00")
    colours.register("green")("#0f0")
    with pytest.raises(UnknownNameError, match=r"^unknown colour 'gren': did you mean 'green'\?"):
        colours["gren"]
    with pytest.raises(ValueError, match="registered already"):
        colours.register("red")


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_a_registry_is_a_mapping(registry: Registry[object]) -> None:
    assert isinstance(registry, Mapping)
    assert dict(registry) == {name: registry[name] for name in registry}
    assert len(registry) == len(list(registry)) > 0
    for name in ("no-such-name", "math:sqrt"):  # `in`, `get` and `[]` agree on what is there
        assert name not in registry
        assert registry.get(name, "default") == "default"
        with pytest.raises(KeyError):
            registry[name]


def test_a_dotted_name_is_imported() -> None:
    functions: Registry[object] = Registry("function")
    assert functions.look_up("math:sqrt") is math.sqrt
    for wrong in ("math:nothing", "no.such.module:f", ":f"):
        with pytest.raises(UnknownNameError, match="cannot import"):
            functions.look_up(wrong)


def test_what_does_not_fit_is_refused_when_it_is_registered_or_imported() -> None:
    def check(name: str, entry: object) -> None:
        if not callable(entry):
            raise MolvaeError(f"{name} cannot be called")

    functions: Registry[object] = Registry("function", check)
    with pytest.raises(MolvaeError, match="four cannot be called"):
        functions.register("four")(4)
    with pytest.raises(MolvaeError, match="math:pi cannot be called"):
        functions.look_up("math:pi")
    assert list(functions) == []


def test_a_name_from_a_file_is_never_imported() -> None:
    functions: Registry[object] = Registry("function")
    assert functions.look_up_loaded("math:sqrt") is math.sqrt  # imported by this test
    with pytest.raises(UnknownNameError, match="import antigravity first"):
        functions.look_up_loaded("antigravity:fly")
    assert "antigravity" not in sys.modules


def test_molvae_list_shows_every_registry(capsys: pytest.CaptureFixture[str]) -> None:
    for module in pkgutil.walk_packages(molvae.__path__, "molvae."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {
        id(value): value
        for name, module in list(sys.modules.items())
        if name.startswith("molvae.")
        for value in vars(module).values()
        if isinstance(value, Registry)
    }
    assert len(found) >= 12
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for registry in found.values():
        for name in registry:
            assert re.search(rf"^  {re.escape(name)} ", shown, re.MULTILINE), (registry.kind, name)
