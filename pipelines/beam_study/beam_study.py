"""Measure how beam width and pull change decoding with the shipped model.

`molvae.model.decoding` picks the best of several likely strings at a point. `beam` is the number of
strings; `pull` weighs the distance between the point and the posterior mean of a string.

Columns: `exact`, share of held-out validation molecules that are reconstructed; `valid` and the
differences of mean properties to the training data, for points drawn from the prior; `rate`, points
decoded per second.

    python pipelines/beam_study/beam_study.py  # the shipped zinc model, some minutes
    python pipelines/beam_study/beam_study.py --quick  # seconds
"""

from __future__ import annotations

import argparse
import sys
import time
from operator import eq
from pathlib import Path

import pandas as pd

from molvae import MolVAE
from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.chem.datasets import load
from molvae.chem.molecules import canonicalize
from molvae.chem.property_tables import compute_properties
from molvae.model.decoding import BEAM, PULL, decode_points

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.model_scores import sample_smiles, select_encodable

WIDTHS = (1, 2, 4, BEAM, 16)
PULLS = (0.0, 0.05, 0.1, 0.25, 0.5, 1e6)  # the last: nearest to the point, whatever its likelihood


def main() -> None:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="zinc")
    parser.add_argument(
        "--molecules",
        type=int,
        default=1_000,
        help="held-out molecules, and as many points of the prior",
    )
    parser.add_argument(
        "--standard",
        action="store_true",
        help="draw points from N(0, I) in place of the prior of the model",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/beam-study"))
    parser.add_argument("--quick", action="store_true", help="20 molecules")
    args = parser.parse_args()
    n = 20 if args.quick else args.molecules
    model = MolVAE.load(args.model)
    data = load(model.summary.data, progress=True)
    held_out = select_encodable(model, data.split("validation"), n, args.seed)
    z, drawn = model.encode(held_out, refine=0), model.sample_latents(n, args.seed, args.standard)
    expected = compute_properties(sample_smiles(data.split("train"), 20 * n, args.seed)).mean()
    rows = {}
    for beam, pull in [(width, PULL) for width in WIDTHS] + [(BEAM, pull) for pull in PULLS]:
        back = decode_points(model, z, beam=beam, pull=pull)
        began = time.perf_counter()
        strings = decode_points(model, drawn, beam=beam, pull=pull)
        seconds = time.perf_counter() - began
        valid = [s for s in strings if canonicalize(s) is not None]
        differences = (compute_properties(valid).mean() - expected).add_suffix("_difference")
        rows[beam, pull] = {
            "exact": sum(map(eq, map(canonicalize, back), held_out)) / len(back),
            "valid": len(valid) / n,
            **differences,
            "rate": n / seconds,
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["beam", "pull"]).sort_index()
    write_file(args.out / "beam_study.csv", table.to_csv())
    print(f"{args.model}: {len(held_out)} molecules, {n} points, seed {args.seed}")
    print(table.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
