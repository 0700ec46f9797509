"""A fragment that stays: a latent space of the molecules that contain it.

At most points of a latent space is a molecule that lacks the fragment, which a search for ones that
have it must refuse. Here the decoder begins with the fragment, as `completion.grow` does, and goes
on with what the point says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.base.errors import MolvaeError
from molvae.chem.fragments import Fragment, Opening, open_points, read_fragment
from molvae.chem.molecules import parse
from molvae.latent.autoregressive import Constraint, generate_constrained
from molvae.model.completion import begin_at, begin_with
from molvae.model.forced_decoding import BATCH, Start, constrain, shorten
from molvae.model.molvae import MolVAE

WAYS = 4  # to begin with the fragment, of which each point takes the likeliest
WAYS_PER_ATOM = 2  # that these are chosen from where no attachment point is given
PROBES = 32  # points of the prior at which the ways are compared
TOGETHER = 64  # strings with a beginning of their own that are written together
REMEMBERED = 10_000  # molecules with one more attachment point


class Keeping:
    """A model that decodes points to molecules that contain a fragment: a `loop.space.LatentSpace`.

    Where attachment points are given, each gets a substituent, one after the other. What is decoded
    is a string, as always: not all are valid, and some lack the fragment after all, as where it
    becomes part of a larger ring. The constraint `keeps:FRAGMENT` refuses these.

    >>> model = Keeping(MolVAE.load("zinc"), "*c1ccncc1")
    >>> from rdkit import Chem
    >>> [text] = model.decode_greedily(np.zeros((1, model.latent)))
    >>> Chem.MolFromSmiles(text).HasSubstructMatch(Chem.MolFromSmiles("Cc1ccncc1"))
    True

    Raises:
        MolvaeError: it is no fragment, or this model cannot write it.
    """

    def __init__(self, model: MolVAE, fragment: str) -> None:
        self.model, self.domain = model, model.domain
        self.fragment: Fragment = read_fragment(fragment)
        if not model.tokenizer.spells_smiles:
            raise MolvaeError("this model writes SELFIES: choose one that writes SMILES, like zinc")
        ways = 2 * WAYS if self.fragment.points else WAYS_PER_ATOM
        self.starts = begin_with(model, self.fragment, fragment, ways)
        constraint, at = constrain(model.tokenizer, self.starts)
        written = constraint.can_end(at, model.vae.sequence_decoder.max_length - 1).tolist()
        self.starts = [start for start, can in zip(self.starts, written, strict=True) if can]
        if not self.starts:
            raise MolvaeError(f"{shorten(fragment)} leaves no room for more: choose a smaller one")
        if len(self.starts) > WAYS:
            generator = torch.Generator().manual_seed(0)
            z = torch.randn(PROBES, model.latent, generator=generator).to(model.device)
            likely = self._weigh(z, self.starts).logsumexp(0)
            self.starts = [self.starts[i] for i in likely.topk(WAYS).indices.sort().values.tolist()]
        self._begin_next = lru_cache(REMEMBERED)(self._find_next)

    @property
    def latent(self) -> int:
        """The latent dimension D."""
        return self.model.latent

    @property
    def heavy_atoms(self) -> tuple[int, int] | None:
        """Least and greatest number of heavy atoms in the training data, None where unknown."""
        return self.model.heavy_atoms

    def can_encode_canonical(self, form: str) -> bool:
        """Tell whether a canonical SMILES can be encoded."""
        return self.model.can_encode_canonical(form)

    def encode_means(self, smiles: Sequence[str]) -> NDArray[np.float32]:
        """SMILES (n) -> posterior means (n, D)."""
        return self.model.encode_means(smiles)

    def predict(self, z: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latent points (n, D) -> P predicted properties (n, P), their gradients (n, P, D)."""
        return self.model.predict(z)

    def predict_molecules(self, smiles: Sequence[str]) -> pd.DataFrame:
        """SMILES (n) -> a column for each predicted property, NaN where it cannot be encoded."""
        return self.model.predict_molecules(smiles)

    def decode_greedily(self, z: NDArray[np.floating]) -> list[str]:
        """Latent points (n, D) -> n strings that begin with the fragment, valid or not."""
        points = self.model.check_latents(z).to(self.model.device)
        starts, strings = list[Start](), list[str]()
        for part in torch.split(points, BATCH):
            likeliest = self._weigh(part, self.starts).argmax(1).tolist()
            starts += [self.starts[i] for i in likeliest]
            strings += self._write(part, self.starts, likeliest)
        for point in range(1, self.fragment.points):
            for i, (string, start) in enumerate(zip(strings, starts, strict=True)):
                starts[i] = self._begin_next(string, start.later, point)
            strings = [
                text
                for part, own in zip(torch.split(points, TOGETHER), _split(starts), strict=True)
                for text in self._write(part, own, range(len(own)))
            ]
        return strings

    def _find_next(self, string: str, later: tuple[Opening, ...], point: int) -> Start:
        """String and its free attachment points -> what is continued at the next of them."""
        mol = parse(string)
        mol = mol and open_points(mol, later)
        found = begin_at(mol, point, ways=1) if mol else []
        return found[0] if found else Start("", "", True)

    def _weigh(self, z: Tensor, starts: Sequence[Start]) -> Tensor:
        """Points (n, D), k texts -> log p(text|z) (n, k) in nats, along the likeliest tokens."""
        constraint, at = self._constrain(starts)
        n, k = len(z), len(starts)
        parts = zip(
            torch.split(z.repeat_interleave(k, 0), BATCH),
            torch.split(at.repeat(n), BATCH),
            strict=True,
        )
        found = [
            generate_constrained(
                self.model.vae.sequence_decoder,
                points,
                constraint,
                at,
                temperature=0,
                until_free=True,
            ).log_mass
            for points, at in parts
        ]
        return torch.cat(found).view(n, k)

    def _write(self, z: Tensor, starts: Sequence[Start], which: Sequence[int]) -> list[str]:
        """Points (n, D), texts, and which text each begins with -> n strings."""
        constraint, at = self._constrain(starts)
        decoder = self.model.vae.sequence_decoder
        ids = generate_constrained(decoder, z, constraint, at[[*which]], temperature=0).ids
        return self.model.tokenizer.decode(ids.cpu().numpy())

    def _constrain(self, starts: Sequence[Start]) -> tuple[Constraint, Tensor]:
        constraint, at = constrain(self.model.tokenizer, starts)
        at = at.to(self.model.device)
        written = constraint.to(self.model.device).can_end(
            at, self.model.vae.sequence_decoder.max_length - 1
        )
        return constraint, at.where(written, 0)  # 0 is free: what is written lacks the fragment


def _split(starts: Sequence[Start]) -> Iterator[Sequence[Start]]:
    return (starts[i : i + TOGETHER] for i in range(0, len(starts), TOGETHER))
