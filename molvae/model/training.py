"""Molecules -> a training job: token ids, properties and an initialised VAE."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.base.parallel import map_parallel
from molvae.chem.molecules import count_heavy_atoms, randomize_smiles
from molvae.chem.plausibility import Domain
from molvae.chem.tokenizers import Tokenizer
from molvae.latent.batches import Array
from molvae.latent.training import FitConfig, State
from molvae.latent.vae import VAE, VAEConfig
from molvae.model.job import TrainingJob, make_vae
from molvae.model.summary import TrainingSummary
from molvae.model.transfer import shape_to_transfer, transfer_weights

# overrides of VAEConfig defaults that work better for molecules
SHAPE: dict[str, Any] = {
    "posterior": "isotropic",
    "encoder_hidden": 256,
    "decoder_hidden": 256,
}
DEFAULT_TOKENIZER = "atom-pairs"
BLUR = 0.5  # fraction of molecules decoded from a blurred z in training
FEW = 1_000  # training molecules; fewer are fine-tuned on with the settings of `choose_config`
FEW_TO_SPLIT = 200  # molecules; of fewer, a share of 10 % and at least 2 are held out
EXAMPLES = 2_000  # molecules used to initialise the prior and to standardise the latent space


class TrainingSet(NamedTuple):
    """Training arrays: ids (N, L), properties (N, P), ids of randomised SMILES (N, K, L).

    Properties and randomised SMILES are optional; the latter are only in `train`.
    """

    smiles: list[str]
    """SMILES of the training molecules."""
    train: tuple[Array, ...]
    validation: tuple[Array, ...]
    properties: tuple[str, ...]
    left_out: int
    """Number of molecules that the tokenizer or the model cannot represent."""

    @classmethod
    def make(
        cls,
        parts: Sequence[Sequence[str]],
        tokenizer: Tokenizer,
        *,
        properties: pd.DataFrame | None = None,
        longest: int | None = None,
        forms: int = 0,
        progress: bool = False,
    ) -> TrainingSet:
        """Canonical SMILES for training and validation -> training arrays.

        Args:
            parts: training molecules and validation molecules, each without duplicates.
            tokenizer: tokenizer of the model.
            properties: table of values, indexed by SMILES; molecules without a row get NaN.
            longest: maximum number of tokens, begin and end included; None for no limit.
            forms: number of randomised SMILES per molecule. One that the tokenizer cannot represent
                is replaced by the canonical SMILES.
            progress: show a progress bar.

        Raises:
            MolvaeError: no training or validation molecules are left, or `forms` is negative.
        """
        if forms < 0:
            raise MolvaeError(f"the number of random SMILES must not be negative, got {forms}")
        smiles: list[list[str]] = []
        tables: list[tuple[Array, ...]] = []
        for part in parts:
            wanted = 0 if tables else forms
            work = partial(_tokenize_forms, tokenizer, longest, wanted)
            found = map_parallel(work, list(part), "tokens", progress)
            rows = {s: ids for s, ids in zip(part, found, strict=True) if ids}
            if len(rows) < len(part):
                first = next(s for s, ids in zip(part, found, strict=True) if not ids)
                _warn_left_out(tokenizer, first, len(part) - len(rows), len(part), not tables)
            if not rows:
                noun = "validation" if tables else "training"
                raise MolvaeError(
                    f"no molecules left for {noun}: of {len(part):,} the model can represent none"
                )
            smiles.append(list(rows))
            table: tuple[Array, ...] = (tokenizer.pad([own for own, *_ in rows.values()]),)
            if properties is not None:
                known = properties[~properties.index.duplicated()].reindex(smiles[-1])
                table = (*table, known.to_numpy(np.float32, copy=True))
            if wanted:
                padded = tokenizer.pad([ids for _, *read in rows.values() for ids in read])
                unknown = np.zeros((len(rows), 0), np.float32)  # if there are no properties
                table = (*(*table, unknown)[:2], padded.reshape(len(rows), forms, -1))
            tables.append(table)
        names = () if properties is None else tuple(map(str, properties.columns))
        left_out = sum(map(len, parts)) - sum(map(len, smiles))
        return cls(smiles[0], tables[0], tables[1], names, left_out)

    def examples(self, seed: int) -> Tensor:
        """Random seed -> token ids (n, L) of a random subset of the training molecules."""
        ids = self.train[0]
        rows = np.random.default_rng(seed).permutation(len(ids))[:EXAMPLES]
        return torch.from_numpy(ids[rows].astype(np.int64))


def _warn_left_out(
    tokenizer: Tokenizer, first: str, left_out: int, of: int, training: bool
) -> None:
    try:
        reason = f"{first[:60]!r} has {len(tokenizer.ids(first))} tokens, too many for the model"
    except MolvaeError as error:
        reason = str(error)
    kind = "training" if training else "validation"
    warnings.warn(
        f"{left_out:,} of {of:,} {kind} molecules are left out, the first because {reason}",
        MolvaeWarning,
        stacklevel=3,
    )


def _tokenize(tokenizer: Tokenizer, smiles: str, longest: int | None) -> list[int] | None:
    """The ids of a canonical SMILES, or None where it cannot be written or is too long."""
    try:
        ids = tokenizer.ids(smiles)
    except MolvaeError:
        return None
    return ids if longest is None or len(ids) + 2 <= longest else None


def _tokenize_forms(
    tokenizer: Tokenizer, longest: int | None, forms: int, smiles: list[str]
) -> list[list[list[int]]]:
    """Canonical SMILES -> token ids of each and of its random forms; empty if it has none."""
    rows: list[list[list[int]]] = []
    for s in smiles:
        own = _tokenize(tokenizer, s, longest)
        if own is None:
            rows.append([])
            continue
        others = randomize_smiles(s, forms) if forms else []
        rows.append([own, *(_tokenize(tokenizer, form, longest) or own for form in others)])
    return rows


def build_vae(
    data: TrainingSet, vocabulary: int, shape: Mapping[str, Any], blur: float, seed: int
) -> VAE:
    """Training arrays -> an untrained VAE of matching size.

    Args:
        data: training arrays.
        vocabulary: number of token ids.
        shape: fields of `VAEConfig` that override `SHAPE`.
        blur: fraction of the molecules decoded from a blurred z.
        seed: random seed of the weights.

    Raises:
        MolvaeError: a name is unknown, or parts are incompatible.
    """
    ids = (data.train[0], data.validation[0], *data.train[2:])
    longest = max(array.shape[-1] for array in ids)
    room = longest + longest // 2  # for molecules larger than those in the training data
    config = VAEConfig(vocabulary, max_length=room, properties=data.properties)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vae = make_vae(replace(config, **{**SHAPE, **shape}), blur)
        vae.initialise(data.examples(seed))
    if vae.property_head is not None:
        vae.property_head.initialise(torch.from_numpy(data.train[1]))
    return vae


def copy_for_training(
    old: VAE, data: TrainingSet, shape: Mapping[str, Any], blur: float, seed: int
) -> VAE:
    """Trained VAE and new training arrays -> a copy of the VAE for fine-tuning.

    The prior of the copy is reset to N(0, I). Its property head is kept if the data has the same
    properties.

    Args:
        old: the trained VAE.
        data: training arrays.
        shape: may only contain dropout, which has no weights.
        blur: fraction of the molecules decoded from a blurred z.
        seed: random seed of new weights.

    Raises:
        MolvaeError: `shape` contains another field.
    """
    if fixed := sorted(set(shape) - {"dropout"}):
        raise MolvaeError(f"{fixed[0]} cannot be changed when fine-tuning a model")
    own: dict[str, Any] = {
        "properties": data.properties,
        "prior": "standard-normal",
        "prior_options": {},
    }
    config = replace(old.config, **own, **shape)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vae = make_vae(config, blur)
    same = data.properties == old.config.properties
    left = ("prior_module.",) if same else ("prior_module.", "property_head.")
    kept = {k: v for k, v in old.state_dict().items() if not k.startswith(left)}
    vae.load_state_dict(kept, strict=False)
    if vae.property_head is not None and not same:
        vae.property_head.initialise(torch.from_numpy(data.train[1]))
    return vae


class Trained(NamedTuple):
    """The parts of a trained model."""

    tokenizer: Tokenizer
    vae: VAE
    summary: TrainingSummary
    domain: Domain | None = None
    """The parts of the training molecules, for the plausibility of others."""


@dataclass(frozen=True)
class PreparedTraining:
    """A training job, and what is needed to build a molecule model from its result."""

    job: TrainingJob
    tokenizer: Tokenizer
    data: TrainingSet
    name: str | None  # of the data set
    standardized: bool  # whether its molecules are parents
    start: TrainingSummary | None
    start_vae: VAE | None

    def finish(self, state: State) -> Trained:
        """Final training state -> the trained model, with standardised latent coordinates.

        If no step of a fine-tuning was better than its start, it is the start, prior included.
        """
        job, seed, vae = self.job, self.job.config.seed, self.job.vae.cpu().eval()
        if self.start_vae is not None and job.config.keep_best and state.best_step == 0:
            vae = _with_prior_of(self.start_vae, vae, job.blur)
        else:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                vae.standardise(self.data.examples(seed))
        sizes = [count_heavy_atoms(s) for s in self.data.smiles]
        summary = TrainingSummary(
            molecules=len(self.data.smiles),
            left_out=self.data.left_out,
            heavy_atoms=(min(sizes), max(sizes)),
            fit=job.config,
            training=state,
            torch=torch.__version__,
            data=self.name,
            blur=job.blur,
            start=self.start,
            standardized=self.standardized,
        )
        return Trained(self.tokenizer, vae, summary)


def _with_prior_of(old: VAE, new: VAE, blur: float) -> VAE:
    """Two VAEs with the same latent coordinates -> the new one with the prior of the old one."""
    c = old.config
    config = replace(new.config, prior=c.prior, prior_options=c.prior_options)
    vae = make_vae(config, blur).eval()
    kept = {k: v for k, v in new.state_dict().items() if not k.startswith("prior_module.")}
    prior = {k: v for k, v in old.state_dict().items() if k.startswith("prior_module.")}
    vae.load_state_dict(kept | prior)
    return vae


def hold_out(train: Sequence[str], validation: Sequence[str]) -> tuple[list[str], list[str]]:
    """Training and validation molecules -> the same, with enough of a small data set held out.

    A split by hash can leave a small data set nothing to validate on. Of fewer than `FEW_TO_SPLIT`
    molecules, training molecules in the order of their hash are held out too, until there are 10 %
    and at least 2. The same molecules give the same split in any order.

    Raises:
        MolvaeError: fewer than 3 molecules.
    """
    count = len(train) + len(validation)
    if count >= FEW_TO_SPLIT:
        return list(train), list(validation)
    if count < 3:
        noun = "molecule is" if count == 1 else "molecules are"
        raise MolvaeError(
            f"{count} {noun} too few to train on: at least 3 are needed, 2 of them held out"
        )
    ranked = sorted(train, key=lambda s: hashlib.blake2b(s.encode()).digest())
    moved = set(ranked[: max(0, max(2, -(-count // 10)) - len(validation))])
    return [s for s in train if s not in moved], [
        *validation,
        *(s for s in train if s in moved),
    ]


def choose_config(
    given: Mapping[str, Any], molecules: int, start: TrainingSummary | None
) -> FitConfig:
    """Settings that a user gave -> all settings, by default gentler ones to fine-tune on few.

    On fewer than `FEW` molecules the defaults of `FitConfig` are too strong for a trained model: it
    learns them by heart within seconds. So the learning rate is lower, the KL weight is that of the
    start from the first step on, and 40 epochs are the limit, also beside `minutes`.

    Args:
        given: fields of `FitConfig`; they take precedence.
        molecules: number of training molecules.
        start: summary of the model to fine-tune, if any.

    Raises:
        MolvaeError: a value that cannot work.
    """
    gentle: dict[str, Any] = {}
    if start is not None and molecules < FEW:
        kl_weight = start.fit.kl_weight
        gentle = {"epochs": 40.0, "learning_rate": 1e-3, "kl_weight": kl_weight, "kl_warmup": 0.0}
    return FitConfig(**{**gentle, **given})


def _keep_tokens(
    transfer: Trained | None, tokenizer: str, smiles: list[str], progress: bool
) -> Tokenizer | None:
    """Return the tokens of the model in `transfer` where they suffice: it knows what they mean."""
    if transfer is None or transfer.tokenizer.name != tokenizer:
        return None
    work = partial(_tokenize_forms, transfer.tokenizer, None, 0)
    written = map_parallel(work, smiles, "tokens", progress)
    return transfer.tokenizer if all(written) else None


def prepare_training(
    train: Sequence[str],
    validation: Sequence[str],
    *,
    tokenizer: str = DEFAULT_TOKENIZER,
    shape: Mapping[str, Any] | None = None,
    start: Trained | None = None,
    transfer: Trained | None = None,
    properties: pd.DataFrame | None = None,
    random_smiles: int = 0,
    blur: float | None = None,
    config: FitConfig | None = None,
    data: str | None = None,
    standardized: bool = False,
    progress: bool = False,
) -> PreparedTraining:
    """Canonical SMILES for training and validation -> a training job.

    Args:
        train: training molecules, without duplicates.
        validation: validation molecules, without duplicates.
        tokenizer: name of a tokenizer; ignored if `start` is given.
        shape: overrides fields of `VAEConfig`.
        start: parts of a model to fine-tune.
        transfer: parts of a model whose weights a new one begins with (`model.transfer`).
        properties: values to predict, one column per property, indexed by SMILES.
        random_smiles: number of randomised SMILES per molecule; 0 for none.
        blur: fraction of the molecules that are decoded from a blurred z; None for `BLUR`, or that
            of `start`.
        config: training settings; None for those of `choose_config`. An epoch is validated at
            least once.
        data: name of the data set.
        standardized: whether its molecules are parents, and what is encoded is to be reduced, too.
        progress: show progress bars.

    Raises:
        MolvaeError: as in `MolVAE.fit`.
    """
    config = config or choose_config({}, len(train), start and start.summary)
    parts = train, validation
    if blur is None and start is not None:
        blur = start.summary.blur
    blur = BLUR if blur is None else blur
    if start is None:
        words = _keep_tokens(transfer, tokenizer, [*train, *validation], progress)
        words = words or Tokenizer.fit(tokenizer, [*train, *validation], progress)
        table = TrainingSet.make(
            parts, words, properties=properties, forms=random_smiles, progress=progress
        )
        own = shape or {}
        if transfer is not None:
            own = shape_to_transfer(transfer.vae.config, own)
        vae = build_vae(table, len(words), own, blur, config.seed)
        if transfer is not None:
            transfer_weights(transfer.vae, transfer.tokenizer, vae, words)
    else:
        words, longest = start.tokenizer, start.vae.config.max_length
        table = TrainingSet.make(
            parts,
            words,
            properties=properties,
            longest=longest,
            forms=random_smiles,
            progress=progress,
        )
        vae = copy_for_training(start.vae, table, shape or {}, blur, config.seed)
    config = config.validate_each_epoch(len(table.smiles))
    job = TrainingJob(vae, table.train, table.validation, config, blur)
    if start is None:
        return PreparedTraining(job, words, table, data, standardized, None, None)
    return PreparedTraining(job, words, table, data, standardized, start.summary, start.vae)
