"""One search with every setting resolved: the one argument that its parts share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from molvae.base.digests import digest_lines
from molvae.loop.space import FineTune, LatentSpace
from molvae.oracles.oracle import Oracle

KNOWN = "known values"  # the setting of the history that says which values were known before


@dataclass(frozen=True, kw_only=True)
class SearchRun:
    """What is searched, what is scored, what it begins with, and how.

    Attributes:
        model: the latent space.
        oracle: what is maximised, with its budget, its admissible molecules and its history.
        start: SMILES that the first molecules are drawn from.
        leads: canonical SMILES that are evaluated first, all of them usable; those whose values
            are known are among them.
        known: those values, with their own signs.
        fine_tune: fine-tunes the model on the best molecules; None leaves the model as it is.
        strategy: the name of what proposes.
        batch: candidates per round, q.
        initial: molecules of the first round.
        pool: latent points decoded together, p.
        plausibility: least plausibility of what is evaluated; 0 for any.
        seed: of all randomness.
        stage: evaluations after which the model is fine-tuned again.
    """

    model: LatentSpace
    oracle: Oracle
    start: Sequence[str]
    leads: Sequence[str]
    known: Mapping[str, tuple[float, ...]]
    fine_tune: FineTune | None
    strategy: str
    batch: int
    initial: int
    pool: int
    plausibility: float
    seed: int
    stage: int

    def settings(self, leads: Sequence[str]) -> dict[str, Any]:
        """Return what a continued run must have in common with this one, as JSON values.

        `leads` are the leads as they were given. The names are those of the history file.
        """
        oracle = self.oracle
        return {
            **{n: getattr(self, n) for n in ("strategy", "batch", "initial", "pool", "seed")},
            "stage": self.stage,
            "start": _digest(self.start),
            "leads": _digest(leads),
            KNOWN: digest_known(self.known),
            "latent": self.model.latent,
            "adapt": self.fine_tune is not None,
            "objective": ", ".join(objective.name for objective in oracle.objectives),
            "maximised": oracle.labels,  # a minimised quantity has the same name
            "heavy_atoms": oracle.heavy_atoms and list(oracle.heavy_atoms),
            "constraints": [c.text for c in oracle.stated_constraints],
            # absent in the histories of earlier versions, which knew no plausibility
            **({"plausibility": self.plausibility} if self.plausibility else {}),
        }


def digest_known(known: Mapping[str, tuple[float, ...]]) -> str:
    """Canonical SMILES and their values -> what tells them from others, in any order."""
    return _digest([f"{name} {values}" for name, values in sorted(known.items())])


def _digest(smiles: Sequence[str]) -> str:
    return digest_lines(hashlib.sha256(), smiles).hexdigest()[:16]
