"""Shared by the tests: real molecules, a small trained model, a cache of their own."""

import os
import random
import tempfile

if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers share the cache of who started them
    os.environ["MOLVAE_CACHE"] = tempfile.mkdtemp(prefix="molvae-test-cache-")
    os.environ["OMP_NUM_THREADS"] = "1"  # one worker a core is faster than torch's own threads

import pytest
from hypothesis import settings

from fitted import fit_once
from molvae.chem.datasets import assign_part, datasets
from molvae.chem.property_tables import compute_properties
from molvae.latent.training import FitConfig
from molvae.model.molvae import MolVAE

settings.register_profile("untimed", deadline=None)  # a slow machine is no fault
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def zinc() -> list[str]:
    """2,000 random molecules of ZINC250k, canonical."""
    from molvae.chem.molecules import canonicalize

    smiles = [canonicalize(s) for s in random.Random(0).sample(datasets["zinc"](), 2_000)]
    return list(dict.fromkeys(s for s in smiles if s))


SMALL = {"latent": 8, "encoder_hidden": 64, "decoder_hidden": 64}


@pytest.fixture(scope="session")
def small_model(zinc: list[str]) -> MolVAE:
    """A model trained for seconds: too weak to be useful, real in every other respect."""
    train = [s for s in zinc if assign_part(s) == "train"]
    validation = [s for s in zinc if assign_part(s) == "validation"]
    config = FitConfig(epochs=2, batch=64, validate_every=20, precision="32-true")
    known = compute_properties(zinc)[["logP", "SAS", "QED"]].set_axis(zinc)

    def fit() -> MolVAE:
        return MolVAE.fit(
            train,
            validation,
            tokenizer="pairs",
            shape=SMALL,
            properties=known,
            config=config,
            data="zinc",
        )

    return fit_once("small", fit)


@pytest.fixture(scope="session")
def small_model_file(small_model: MolVAE, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small model, saved."""
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    small_model.save(path)
    return str(path)
