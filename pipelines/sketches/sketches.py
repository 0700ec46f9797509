"""SketchRNN on kanji: reconstruct, generate, manipulate and complete sketches, stroke by stroke.

Characters of KanjiVG (or drawings of QuickDraw) are rows of dx, dy and what the pen does. A VAE
with a mixture-density decoder learns them; nobody tells it what a component of a character is.

    OMP_NUM_THREADS=1 python pipelines/sketches/sketches.py
    python pipelines/sketches/sketches.py --quick  # seconds, meaningless numbers
    python pipelines/sketches/sketches.py --quickdraw FILE  # a category of QuickDraw, as .npz

A run that was stopped goes on where it was when it is started again with the same --out, and a
finished one when it is started with more --steps.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sketch_data import Sketch, load_kanji, read_quickdraw
from sketch_scores import cut, halve, join, paint, rank
from torch import Tensor
from tqdm import tqdm

from molvae.base.errors import MolvaeError
from molvae.base.files import RunFolder
from molvae.latent.aggregate import fit_prior
from molvae.latent.amortization import fit_posterior
from molvae.latent.elbo import elbo, iwae
from molvae.latent.fit import fit
from molvae.latent.refine import refine_latents
from molvae.latent.sketches import DOWN, END, UP, count_rows, locate, stack_sketches
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAE, VAEConfig

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.progress import follow

LATENT, HIDDEN, READER = 128, 384, 256
SHORT = 8  # strokes
COOL = 0.1  # temperature of the draws among which the likeliest is taken
DRAWS = 5
ENDINGS = 50  # of other characters, which the true one competes with
ITERATIONS = 2  # learned steps of q(z|x)
REFINING = 24  # steps
COMPARED = 40  # test sketches that are told by likelihood
COMPLETED = 50  # test sketches of each set
SAMPLES = 4  # of z for each sketch whose log p(x) is estimated
RADICALS = {"氵": "left", "木": "left", "扌": "left", "亻": "left", "口": "left", "艹": "top"}
MAY_CHANGE = ("out", "steps")  # when a run is continued
TRAININGS = {  # weight of the KL, its warm-up, share of hidden points, posterior
    "model": (0.05, 0.3, 0.4, "isotropic"),
    "writer": (1.0, 0.0, 0.1, "diagonal"),
}
FIT = FitConfig(
    batch=128,
    learning_rate=3e-3,
    validate_every=100,
    patience=10**9,
    checkpoint_minutes=1.0,
)
Arrays = NDArray[np.float32]
Table = dict[str, float]
Line = tuple[str, Sequence[Tensor] | Tensor]  # of a picture: its name, its sketches


@dataclass(frozen=True)
class Data:
    """Sketches of each part of the data, and their strokes as arrays (n, L, 5)."""

    sketches: dict[str, list[Sketch]]
    x: dict[str, Arrays]
    tests: list[str]
    """The names of the test parts."""
    reach: float
    """From the middle of the sheet to its sides."""

    @property
    def everything(self) -> list[Sketch]:
        """The sketches of all parts."""
        return [s for part in self.sketches.values() for s in part]

    def tensor(self, part: str) -> Tensor:
        """The arrays of a part."""
        return torch.from_numpy(self.x[part])


def main() -> None:
    """Train the model, score it, print and write tables and figures."""
    args = parse_arguments()
    torch.set_num_threads(1)  # two threads are slower for models this small
    RunFolder(args.out).agree({k: v for k, v in vars(args).items() if k not in MAY_CHANGE})
    data = load_data(args)
    for name, part in data.sketches.items():
        print(f"{name}: {len(part):,} sketches")
    with tqdm(total=2 * args.steps + args.steps // 2, unit="step") as bar:
        model = train("model", data, args, bar)
        with torch.no_grad():
            model.standardise(data.tensor("train"))
        improve_posterior(model, data, args, bar)
        writer = train("writer", data, args, bar)
    before, after = fit_latents(model, data, args.seed)
    print(f"log p(z) of held-out z: {before:.2f} nats with N(0, I), {after:.2f} with a mixture")
    tables = {
        "reconstruction": score_reconstruction(model, data, args.seed),
        "completion": score_completion(writer, data, args.seed),
    }
    figures = {
        "reconstructions": plot_reconstructions(model, data, args.seed),
        "samples": plot_samples(model, data, args.seed),
        "interpolation": plot_interpolation(model, data, args.seed),
        "completions": plot_completions(writer, data, args.seed),
    }
    if directions := find_directions(model, data):  # drawings have no radicals
        tables["arithmetic"] = score_arithmetic(model, data, directions, args.seed)
        figures["arithmetic"] = plot_arithmetic(model, data, directions, args.seed)
    for name, table in tables.items():
        table.to_csv(args.out / f"{name}.csv")
        print(f"\n{name}\n\n{table.to_string(float_format='{:.3f}'.format)}")
    for name, figure in figures.items():
        figure.savefig(args.out / f"{name}.png", dpi=150, bbox_inches="tight")
    print(f"\ntables and figures: {args.out}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--strokes", type=int, default=12, help="of a sketch, at most")
    parser.add_argument("--steps", type=int, default=3_000, help="gradient steps")
    parser.add_argument("--test", type=int, default=500, help="held-out sketches of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the split, training and draws")
    parser.add_argument("--quickdraw", metavar="FILE", help="a category of QuickDraw, as .npz")
    parser.add_argument("--out", type=Path, default=Path("runs/sketches"))
    parser.add_argument("--quick", action="store_true", help="few characters and steps")
    args = parser.parse_args()
    if args.quick:
        args.steps, args.test = 4, 20
    if args.strokes < 2 or args.steps < 2 or args.test < 2:
        parser.error("--strokes, --steps and --test must be at least 2")
    return args


def load_data(args: argparse.Namespace) -> Data:
    """Read the sketches and split them; those of test and validation are in no training."""
    if args.quickdraw is None:
        sketches = load_kanji(args.out / "characters.json", 250 if args.quick else None)
        found = [s for s in sketches if s.strokes <= args.strokes]
        rng = np.random.default_rng(args.seed)
        held_out = [found[i] for i in rng.permutation(len(found))]
    else:
        read = read_quickdraw(Path(args.quickdraw))
        train, validation, held_out = (
            [s for s in read[name] if s.strokes <= args.strokes]
            for name in ("train", "valid", "test")
        )
    tests = {
        f"up to {SHORT} strokes": [s for s in held_out if s.strokes <= SHORT][: args.test],
        f"up to {args.strokes} strokes": held_out[: args.test],
    }
    if args.quickdraw is None:
        tested = {s.name for part in tests.values() for s in part}
        rest = [s for s in held_out if s.name not in tested]
        size = max(2, len(rest) // 15)
        validation, train = rest[:size], rest[size:]
    parts = {"train": train, "validation": validation, **tests}
    if not all(parts.values()):
        raise MolvaeError("a part of the data has no sketches: take more strokes")
    unit = np.concatenate([s.points[:, :2] for s in train]).std()
    longest = max(len(s.points) for part in parts.values() for s in part)
    x = {
        name: stack_sketches([s.points / [unit, unit, 1] for s in part], longest + 1)
        for name, part in parts.items()
    }
    reach = float(np.abs(x["train"][..., :2].cumsum(1)).max())
    return Data(parts, x, list(tests), reach)


def jitter(x: Tensor) -> Tensor:
    """Sketches (B, L, 5) -> the same, drawn a bit differently: sheared, moved, strokes too.

    Few thousand characters are few. They are printed, and nobody writes twice the same.
    """
    sketches, rows = x.shape[:2]
    stretch = torch.eye(2) + 0.06 * torch.randn(sketches, 2, 2)
    stroke = (x[..., UP].cumsum(1) - x[..., UP]).long()  # of each point
    slip = 0.06 * torch.randn(sketches, rows, 2)
    place = locate(x) @ stretch + 0.08 * torch.randn(sketches, 1, 2)
    place += slip.gather(1, stroke[..., None].expand(-1, -1, 2)) + 0.02 * torch.randn_like(place)
    moves = torch.diff(place, dim=1, prepend=torch.zeros(sketches, 1, 2))
    return torch.cat([moves * (x[..., END:] == 0), x[..., 2:]], dim=-1)


def train(name: str, data: Data, args: argparse.Namespace, bar: tqdm) -> VAE:
    """Train one of the VAEs; goes on where an earlier call stopped.

    Args:
        name: "model", whose z says much of a sketch, or "writer", whose likelihood is high: the
            weight of its KL is 1 and it reads nearly all points before, so z says next to nothing.
        data: sketches.
        args: the settings.
        bar: moves with every step.
    """
    bar.set_description(name)
    kl_weight, warmup, dropout, posterior = TRAININGS[name]
    torch.manual_seed(args.seed)
    model = VAE(
        VAEConfig(
            shape=data.x["train"].shape[1:],
            kind="sketches",
            latent=LATENT,
            encoder="sketch-gru",
            encoder_hidden=READER,
            decoder="sketch-gru",
            decoder_hidden=HIDDEN,
            dropout=dropout,
            posterior=posterior,
            likelihood="mixture-density",
        ),
        lambda model, x: elbo(model, jitter(x)),
        elbo,
    )
    x = data.x["train"], data.x["validation"]
    config = configure(data, args.steps, args.seed)
    config = replace(config, kl_weight=kl_weight, kl_warmup=warmup)
    fit(model, *x, config, args.out / name, follow(bar))
    return model.eval()


def improve_posterior(model: VAE, data: Data, args: argparse.Namespace, bar: tqdm) -> None:
    """Let learned steps improve q(z|x) of a trained VAE (`molvae.latent.iterative`)."""
    bar.set_description("posterior")
    config = replace(
        configure(data, args.steps // 2, args.seed),
        learning_rate=2e-3,
        kl_weight=TRAININGS["model"][0],
        kl_warmup=0.0,
    )
    x = ((data.x["train"],), (data.x["validation"],))
    folder = args.out / f"posterior-{args.steps}"
    fit_posterior(model, ITERATIONS, *x, config=config, folder=folder, observe=follow(bar))


def configure(data: Data, steps: int, seed: int) -> FitConfig:
    """Return the settings of a training of so many steps."""
    batch = min(FIT.batch, len(data.x["train"]))
    return replace(FIT, batch=batch, epochs=steps / (len(data.x["train"]) // batch), seed=seed)


def fit_latents(model: VAE, data: Data, seed: int) -> tuple[float, float]:
    """Fit a prior to the latents of a trained model -> mean log p(z) before and after, nats."""
    config = FitConfig(epochs=20, batch=256, learning_rate=5e-3, optimizer="adam", seed=seed)
    options = {"components": 50}
    x = data.x["train"], data.x["validation"]
    return fit_prior(model, "mixture", *x, config=config, options=options, samples=2)


def draw_best(model: VAE, z: Tensor, seed: int) -> Tensor:
    """Latents z (n, D) -> sketches (n, L, 5): of the greedy one and cool draws the likeliest."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [model.decoder.generate(z)]
    drawn += [model.decoder.generate(z, COOL, generator) for _ in range(DRAWS)]
    likelihoods = torch.stack([model.log_likelihood(x, z) for x in drawn])
    return torch.stack(drawn)[likelihoods.argmax(0), torch.arange(len(z))]


@torch.no_grad()
def score_reconstruction(model: VAE, data: Data, seed: int) -> pd.DataFrame:
    """Return nats a point, and how often a reconstruction is told among all of its set.

    It is told by its picture: the nearest of all originals is its own. `encoder` is without the
    learned steps of q(z|x); `refined` starts from latents that were moved up the gradient of
    log p(x|z). By likelihood, nothing is drawn: of all
    originals, the own one has the highest log p(x|z).
    """
    lines: dict[str, Table] = {}
    for part in data.tests:
        x, own = data.tensor(part), np.arange(len(data.x[part]))
        originals = paint(x, data.reach)
        points = float(count_rows(x).sum() - len(x))
        torch.manual_seed(seed)
        bound, z = elbo(model, x), model.encode(x)
        better = refine_latents(
            lambda x, z: (model.log_likelihood(x, z), torch.zeros(len(x), dtype=torch.bool)),
            x,
            z,
            REFINING,
        )
        ranks = {
            "greedy": model.decoder.generate(z),
            "encoder": draw_best(model, model.encode_once(x), seed),
            "best": draw_best(model, z, seed),
            "refined": draw_best(model, better, seed),
        }
        lines[part] = {
            "nats_per_point": float(-bound.log_likelihood.sum()) / points,
            "bound_per_point": float(-bound.value().sum()) / points,
            "points": points / len(x),
        }
        likeliest = [
            int(model.log_likelihood(x, one.expand(len(x), -1)).argmax()) for one in z[:COMPARED]
        ]
        lines[part]["told_by_likelihood"] = (np.array(likeliest) == own[:COMPARED]).mean()
        for name, drawn in ranks.items():
            place = rank(paint(drawn, data.reach), originals, own)
            lines[part] |= {f"told_{name}": (place == 0).mean(), f"rank_{name}": np.median(place)}
    return pd.DataFrame(lines).T.rename_axis("test")


@torch.no_grad()
def score_completion(writer: VAE, data: Data, seed: int) -> pd.DataFrame:
    """Return nats a point, and how often the true second half is likelier than other endings.

    Another ending is placed where it was on its own sheet, or follows as the same moves of the
    pen from where the beginning stops. log p(ending | beginning) is log p(whole) minus
    log p(beginning), and the last is the same for all: so wholes are compared, by the
    importance-weighted bound. Densities of different numbers of points do not compare, so the
    others are those whose endings are nearest in length.
    """
    lines: dict[tuple[str, str], Table] = {}
    for part in data.tests:
        x = data.tensor(part)
        half, points = halve(x), count_rows(x) - 1
        rest = points - half
        whole = rest.nonzero()[:, 0]  # that have a second half
        torch.manual_seed(seed)
        bound = float(-elbo(writer, x).value().sum() / points.sum())
        for name in ("placed", "moved"):
            rng = np.random.default_rng(seed)
            torch.manual_seed(seed)
            places = []
            for i in whole[:COMPLETED].tolist():
                others = rng.permutation(whole[whole != i].numpy())
                longer = (rest[others] - rest[i]).abs().numpy()
                others = others[longer.argsort(kind="stable")][:ENDINGS]
                first, kept = x[i], int(half[i])
                joined = [first]
                joined += [join(first, kept, x[j], int(half[j]), name == "placed") for j in others]
                likelihood = iwae(writer, torch.stack(joined), SAMPLES).value()
                places.append(int((likelihood[1:] >= likelihood[0]).sum()))
            lines[part, name] = {
                "bound_per_point": bound,
                "sketches": len(places),
                "endings": len(others),
                "true_is_likeliest": np.mean(np.array(places) == 0),
                "above": 1 - np.mean(places) / len(others),
            }
    return pd.DataFrame(lines).T.rename_axis(["test", "other endings"])


def find_pairs(sketches: list[Sketch], rest: list[Sketch], radical: str) -> list[tuple[int, int]]:
    """Places of characters that are a radical and another one, and of this one in `rest`."""
    places = {s.name: i for i, s in enumerate(rest)}
    pairs = []
    for i, sketch in enumerate(sketches):
        others = [name for name in sketch.parts if name != radical]
        if sketch.parts.get(radical) == RADICALS[radical] and len(others) == 1:
            pairs += [(i, places[others[0]])] if others[0] in places else []
    return pairs


@torch.no_grad()
def find_directions(model: VAE, data: Data) -> dict[str, Tensor]:
    """Return what each radical adds to z (D,): the mean over pairs of training characters.

    Radicals that are in no pair of the last test set are left out.
    """
    sketches, z = data.sketches["train"], model.encode(data.tensor("train"))
    directions = {}
    for radical in RADICALS:
        pairs = find_pairs(sketches, sketches, radical)
        if pairs and find_pairs(data.sketches[data.tests[-1]], data.everything, radical):
            directions[radical] = torch.stack([z[i] - z[j] for i, j in pairs]).mean(0)
    return directions


@torch.no_grad()
def score_arithmetic(
    model: VAE, data: Data, directions: dict[str, Tensor], seed: int
) -> pd.DataFrame:
    """Return how often a radical added to or taken from z gives the true character.

    The characters with the radical are held out; those without it may be from any part. Added,
    the nearest of all test characters should be the true one; taken away, the nearest of all test
    characters and the true one. A rank is how many are nearer.
    """
    part = data.tests[-1]
    x, originals = data.tensor(part), paint(data.tensor(part), data.reach)
    x_all = torch.cat([data.tensor(name) for name in data.sketches])
    lines: dict[str, Table] = {}
    for radical, direction in directions.items():
        pairs = find_pairs(data.sketches[part], data.everything, radical)
        composed, plain = (torch.tensor(places) for places in zip(*pairs, strict=True))
        without = paint(x_all[plain], data.reach)
        own, own_without = composed.numpy(), len(originals) + np.arange(len(plain))
        candidates = np.concatenate([originals, without])
        added = paint(draw_best(model, model.encode(x_all[plain]) + direction, seed), data.reach)
        taken = paint(draw_best(model, model.encode(x[composed]) - direction, seed), data.reach)
        ranks = {
            "unchanged": rank(without, originals, own),
            "added": rank(added, originals, own),
            "taken": np.array(
                [
                    rank(taken[i : i + 1], candidates[[*range(len(originals)), j]], [-1])[0]
                    for i, j in enumerate(own_without)
                ]
            ),
        }
        lines[radical] = {"pairs": len(pairs)}
        for name, place in ranks.items():
            lines[radical] |= {
                f"{name}_rank": np.median(place),
                f"{name}_told": (place == 0).mean(),
            }
    return pd.DataFrame(lines).T.rename_axis("radical")


def lay_out(lines: list[Line], reach: float, begun: Tensor | None = None) -> Figure:
    """Draw sketches (L, 5) in rows with a name each.

    Args:
        lines: the rows.
        reach: from the middle of a sheet to its sides.
        begun: how many points of each sketch of a row are given; the others are red. None: all.
    """
    side, columns = 2.2 * reach, max(len(sketches) for _, sketches in lines)
    segments, colours, frames = [], [], []
    for row, (_, sketches) in enumerate(lines):
        for column, x in enumerate(sketches):
            middle = side * np.array([column, row])
            places = locate(x[None])[0].numpy() + middle
            given = len(x) if begun is None else int(begun[column])
            for t in range(1, int(count_rows(x[None])) - 1):
                if x[t - 1, DOWN] > 0:
                    segments.append(places[t - 1 : t + 1])
                    colours.append("black" if t < given else "tab:red")
            corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
            frames.append(middle + 1.05 * reach * corners)
    figure = Figure(figsize=(1.3 + 0.7 * columns, 0.7 * len(lines) + 0.1), layout="constrained")
    axes = figure.subplots()
    axes.add_collection(LineCollection(frames, colors="0.88", linewidths=0.5))
    axes.add_collection(LineCollection(segments, colors=colours, linewidths=1.2, capstyle="round"))
    axes.set_yticks(side * np.arange(len(lines)), [name for name, _ in lines])
    axes.tick_params(length=0)
    half = side / 2
    axes.set(xlim=(-half, side * columns - half), ylim=(side * len(lines) - half, -half))
    axes.set(aspect="equal", xticks=[])
    axes.spines[:].set_visible(False)
    return figure


@torch.no_grad()
def plot_reconstructions(model: VAE, data: Data, seed: int) -> Figure:
    """Plot test sketches above their reconstructions at several temperatures."""
    x = data.tensor(data.tests[-1])[:12]
    z, generator = model.encode(x), torch.Generator().manual_seed(seed)
    lines: list[Line] = [("original", x), ("likeliest", draw_best(model, z, seed))]
    for temperature in (0.0, 0.1, 0.3, 0.6, 1.0):
        drawn = model.decoder.generate(z, temperature, generator)
        lines.append((f"temperature {temperature:g}", drawn))
    return lay_out(lines, data.reach)


@torch.no_grad()
def plot_samples(model: VAE, data: Data, seed: int) -> Figure:
    """Plot draws of the fitted prior."""
    torch.manual_seed(seed)
    drawn = draw_best(model, model.prior().sample(torch.Size([60])), seed)
    return lay_out([("", part) for part in drawn.split(12)], data.reach)


@torch.no_grad()
def plot_interpolation(model: VAE, data: Data, seed: int) -> Figure:
    """Plot the straight ways in z between pairs of test sketches."""
    x = data.tensor(data.tests[0])[:10]
    z, share = model.encode(x), torch.linspace(0, 1, 8)[:, None]
    lines: list[Line] = []
    for i in range(0, len(x) - 1, 2):
        way = draw_best(model, z[i] + share * (z[i + 1] - z[i]), seed)
        lines.append(("", [x[i], *way, x[i + 1]]))
    return lay_out(lines, data.reach)


@torch.no_grad()
def plot_arithmetic(model: VAE, data: Data, directions: dict[str, Tensor], seed: int) -> Figure:
    """Plot characters with a radical added, above the true ones, and with it taken away."""
    part = data.tests[-1]
    x_all = torch.cat([data.tensor(name) for name in data.sketches])
    x, pairs = data.tensor(part), []
    for radical in directions:
        found = find_pairs(data.sketches[part], data.everything, radical)
        pairs += [(i, j, directions[radical]) for i, j in found[:3]]
    pairs = pairs[:12]
    composed, plain = x[[i for i, _, _ in pairs]], x_all[[j for _, j, _ in pairs]]
    direction = torch.stack([d for _, _, d in pairs])
    added = draw_best(model, model.encode(plain) + direction, seed)
    taken = draw_best(model, model.encode(composed) - direction, seed)
    lines = [("without", plain), ("added", added), ("with", composed), ("taken away", taken)]
    return lay_out(lines, data.reach)


@torch.no_grad()
def plot_completions(writer: VAE, data: Data, seed: int) -> Figure:
    """Plot halves of test sketches, completed several times in another colour."""
    x = data.tensor(data.tests[-1])
    half = halve(x)
    whole = (half < count_rows(x) - 1).nonzero()[:10, 0]
    x, half = x[whole], half[whole]
    begun, generator = cut(x, half), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    lines: list[Line] = [("original", x)]
    for _ in range(6):
        z = writer.prior().sample(half.shape)
        lines.append(("completed", writer.decoder.generate(z, COOL, generator, begun)))
    return lay_out(lines, data.reach, half)


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
