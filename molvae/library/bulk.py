"""Encode, decode and sample libraries larger than memory: a stream in, a folder of Parquet out.

`molvae.library.stream` describes how the parts are written, sharded and resumed. Every worker
needs access to the model file and the output folder.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize
from molvae.latent.refine import STEPS
from molvae.library.latents import Latents, count_parquet_rows, identify_input, iter_latents
from molvae.library.stream import StreamConfig, Tally, run
from molvae.model.decoding import BEAM
from molvae.model.molvae import MolVAE
from molvae.model.shipped import list_shipped_models

_RANDOM = threading.Lock()  # the prior uses torch's global generator; joblib may run threads


def encode(
    smiles: Iterable[str],
    model: str | Path,
    folder: Path,
    config: StreamConfig | None = None,
    *,
    origin: object = None,
    total: int | None = None,
    properties: bool = False,
    refine: int = STEPS,
    names: bool = False,
    check: bool = False,
    standardize: bool | None = None,
) -> Tally:
    """SMILES -> Parquet parts with columns smiles, z0, z1, ... (float32), reason.

    Every input row is kept. A row that cannot be encoded has null latents and the reason; for all
    others the reason is null.

    Args:
        smiles: any iterable of SMILES, each optionally followed by a blank and a name; never held
            in memory whole.
        model: name of a shipped model, or a .safetensors file.
        folder: output folder; created if missing.
        config: chunk size, shard and processes.
        origin: identifies the input (JSON values); a folder written from another input is refused.
        total: number of input rows, if known, for the progress bar.
        properties: also write the predicted properties, as columns predicted_logP and so on.
        refine: maximum number of refinement steps, as in `MolVAE.encode`.
        names: also write the names, as a column name.
        check: also write whether each molecule decodes to itself, as a column round_trip.
        standardize: encode the parent of each molecule, as in `MolVAE.load`, and write it and what
            was changed to get it, as columns parent and changes.

    Returns:
        The number of rows of this shard, and how many of them were encoded.

    Raises:
        MolvaeError: the model does not exist; the folder holds other files or was written with
            other settings or from other rows; the input cannot be read; a process died.
    """
    config = config or StreamConfig()
    weights, digest = identify_model(model)
    parents = MolVAE.load(model, standardize=standardize).standardizes
    settings = {"verb": "encode", "model": digest, "input": origin, "chunk": config.chunk}
    settings |= {"properties": properties, "refine": refine}
    wanted = {"names": names, "check": check, "standardize": parents}
    extra = {name: True for name, on in wanted.items() if on}
    settings |= extra  # absent otherwise, so that folders of earlier versions can be resumed
    rows = iter(smiles)
    chunks = iter(lambda: list(islice(rows, config.chunk)), [])
    work = partial(_encode, weights, digest, properties, refine, extra)
    return run(chunks, work, folder, settings, config, total)


def decode(
    source: str | Path | IO[str],
    model: str | Path,
    folder: Path,
    config: StreamConfig | None = None,
    *,
    beam: int = BEAM,
) -> Tally:
    """Latents, as in `latents.iter_latents` -> parts of columns smiles, valid, one row a point.

    A row without latents gets a null SMILES.

    Args:
        source: as in `library.latents.iter_latents`.
        model: name of a shipped model, or a .safetensors file.
        folder: output folder; created if missing.
        config: chunk size, shard and processes.
        beam: beam width, as in `MolVAE.decode`.

    Returns:
        The number of rows of this shard, and how many of them decode to valid SMILES.

    Raises:
        MolvaeError: as in `encode`.
    """
    config = config or StreamConfig()
    weights, digest = identify_model(model)
    origin: object = "-"
    total = None
    if isinstance(source, str | Path):
        origin, total = identify_input(source), count_parquet_rows(source)
    settings = {"verb": "decode", "model": digest, "input": origin, "chunk": config.chunk}
    settings["beam"] = beam
    chunks = iter_latents(source, config.chunk)
    return run(chunks, partial(_decode, weights, digest, beam), folder, settings, config, total)


def sample(
    number: int,
    model: str | Path,
    folder: Path,
    config: StreamConfig | None = None,
    *,
    seed: int = 0,
    temperature: float = 0.0,
    beam: int = BEAM,
    standard: bool = False,
) -> Tally:
    """Number of prior samples -> Parquet parts with columns smiles, valid.

    Chunk i is sampled with a seed derived from (seed, i), so the strings do not depend on the
    sharding. They differ from those of `MolVAE.sample` with the same seed.

    Args:
        number: strings to sample, over all shards.
        model: name of a shipped model, or a .safetensors file.
        folder: output folder; created if missing.
        config: chunk size, shard and processes.
        seed: random seed.
        temperature: as in `MolVAE.decode`.
        beam: beam width, as in `MolVAE.decode`.
        standard: sample from N(0, I) instead of the model's prior.

    Returns:
        The number of rows of this shard, and how many of them are valid SMILES.

    Raises:
        MolvaeError: as in `encode`.
    """
    config = config or StreamConfig()
    weights, digest = identify_model(model)
    settings = {"verb": "sample", "model": digest, "number": number, "chunk": config.chunk}
    drawing = {"temperature": temperature, "beam": beam, "standard": standard}
    settings |= {"seed": seed, **drawing}
    step = config.chunk
    chunks = (range(start, min(start + step, number)) for start in range(0, number, step))
    work = partial(_sample, weights, digest, seed, drawing)
    return run(chunks, work, folder, settings, config, number)


class Row(NamedTuple):
    """A string as the model reads it, or why it cannot be encoded.

    Attributes:
        ids: token ids of the molecule that is encoded, None if there is none.
        parent: its canonical SMILES, "" if there is none.
        changes: what was changed to get it, "" for nothing.
        reason: in one line why the string cannot be encoded, None if it can.
    """

    ids: list[int] | None
    parent: str
    changes: str
    reason: str | None


def read_row(model: MolVAE, smiles: str) -> Row:
    """Model and a string -> what is encoded of it."""
    if not smiles:
        return Row(None, "", "", "it is empty")
    try:
        parent, changes = model.read_molecule(smiles)
        return Row(model.tokenize_canonical(parent), parent, "; ".join(changes), None)
    except MolvaeError as error:
        return Row(None, "", "", str(error))


def predict_properties(model: MolVAE, z: Latents) -> pd.DataFrame:
    """Latents (n, D) -> predicted properties, in columns predicted_logP and so on.

    Raises:
        MolvaeError: the model predicts no properties.
    """
    return model.predict_properties(z).add_prefix("predicted_")


def decode_rows(
    model: MolVAE, z: Latents, beam: int = BEAM, progress: bool = False
) -> list[str | None]:
    """Latents (n, D) -> n decoded strings; a row of NaN gives None.

    Args:
        model: a trained model.
        z: latents; a row of NaN stands for missing latents.
        beam: beam width, as in `MolVAE.decode`.
        progress: show a progress bar.
    """
    there = np.asarray(np.isfinite(z).any(axis=1))
    strings = iter(model.decode(z[there], progress=progress, beam=beam))
    return [next(strings) if row else None for row in there.tolist()]


def identify_model(model: str | Path) -> tuple[Path, str]:
    """Model name or file -> its path and a digest of its content."""
    MolVAE.load(model)  # report a bad model before the work starts
    path = list_shipped_models().get(str(model), Path(model)).resolve()
    return path, hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


@lru_cache(maxsize=1)
def _model(weights: Path, digest: str) -> MolVAE:
    """Load a model once per process; the digest changes when the file is replaced."""
    return MolVAE.load(weights)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one torch thread, since processes share the machine; sums are then reproducible."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _encode(
    weights: Path,
    digest: str,
    properties: bool,
    refine: int,
    extra: dict[str, bool],
    part: int,
    rows: list[str],
) -> tuple[pa.Table, int]:
    model = _model(weights, digest)
    cells = [row.partition(" ") for row in rows]
    smiles = [own for own, _, _ in cells]
    model.standardizes = "standardize" in extra
    read = [read_row(model, s) for s in smiles]
    usable = [row.ids for row in read if row.ids is not None]
    left_out = np.array([row.ids is None for row in read])
    z = np.full((len(smiles), model.latent), np.nan, dtype=np.float32)
    with _one_thread():
        z[~left_out] = model.encode_ids(usable, refine=refine).numpy()
    columns = {f"z{axis}": pa.array(z[:, axis], mask=left_out) for axis in range(model.latent)}
    if properties:
        y = predict_properties(model, np.nan_to_num(z))
        columns = {str(n): pa.array(y[n], mask=left_out) for n in y} | columns
    if "check" in extra:
        back = np.zeros(len(smiles), np.bool_)
        back[~left_out] = model.check_round_trip(usable, z[~left_out])
        columns = {"round_trip": pa.array(back, mask=left_out)} | columns
    if "standardize" in extra:
        parent = pa.array([row.parent for row in read], mask=left_out)
        changes = pa.array([row.changes for row in read], mask=left_out)
        columns = {"parent": parent, "changes": changes} | columns
    if "names" in extra:
        columns = {"name": pa.array([name for _, _, name in cells])} | columns
    table = {
        "smiles": smiles,
        **columns,
        "reason": pa.array([row.reason for row in read], pa.string()),
    }
    return pa.table(table), len(usable)


def _decode(weights: Path, digest: str, beam: int, part: int, z: Latents) -> tuple[pa.Table, int]:
    with _one_thread():
        return _strings(decode_rows(_model(weights, digest), z, beam))


def _sample(
    weights: Path, digest: str, seed: int, drawing: dict[str, Any], part: int, rows: Sequence[int]
) -> tuple[pa.Table, int]:
    model = _model(weights, digest)
    own = int(np.random.SeedSequence((seed, part)).generate_state(1, np.uint64)[0] >> np.uint64(1))
    with _one_thread():
        with _RANDOM:
            z = model.sample_latents(len(rows), own, drawing["standard"])
        return _strings(
            model.decode(z, temperature=drawing["temperature"], seed=own, beam=drawing["beam"])
        )


def _strings(strings: Sequence[str | None]) -> tuple[pa.Table, int]:
    valid = [s is not None and canonicalize(s) is not None for s in strings]
    return pa.table({"smiles": pa.array(strings, pa.string()), "valid": valid}), sum(valid)
