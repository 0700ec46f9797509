"""Compare models on held-out molecules of the drugs data, by source and by size.

python pipelines/drugs/compare.py drugs.csv zinc drugs
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from molvae import MolVAE
from molvae.chem.datasets import assign_part
from molvae.chem.molecules import count_heavy_atoms
from molvae.latent.refine import STEPS

SIZES = {"of at most 38 atoms": (0, 38), "of 26 to 38": (26, 38), "of more than 38": (39, 60)}


def main() -> None:
    """Print, for each model and set, how many molecules come back greedily, and from which points.

    `encoder` are the means of the encoder, without learned steps (`latent.iterative`), `means`
    those of the posterior, and `refined` those after gradient steps. `moved` is by how many
    standard deviations per dimension those moved that only came back refined.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path, help="what drugs.py wrote")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--molecules", type=int, default=500, help="of each set, at most")
    args = parser.parse_args()
    table = pd.read_csv(args.table)
    table = table[[assign_part(s) == "test" for s in table["smiles"]]]
    atoms = table["smiles"].map(count_heavy_atoms)
    drugs = table["source"] == "drugs"
    sets = {"zinc": table["smiles"][~drugs], "drugs": table["smiles"][drugs]}
    for name, (low, high) in SIZES.items():
        sets[f"drugs {name}"] = table["smiles"][drugs & atoms.between(low, high)]
    rng = np.random.default_rng(0)
    chosen = {n: rng.permutation(list(s))[: args.molecules].tolist() for n, s in sets.items()}
    rows = []
    for name in args.models:
        model = MolVAE.load(name)
        for where, smiles in chosen.items():
            ids = [model.tokenize(s) for s in smiles if model.can_encode(s)]
            means, refined = (model.encode_ids(ids, refine=steps) for steps in (0, STEPS))
            points = (encode_once(model, ids), means, refined)
            back = [model.check_round_trip(ids, z) for z in points]
            moved = (refined - means).square().mean(1).sqrt().numpy()  # per dimension
            median = np.median(moved[back[2] & ~back[1]])
            shares = [len(ids) / max(1, len(smiles)), *(each.mean() for each in back)]
            rows.append((name, where, len(smiles), *shares, median))
    columns = ["model", "molecules", "number", "encodes", "encoder", "means", "refined", "moved"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False, float_format="%.3f"))


def encode_once(model: MolVAE, ids: list[list[int]]) -> Tensor:
    """Rows of token ids -> the means of the encoder (n, D), without the learned steps."""
    z = torch.empty(len(ids), model.latent)
    with torch.no_grad():
        for x, rows in model.batches(ids, "encode", False):
            z[rows] = model.vae.encode_once(x).cpu()
    return z


if __name__ == "__main__":
    main()
