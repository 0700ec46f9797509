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

BATCH = 512  # strings decoded together
BEAM = 8  # strings generated per point
# nats per unit of squared distance: a lower value favours short strings, a higher one improves
# reconstruction but favours unusual strings (pipelines/beam_study/beam_study.py)
PULL = 0.25
ROUNDING = 1e-3  # nats, between the same sum in two batches
MARGIN = 5.0  # prefixes are pruned if they are this many nats less likely than the best


class Codec(Protocol):
    """What decoding requires of a molecule model."""

    tokenizer: Tokenizer
    vae: VAE

    def tokenize_canonical(self, form: str) -> list[int]:
        """Canonical SMILES -> token ids; raises MolvaeError if the model cannot encode it."""
        ...

    def encode_ids(
        self, rows: Sequence[list[int]], progress: bool = False, refine: int = 0
    ) -> Tensor:
        """Rows of token ids (n) -> latent points (n, D), refined by up to `refine` steps."""
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
    """Latent points (n, D) -> n strings; see `MolVAE.decode`.

    Args:
        model: tokenizer and VAE.
        points: finite latent points (n, D).
        temperature: 0 for deterministic decoding; above 0, tokens are sampled.
        seed: random seed of the sampled tokens.
        progress: show a progress bar.
        beam: beam width; 1 for greedy decoding.
        pull: nats per unit of squared distance in the ranking of the strings.
    """
    search = beam > 1 and temperature == 0
    step = BATCH
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
    """Latent points (n, D) -> for each the valid x with the highest score.

    The score is log p(x|z) - pull |z - m(x)|^2, where m(x) is the mean of q(z|x). If no string is a
    molecule that the model can encode, the most likely string is returned.

    A string that is less likely than the score of another cannot win. So where the greedy string is
    likelier than all that it leaves out, it is scored first. Mostly it has won already; if not, the
    search drops whatever it beats.

    Args:
        model: tokenizer and VAE.
        z: latent points (n, D).
        beam: beam width.
        pull: nats per unit of squared distance.
    """
    greedy = beam_search(model.vae.sequence_decoder, z, 1)
    chosen, log_p = greedy.ids[:, 0], greedy.log_p[:, 0]
    best = torch.full_like(log_p, -torch.inf)
    sure = (greedy.left_out < log_p - ROUNDING).nonzero()[:, 0]
    best[sure] = _score(model, z[sure], chosen[sure], log_p[sure], pull)
    rest = (greedy.left_out > best - ROUNDING).nonzero()[:, 0]
    if len(rest):
        chosen[rest] = _search(model, z[rest], beam, pull, chosen[rest], best[rest])
    return model.tokenizer.decode(chosen.cpu().numpy())


def _search(model: Codec, z: Tensor, beam: int, pull: float, known: Tensor, best: Tensor) -> Tensor:
    """Points (n, D), a string of each (n, L) and its score or -inf (n,) -> the best strings."""
    ids, log_p, _ = beam_search(model.vae.sequence_decoder, z, beam, MARGIN, best - ROUNDING)
    chosen = known.where(best.isfinite()[:, None], ids[:, 0])
    log_p[(ids == known[:, None]).all(dim=2) & best.isfinite()[:, None]] = -torch.inf
    for k in range(beam):  # the likeliest first: what is less likely than the best score cannot win
        rows = (log_p[:, k] > best).nonzero()[:, 0]
        found = _score(model, z[rows], ids[rows, k], log_p[rows, k], pull)
        better = found > best[rows]
        best[rows[better]], chosen[rows[better]] = found[better], ids[rows[better], k]
    return chosen


def _score(model: Codec, z: Tensor, ids: Tensor, log_p: Tensor, pull: float) -> Tensor:
    """Points (n, D) and a string of each (n, L) -> their scores (n,); -inf where no molecule."""
    score, forms, places = torch.full_like(log_p, -torch.inf), [], []
    for i, string in enumerate(model.tokenizer.decode(ids.cpu().numpy())):
        form = canonicalize(string)
        if form is not None:
            try:
                forms.append(model.tokenize_canonical(form))
            except MolvaeError:
                continue
            places.append(i)
    if forms:
        apart = model.encode_ids(forms, refine=0).to(z) - z[places]
        score[places] = log_p[places] - pull * apart.square().sum(dim=1)
    return score
