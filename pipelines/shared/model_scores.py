"""What a molecule model is worth: one flat row of figures, and what another prior adds to it.

Shares are 0 to 1. Held-out molecules are those of the test split, which no model was trained on.
"""

from __future__ import annotations

import copy
import importlib.util
import math
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from torch import Tensor

from molvae import MolVAE
from molvae.chem.datasets import DataSet
from molvae.chem.fingerprints import tanimoto_similarities
from molvae.chem.molecules import canonicalize, parse
from molvae.chem.properties import STATISTICS
from molvae.chem.property_tables import compute_properties
from molvae.latent.training import FitConfig
from molvae.reports.metrics import compute_moments, measure_samples

TRAIN = 5_000  # training molecules behind the mean properties and the regression on z
PRIOR_TRAIN = 20_000  # training molecules that a prior is fitted to
CHEMNET = 10_000  # molecules a side of the FCD, which depends on their number
NOISE, SMALL_NOISE = 0.5, 0.25  # in standard deviations of the aggregate posterior, which are 1
PRIOR_FIT = FitConfig(
    epochs=20, batch=128, learning_rate=1e-3, validate_every=150, precision="32-true"
)
FEW_EPOCHS = {"vamp": 2}  # each step encodes its pseudo-inputs, and only their weights are learned
PRIORS = ("standard-normal", "mixture", "vamp", "flow")

Activations = NDArray[np.float32]


def score(
    model: MolVAE,
    data: DataSet,
    reference: Reference,
    molecules: int = 1_000,
    samples: int = 10_000,
    seed: int = 0,
    beam: int = 1,
) -> dict[str, float]:
    """A model, its data set and what samples are compared with -> the figures of one table row.

    `molecules` held-out molecules are reconstructed, regressed on and moved about; `samples`
    strings are drawn from the model's own prior. Molecules stand at their posterior means. Points
    are decoded greedily, or with a `beam` as in `MolVAE.decode`.
    """
    held_out = usable(model, data.split("test"), molecules, seed)
    train = usable(model, data.split("train"), TRAIN, seed)
    z = model.encode(held_out, refine=0)
    return (
        reconstruction(model, held_out, seed)
        | sample_scores(model.sample(samples, seed=seed, beam=beam), reference)
        | property_fit(model.encode(train, refine=0), train, z, held_out)
        | {"posterior_validity": posterior_validity(model, held_out, seed, beam)}
        | neighbourhood(model, held_out, z, seed, beam)
    )


def usable(model: MolVAE, smiles: Sequence[str], n: int, seed: int) -> list[str]:
    """Those of up to n random ones of `smiles` that the model can encode."""
    return [s for s in some(smiles, n, seed) if model.can_encode(s)]


def some(smiles: Sequence[str], n: int, seed: int) -> list[str]:
    """Up to n random ones of `smiles`."""
    return random.Random(seed).sample(smiles, min(n, len(smiles)))


def reconstruction(model: MolVAE, held_out: Sequence[str], seed: int) -> dict[str, float]:
    """The model's own figures, and the bits for each SMILES character with the end as one more.

    The bits compare across tokenizers: (reconstruction + KL) nats / ln 2 / (mean length + 1).
    """
    found = model.evaluate(held_out, seed=seed, refine=0)
    del found["exact_reconstruction_means"]  # all are from them
    characters = np.mean([len(s) + 1 for s in held_out])
    bits = -found.pop("elbo_nats") / math.log(2) / float(characters)
    return found | {"bits_per_character": bits}


@dataclass(frozen=True)
class Reference:
    """What samples of one data set are compared with."""

    train: frozenset[str]
    properties: pd.DataFrame  # of TRAIN training molecules
    chemnet: Activations | None  # of CHEMNET test molecules

    @classmethod
    def of(cls, data: DataSet, seed: int = 0, fcd: bool = True) -> Reference:
        """Choose the molecules of a data set, and compute what is compared.

        FCD will be NaN without `fcd`, and without the package fcd_torch.
        """
        train = data.split("train")
        activations = chemnet(some(data.split("test"), CHEMNET, seed)) if fcd else None
        return cls(frozenset(train), compute_properties(some(train, TRAIN, seed)), activations)


def sample_scores(strings: Sequence[str], reference: Reference) -> dict[str, float]:
    """Generated strings -> validity, uniqueness, novelty, distance to the data.

    The differences of mean properties and the FCD are those of all valid samples, repeats too.
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
        distance = frechet_distance(chemnet(valid[:CHEMNET]), reference.chemnet)
    return {"samples": len(strings), **shares, **differences, "fcd": distance}


def chemnet(smiles: Sequence[str]) -> Activations | None:
    """SMILES -> activations of ChemNet (n, 512), or None where fcd_torch is not installed.

    Preuer et al. 2018, "Fréchet ChemNet Distance".
    """
    if importlib.util.find_spec("fcd_torch") is None:
        return None
    from fcd_torch import FCD

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy, inside the package
        activations: Activations = FCD(canonize=False).get_predictions(list(smiles))
    return activations


def frechet_distance(first: Activations, second: Activations) -> float:
    """Two sets of points (n, F) -> squared Fréchet distance of the Gaussians fitted to them.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Dowson & Landau 1982); the eigenvalues of a
    product of two covariances are real and not negative, but for rounding.
    """
    one, two = (np.cov(points.astype(np.float64).T) for points in (first, second))
    shift = first.mean(0, dtype=np.float64) - second.mean(0, dtype=np.float64)
    root = np.sqrt(np.linalg.eigvals(one @ two).real.clip(0)).sum()
    return float(shift @ shift + np.trace(one) + np.trace(two) - 2 * root)


def property_fit(
    z_train: Tensor, train: Sequence[str], z_test: Tensor, test: Sequence[str]
) -> dict[str, float]:
    """Latents and their molecules -> R^2 of a ridge regression of each property on z, held out."""
    known, wanted = compute_properties(train), compute_properties(test)
    found = {}
    for name in STATISTICS:
        line = Ridge().fit(z_train.double().numpy(), known[name])
        found[f"{name}_r2"] = float(line.score(z_test.double().numpy(), wanted[name]))
    return found


def posterior_validity(model: MolVAE, smiles: Sequence[str], seed: int, beam: int = 1) -> float:
    """Molecules -> valid share of the decodes of one sample of each one's posterior.

    A prior that were the aggregate posterior itself would reach it.
    """
    return valid_share(model.decode(posterior_samples(model, smiles, seed), beam=beam))


def posterior_samples(model: MolVAE, smiles: Sequence[str], seed: int) -> Tensor:
    """Molecules (n) -> a sample of each one's posterior (n, D)."""
    ids = torch.from_numpy(model.tokenizer.encode(smiles).astype(np.int64))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        return model.vae.posterior(ids.to(model.device)).sample().cpu()


def neighbourhood(
    model: MolVAE, held_out: Sequence[str], z: Tensor, seed: int, beam: int = 1
) -> dict[str, float]:
    """Held-out molecules and their z (n, D) -> how valid and how similar the points near them are.

    `midpoint`: halfway between random pairs. Similarities are Tanimoto's of a molecule and the
    valid decode of its z moved by Gaussian noise; the mean is NaN where none is valid.
    """
    generator = torch.Generator().manual_seed(seed)
    partner = z[torch.randperm(len(z), generator=generator)]
    near = {sd: moved(model, z, sd, seed, beam) for sd in (NOISE, SMALL_NOISE)}
    return {
        "local_validity_noise": valid_share(near[NOISE]),
        "local_validity_midpoint": valid_share(model.decode((z + partner) / 2, beam=beam)),
        "local_similarity_noise": mean_similarity(near[NOISE], held_out),
        "local_similarity_small_noise": mean_similarity(near[SMALL_NOISE], held_out),
    }


def local_validity(model: MolVAE, z: Tensor, sd: float, seed: int) -> float:
    """Latents (n, D) -> valid share of the greedy decodes of z + sd * N(0, I)."""
    return valid_share(moved(model, z, sd, seed))


def moved(model: MolVAE, z: Tensor, sd: float, seed: int, beam: int = 1) -> list[str]:
    """Latents (n, D) -> the strings at z + sd * N(0, I)."""
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed))
    return model.decode(z + sd * noise, beam=beam)


def valid_share(strings: Sequence[str]) -> float:
    """Strings, at least one -> share of them that are molecules."""
    return sum(parse(s) is not None for s in strings) / len(strings)


def mean_similarity(strings: Sequence[str], references: Sequence[str]) -> float:
    """Strings and the molecule that each belongs to -> mean Tanimoto similarity of the valid."""
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
    """Sample figures of a model under each prior, fitted to its posteriors; a row a prior.

    The model's own prior is taken as it is. log_p_before and log_p_after are mean log p(z) of
    held-out posterior samples, nats, under the model's own prior and under the row's; their
    difference is what the prior adds to the ELBO. The model itself is not changed. The row
    "aggregate posterior" is of posterior samples of training molecules: what the best of priors
    would reach, but for novelty.
    """
    train = some(data.split("train"), PRIOR_TRAIN, seed)
    validation = some(data.split("validation"), PRIOR_TRAIN // 10, seed)
    rows = {}
    for name in names:
        changed, log_p = copy.deepcopy(model), {}
        if name != model.vae.config.prior:
            epochs = FEW_EPOCHS.get(name, PRIOR_FIT.epochs)
            config = replace(PRIOR_FIT, epochs=epochs, seed=seed)
            fitted = changed.fit_prior(name, train, validation, config)
            log_p = {"log_p_before": fitted.before, "log_p_after": fitted.after}
        rows[name] = log_p | sample_scores(changed.sample(samples, seed=seed, beam=beam), reference)
    z = posterior_samples(model, usable(model, data.split("train"), samples, seed), seed)
    rows["aggregate posterior"] = sample_scores(model.decode(z, beam=beam), reference)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("prior")
