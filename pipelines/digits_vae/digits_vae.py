"""Measure what latent dimensions, bounds, posteriors and priors add to a VAE of digits.

First the plain VAE with 2, 5, 10 and 20 latent dimensions; then, with 10, other bounds, posteriors
and priors. Encoder, decoder and number of steps are the same throughout, and no extension is tuned.
All figures are nats per held-out image, averaged over trainings with different seeds.

    python pipelines/digits_vae/digits_vae.py  # 8x8 digits, about 20 minutes on one core
    python pipelines/digits_vae/digits_vae.py --quick  # seconds, meaningless numbers
    python pipelines/digits_vae/digits_vae.py --mnist openml --seeds 1  # hours; or a path

A pixel is on if its intensity is above 0.5, and the likelihood is Bernoulli. log p(x) is therefore
the log of a probability and comparable across models.

On the 8x8 digits, five dimensions nearly suffice, and of twenty only seven are active. A learned
prior gains 0.2 to 0.3 nats, whether it is trained with the model or fitted afterwards; an
importance-weighted bound gains 0.2; richer posteriors gain nothing. With a KL weight of 4 the
latents carry almost no information (0.1 nats).
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm
from vae_scores import ACTIVE, Scores, compute_standard_error, score, score_independent_pixels

from molvae.base.errors import MolvaeError
from molvae.latent.aggregate import fit_prior
from molvae.latent.elbo import Bound, beta_elbo, elbo, free_bits_elbo, iwae, tc_elbo
from molvae.latent.fit import fit
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAE, VAEConfig

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.digits import HELP, load_digits_data
from shared.vae_pictures import plot_gains, plot_manifold, plot_reconstructions, plot_samples

MLP = {"encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"}
# chosen for the plain VAE with 10 dimensions on the validation images of the bundled digits
SMALL = {**MLP, "encoder_hidden": 192, "decoder_hidden": 192, "dropout": 0.2}
LARGE = {**MLP, "encoder_hidden": 512, "decoder_hidden": 512}
# all trainings take the same number of steps and keep their best validated weights
FIT = FitConfig(kl_weight=1.0, kl_warmup=0.2, precision="32-true", patience=10**9)
SMALL_FIT = replace(FIT, epochs=200, batch=64, learning_rate=5e-3, validate_every=50)
LARGE_FIT = replace(FIT, epochs=50, learning_rate=1e-3)
DRAWS = 8  # samples of each posterior for a prior that is fitted afterwards
START = 1_000  # most training images that initialise a learned prior


@dataclass(frozen=True)
class Variant:
    """One extension: its differences from the plain VAE."""

    options: Mapping[str, Any] = field(default_factory=dict)  # fields of VAEConfig
    bound: Callable[[VAE, Tensor], Bound] = elbo  # the objective of training
    prior_afterwards: str | None = None  # prior fitted to the trained plain VAE


def make_variants(examples: int) -> dict[str, Variant]:
    """Number of training images -> the extensions by name; the first is the plain VAE."""
    return {
        "plain": Variant(),
        "beta 0.5": Variant(bound=partial(beta_elbo, beta=0.5)),
        "beta 4": Variant(bound=partial(beta_elbo, beta=4.0)),
        "TC weight 4": Variant(bound=partial(tc_elbo, examples=examples, tc_weight=4.0)),
        "free bits 0.5": Variant(bound=partial(free_bits_elbo, nats=0.5)),
        "IWAE K=5": Variant(bound=partial(iwae, samples=5)),
        "full covariance": Variant({"posterior": "full"}),
        "flow posterior": Variant({"posterior": "flow"}),
        "mixture prior": Variant({"prior": "mixture"}),
        "VampPrior": Variant({"prior": "vamp"}),
        "flow prior": Variant({"prior": "flow"}),
        "mixture afterwards": Variant(prior_afterwards="mixture"),
        "VampPrior afterwards": Variant(prior_afterwards="vamp"),
        "flow afterwards": Variant(prior_afterwards="flow"),
    }


QUICK = ("plain", "TC weight 4", "flow posterior", "VampPrior", "mixture afterwards")


class Study(NamedTuple):
    """Binary images (n, 1, H, W), labels of the test images, and the training settings."""

    train: NDArray[np.float32]
    validation: NDArray[np.float32]
    test: NDArray[np.float32]
    digits: NDArray[np.int64]
    shape: Mapping[str, Any]  # fields of VAEConfig that all models share
    fit: FitConfig
    importance_samples: int  # for log p(x)


class Trained(NamedTuple):
    """A trained model, its scores, and the CPU seconds of its training."""

    model: VAE
    scores: Scores
    seconds: float


def main() -> None:
    """Train and score every model; print the tables, write them as CSV and the figures as PNG."""
    args = parse_arguments()
    torch.set_num_threads(1)  # two threads are slower for models this small
    study = load(args)
    kinds = make_variants(len(study.train))
    names = QUICK if args.quick else tuple(kinds)
    seeds = range(args.seed, args.seed + args.seeds)
    nats = score_independent_pixels(*map(torch.from_numpy, (study.train, study.test)))
    print(
        f"{len(study.train)} training, {len(study.validation)} validation and "
        f"{len(study.test)} test images; {args.seeds} trainings of each model\n"
        f"independent pixels, no latents: {nats:.2f} nats per test image\n"
    )
    bar = tqdm(total=(len(args.dimensions) + len(names) - 1) * args.seeds, unit="model")

    def train_all(name: str, latent: int, plain: list[Trained]) -> list[Trained]:
        bar.set_description(f"{name}, D = {latent}")
        results = []
        for i, seed in enumerate(seeds):
            start = plain[i].model if kinds[name].prior_afterwards else None
            results.append(train(kinds[name], latent, seed, study, start))
            bar.update()
        return results

    by_dimension = {latent: train_all("plain", latent, []) for latent in args.dimensions}
    plain = by_dimension[args.latent]
    by_name = {"plain": plain} | {n: train_all(n, args.latent, plain) for n in names[1:]}
    bar.close()
    report(by_dimension, by_name, args)
    draw(by_dimension, by_name, study, args.out)
    print(f"\ntables and figures: {args.out}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mnist", help=HELP)
    parser.add_argument("--images", type=int, default=2_000, help="maximum number of test images")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each model")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the first training")
    parser.add_argument("--out", type=Path, default=Path("runs/digits-vae"))
    parser.add_argument("--quick", action="store_true", help="few images, steps and models")
    args = parser.parse_args()
    args.dimensions, args.latent = ([2, 5], 5) if args.quick else ([2, 5, 10, 20], 10)
    if args.seeds < 1 or args.images < 2:
        parser.error("--seeds must be at least 1 and --images at least 2")
    if args.quick:
        args.images, args.seeds = 100, 2
    return args


def load(args: argparse.Namespace) -> Study:
    """Load the digits, binarise them and choose the settings for them."""
    digits = load_digits_data(args.mnist, args.seed)
    train, validation, test = (
        (x > 0.5).astype(np.float32) for x in (digits.x_train, digits.x_validation, digits.x_test)
    )
    rows = np.random.default_rng(args.seed).permutation(len(test))[: args.images]
    shape, fit_config = (LARGE, LARGE_FIT) if args.mnist else (SMALL, SMALL_FIT)
    importance_samples = 1_000
    if args.quick:
        train, validation, fit_config = train[:300], validation[:100], replace(fit_config, epochs=6)
        importance_samples = 50
    shape = {**shape, "shape": train.shape[1:]}
    return Study(
        train, validation, test[rows], digits.y_test[rows], shape, fit_config, importance_samples
    )


def train(variant: Variant, latent: int, seed: int, study: Study, plain: VAE | None) -> Trained:
    """Train one model, or fit a prior to a trained plain VAE, and score the result.

    Args:
        variant: What differs from the plain VAE.
        latent: Latent dimensions.
        seed: Of weights and batches.
        study: Images and training settings.
        plain: The plain VAE trained with this seed, for a variant that fits a prior afterwards.
    """
    config = replace(study.fit, seed=seed)
    torch.manual_seed(seed)
    started = time.process_time()
    if plain is not None and variant.prior_afterwards:
        model = copy.deepcopy(plain)
        config = replace(config, epochs=config.epochs / DRAWS)  # the same number of steps
        data = (study.train, study.validation)
        fit_prior(model, variant.prior_afterwards, *data, config=config, samples=DRAWS)
    else:
        shape = {**study.shape, "latent": latent, **variant.options}
        model = VAE(VAEConfig(**shape), variant.bound)
        rows = np.random.default_rng(seed).permutation(len(study.train))[:START]
        model.initialise(torch.from_numpy(study.train[rows]))
        fit(model, study.train, study.validation, config)
    seconds = time.process_time() - started
    images = (torch.from_numpy(study.train), torch.from_numpy(study.test))
    return Trained(model, score(model.eval(), *images, study.importance_samples), seconds)


def summarise(results: list[Trained]) -> dict[str, float]:
    """All trainings of one model -> its table row, means over seeds and images."""
    images = sum(r.scores.images for r in results) / len(results)
    line = images.drop(columns="effective_samples").mean().to_dict()
    error = compute_standard_error(stack_log_likelihoods(results))
    return {"log_likelihood": line.pop("log_likelihood"), "se": error} | {
        **line,
        "median_ess": np.mean([r.scores.images.effective_samples.median() for r in results]),
        "active": np.mean([r.scores.active for r in results]),
        "total_correlation": np.mean([r.scores.total_correlation for r in results]),
        "cpu_s": np.mean([r.seconds for r in results]),
    }


def stack_log_likelihoods(results: list[Trained]) -> NDArray[np.float64]:
    """All trainings of one model -> log p(x) in nats, (seeds, images)."""
    return np.stack([r.scores.images.log_likelihood for r in results])


def report(
    by_dimension: dict[int, list[Trained]], by_name: dict[str, list[Trained]], args: Any
) -> None:
    """Print and write both tables; draw the gains of the extensions."""
    args.out.mkdir(parents=True, exist_ok=True)
    dimensions = pd.DataFrame({latent: summarise(r) for latent, r in by_dimension.items()}).T
    dimensions.rename_axis("D").to_csv(args.out / "latent_dimensions.csv")
    print("plain VAE by latent dimension, nats per test image")
    print(dimensions.to_string(float_format="{:.2f}".format))

    plain, lines = stack_log_likelihoods(by_name["plain"]), {}
    for name, results in by_name.items():
        gain = stack_log_likelihoods(results) - plain  # paired by seed and image
        gains = {"gain": gain.mean(), "gain_se": compute_standard_error(gain)}
        lines[name] = gains | summarise(results)
    extensions = pd.DataFrame(lines).T
    extensions.rename_axis("model").to_csv(args.out / "extensions.csv")
    print(f"\nextensions at D = {args.latent}; gain in log-likelihood over the plain VAE")
    print(extensions.to_string(float_format="{:.2f}".format, na_rep="-"))
    print(
        "\nse: standard error over images and trainings; iwae: bound with 50 samples; median_ess: "
        "median effective sample size of the log-likelihood\n"
        f"active: dimensions whose posterior mean has a variance above {ACTIVE} over the training "
        "images (Burda et al. 2016)\n"
        "total_correlation: of the aggregate posterior of at most 1,000 training images; cpu_s: "
        "CPU seconds of training, or of fitting the prior where it is fitted afterwards"
    )
    plot_gains(extensions[1:]).savefig(args.out / "extensions.png", dpi=150)


@torch.no_grad()
def draw(
    by_dimension: dict[int, list[Trained]],
    by_name: dict[str, list[Trained]],
    study: Study,
    folder: Path,
) -> None:
    """Draw samples, reconstructions and the latent plane of the models of the first seed.

    Args:
        by_dimension: Trainings of the plain VAE by latent dimension.
        by_name: Trainings of each extension.
        study: Images and labels.
        folder: Where the figures go.
    """
    torch.manual_seed(0)
    first = {f"D = {latent}": results[0].model for latent, results in by_dimension.items()}
    plot_samples(first).savefig(folder / "latent_samples.png", dpi=150)
    flat = by_dimension[2][0].model
    x = torch.from_numpy(study.test).to(next(flat.parameters()).device)
    plot_reconstructions(x[:16], first).savefig(folder / "reconstructions.png", dpi=150)
    plot_manifold(flat, flat.encode(x), study.digits).savefig(folder / "manifold.png", dpi=150)
    extensions = {name: results[0].model for name, results in by_name.items()}
    plot_samples(extensions).savefig(folder / "extension_samples.png", dpi=150)


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
