"""A toy latent space of unbranched chains, and an objective that is interrupted."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from rdkit import Chem

from molvae.chem.standardize import Standard

ELEMENTS = ("C", "N", "O", "Cl")
START = [Chem.CanonSmiles(s) for s in ("CCO", "CCCO", "CCCCN", "CCNO", "CCCCCC", "CCCl", "CCCCNO")]


class Chains:
    """A latent space of unbranched chains: z counts C, N, O and Cl; too much N is invalid."""

    latent = 4
    summary = SimpleNamespace(data="chains")
    heavy_atoms = (2, 14)
    domain = None

    def read_molecule(self, smiles: str) -> Standard:
        return Standard(smiles, ())

    def can_encode_canonical(self, form: str) -> bool:
        return len(form) < 40

    def encode_means(self, smiles: list[str]) -> np.ndarray:
        mols = [Chem.MolFromSmiles(s) for s in smiles]
        counts = [[sum(a.GetSymbol() == e for a in m.GetAtoms()) for e in ELEMENTS] for m in mols]
        return np.array(counts, dtype=np.float32) / 3 - 1

    def decode_greedily(self, z: np.ndarray) -> list[str]:
        counts = np.clip(np.round((np.asarray(z) + 1) * 3), 0, 20).astype(int)
        return [
            "C" * c + "N" * n + "O" * o + "Cl" * min(x, 1) + "(" * int(n > 5)
            for c, n, o, x in counts
        ]

    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slopes = np.broadcast_to(np.eye(4), (len(z), 4, 4))
        return np.asarray(z, dtype=np.float64), slopes


@dataclass
class Interrupted:
    """logP until `after` calls are made, then Ctrl-C."""

    after: int
    calls: int = 0

    def __call__(self, mol: Chem.Mol) -> float:
        if self.calls == self.after:
            raise KeyboardInterrupt
        self.calls += 1
        return 1.0 / mol.GetNumAtoms() + mol.GetNumHeavyAtoms() ** 0.5
