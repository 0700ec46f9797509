"""The nearest molecule of a data set, and clusters of similar molecules."""

from __future__ import annotations

import pytest

from molvae.base.errors import MolvaeError
from molvae.chem.datasets import DataSet
from molvae.chem.fingerprints import Similarity
from molvae.chem.molecules import parse
from molvae.chem.neighbors import ALIKE, Neighbors, find_clusters


def test_the_nearest_is_the_most_similar_of_all(
    zinc: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molvae.chem.neighbors.TOGETHER", 64)  # so that there are several blocks
    data = DataSet("some", zinc[:200], 0, "neighbors-test")
    asked = [*zinc[200:215], zinc[107]]
    found = Neighbors.load(data).find_nearest(asked)
    for s, nearest, value in zip(asked, found["nearest"], found["similarity"], strict=True):
        every = {other: Similarity(s)(parse(other)) for other in data.smiles}
        assert value == pytest.approx(max(every.values()))
        assert every[nearest] == pytest.approx(value)
    assert found.iloc[-1].tolist() == [zinc[107], 1.0]


def test_clusters_are_spheres_around_their_first_molecule(zinc: list[str]) -> None:
    smiles = zinc[:80]
    clusters = find_clusters(smiles)
    assert clusters[0] == 1
    first = {c: smiles[clusters.index(c)] for c in clusters}
    assert sorted(first) == list(range(1, max(clusters) + 1))
    for s, cluster in zip(smiles, clusters, strict=True):
        earlier = [Similarity(first[c])(parse(s)) for c in range(1, cluster)]
        assert all(value < ALIKE for value in earlier)
        assert Similarity(first[cluster])(parse(s)) >= ALIKE
    assert find_clusters([]) == []
    with pytest.raises(MolvaeError, match="not a valid SMILES"):
        find_clusters(["C1CC"])
