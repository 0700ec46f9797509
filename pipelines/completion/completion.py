"""Measure how well a model completes the first half of held-out molecules.

Each canonical SMILES of some held-out molecules is cut in half. `molvae.model.completion` draws
endings of the first halves at points of p(z|beginning); and the same decoder, forced to write the
same beginnings, at points of N(0, I). The true second half is compared with these endings, and with
random ones: second halves of other molecules, any or only those that make a molecule.

Columns: `valid`, share of the draws that are molecules, and `prior_valid` at points of N(0, I);
`distinct`, different molecules per valid draw; `log_evidence`, log p(beginning) in nats; `gain`,
mean log p(x) of the drawn molecules less that of those from points of N(0, I); `fitting`, number of
random endings that make a molecule; `above_random`, `above_fitting`, `above_prior` and
`above_drawn`, share of random endings, of fitting ones, and of those from N(0, I) and from
p(z|beginning) that are less likely than the true one.

log p(x) is estimated by importance sampling with q(z|x) (Burda et al. 2016), as the string is
written. All endings of a beginning share log p(beginning), so they are compared by log p(x).

    python pipelines/completion/completion.py  # the shipped zinc model, some minutes
    python pipelines/completion/completion.py --quick  # seconds
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.distributions import Independent, Normal

from molvae import MolVAE
from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.chem.datasets import load
from molvae.chem.molecules import canonicalize
from molvae.latent.autoregressive import generate_constrained
from molvae.model.completion import complete
from molvae.model.forced_decoding import Start, constrain

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.model_scores import sample_smiles, select_encodable

# standard deviation of the proposal, in those of q(z|x); smaller and larger ones find less of p(x)
SPREAD = 1.7


def main() -> None:
    """Print the table and write it as CSV, with a picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="zinc")
    parser.add_argument("--molecules", type=int, default=20, help="held-out molecules")
    parser.add_argument("--endings", type=int, default=25, help="endings of each kind")
    parser.add_argument("--samples", type=int, default=200, help="points per log p(x)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/completion"))
    parser.add_argument("--quick", action="store_true", help="2 molecules")
    args = parser.parse_args()
    if args.quick:
        args.molecules, args.endings, args.samples = 2, 10, 20
    drawn, known = (20, 500) if args.quick else (100, 5_000)
    model = MolVAE.load(args.model)
    data = load(model.summary.data, progress=True)
    held_out = select_encodable(model, data.split("test"), args.molecules, args.seed)
    others = [s[len(s) // 2 :] for s in sample_smiles(data.split("test"), known, args.seed + 1)]
    rows, differences = {}, {}
    for smiles in held_out:
        beginning = smiles[: len(smiles) // 2]
        found = complete(model, beginning, drawn, seed=args.seed)
        unweighted = decode_at_prior(model, beginning, found.drawn, args.seed)
        valid = [s for s in unweighted if canonicalize(s) is not None]
        kinds = {
            "random": join_endings(model, beginning, others),
            "fitting": choose_endings(model, beginning, smiles, others),
            "prior": valid,
            "drawn": sample_smiles(list(found.table["written"]), 100, args.seed),
        }
        log_p = {
            kind: estimate_log_p(model, strings[: args.endings], args.samples, args.seed)
            for kind, strings in {"true": [smiles], **kinds}.items()
        }
        less = {kind: log_p[kind] - log_p["true"] for kind in kinds}
        rows[beginning] = {
            "valid": found.valid / found.drawn,
            "prior_valid": len(valid) / len(unweighted),
            "distinct": found.distinct / found.valid,
            "log_evidence": found.log_evidence,
            "gain": less["drawn"].mean() - less["prior"].mean(),
            "fitting": len(less["fitting"]),
            **{f"above_{kind}": np.mean(less[kind] < 0) for kind in kinds},
        }
        differences[beginning] = less
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("beginning")
    write_file(args.out / "completion.csv", table.to_csv())
    draw_differences(differences, args.out / "completion.png")
    print(f"{args.model}: {len(held_out)} molecules, seed {args.seed}")
    print(table.to_string(float_format="{:.2f}".format))
    print("means:", ", ".join(f"{name} {value:.2f}" for name, value in table.mean().items()))
    best = (table["above_random"] == 1).mean()
    print(f"the true ending is likelier than all random ones for {best:.0%} of the molecules")


def join_endings(model: MolVAE, beginning: str, others: Sequence[str]) -> list[str]:
    """Beginning of a molecule and endings of others -> strings that the model can write.

    Two halves can meet in a token that no molecule has, such as an aromatic N before a charge.
    """
    result = []
    for s in dict.fromkeys(beginning + other for other in others):
        with contextlib.suppress(MolvaeError):
            model.tokenize_canonical(s)
            result.append(s)
    return result


def choose_endings(model: MolVAE, beginning: str, smiles: str, others: Sequence[str]) -> list[str]:
    """Beginning of a molecule and endings of others -> SMILES of the other molecules they make.

    Args:
        model: has to be able to encode them.
        beginning: first half of `smiles`.
        smiles: the molecule, which is left out.
        others: second halves of other molecules.
    """
    joined = dict.fromkeys(beginning + other for other in others)
    return [s for s in joined if canonicalize(s) != smiles and model.can_encode(s)]


@torch.no_grad()
def estimate_log_p(
    model: MolVAE, strings: Sequence[str], samples: int, seed: int
) -> NDArray[np.float64]:
    """SMILES as they are written (n) -> log p(x) of each in nats (n,), with p(z) = N(0, I).

    Args:
        model: has to know their tokens.
        strings: of at most the length that it writes.
        samples: latent points for each.
        seed: of the points.
    """
    generator = torch.Generator().manual_seed(seed)
    result = []
    for string in strings:
        x = torch.from_numpy(model.tokenizer.encode([string]).astype(np.int64))
        q = model.vae.posterior(x)
        proposal = Independent(Normal(q.mean[0], SPREAD * q.stddev[0]), 1)
        z = q.mean + SPREAD * q.stddev * torch.randn(samples, model.latent, generator=generator)
        prior = Independent(Normal(torch.zeros_like(z), torch.ones_like(z)), 1)
        log_x = model.vae.log_likelihood(x.expand(samples, -1), z)
        log_w = log_x + prior.log_prob(z) - proposal.log_prob(z)
        result.append(float(log_w.logsumexp(0)) - math.log(samples))
    return np.array(result)


def decode_at_prior(model: MolVAE, beginning: str, n: int, seed: int) -> list[str]:
    """Beginning -> n strings that begin with it, written at points of N(0, I).

    Args:
        model: writes them.
        beginning: of all strings.
        n: number of strings.
        seed: of points and tokens.
    """
    constraint, at = constrain(model.tokenizer, [Start(beginning, "", True)])
    written = generate_constrained(
        model.vae.sequence_decoder,
        model.sample_latents(n, seed, standard=True),
        constraint,
        at.expand(n),
        generator=torch.Generator().manual_seed(seed),
    )
    return model.tokenizer.decode(written.ids.numpy())


def draw_differences(found: dict[str, dict[str, NDArray[np.float64]]], path: Path) -> None:
    """Log p of endings less that of the true one -> a picture with a row for each beginning."""
    figure, axes = plt.subplots(figsize=(9, 1.5 + 0.3 * len(found)), layout="constrained")
    labels = {
        "random": "second halves of other molecules",
        "fitting": "those that make a molecule",
        "prior": "drawn at points of N(0, I)",
        "drawn": "drawn at points of p(z|beginning)",
    }
    for (kind, label), mark in zip(labels.items(), ("|", "+", "x", "."), strict=True):
        x = np.concatenate([row[kind] for row in found.values()])
        y = np.concatenate([np.full(len(row[kind]), i) for i, row in enumerate(found.values())])
        axes.plot(x, y, mark, ms=6, alpha=0.7, label=label)
    axes.axvline(0, color="black", lw=1)
    axes.set_yticks(range(len(found)), list(found), fontsize=7, family="monospace")
    axes.set_xlabel("log p of an ending less that of the true one / nats")
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
