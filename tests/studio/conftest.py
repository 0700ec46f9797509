"""Runs to look at: finished, with several objectives, empty, damaged, hostile, large."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molvae.chem.molecules import parse
from molvae.chem.properties import qed, sas
from molvae.model.molvae import MolVAE
from molvae.oracles.history import Iteration
from studio_runs import EVIL, write_run


@pytest.fixture(scope="session")
def model_file(small_model: MolVAE, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small model without the name of its data, so that its map is one of its prior."""
    own = MolVAE(small_model.tokenizer, small_model.vae, replace(small_model.summary, data=None))
    path = tmp_path_factory.mktemp("studio-model") / "own.safetensors"
    own.save(path)
    return str(path)


@pytest.fixture(scope="session")
def runs(
    small_model: MolVAE, model_file: str, zinc: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder of run folders."""
    folder = tmp_path_factory.mktemp("runs")
    few = [s for s in zinc if small_model.can_encode(s)][:60]
    z = small_model.encode_means(few)
    mols = [parse(s) for s in few]
    with write_run(folder / "one", model_file, ["QED"]) as history, history.at_once():
        for i, (name, mol) in enumerate(zip(few, mols, strict=True)):
            history.add(name, qed(mol), seconds=0.1, iteration=i // 10, z=z[i])
            history.add_iteration(Iteration(i // 10, 20, 15, 10, 0.2))
    aims = ["QED", "-SAS", "heavy_atoms"]
    with write_run(folder / "three", model_file, aims) as history, history.at_once():
        for i, (name, mol) in enumerate(zip(few, mols, strict=True)):
            values = (qed(mol), -sas(mol), float(mol.GetNumHeavyAtoms()))
            history.add(name, values, seconds=0.1, z=z[i])
    write_run(folder / "empty", model_file, ["QED"]).close()
    with write_run(folder / "single", model_file, ["QED"]) as history:
        history.add(few[0], 0.5, seconds=0.1, z=z[0])
    with write_run(folder / "hostile", model_file, [EVIL]) as history:
        history.save_settings({"strategy": EVIL})
        history.add(few[0], 0.5, seconds=0.1, z=z[0])
        history.add(EVIL, float("nan"), seconds=0.1, z=z[1], error=EVIL)
    (folder / "damaged").mkdir()
    (folder / "damaged" / "config.json").write_text("{}")
    (folder / "damaged" / "history.sqlite").write_bytes(b"no database at all" * 100)
    return folder


@pytest.fixture(scope="session")
def large(model_file: str, small_model: MolVAE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 100,000 evaluations."""
    folder = tmp_path_factory.mktemp("large") / "large"
    z = np.random.default_rng(0).standard_normal((100_000, small_model.latent)).astype(np.float32)
    with write_run(folder, model_file, ["logP"], 100_000) as history, history.at_once():
        for i in range(100_000):
            name = f"[{i % 999 + 1}CH3][{i // 999 + 1}CH3]"
            history.add(name, float(z[i, 0]), seconds=0.0, z=z[i])
    return folder
