"""Molecules of the kind that light-emitting diodes are made of: donor, bridge and acceptor.

The fragments are common in emitters. Each may carry one small group in place of a hydrogen of an
aromatic carbon.
"""

from __future__ import annotations

import random
from functools import cache

from rdkit import Chem

from molvae.chem.molecules import canonicalize

DONORS = (
    "[*:1]n1c2ccccc2c2ccccc21",  # carbazole
    "[*:1]N(c1ccccc1)c1ccccc1",  # diphenylamine
    "[*:1]N1c2ccccc2Oc2ccccc21",  # phenoxazine
    "[*:1]N1c2ccccc2C(C)(C)c2ccccc21",  # dimethylacridane
    "[*:1]c1ccc(N(C)C)cc1",  # dimethylaniline
    "[*:1]c1ccc(OC)cc1",  # anisole
    "[*:1]c1ccc2c(c1)OCO2",  # benzodioxole
    "[*:1]n1ccc2ccccc21",  # indole
)
BRIDGES = (
    "[*:1]c1ccc([*:2])cc1",  # phenylene
    "[*:1]c1cccc([*:2])c1",
    "[*:1]c1ccc(-c2ccc([*:2])cc2)cc1",  # biphenylene
    "[*:1]c1ccc([*:2])s1",  # thiophene
    "[*:1]c1ccc([*:2])o1",  # furan
    "[*:1]c1ccc2c(c1)C(C)(C)c1cc([*:2])ccc1-2",  # fluorene
    "[*:1]c1ccc([*:2])c2ccccc12",  # naphthalene
    "[*:1]c1ccc(/C=C/[*:2])cc1",  # styrene
)
ACCEPTORS = (
    "[*:2]c1nc(C)nc(C)n1",  # triazine
    "[*:2]c1nnc(C)o1",  # oxadiazole
    "[*:2]c1ccc(C#N)cc1",  # benzonitrile
    "[*:2]c1ccncc1",  # pyridine
    "[*:2]c1cncnc1",  # pyrimidine
    "[*:2]c1nc2ccccc2o1",  # benzoxazole
    "[*:2]c1nc2ccccc2s1",  # benzothiazole
    "[*:2]c1ccc2nsnc2c1",  # benzothiadiazole
    "[*:2]S(=O)(=O)c1ccccc1",  # sulfone
    "[*:2]C(=O)c1ccccc1",  # ketone
)
GROUPS = ("C", "F", "OC", "C#N")


def make_library(number: int, seed: int = 0) -> list[str]:
    """Number of molecules -> different canonical SMILES, drawn at random."""
    rng = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < number:
        parts = [rng.choice(vary(rng.choice(kind))) for kind in (DONORS, BRIDGES, ACCEPTORS)]
        joined = Chem.molzip(Chem.MolFromSmiles(".".join(parts)))
        if (smiles := canonicalize(Chem.MolToSmiles(joined))) is not None:
            found[smiles] = None
    return list(found)


@cache
def vary(fragment: str) -> tuple[str, ...]:
    """Fragment -> itself, and the fragments with one group on an aromatic carbon."""
    mol = Chem.MolFromSmiles(fragment)
    found = {Chem.MolToSmiles(mol): None}
    for atom in mol.GetAtoms():
        if atom.GetIsAromatic() and atom.GetAtomicNum() == 6 and atom.GetTotalNumHs() == 1:
            for text in GROUPS:
                group = Chem.MolFromSmiles(text)
                both = Chem.RWMol(Chem.CombineMols(mol, group))
                both.AddBond(atom.GetIdx(), mol.GetNumAtoms(), Chem.BondType.SINGLE)
                Chem.SanitizeMol(both)
                found[Chem.MolToSmiles(both)] = None
    return tuple(found)
