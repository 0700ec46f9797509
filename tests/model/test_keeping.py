"""A latent space of the molecules that contain a fragment."""

import numpy as np
import pytest

from molvae import MolVAE
from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize, parse
from molvae.loop.config import OptimizeConfig
from molvae.loop.optimization import optimize
from molvae.model.keeping import Keeping
from molvae.oracles.constraints import parse_constraint
from molvae.oracles.oracle import Oracle


@pytest.fixture(scope="module")
def model() -> MolVAE:
    return MolVAE.load("zinc")


@pytest.mark.parametrize("fragment", ["NS(=O)(=O)c1ccccc1", "O=C(N*)c1ccncc1", "*c1ccc(*)cn1"])
def test_nearly_every_point_is_a_different_molecule_with_the_fragment(
    model: MolVAE, fragment: str
) -> None:
    space, kept = Keeping(model, fragment), parse_constraint(f"keeps:{fragment}")
    z = np.random.default_rng(0).standard_normal((100, model.latent))
    strings = space.decode_greedily(z)
    mols = [mol for mol in map(parse, strings) if mol is not None and kept.met(mol)]
    assert len(mols) > 80  # of 100; without the fragment at hand hardly one
    assert sum(mol is not None and kept.met(mol) for mol in map(parse, model.decode(z))) < 10
    assert len({canonicalize(text) for text in strings}) > 80
    assert space.decode_greedily(z) == strings
    assert space.decode_greedily(z[70:73]) == strings[70:73]  # a point decides alone


def test_substituents_are_at_the_attachment_points_alone(model: MolVAE) -> None:
    met = parse_constraint("keeps:*c1ccc(*)cc1").met
    assert met(parse("Cc1ccc(O)cc1"))
    assert not met(parse("Cc1ccccc1"))  # nothing at the second point
    assert not met(parse("Cc1ccc(O)c(F)c1"))  # an atom elsewhere


def test_molecules_near_in_the_space_are_alike(model: MolVAE) -> None:
    """The point decides what is added, not the fragment alone."""
    space = Keeping(model, "O=C(N*)c1ccncc1")
    rng = np.random.default_rng(1)
    z = rng.standard_normal((60, model.latent))
    first, near = (space.decode_greedily(points) for points in (z, z + 0.02 * z[::-1]))
    same = np.mean([canonicalize(a) == canonicalize(b) for a, b in zip(first, near, strict=True)])
    other = np.mean(
        [canonicalize(a) == canonicalize(b) for a, b in zip(first, first[::-1], strict=True)]
    )
    assert same > 0.5
    assert other < 0.1


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ("FC(F)(F)F", "no atom that can take a further bond"),
        ("C*.C", "several fragments"),
        ("[Ti]C*", "titanium"),
        ("C(F)(Cl)" * 40, "no room"),
    ],
)
def test_a_fragment_that_cannot_be_kept_is_told(model: MolVAE, fragment: str, message: str) -> None:
    with pytest.raises(MolvaeError, match=message):
        Keeping(model, fragment)


def test_a_search_evaluates_molecules_with_the_fragment_only(model: MolVAE) -> None:
    fragment = "O=C(N*)c1ccncc1"
    oracle = Oracle("QED", 40, heavy_atoms=(6, 38), constraints=[f"keeps:{fragment}"])
    start = [f"O=C(N{'C' * i}c1ccccc1)c1ccncc1" for i in range(8)]
    result = optimize(
        Keeping(model, fragment), oracle, start=start, config=OptimizeConfig(batch=10)
    )
    assert len(result.table) == 40
    kept = parse_constraint(f"keeps:{fragment}")
    assert all(kept.met(parse(smiles)) for smiles in result.table["smiles"])
    rounds = result.iterations[1:]
    assert sum(r.valid for r in rounds) > 0.7 * sum(r.decoded for r in rounds)
    assert result.table["y"].max() > 0.85
