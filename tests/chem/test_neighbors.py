"""The nearest molecule of a data set, and clusters of similar molecules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
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


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux")
def test_a_mapped_data_set_does_not_stay_in_memory(tmp_path: Path, zinc: list[str]) -> None:
    def resident() -> int:
        lines = Path("/proc/self/smaps").read_text().splitlines()
        start = next(i for i, line in enumerate(lines) if line.endswith(str(path)))
        return next(int(line.split()[1]) for line in lines[start:] if line.startswith("Rss:"))

    few = Neighbors.compute(zinc[:200])
    path = tmp_path / "many.npy"
    np.save(path, np.tile(few.words, (50, 1)))
    many = Neighbors(zinc[:200] * 50, np.load(path, mmap_mode="r"))
    assert many.words.sum() > 0
    assert resident() > 1_000  # kB
    for _ in range(2):  # and it can be read again
        found = many.find_nearest(zinc[200:203])
        pd.testing.assert_frame_equal(found, few.find_nearest(zinc[200:203]))
        assert resident() < 100
