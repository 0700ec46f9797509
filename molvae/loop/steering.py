"""What a user says while a search runs, and what becomes of it.

Think of a chemist who looks over the shoulder of the search: "make this one next", "never that
one", "more like this", "from now on soluble ones only". Each such wish is a row of the history. The
first round that begins after it heeds it and writes its own number beside it, so that a round
remains a function of the history, and a resumed run repeats it.

pin SMILES         evaluate it in the next round
ban SMILES         never evaluate it
like SMILES        from now on a quarter of each round more comes from around it
unlike SMILES      no longer
add CONSTRAINT     from now on evaluate only molecules that meet it
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize, write_canonical
from molvae.loop.run import SearchRun
from molvae.oracles.constraints import (
    Constraint,
    constraint_runs_code,
    parse_constraint,
    refuse_paid,
)
from molvae.oracles.given import use_model
from molvae.oracles.history import Steer
from molvae.search.proposals import Around

KINDS = ("pin", "ban", "like", "unlike", "add")
DECODED = 64  # points around what is liked, in each round
REACH = 4.0  # of the box of these points


def check_wish(kind: str, text: str) -> str:
    """Kind and text of a wish -> the text as it is stored: a canonical SMILES, or a constraint.

    Raises:
        MolvaeError: it cannot be heeded, or would run somebody's program.
    """
    if kind not in KINDS:
        raise MolvaeError(f"a search knows no {kind!r:.40}, but {', '.join(KINDS)}")
    if kind == "add":
        _read_constraint(text)
        return text.strip()
    name = canonicalize(text)
    if name is None:
        raise MolvaeError(f"{text!r:.80} is not a valid SMILES")
    return name


class Steering:
    """Heeds the wishes of a run, round by round."""

    def __init__(self, run: SearchRun) -> None:
        self.run = run
        self._heeded = 0  # wishes whose constraint is in force

    def begin_round(self, k: int, pending: Collection[str]) -> list[str]:
        """Put what is wanted in force -> the molecules that round k evaluates beside its own.

        Raises:
            MolvaeError: a stored wish would run somebody's program, or cannot be heeded.
        """
        wishes = self.run.oracle.history.steering(k)
        for wish in wishes[self._heeded :]:
            self._restrict(wish)
        self._heeded = len(wishes)
        if not wishes:
            return []
        seen = {record.smiles for record in self.run.oracle.history.records()}.union(pending)
        pinned = [wish.text for wish in wishes if wish.kind == "pin"]
        found = dict.fromkeys(name for name in map(self.run.oracle.admissible, pinned) if name)
        new = [name for name in found if name not in seen]
        liked: dict[str, None] = {}
        for wish in wishes:
            if wish.kind == "like":
                liked[wish.text] = None
            elif wish.kind == "unlike":
                liked.pop(wish.text, None)
        return new + self._look_around(list(liked), k, seen.union(new))

    def _restrict(self, wish: Steer) -> None:
        oracle, text = self.run.oracle, wish.text
        if wish.kind == "ban":
            banned = Constraint(f"ban {text}", lambda mol: write_canonical(mol, text) != text)
            oracle.added.append(banned)
        elif wish.kind == "add":
            constraint = _read_constraint(text)
            refuse_paid(constraint, oracle.objectives)
            if constraint.quantity is not None:
                use_model(self.run.model, [constraint.quantity.objective])
            oracle.added.append(constraint)

    def _look_around(self, liked: list[str], k: int, seen: Collection[str]) -> list[str]:
        """Molecules that are liked -> a quarter of a round of new ones near them."""
        model, oracle = self.run.model, self.run.oracle
        usable = [name for name in liked if model.can_encode_canonical(name)]
        if not usable:
            return []
        box = np.full((2, model.latent), REACH) * [[-1.0], [1.0]]
        z: NDArray[np.float32] = model.encode_means(usable)
        low, high = np.minimum(box[0], z.min(0)), np.maximum(box[1], z.max(0))
        points = Around(z, np.stack([low, high]), [self.run.seed, k, 1]).propose(DECODED)
        names = map(oracle.admissible, model.decode_greedily(points.astype(np.float32)))
        new = dict.fromkeys(name for name in names if name and name not in seen)
        usable = [name for name in new if model.can_encode_canonical(name)]
        return usable[: max(1, self.run.batch // 4)]


def _read_constraint(text: str) -> Constraint:
    """Text of a constraint that came with a file or from a page -> the constraint.

    Raises:
        MolvaeError: it is not valid, or would run somebody's program.
    """
    if constraint_runs_code(text):
        raise MolvaeError(f"{text!r:.80} runs code: a search takes no such wish")
    return parse_constraint(text)
