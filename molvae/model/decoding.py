"""Decoding latent points: the best valid one of several likely strings.

Greedy decoding, the likeliest token at each step, often yields no molecule: it opens a ring for one
string and closes it as in another. So beam search generates several strings for each point. Invalid
ones are dropped, and the rest are ranked by their likelihood and by how near the encoder puts them
to the point. `beam=1` is greedy decoding, unchecked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize
from molvae.chem.tokenizers import Tokenizer
from molvae.latent.autoregressive import beam_search
from molvae.latent.vae import VAE

BATCH = 512  # strings written together
BEAM = 8  # strings of a point that are considered
# what a unit of squared distance counts, in nats: less favours short strings, more reconstructs
# better and favours odd ones (pipelines/beam_study/beam_study.py)
PULL = 0.25
MARGIN = 5.0  # nats less likely than the best, and a beginning is given up


class Codec(Protocol):
    """What decoding needs of a molecule model."""

    tokenizer: Tokenizer
    vae: VAE

    def tokenize_canonical(self, form: str) -> list[int]:
        """Canonical SMILES -> token ids; MolvaeError where the model cannot read it."""
        ...

    def encode_ids(
        self, rows: Sequence[list[int]], progress: bool = False, refine: int = 0
    ) -> Tensor:
        """Rows of token ids (n) -> latent points (n, D)."""
        ...


def decode_points(
    model: Codec,
    points: Tensor,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    progress: bool = False,
    beam: int = BEAM,
    pull: float = PULL,
) -> list[str]:
    """Points (n, D) -> strings, as `MolVAE.decode` describes; `pull` as PULL."""
    search = beam > 1 and temperature == 0
    step = max(1, BATCH // beam) if search else BATCH
    generator = torch.Generator(points.device).manual_seed(seed)
    strings: list[str] = []
    with tqdm(total=len(points), desc="decode", unit="mol", disable=not progress) as bar:
        for z in torch.split(points, step):
            if search:
                strings += _decode_best(model, z, beam, pull)
            else:
                ids = model.vae.decoder.generate(z, temperature, generator)
                strings += model.tokenizer.decode(ids.cpu().numpy())
            bar.update(len(z))
    return strings


def _decode_best(model: Codec, z: Tensor, beam: int, pull: float) -> list[str]:
    """Points (n, D) -> the x with the most log p(x|z) - pull |z - m(x)|^2, where q(z|x) has mean m.

    Where none of the strings is a molecule that the model reads, it is the likeliest string.
    """
    ids, log_p = beam_search(model.vae.sequence_decoder, z, beam, MARGIN)
    written = model.tokenizer.decode(ids.flatten(0, 1).cpu().numpy())
    finite, rows, places = log_p.flatten().isfinite().tolist(), [], []
    for i, string in enumerate(written):
        form = canonicalize(string) if finite[i] else None
        if form is not None:
            try:
                rows.append(model.tokenize_canonical(form))
            except MolvaeError:
                continue
            places.append(i)
    score = torch.full_like(log_p, -torch.inf).flatten()
    if rows:
        at = torch.tensor(places, device=z.device)
        apart = model.encode_ids(rows, refine=0).to(z) - z[at // beam]
        score[at] = log_p.flatten()[at] - pull * apart.square().sum(dim=1)
    best = score.view_as(log_p).argmax(dim=1).tolist()  # 0, the likeliest, where all are -inf
    return [written[i * beam + k] for i, k in enumerate(best)]
