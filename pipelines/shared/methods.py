"""One budget, several methods: a strategy of molvae, the genetic algorithm, or random molecules."""

from __future__ import annotations

import numpy as np

from molvae import MolVAE, OptimizeConfig, Oracle, optimize

RANDOM = "random"  # evaluates molecules of the data set


def spend_budget(
    oracle: Oracle,
    method: str,
    seed: int,
    initial: int | None,
    model: MolVAE,
    molecules: list[str],
) -> float:
    """Spend the budget of the oracle with one method -> the valid share of what was decoded.

    NaN where nothing is decoded. A history that is not empty is continued.

    Args:
        oracle: Objective, budget and history.
        method: A strategy, or "random" for molecules of the data set.
        seed: Of the search or of the draws.
        initial: Random evaluations first, as in OptimizeConfig.
        model: Latent model of the search.
        molecules: SMILES to start from or to draw.
    """
    if method != RANDOM:
        # the prior-sampling baseline starts from samples
        start = [] if method == "prior" else molecules
        config = OptimizeConfig(method, initial=initial, seed=seed)
        return optimize(model, oracle, start=start, config=config).valid_fraction
    if oracle.heavy_atoms is None and not oracle.states_size:
        oracle.limit_size(model.heavy_atoms)
    drawn: dict[str, None] = {}
    for row in np.random.default_rng(seed).permutation(len(molecules)):
        if len(drawn) == oracle.remaining:
            break
        name = oracle.admissible(molecules[row])
        if name is not None and name not in oracle.history:
            drawn[name] = None
    oracle(list(drawn))
    return float("nan")
