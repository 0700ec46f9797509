"""Convolutional VAEs of drawn faces: directions, true counterfactuals, priors, disentanglement.

The faces are synthetic (`drawn_faces.py`), so that every attribute is known and so is the
counterfactual: the same face with the glasses taken off. `--celeba` takes the photographs of CelebA
instead (`celeba.py`), which are not downloaded and of which no counterfactual is known. Three
models, alike but for the bound that trains them: a plain VAE, a beta-VAE and a TC-VAE. Each gets a
prior that is fitted afterwards.

    python pipelines/faces/faces.py  # half an hour on one core
    python pipelines/faces/faces.py --quick  # seconds, meaningless numbers
    python pipelines/faces/faces.py --side 64  # more pixels, four times as long
    python pipelines/faces/faces.py --celeba FOLDER

An edit adds the effect of an attribute to z (`molvae.latent.directions`) and decodes. Whether it
shows is judged by a classifier of images, trained with the exact attributes of the training faces.
A run that was stopped goes on where it was when it is started again with the same --out, and a
finished one when it is started with more --steps.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from celeba import read_celeba
from drawn_faces import load_drawn_faces
from face_data import Faces, Images, Part
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from tqdm import tqdm

from molvae.base.errors import MolvaeError
from molvae.base.files import RunFolder
from molvae.latent.aggregate import fit_prior
from molvae.latent.directions import estimate_effects
from molvae.latent.disentanglement import mutual_information_gap
from molvae.latent.elbo import Bound, beta_elbo, elbo, tc_elbo
from molvae.latent.encoders import encoders
from molvae.latent.fit import fit
from molvae.latent.kinds import Example
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAE, VAEConfig

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.progress import follow
from shared.vae_pictures import lay

LATENT, HIDDEN = 32, 256
NOISE = 0.1  # of a pixel; learned, it starts at 1, where z is worth nothing, and falls too slowly
NAMES = ("plain", "beta", "TC")
MAY_CHANGE = ("out", "models", "steps")  # when a run is continued
WEIGHT = 4.0  # of the KL in the beta-VAE, of the total correlation in the TC-VAE
PRIOR = "mixture"
STRENGTHS = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5)  # of an edit, in mean effects of the attribute
SHOWN = 0.95  # share of validation faces that an edit must show in
FIT = FitConfig(
    batch=64,
    learning_rate=2e-3,
    kl_weight=1.0,
    kl_warmup=0.2,
    clip=1_000.0,
    validate_every=250,
    patience=10**9,
    checkpoint_minutes=1.0,
    optimizer="adam",
    precision="32-true",
)


class Judge(nn.Module):
    """Reads attributes from images; its hidden layer is the space of the Fréchet distance."""

    def __init__(self, shape: tuple[int, ...], attributes: int) -> None:
        super().__init__()
        self.encoder = encoders["deep-image"](Example(shape), HIDDEN)
        self.out = nn.Linear(HIDDEN, attributes)

    def forward(self, x: Tensor, y: Tensor) -> Bound:
        """x (B, 3, H, W), attributes y (B, A) in 0, 1 -> log q(y|x) in nats."""
        noisy = x + 0.05 * torch.randn_like(x) if self.training else x
        logits = self.out(self.encoder(noisy))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none").sum(1)
        return Bound(-loss, torch.zeros_like(loss))

    @torch.no_grad()
    def read(self, x: Tensor) -> Tensor:
        """Images (n, 3, H, W) -> whether they have each attribute (n, A)."""
        return torch.cat([self.out(self.encoder(part)) > 0 for part in x.split(250)])

    @torch.no_grad()
    def features(self, x: Tensor) -> NDArray[np.float64]:
        """Images (n, 3, H, W) -> (n, H)."""
        return torch.cat([self.encoder(part) for part in x.split(250)]).double().numpy()


def main() -> None:
    """Train and score the models; print and write the tables and figures."""
    args = parse_arguments()
    torch.set_num_threads(1)  # two threads are slower for models this small
    RunFolder(args.out).agree({k: v for k, v in vars(args).items() if k not in MAY_CHANGE})
    sizes = args.faces, args.faces // 16, args.faces // 8
    if args.celeba is None:
        data = load_drawn_faces(sizes, args.side, args.seed, args.out)
    else:
        data = read_celeba(Path(args.celeba), sizes, args.side, args.out)
    bounds: dict[str, Callable[[VAE, Tensor], Bound]] = {
        "plain": elbo,
        "beta": partial(beta_elbo, beta=WEIGHT),
        "TC": partial(tc_elbo, examples=len(data.train.x), tc_weight=WEIGHT),
    }
    total = args.steps * len(args.models) + args.steps // 3
    with tqdm(total=total, unit="step") as bar:
        judge = train_judge(data, args, bar)
        models = {n: train_vae(data, args, n, bounds[n], bar) for n in args.models}
    test = torch.from_numpy(data.test.x)
    right = judge.read(test).numpy() == data.test.seen
    print(
        "the judge reads right, of test faces: "
        + ", ".join(f"{n} {s:.1%}" for n, s in zip(data.seen, right.mean(0), strict=True))
    )
    lines, edits, samples = {}, [], {}
    for name, model in models.items():
        line, table, drawn = score(model, judge, data, args.seed)
        lines[name], samples[name] = line, drawn
        edits.append(table.assign(model=name))
    report(pd.DataFrame(lines).T.rename_axis("model"), pd.concat(edits), args.out)
    first = args.models[0]
    strengths = edits[0].set_index("attribute")["strength"]
    plot_edits(models[first], data, strengths).savefig(args.out / "counterfactuals.png", dpi=150)
    for name, model in models.items():
        plot_perturbations(model, test).savefig(args.out / f"perturbations-{name}.png", dpi=150)
    plot_samples(data, samples[first]).savefig(args.out / "samples.png", dpi=150)
    print(f"\ntables and figures: {args.out}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--celeba", metavar="FOLDER", help="with the files of CelebA")
    parser.add_argument("--faces", type=int, default=12_000, help="to train on")
    parser.add_argument("--side", type=int, default=32, help="pixels of the side of an image")
    parser.add_argument("--steps", type=int, default=6_000, help="gradient steps of each model")
    parser.add_argument(
        "--models", nargs="+", choices=NAMES, default=NAMES, help="the first is drawn editing"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the faces and the trainings")
    parser.add_argument("--out", type=Path, default=Path("runs/faces"))
    parser.add_argument("--quick", action="store_true", help="few faces and steps")
    args = parser.parse_args()
    if args.quick:
        args.faces, args.steps = 200, 45
    if args.faces < 100 or args.steps < 3 or args.side < 16:
        parser.error("--faces must be at least 100, --steps 3 and --side 16")
    return args


def train_judge(data: Faces, args: argparse.Namespace, bar: tqdm) -> Judge:
    """Train the classifier with the attributes of the training faces."""
    bar.set_description("judge")
    torch.manual_seed(args.seed)
    judge = Judge(data.train.x.shape[1:], len(data.seen))
    epochs = args.steps / 3 / (len(data.train.x) // FIT.batch)
    config = replace(FIT, epochs=epochs, seed=args.seed)
    known = [(part.x, part.seen.astype(np.float32)) for part in (data.train, data.validation)]
    fit(judge, *known, config, args.out / "judge", follow(bar))
    return judge.eval()


def train_vae(
    data: Faces,
    args: argparse.Namespace,
    name: str,
    bound: Callable[[VAE, Tensor], Bound],
    bar: tqdm,
) -> VAE:
    """Train one model on images alone; goes on where an earlier call stopped.

    Args:
        data: faces.
        args: the settings.
        name: of its folder.
        bound: what is maximised.
        bar: moves with every step.
    """
    bar.set_description(name)
    torch.manual_seed(args.seed)
    shape = data.train.x.shape[1:]
    parts = {"encoder": "deep-image", "decoder": "deep-image", "likelihood": "gaussian"}
    parts |= {"noise": NOISE}
    model = VAE(
        VAEConfig(
            shape=shape, latent=LATENT, encoder_hidden=HIDDEN, decoder_hidden=HIDDEN, **parts
        ),
        bound,
    )
    config = replace(FIT, epochs=args.steps / (len(data.train.x) // FIT.batch), seed=args.seed)
    fit(model, data.train.x, data.validation.x, config, args.out / name, follow(bar))
    return model.eval()


@torch.no_grad()
def encode(model: VAE, x: Images | Tensor) -> Tensor:
    """Images (n, 3, H, W) -> posterior means (n, D)."""
    return torch.cat([model.encode(part) for part in torch.as_tensor(x).split(250)])


def decode(model: VAE, z: Tensor) -> Tensor:
    """Latents (n, D) -> images (n, 3, H, W) in [0, 1]."""
    return torch.cat([model.decoder.generate(part) for part in z.split(250)]).clamp(0, 1)


def score(
    model: VAE, judge: Judge, data: Faces, seed: int
) -> tuple[dict[str, float], pd.DataFrame, dict[str, Tensor]]:
    """Return the scores of a model, those of its edits, and samples of both priors.

    The model ends up with the fitted prior.
    """
    z_train, z = encode(model, data.train.x), encode(model, data.test.x)
    test = torch.from_numpy(data.test.x)
    again = decode(model, z)
    spread = (test - torch.from_numpy(data.train.x.mean(0))).square().mean()
    line = {"R2": float(1 - (test - again).square().mean() / spread)}
    with torch.no_grad():
        torch.manual_seed(seed)
        bound = elbo(model, test)
    line |= {"reconstruction": float(-bound.log_likelihood.mean()), "kl": float(bound.kl.mean())}
    for i, name in enumerate(data.edited):
        probe = LogisticRegression(max_iter=2_000).fit(z_train.numpy(), data.train.seen[:, i])
        score = probe.decision_function(z.numpy())
        line[f"AUC {name}"] = roc_auc_score(data.test.seen[:, i], score)

    effects = estimate_effects(z_train, data.train.known)
    strengths = choose_strengths(model, judge, data, effects)
    table = score_edits(model, judge, data, effects, strengths)
    line["MIG"] = float(mutual_information_gap(z_train, data.factors).mean())

    size = torch.Size([len(test)])
    torch.manual_seed(seed)
    drawn = {"N(0, I)": decode(model, model.prior().sample(size))}
    config = FitConfig(
        epochs=20, batch=256, learning_rate=5e-3, optimizer="adam", precision="32-true", seed=seed
    )
    options = {"components": 100}
    fit_prior(
        model, PRIOR, data.train.x, data.validation.x, config=config, options=options, samples=2
    )
    with torch.no_grad():
        drawn["fitted prior"] = decode(model, model.prior().sample(size))
    real = judge.features(test)
    for name, images in (*drawn.items(), ("reconstructions", again)):
        line[f"Fréchet {name}"] = frechet_distance(real, judge.features(images))
    return line, table, drawn


def edit(model: VAE, part: Part, attribute: str, effects: Tensor, strength: float) -> Tensor:
    """Images of a part -> what the model thinks they look like with an attribute changed.

    Args:
        model: encodes and decodes.
        part: n faces.
        attribute: one of those that can be changed.
        effects: of all that is known on z (P, D).
        strength: times the effect that is added.
    """
    change = part.changed[attribute].known - part.known
    return decode(model, encode(model, part.x) + strength * change @ effects)


def choose_strengths(model: VAE, judge: Judge, data: Faces, effects: Tensor) -> dict[str, float]:
    """Return the least strength at which each edit shows in most validation faces."""
    found = {}
    for i, attribute in enumerate(data.edited):
        wanted = data.validation.changed[attribute].seen[:, i]
        for strength in STRENGTHS:
            edited = edit(model, data.validation, attribute, effects, strength)
            found[attribute] = strength
            if (judge.read(edited)[:, i].numpy() == wanted).mean() >= SHOWN:
                break
    return found


def score_edits(
    model: VAE, judge: Judge, data: Faces, effects: Tensor, strengths: dict[str, float]
) -> pd.DataFrame:
    """Return how often each edit shows, how much else stays, and its error, one row each.

    `error_ratio` is the mean squared error of the edit to the true counterfactual over that of the
    unchanged original to it, where the counterfactual is known.
    """
    lines = []
    part = data.test.head(len(data.test.x) // 4)
    x = torch.from_numpy(part.x)
    for i, attribute in enumerate(data.edited):
        edited = edit(model, part, attribute, effects, strengths[attribute])
        right = judge.read(edited).numpy() == part.changed[attribute].seen
        ratio = np.nan
        if attribute in data.counterfactuals:
            target = torch.from_numpy(data.counterfactuals[attribute])
            ratio = float((edited - target).square().mean() / (x - target).square().mean())
        lines.append(
            {
                "attribute": attribute,
                "strength": strengths[attribute],
                "flipped": right[:, i].mean(),
                "kept": np.delete(right, i, axis=1).mean(),
                "error_ratio": ratio,
            }
        )
    return pd.DataFrame(lines)


def frechet_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Features (n, F), (m, F) -> the Fréchet distance of Gaussians fitted to them."""
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    gap = a.mean(0) - b.mean(0)
    return float(gap @ gap + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root))


def report(table: pd.DataFrame, edits: pd.DataFrame, folder: Path) -> None:
    """Print both tables and write them."""
    table.to_csv(folder / "models.csv")
    print(f"\nweight of KL and of total correlation: {WEIGHT:g}; test faces\n")
    print(table.T.to_string(float_format="{:.3f}".format))
    edits = edits[["model", "attribute", "strength", "flipped", "kept", "error_ratio"]]
    edits.to_csv(folder / "edits.csv", index=False)
    print("\nedits: share that shows, share of the other attributes that stays, and mean squared")
    print("error to the true counterfactual, if known, over that of the unchanged original\n")
    print(edits.to_string(index=False, float_format="{:.3f}".format, na_rep=""))


def _show(axes: Axes, images: Tensor, columns: int, title: str) -> None:
    axes.imshow(lay(images, columns))
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)


def plot_edits(model: VAE, data: Faces, strengths: pd.Series) -> Figure:
    """Plot test faces, their reconstructions, and each edit, above the counterfactual if known."""
    part = data.test.head(10)
    effects = estimate_effects(encode(model, data.train.x), data.train.known)
    x = torch.from_numpy(part.x)
    lines = {"face": x, "reconstruction": decode(model, encode(model, x))}
    for attribute in data.edited:
        lines[f"{attribute}: edit"] = edit(model, part, attribute, effects, strengths[attribute])
        if attribute in data.counterfactuals:
            true = data.counterfactuals[attribute][: len(x)]
            lines[f"{attribute}: truth"] = torch.from_numpy(true)
    figure = Figure(figsize=(8.6, 0.74 * len(lines) + 0.2), layout="constrained")
    for axes, (name, images) in zip(figure.subplots(len(lines), 1), lines.items(), strict=True):
        axes.imshow(lay(images, len(images)))
        axes.set_xticks([])
        axes.set_yticks([images.shape[2] / 2], [name])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure


@torch.no_grad()
def plot_perturbations(model: VAE, x: Tensor) -> Figure:
    """Plot a face with each of the 10 dimensions that carry most moved from -3 to 3."""
    q = model.posterior(x)
    z, scale = q.mean, q.stddev
    information = 0.5 * (z.square() + scale.square()) - scale.log() - 0.5
    order = information.mean(0).argsort(descending=True)[:10]
    steps = torch.linspace(-3, 3, 9)
    rows = z[:1].repeat(len(order) * len(steps), 1)
    for k, dimension in enumerate(order):
        rows[k * len(steps) : (k + 1) * len(steps), dimension] = steps
    figure = Figure(figsize=(6.2, 7), layout="constrained")
    title = "one dimension of z a row, from -3 to 3; most informative first"
    _show(figure.subplots(), decode(model, rows), len(steps), title)
    return figure


def plot_samples(data: Faces, drawn: dict[str, Tensor]) -> Figure:
    """Plot test faces, and samples of N(0, I) and of the fitted prior."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = {"test faces": torch.from_numpy(data.test.x), **drawn}
    for axes, (name, images) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        _show(axes, images[: min(64, len(images) // 8 * 8)], 8, name)
    return figure


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
