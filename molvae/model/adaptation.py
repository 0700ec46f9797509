"""Fine-tuning a model on the best molecules of a search (weighted retraining)."""

from __future__ import annotations

from collections.abc import Sequence

from molvae.latent.training import FitConfig
from molvae.model.molvae import MolVAE

EPOCHS, LEARNING_RATE = 4.0, 5e-4
VALIDATION = 100  # number of other molecules held out for validation


def fine_tune(model: MolVAE, best: Sequence[str], others: Sequence[str], seed: int) -> MolVAE:
    """Model and the best molecules of a search -> a copy of the model, fine-tuned on them.

    Each of the best molecules is trained on as often as each of the others, which keep the latent
    space from collapsing. The copy predicts no properties. Source: Tripp, Daxberger &
    Hernández-Lobato 2020, "Sample-efficient optimization in the latent space of deep generative
    models via weighted retraining".

    Args:
        model: the model to copy.
        best: canonical SMILES of the best molecules.
        others: canonical SMILES of other molecules from the training data.
        seed: random seed of the training.
    """
    config = FitConfig(
        epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        kl_weight=model.summary.fit.kl_weight,
        kl_warmup=0.0,
        keep_best=False,  # the others, which are validated on, are not what it is adapted to
        seed=seed,
    )
    train = [*best, *others[VALIDATION:]]
    return MolVAE.fit(
        train,
        others[:VALIDATION],
        start=model,
        config=config,
        standardized=model.summary.standardized,
    )
