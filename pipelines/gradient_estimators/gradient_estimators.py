"""Compare gradient estimators: variance and bias against the number of samples K.

Three expectations: under a Gaussian, where the gradient is known; under Bernoullis, where it is a
sum over all states and relaxations are biased; and the ELBO of a linear VAE of handwritten digits,
whose gradient is taken by the posterior means. Each cell repeats the estimate many times, batched.

    python pipelines/gradient_estimators/gradient_estimators.py  # K up to 512, 1 to 2 minutes
    python pipelines/gradient_estimators/gradient_estimators.py --quick  # seconds
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal, RelaxedBernoulli

from molvae.latent.gradients import enumerated, reparameterised, score_function

LARGEST_BATCH = 2**22  # most numbers in one evaluation of f
SLOPE_FROM = 8  # smallest K of the fitted slope; below it the leave-one-out baseline is noisy
Family = Callable[[Tensor], Distribution]


@dataclass(frozen=True)
class Problem:
    """An expectation E_q[f(z)] and its gradient by parameters of q."""

    title: str
    parameters: Tensor  # where the gradient is taken, (*batch, d)
    f: Callable[[Tensor, Distribution], Tensor]  # z (K, R, *batch, D), q -> (K, R, *batch)
    exact: Tensor  # the gradient, shaped like the parameters
    exact_variance: float  # variance of `exact` if it is an estimate, mean over coordinates
    families: dict[str, Family]  # name -> (parameters (R, *batch, d) -> q); the first is the true q
    width: int  # numbers that f computes from one draw for the whole batch


def main() -> None:
    """Run the study; print the table, write it as CSV and the figure as PNG."""
    args = parse_arguments()
    torch.manual_seed(args.seed)
    rows = []
    for problem in (
        make_gaussian(),
        make_bernoullis(),
        make_digits(args.steps, args.images, args.reference),
    ):
        for name, family, estimate in list_methods(problem):
            for k in args.samples:
                if k > 1 or "leave-one-out" not in name:  # a single sample has no others
                    gradient = repeat_estimate(problem, family, estimate, k, args.repeats)
                    rows.append({"problem": problem.title, "estimator": name, "K": k})
                    rows[-1] |= measure_error(problem, gradient)
            print(f"{problem.title}: {name} done", flush=True)
    table = add_ratio(pd.DataFrame(rows))
    args.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.out / "gradient_estimators.csv", index=False)
    plot_table(table, args.out / "gradient_estimators.png")
    selection = table[table.K.isin([1, 2, 8, 64, 512])]
    print(f"\n{args.repeats} repeats; all K in {args.out}/gradient_estimators.csv")
    print(selection.to_string(index=False, float_format="{:.3g}".format))
    print("\nslope of log variance on log K, K >= 8; -1 for a mean of independent draws")
    print(fit_slopes(table).to_string(float_format="{:.3f}".format, na_rep=""))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/gradient-estimators"))
    parser.add_argument("--quick", action="store_true", help="K up to 32, 200 repeats, 2 images")
    args = parser.parse_args()
    args.samples = [2**i for i in range(6 if args.quick else 10)]
    args.repeats, args.images, args.steps = (200, 2, 100) if args.quick else (1000, 4, 500)
    args.reference = 2**15 if args.quick else 2**21  # samples of the reference gradient
    return args


def make_gaussian() -> Problem:
    """(a z)^2 + exp(c z) under a diagonal Gaussian in 8 dimensions, by its means and log scales."""
    a, c = torch.linspace(-1, 1, 8).double(), torch.linspace(0.6, -0.3, 8).double()
    mean, log_scale = torch.linspace(0.5, -0.5, 8).double(), torch.linspace(-1, 0, 8).double()
    parameters = torch.cat([mean, log_scale]).requires_grad_()

    def f(z: Tensor, q: Distribution) -> Tensor:
        return (z @ a) ** 2 + (z @ c).exp()

    def family(p: Tensor) -> Distribution:
        return Independent(Normal(p[..., :8], p[..., 8:].exp()), 1)

    q = family(parameters)
    square = (q.mean @ a) ** 2 + q.variance @ a**2
    growth = (q.mean @ c + q.variance @ c**2 / 2).exp()
    (exact,) = torch.autograd.grad(square + growth, parameters)
    return Problem(
        "Gaussian", parameters.detach(), f, exact, 0.0, {"reparameterised": family}, width=8
    )


def make_bernoullis() -> Problem:
    """A quadratic and a bounded function of 6 Bernoullis, by their logits."""
    a, c = torch.linspace(-1, 2, 6).double(), torch.linspace(1.5, -1, 6).double()
    parameters = torch.linspace(-1.5, 1, 6).double().requires_grad_()

    def f(z: Tensor, q: Distribution) -> Tensor:
        return (z @ a - 1) ** 2 + 2 * (z @ c).tanh()

    def family(p: Tensor) -> Distribution:
        return Independent(Bernoulli(logits=p), 1)

    def relaxed(temperature: float) -> Family:
        heat = torch.tensor(temperature).double()
        return lambda p: Independent(RelaxedBernoulli(heat, logits=p), 1)

    q = family(parameters)
    (exact,) = torch.autograd.grad(enumerated(q, lambda z: f(z, q)), parameters)
    families = {"true": family}
    families |= {f"relaxed, temperature {t}": relaxed(t) for t in (1.0, 0.1)}
    return Problem("Bernoulli", parameters.detach(), f, exact, 0.0, families, width=6)


def make_digits(steps: int, images: int, reference: int) -> Problem:
    """The ELBO of a linear VAE at held-out handwritten digits, by the posterior means."""
    x = torch.from_numpy(load_digits().data > 8).float()
    encoder, decoder, latent = nn.Linear(64, 16), nn.Linear(8, 64), 8

    def elbo(x: Tensor) -> Callable[[Tensor, Distribution], Tensor]:
        def terms(z: Tensor, q: Distribution) -> Tensor:
            likelihood = Bernoulli(logits=decoder(z)).log_prob(x.expand(*z.shape[:-1], 64)).sum(-1)
            prior = Normal(torch.zeros((), dtype=z.dtype), 1.0).log_prob(z).sum(-1)
            return likelihood + prior - q.log_prob(z)

        return terms

    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.01)
    for _ in range(steps):
        mean, log_scale = encoder(x[images:]).split(latent, -1)
        q: Distribution = Independent(Normal(mean, log_scale.exp()), 1)
        loss = -reparameterised(q, lambda z, q=q: elbo(x[images:])(z, q), 1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    print(f"digits: negative ELBO {loss.item():.2f} nats per image after {steps} steps")
    decoder.double().requires_grad_(False)
    mean, log_scale = encoder(x[:images]).detach().double().split(latent, -1)

    def family(p: Tensor) -> Distribution:
        return Independent(Normal(p, log_scale.exp().expand_as(p)), 1)

    problem = Problem(
        "digits ELBO",
        mean,
        elbo(x[:images].double()),
        mean,  # replaced below by the reference estimate
        0.0,
        {"reparameterised": family},
        width=64 * images,
    )
    draws = repeat_estimate(problem, family, reparameterised, 1, reference)
    variance = draws.var(0).mean().item() / reference
    return replace(problem, exact=draws.mean(0), exact_variance=variance)


Estimate = Callable[[Distribution, Callable[[Tensor], Tensor], int], Tensor]


def list_methods(problem: Problem) -> list[tuple[str, Family, Estimate]]:
    """Problem -> name, family and estimator of each applicable method."""
    methods: list[tuple[str, Family, Estimate]] = [
        (name, family, reparameterised)
        for name, family in problem.families.items()
        if name != "true"
    ]
    true = next(iter(problem.families.values()))
    methods.append(("score function, no baseline", true, estimate_without_baseline))
    methods.append(("score function, leave-one-out", true, score_function))
    return methods


def estimate_without_baseline(
    q: Distribution, f: Callable[[Tensor], Tensor], samples: int
) -> Tensor:
    """Average K score-function estimates from one sample each, which have no baseline."""
    copies = q.expand(torch.Size([samples]) + q.batch_shape)
    return score_function(copies, f, 1).mean(0)


def repeat_estimate(
    problem: Problem, family: Family, estimate: Estimate, samples: int, repeats: int
) -> Tensor:
    """Return independent estimates of the gradient, (R, *batch, d).

    Args:
        problem: The expectation.
        family: Parameters -> distribution to sample from.
        estimate: The estimator.
        samples: Samples K of each estimate.
        repeats: Number of estimates R.
    """
    gradients = []
    at_once = max(1, LARGEST_BATCH // (samples * problem.width))
    for done in range(0, repeats, at_once):
        shape = (min(at_once, repeats - done), *problem.parameters.shape)
        parameters = problem.parameters.expand(shape).clone().requires_grad_()
        q = family(parameters)
        value = estimate(q, lambda z, q=q: problem.f(z, q), samples)
        gradients += torch.autograd.grad(value.sum(), parameters)
    return torch.cat(gradients)


def measure_error(problem: Problem, gradient: Tensor) -> dict[str, float]:
    """Gradients (R, *batch, d) -> variance (mean over coordinates), bias and RMSE.

    `bias_se` is the root mean square over coordinates of bias / standard error, about 1 for an
    unbiased estimator. Bias and RMSE are relative to the norm of the exact gradient.
    """
    error, variance = gradient - problem.exact, gradient.var(0)
    bias, size = error.mean(0), problem.exact.norm()
    squared_se = variance / len(gradient) + problem.exact_variance
    return {
        "variance": variance.mean().item(),
        "bias_se": (bias**2 / squared_se).mean().sqrt().item(),
        "bias": (bias.norm() / size).item(),
        "rmse": (error.flatten(1).square().sum(1).mean().sqrt() / size).item(),
    }


def add_ratio(table: pd.DataFrame) -> pd.DataFrame:
    """Add the ratio of each variance to that of the first method, (relaxed) reparameterisation."""
    first = table.groupby(["problem", "K"]).variance.transform("first")
    table.insert(4, "ratio", table.variance / first)
    return table


def fit_slopes(table: pd.DataFrame) -> pd.DataFrame:
    """Fit the slope of log variance on log K; one row per estimator, one column per problem."""
    cells = table[table.K >= SLOPE_FROM].groupby(["estimator", "problem"], sort=False)
    fitted = {key: np.polyfit(np.log(c.K), np.log(c.variance), 1)[0] for key, c in cells}
    return pd.Series(fitted).unstack().reindex(columns=table.problem.unique())


STYLES = {  # colour and marker
    "reparameterised": ("tab:blue", "o"),
    "relaxed, temperature 1.0": ("tab:cyan", "s"),
    "relaxed, temperature 0.1": ("tab:purple", "D"),
    "score function, no baseline": ("tab:red", "^"),
    "score function, leave-one-out": ("tab:orange", "v"),
}


def plot_table(table: pd.DataFrame, path: Path) -> None:
    """Plot the variance for each problem, and the RMSE where relaxations are biased."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    for ax, (title, cells) in zip(axes.flat, table.groupby("problem", sort=False), strict=False):
        plot_lines(ax, cells, "variance")
        unit = "nats² per unit of z²" if "ELBO" in str(title) else "mean over coordinates"
        ax.set(title=f"{title}: variance of the gradient", ylabel=f"variance ({unit})")
    cells = table[table.problem == "Bernoulli"]
    plot_lines(axes[1, 1], cells, "rmse")
    axes[1, 1].set(title="Bernoulli: error including bias", ylabel="RMSE / norm of the gradient")
    handles = {h.get_label(): h for ax in axes.flat for h in ax.get_lines()}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=120)


def plot_lines(ax: Axes, cells: pd.DataFrame, column: str) -> None:
    """Plot one line per estimator on logarithmic axes."""
    for name, line in cells.groupby("estimator", sort=False):
        colour, marker = STYLES[str(name)]
        ax.loglog(line.K, line[column], color=colour, marker=marker, label=name, base=2)
    ax.set_yscale("log", base=10)
    ax.set_xlabel("samples K")
    ax.grid(alpha=0.3)


if __name__ == "__main__":
    main()
