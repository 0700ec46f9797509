"""Score a molecule model: one flat row of figures, and a row for each prior fitted to the model.

All shares are between 0 and 1. Held-out molecules belong to the test split, which no model is
trained on.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from molvae import MolVAE
from molvae.chem.datasets import DataSet
from molvae.chem.fingerprints import tanimoto_similarities
from molvae.chem.molecules import canonicalize, parse
from molvae.chem.properties import STATISTICS
from molvae.chem.property_tables import compute_properties
from molvae.latent.training import FitConfig
from molvae.reports.likeness import Activations, compute_activations, compute_frechet_distance
from molvae.reports.metrics import compute_moments, measure_samples
from molvae.reports.reconstruction import measure_reconstruction

TRAIN = 5_000  # training molecules for the mean properties and the regression on z
PRIOR_TRAIN = 20_000  # training molecules to fit a prior to
CHEMNET = 10_000  # molecules in each set of the FCD, whose value depends on this number
NOISE, SMALL_NOISE = (
    0.5,
    0.25,
)  # in standard deviations of the aggregate posterior, which has unit variance
PRIOR_FIT = FitConfig(
    epochs=20, batch=128, learning_rate=1e-3, validate_every=150, precision="32-true"
)
FEW_EPOCHS = {"vamp": 2}  # slow steps, and only the weights of its pseudo-inputs are learned
PRIORS = ("standard-normal", "mixture", "vamp", "flow")


def score(
    model: MolVAE,
    data: DataSet,
    reference: Reference,
    molecules: int = 1_000,
    samples: int = 10_000,
    seed: int = 0,
    beam: int = 1,
) -> dict[str, float]:
    """A model, its data set and the reference for its samples -> the figures of one table row.

    Molecules are encoded as their posterior means.

    Args:
        model: The model to score.
        data: Data set whose splits are used.
        reference: Statistics that samples are compared with.
        molecules: Most held-out molecules for reconstruction, regression and perturbation.
        samples: Strings drawn from the prior of the model.
        seed: Of every random choice.
        beam: Beam width as in `MolVAE.decode`; 1 decodes greedily.
    """
    held_out = select_encodable(model, data.split("test"), molecules, seed)
    train = select_encodable(model, data.split("train"), TRAIN, seed)
    z = model.encode(held_out, refine=0)
    return (
        score_reconstruction(model, held_out, seed)
        | score_samples(model.sample(samples, seed=seed, beam=beam), reference)
        | score_regression(model.encode(train, refine=0), train, z, held_out)
        | {"posterior_validity": measure_posterior_validity(model, held_out, seed, beam)}
        | measure_neighbourhood(model, held_out, z, seed, beam)
    )


def select_encodable(model: MolVAE, smiles: Sequence[str], n: int, seed: int) -> list[str]:
    """Draw up to n random SMILES and return those that the model can encode."""
    return [s for s in sample_smiles(smiles, n, seed) if model.can_encode(s)]


def sample_smiles(smiles: Sequence[str], n: int, seed: int) -> list[str]:
    """Draw up to n random SMILES without replacement."""
    return random.Random(seed).sample(smiles, min(n, len(smiles)))


def score_reconstruction(model: MolVAE, held_out: Sequence[str], seed: int) -> dict[str, float]:
    """Held-out molecules -> the figures of `reports.reconstruction` and bits per SMILES character.

    (reconstruction + KL) nats / ln 2 / (mean length + 1), comparable across tokenizers; the end of
    the string counts as one character.
    """
    found = measure_reconstruction(model, held_out, seed=seed, refine=0)
    others = ("exact_reconstruction_means", "exact_reconstruction_encoder", "learned_steps")
    for name in others:  # every figure here is from posterior means
        del found[name]
    characters = np.mean([len(s) + 1 for s in held_out])
    bits = -found.pop("elbo_nats") / math.log(2) / float(characters)
    return found | {"bits_per_character": bits}


@dataclass(frozen=True)
class Reference:
    """Statistics of a data set that generated samples are compared with."""

    train: frozenset[str]
    properties: pd.DataFrame  # of TRAIN training molecules
    chemnet: Activations | None  # of CHEMNET test molecules

    @classmethod
    def of(cls, data: DataSet, seed: int = 0, fcd: bool = True) -> Reference:
        """Compute the reference statistics of a data set.

        Without `fcd`, or without the package fcd_torch, the FCD of samples is NaN.
        """
        train = data.split("train")
        activations = (
            compute_activations(sample_smiles(data.split("test"), CHEMNET, seed)) if fcd else None
        )
        return cls(
            frozenset(train), compute_properties(sample_smiles(train, TRAIN, seed)), activations
        )


def score_samples(strings: Sequence[str], reference: Reference) -> dict[str, float]:
    """Generated strings -> validity, uniqueness, novelty and distance to the data.

    The differences of mean properties and the FCD use all valid samples, repeats included.
    """
    quality = measure_samples(strings, reference.train)
    valid = [form for form in map(canonicalize, strings) if form is not None]
    found, expected = (
        compute_moments(compute_properties(valid)),
        compute_moments(reference.properties),
    )
    shares = {name: getattr(quality, name) for name in ("validity", "uniqueness", "novelty")}
    differences = {f"{name}_difference": found[name][0] - expected[name][0] for name in STATISTICS}
    distance = math.nan
    if reference.chemnet is not None and len(valid) > 1:
        distance = compute_frechet_distance(compute_activations(valid[:CHEMNET]), reference.chemnet)
    return {"samples": len(strings), **shares, **differences, "fcd": distance}


def score_regression(
    z_train: Tensor, train: Sequence[str], z_test: Tensor, test: Sequence[str]
) -> dict[str, float]:
    """Latents and molecules of two splits -> test R^2 of a ridge regression of each property on z.

    Args:
        z_train: Latents to fit, (n, D).
        train: Their molecules.
        z_test: Held-out latents, (m, D).
        test: Their molecules.
    """
    known, wanted = compute_properties(train), compute_properties(test)
    found = {}
    for name in STATISTICS:
        line = Ridge().fit(z_train.double().numpy(), known[name])
        found[f"{name}_r2"] = float(line.score(z_test.double().numpy(), wanted[name]))
    return found


def measure_posterior_validity(
    model: MolVAE, smiles: Sequence[str], seed: int, beam: int = 1
) -> float:
    """Molecules -> share of valid strings when one posterior sample of each is decoded.

    It is the validity that a prior equal to the aggregate posterior would reach.
    """
    return compute_validity(model.decode(sample_posteriors(model, smiles, seed), beam=beam))


def sample_posteriors(model: MolVAE, smiles: Sequence[str], seed: int) -> Tensor:
    """n molecules -> one posterior sample of each, (n, D)."""
    ids = torch.from_numpy(model.tokenizer.encode(smiles).astype(np.int64))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        return model.vae.posterior(ids.to(model.device)).sample().cpu()


def measure_neighbourhood(
    model: MolVAE, held_out: Sequence[str], z: Tensor, seed: int, beam: int = 1
) -> dict[str, float]:
    """Held-out molecules and their z -> validity and similarity of what nearby points decode to.

    Midpoints lie halfway between random pairs. Similarity is Tanimoto similarity between a
    molecule and the decoded string at its z plus Gaussian noise, averaged over the valid strings;
    NaN if none is valid.

    Args:
        model: The model that decodes.
        held_out: The n molecules.
        z: Their latents, (n, D).
        seed: Of the noise and the pairs.
        beam: Beam width; 1 decodes greedily.
    """
    generator = torch.Generator().manual_seed(seed)
    partner = z[torch.randperm(len(z), generator=generator)]
    near = {sd: decode_nearby(model, z, sd, seed, beam) for sd in (NOISE, SMALL_NOISE)}
    return {
        "local_validity_noise": compute_validity(near[NOISE]),
        "local_validity_midpoint": compute_validity(model.decode((z + partner) / 2, beam=beam)),
        "local_similarity_noise": compute_mean_similarity(near[NOISE], held_out),
        "local_similarity_small_noise": compute_mean_similarity(near[SMALL_NOISE], held_out),
    }


def decode_nearby(model: MolVAE, z: Tensor, sd: float, seed: int, beam: int = 1) -> list[str]:
    """Latents (n, D) -> the strings decoded at z + sd * N(0, I).

    Args:
        model: The model that decodes.
        z: Latents, (n, D).
        sd: Standard deviation of the noise.
        seed: Of the noise.
        beam: Beam width; 1 decodes greedily.
    """
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed))
    return model.decode(z + sd * noise, beam=beam)


def compute_validity(strings: Sequence[str]) -> float:
    """One or more strings -> share of them that parse as molecules."""
    return sum(parse(s) is not None for s in strings) / len(strings)


def compute_mean_similarity(strings: Sequence[str], references: Sequence[str]) -> float:
    """Strings and their reference molecules -> mean Tanimoto similarity over the valid strings."""
    pairs = zip(strings, references, strict=True)
    found = [s for string, reference in pairs for s in tanimoto_similarities([string], reference)]
    valid = [s for s in found if not math.isnan(s)]
    return float(np.mean(valid)) if valid else math.nan


def score_priors(
    model: MolVAE,
    data: DataSet,
    reference: Reference,
    names: Sequence[str] = PRIORS,
    samples: int = 10_000,
    seed: int = 0,
    beam: int = 1,
) -> pd.DataFrame:
    """Fit each prior to the posteriors of a model and score samples under it; one row per prior.

    The prior that the model already has is used as it is, and the model is not changed.
    `log_p_before` and `log_p_after` are mean log p(z) of held-out posterior samples in nats, under
    the prior of the model and under that of the row; their difference is the gain in ELBO. The row
    "aggregate posterior" scores posterior samples of training molecules, which is what an
    ideal prior would reach, except in novelty.

    Args:
        model: The model whose prior is replaced.
        data: Data set whose splits are used.
        reference: Statistics that samples are compared with.
        names: Registered priors.
        samples: Strings drawn under each prior.
        seed: Of every random choice.
        beam: Beam width as in `MolVAE.decode`; 1 decodes greedily.
    """
    train = sample_smiles(data.split("train"), PRIOR_TRAIN, seed)
    validation = sample_smiles(data.split("validation"), PRIOR_TRAIN // 10, seed)
    rows = {}
    for name in names:
        changed, log_p = copy.deepcopy(model), {}
        if name != model.vae.config.prior:
            epochs = FEW_EPOCHS.get(name, PRIOR_FIT.epochs)
            config = replace(PRIOR_FIT, epochs=epochs, seed=seed)
            fitted = changed.fit_prior(name, train, validation, config=config)
            log_p = {"log_p_before": fitted.before, "log_p_after": fitted.after}
        rows[name] = log_p | score_samples(changed.sample(samples, seed=seed, beam=beam), reference)
    z = sample_posteriors(model, select_encodable(model, data.split("train"), samples, seed), seed)
    rows["aggregate posterior"] = score_samples(model.decode(z, beam=beam), reference)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("prior")
