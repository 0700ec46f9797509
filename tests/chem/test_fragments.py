import pytest
from rdkit import Chem

from molvae.base.errors import MolvaeError
from molvae.chem.fragments import Opening, open_points, read_fragment, write_beginnings
from molvae.chem.molecules import canonicalize

SINGLE = Chem.BondType.SINGLE


def mol(smiles: str) -> Chem.Mol:
    found = Chem.MolFromSmiles(smiles)
    assert found is not None, smiles
    return found


# a fragment with one attachment point -> the molecules that methyl, ethyl ... give there
@pytest.mark.parametrize(
    ("fragment", "added", "expected"),
    [
        ("*c1ccc(C(N)=O)cc1", "C", "Cc1ccc(C(N)=O)cc1"),
        ("*n1cccc1", "CC", "CCn1cccc1"),
        ("[*:3]N1CCOCC1", "C(=O)C", "CC(=O)N1CCOCC1"),
        ("*=C1CCCCC1", "CC", "CC=C1CCCCC1"),
        ("*/C=C/c1ccccc1", "C", "C/C=C/c1ccccc1"),
        ("*/C=C\\c1ccccc1", "C", "C/C=C\\c1ccccc1"),
        ("*[C@H](N)C(=O)O", "C", "C[C@H](N)C(=O)O"),
        ("*[C@@H](N)C(=O)O", "C", "C[C@@H](N)C(=O)O"),
        ("C[C@](*)(F)Cl", "CC", "CC[C@](C)(Cl)F"),
        ("*[NH2+]CC", "C", "C[NH2+]CC"),
        ("*C", "C", "CC"),
        ("*c1cc2[nH]ccc2cc1", "C", "Cc1ccc2cc[nH]c2c1"),
        ("*c1nc2c(s1)CNCC2", "C", "Cc1nc2c(s1)CNCC2"),
        ("*C12CC3CC(CC(C3)C1)C2", "CO", "OCC12CC3CC(CC(C3)C1)C2"),
        ("*[C@@]12CN[C@@H](C1)CO2", "C", "C[C@@]12CN[C@@H](C1)CO2"),
    ],
)
def test_every_beginning_is_continued_at_the_attachment_point(
    fragment: str, added: str, expected: str
) -> None:
    (opened,) = read_fragment(fragment).open()
    begun = write_beginnings(opened, 0, 8)
    assert begun
    assert len({text for text, _ in begun}) == len(begun)
    for text, later in begun:
        assert canonicalize(text + added) == canonicalize(expected), text
        assert not later
    assert begun == write_beginnings(opened, 0, 8)


def test_a_fragment_without_points_is_continued_at_each_kind_of_atom() -> None:
    fragment = read_fragment("NC(=O)c1ccccc1")
    grown = set()
    for opened in fragment.open():
        forms = {canonicalize(text + "F") for text, _ in write_beginnings(opened, 0, 4)}
        assert len(forms) == 1
        grown |= forms
    ring = ["NC(=O)c1ccccc1F", "NC(=O)c1cccc(F)c1", "NC(=O)c1ccc(F)cc1"]
    assert grown == {canonicalize(s) for s in ["O=C(NF)c1ccccc1", *ring]}
    assert read_fragment("FC(F)(F)F").open() == []


def test_the_later_points_are_opened_again_in_the_molecule_that_was_grown() -> None:
    """[*:1] and [*:2] of an ester, a pyrrole nitrogen and a double bond."""
    for fragment, first, second, expected in [
        ("[*:2]OC(=O)c1ccc([*:1])nc1", "F", "C", "COC(=O)c1ccc(F)nc1"),
        ("[*:1]c1ccn([*:2])c1", "Cl", "CC", "CCn1ccc(Cl)c1"),
        ("[*:1]N1CCC(=[*:2])CC1", "C", "C", "C=C1CCN(C)CC1"),
        ("[1*]C[2*]", "F", "Cl", "FCCl"),
        ("*c1cc(*)ccc1", "F", "Br", "Fc1cccc(Br)c1"),
        ("[*:1]CC#[*:2]", "F", "N", "N#CCF"),
        ("*c1nc2c(s1)CN(*)CC2", "F", "C", "CN1CCc2nc(F)sc2C1"),
        (
            "[*:1]c1ccc(/C=C/[*:2])cc1",
            "F",
            "C",
            "CC=Cc1ccc(F)cc1",
        ),  # E is known where it is written
    ]:
        (opened,) = read_fragment(fragment).open()
        begun = write_beginnings(opened, 0, 6)
        assert begun
        for text, later in begun:
            assert "H" not in text.replace("[nH]", "")
            (opening,) = later
            assert opening.point == 1
            again = open_points(mol(text + first), later)
            assert again is not None
            for final, rest in write_beginnings(again, 1, 6):
                assert canonicalize(final + second) == canonicalize(expected)
                assert not rest


def test_a_point_that_has_no_hydrogen_left_is_not_opened() -> None:
    assert open_points(mol("CC(C)(C)C"), [Opening(0, 1, SINGLE)]) is None
    assert open_points(mol("CN(C)C"), [Opening(0, 1, SINGLE)]) is None
    assert open_points(mol("CC"), [Opening(0, 1, Chem.BondType.TRIPLE)]) is not None
    twice = [Opening(0, 1, SINGLE), Opening(1, 1, SINGLE)]
    assert open_points(mol("CNC"), twice) is None
    assert open_points(mol("CCC"), twice) is not None
    double = [Opening(i, 0, Chem.BondType.DOUBLE) for i in range(2)]
    for smiles, form in [("C", "*=C=*"), ("CC", None)]:
        opened = open_points(mol(smiles), double)
        assert (None if opened is None else Chem.MolToSmiles(opened)) == form


@pytest.mark.parametrize(
    ("fragment", "smiles", "there"),
    [
        ("c1ccccc1", "Cc1ccccc1", True),
        ("c1ccccc1", "CC1CCCCC1", False),
        ("*c1ccccc1", "Cc1ccccc1", True),
        ("*c1ccccc1", "c1ccccc1", False),  # nothing is attached
        ("*c1ccccc1", "Cc1ccc(C)cc1", False),  # so is something elsewhere
        ("*c1ccc(*)cc1", "Cc1ccc(C)cc1", True),
        ("*c1ccc(*)cc1", "Cc1cccc(C)c1", False),
        ("*[NH2+]C", "CNC", False),
        ("*[C@H](N)C(=O)O", "C[C@H](N)C(=O)O", True),
        ("*[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", False),
        ("*/C=C/c1ccccc1", "C/C=C\\c1ccccc1", False),
        ("*/C=C/c1ccccc1", "C/C=C/c1ccccc1", True),
        ("[CX4][NH]C(=O)[*:1]", "CNC(=O)CC", True),
        ("[CX4][NH]C(=O)[*:1]", "CN(C)C(=O)CC", False),
        ("[NX3;H2]CC", "CNCC", False),
        ("[NX3;H2]CC", "NCCF", True),
    ],
)
def test_whether_a_molecule_contains_a_fragment(fragment: str, smiles: str, there: bool) -> None:
    found = read_fragment(fragment).find(mol(smiles))
    assert (found is not None) == there
    if found is not None:
        assert len(found) == sum(
            a.GetAtomicNum() > 0 for a in read_fragment(fragment).mol.GetAtoms()
        )


def test_a_smarts_of_definite_atoms_is_written_as_a_fragment() -> None:
    fragment = read_fragment("[#6]1:[#6]:[#6]:[#7]:[#6]:[#6]:1-[NX3;H1]-[*:1]")
    (opened,) = fragment.open()
    assert Chem.MolToSmiles(opened) == "*Nc1cccnc1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither a SMILES nor a SMARTS"),
        ("C1CC", "neither a SMILES nor a SMARTS"),
        ("Ω", "neither a SMILES nor a SMARTS"),
        ("C" * 3_000, "neither a SMILES nor a SMARTS"),
        ("CCO.CC", "several fragments"),
        ("C*C", "not at the end of a bond"),
        ("*", "not at the end of a bond"),
        ("*-*", "not at the end of a bond"),
        ("[F,Cl]C", "no single fragment stands for"),
        ("[!#6]C", "no single fragment stands for"),
        ("[NX3;H3]C", "no single fragment stands for"),
    ],
)
def test_what_is_no_fragment_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(MolvaeError, match=message) as error:
        read_fragment(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250
