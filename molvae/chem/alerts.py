"""Structural alerts: groups that react, disturb assays or are toxic, by RDKit's catalogues."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from rdkit.Chem import FilterCatalog, Mol

CATALOGUES = FilterCatalog.FilterCatalogParams.FilterCatalogs.names
SHOWN = ("PAINS", "BRENK", "NIH")  # what chemists look at first


@cache
def _load(name: str) -> FilterCatalog.FilterCatalog:
    return FilterCatalog.FilterCatalog(CATALOGUES[name])


def find_alerts(mol: Mol, catalogues: Sequence[str] = SHOWN) -> list[str]:
    """Molecule -> the alerts that it matches, each as "CATALOGUE: name".

    Sources: PAINS, Baell & Holloway 2010; BRENK, Brenk et al. 2008; NIH, Jadhav et al. 2010.
    """
    return [
        f"{name}: {match.GetDescription()}"
        for name in catalogues
        for match in _load(name).GetMatches(mol)
    ]
