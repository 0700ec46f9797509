"""MolVAE = tokenizer + VAE: molecules to points in a continuous space, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from tqdm import tqdm

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize
from molvae.chem.tokenizers import Tokenizer
from molvae.latent.aggregate import PriorFit, fit_prior
from molvae.latent.properties import PropertyHead
from molvae.latent.refine import STEPS, refine_latents
from molvae.latent.training import FitConfig, Observer
from molvae.latent.vae import VAE
from molvae.model.decoding import BEAM, decode_points
from molvae.model.storage import read_model, write_model
from molvae.model.summary import FittedPrior, TrainingSummary
from molvae.model.training import Trained, TrainingSet, prepare_training

BATCH = 512  # molecules encoded together


class MolVAE:
    """A trained map between molecules and latent points of `latent` dimensions.

    >>> model = MolVAE.load("zinc")
    >>> z = model.encode(["CC(=O)Oc1ccccc1C(=O)O"])
    >>> model.decode(z)
    ['CC(=O)Oc1ccccc1C(=O)O']
    """

    def __init__(self, tokenizer: Tokenizer, vae: VAE, summary: TrainingSummary) -> None:
        self.tokenizer, self.vae, self.summary = tokenizer, vae.eval(), summary

    @property
    def latent(self) -> int:
        """The dimension D of the latent space."""
        return self.vae.config.latent

    @property
    def heavy_atoms(self) -> tuple[int, int]:
        """Least and greatest number of heavy atoms in the training data."""
        return self.summary.heavy_atoms

    @property
    def device(self) -> torch.device:
        """The device that the weights are on; results come back on the CPU."""
        return next(self.vae.parameters()).device

    @classmethod
    def fit(
        cls,
        train: Sequence[str],
        validation: Sequence[str],
        *,
        tokenizer: str = "pairs",
        shape: Mapping[str, Any] | None = None,
        start: MolVAE | None = None,
        properties: pd.DataFrame | None = None,
        random_smiles: int = 0,
        blur: float | None = None,
        config: FitConfig | None = None,
        data: str | None = None,
        folder: Path | None = None,
        observe: Observer = lambda progress: None,
        progress: bool = False,
    ) -> MolVAE:
        """Train a model on canonical SMILES.

        Molecules that the tokenizer cannot write are left out and counted.

        Args:
            train: different molecules to train on.
            validation: different molecules to validate on.
            tokenizer: how SMILES are cut; see `molvae list tokenizers`.
            shape: overrides fields of `VAEConfig`.
            start: fine-tune a copy of this model. Tokenizer and shape, dropout aside, are its own;
                its prior is N(0, I) again.
            properties: numbers to be predicted from latent points, a column each, indexed by
                SMILES; NaN where a value is not known.
            random_smiles: the encoder reads one of so many SMILES of each molecule, its atoms in
                random order (Bjerrum & Sattarov 2018); the decoder writes the canonical one.
            blur: share of the molecules that are decoded from a blurred z in training
                (`latent.elbo.blurred_elbo`); None for 0.5, or that of `start`.
            config: how to train.
            data: name of the data set, which the model remembers.
            folder: where metrics and checkpoints go; a training found there is continued.
            observe: called after every step; returns whether to stop.
            progress: show progress bars for what comes before the training.

        Raises:
            MolvaeError: nothing to train on, an unknown name, a loss that is no longer finite.
        """
        prepared = prepare_training(
            train,
            validation,
            tokenizer=tokenizer,
            shape=shape,
            start=None if start is None else start.parts,
            properties=properties,
            random_smiles=random_smiles,
            blur=blur,
            config=config,
            data=data,
            progress=progress,
        )
        return cls(*prepared.finish(prepared.job.run(folder, observe)))

    @property
    def parts(self) -> Trained:
        """Tokenizer, VAE and summary."""
        return Trained(self.tokenizer, self.vae, self.summary)

    @classmethod
    def load(cls, source: str | Path, device: str | torch.device = "cpu") -> MolVAE:
        """Load a model that ships with the package, by name, or a .safetensors file.

        Raises:
            MolvaeError: no such model or file, or the file is damaged or not a molvae model.
        """
        model = cls(*read_model(source))
        model.vae.to(device)
        return model

    def predict_properties(self, z: ArrayLike | Tensor) -> pd.DataFrame:
        """Latent points (n, D) -> the properties that the model predicts there, a row each.

        Raises:
            MolvaeError: the model was trained without properties; z is not an array (n, D).
        """
        y = self._property_head(self.check_latents(z).to(self.device)).detach().cpu().numpy()
        return pd.DataFrame(y, columns=list(self.vae.config.properties))

    def property_gradient(self, z: ArrayLike | Tensor, name: str) -> Tensor:
        """Latent points (n, D) -> gradient (n, D) of a predicted property, in its own units.

        Raises:
            MolvaeError: the model does not predict it; z is not an array (n, D).
        """
        head, names = self._property_head, self.vae.config.properties
        if name not in names:
            raise MolvaeError(f"this model does not predict {name!r}, but {', '.join(names)}")
        points = self.check_latents(z).to(self.device).requires_grad_()
        (slope,) = torch.autograd.grad(head(points)[:, names.index(name)].sum(), points)
        return slope.cpu()

    @property
    def _property_head(self) -> PropertyHead:
        if self.vae.property_head is None:
            raise MolvaeError("this model predicts no properties: train one with --properties")
        return self.vae.property_head

    def fit_prior(
        self,
        name: str,
        train: Sequence[str],
        validation: Sequence[str],
        *,
        config: FitConfig | None = None,
        options: dict[str, Any] | None = None,
        observe: Observer = lambda progress: None,
        progress: bool = False,
    ) -> PriorFit:
        """Fit another prior to the posteriors of canonical SMILES; `sample` and `save` use it.

        Molecules that the model cannot encode are left out. See `latent.aggregate`.

        Raises:
            MolvaeError: an unknown prior, options it does not take, no molecules.
        """
        parts, longest = (train, validation), self.vae.config.max_length
        data = TrainingSet.make(parts, self.tokenizer, longest=longest, progress=progress)
        x, held_out, config = data.train[0], data.validation[0], config or FitConfig()
        result = fit_prior(
            self.vae, name, x, held_out, config=config, options=options, observe=observe
        )
        prior = FittedPrior(name, **result._asdict())
        self.summary = replace(self.summary, prior=prior)
        return result

    def save(self, path: str | Path) -> None:
        """Write weights, config, vocabulary and training summary into one .safetensors file.

        Weights are kept in half precision; the figures of a shipped model are those of its file.
        """
        write_model(Path(path), self.tokenizer, self.vae, self.summary)

    def can_encode(self, smiles: str) -> bool:
        """Tell whether `encode` accepts a string: valid, known tokens, not too long."""
        form = canonicalize(smiles)
        return form is not None and self.can_encode_canonical(form)

    def can_encode_canonical(self, form: str) -> bool:
        """Like `can_encode`, for canonical SMILES."""
        try:
            self.tokenize_canonical(form)
        except MolvaeError:
            return False
        return True

    def encode(self, smiles: Sequence[str], progress: bool = False, refine: int = STEPS) -> Tensor:
        """SMILES -> latent points (n, D) float32. Strings are brought into canonical form first.

        They are posterior means; from those that do not decode greedily to their molecule, up to
        `refine` steps of `latent.refine` lead to nearby points that do. 0 gives the means.

        Raises:
            MolvaeError: a string is no valid SMILES, has an unknown token or is too long.
        """
        return self.encode_ids([self.tokenize(s) for s in smiles], progress, refine)

    def encode_ids(
        self, rows: Sequence[list[int]], progress: bool = False, refine: int = STEPS
    ) -> Tensor:
        """Rows of token ids -> latent points (n, D), as in `encode`."""
        z = torch.empty(len(rows), self.latent)
        with torch.no_grad():
            for x, indices in self.batches(rows, "encode", progress):
                means, gives = self.vae.encode(x), self.vae.sequence_decoder.gives
                z[indices] = refine_latents(self.vae, x, means, gives, refine).cpu()
        return z

    def decode(
        self,
        z: ArrayLike | Tensor,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        progress: bool = False,
        beam: int = BEAM,
    ) -> list[str]:
        """Latent points (n, D) -> SMILES strings as generated: not canonical, not always valid.

        At temperature 0 the result is a function of the point alone: the best valid one of the
        `beam` strings that beam search finds (`molvae.model.decoding`), or where none is valid the
        likeliest; with a beam of 1 the string of the likeliest token at each step, valid or not.
        Above it, tokens are drawn from the softmax of logits / temperature, once.

        Raises:
            MolvaeError: z is not a finite array of shape (n, D), or a beam of less than 1.
        """
        if beam < 1:
            raise MolvaeError(f"the beam must be at least 1 string wide, not {beam}")
        points = self.check_latents(z).to(self.device)
        return decode_points(
            self, points, temperature=temperature, seed=seed, progress=progress, beam=beam
        )

    def encode_means(self, smiles: Sequence[str]) -> NDArray[np.float32]:
        """SMILES (n) -> posterior means (n, D) as an array; errors as in `encode`."""
        means: NDArray[np.float32] = self.encode(smiles, refine=0).numpy()
        return means

    def decode_greedily(self, z: ArrayLike | Tensor) -> list[str]:
        """Latent points (n, D) -> the string of the likeliest token at each step, valid or not."""
        return self.decode(z, beam=1)

    def predict(self, z: ArrayLike | Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latent points (n, D) -> P predicted properties (n, P) and their gradients (n, P, D).

        Raises:
            MolvaeError: the model was trained without properties.
        """
        table = self.predict_properties(z)
        slopes = [
            np.asarray(self.property_gradient(z, name), np.float64) for name in map(str, table)
        ]
        return table.to_numpy(np.float64), np.stack(slopes, axis=1)

    def check_latents(self, z: ArrayLike | Tensor) -> Tensor:
        """Latent points in any form -> (n, D) float32 on the CPU.

        Raises:
            MolvaeError: z is not a finite array of shape (n, D).
        """
        array = z.detach().cpu() if isinstance(z, Tensor) else np.asarray(z)
        points = torch.as_tensor(array, dtype=torch.float32)
        if points.ndim != 2 or points.shape[1] != self.latent:
            raise MolvaeError(
                f"latent points must have shape (n, {self.latent}), not {tuple(points.shape)}"
            )
        if not torch.isfinite(points).all():
            raise MolvaeError("latent points must be finite numbers")
        return points

    def sample_latents(self, n: int, seed: int = 0, standard: bool = False) -> Tensor:
        """Draw n latent points (n, D) from the prior, or from N(0, I) where `standard`."""
        with torch.random.fork_rng():  # torch's distributions take no generator
            torch.manual_seed(seed)
            z = torch.randn(n, self.latent) if standard else self.vae.prior().sample((n,))
        return z.cpu()

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        temperature: float = 0.0,
        progress: bool = False,
        beam: int = BEAM,
        standard: bool = False,
    ) -> list[str]:
        """Decode n points of the prior, drawn as in `sample_latents`; strings as in `decode`."""
        z = self.sample_latents(n, seed, standard)
        return self.decode(z, temperature=temperature, seed=seed, progress=progress, beam=beam)

    def tokenize(self, smiles: str) -> list[int]:
        """SMILES -> token ids of its canonical form, without begin and end.

        Raises:
            MolvaeError: no valid SMILES, an unknown token, or too long.
        """
        form = canonicalize(smiles)
        if form is None:
            shown = repr(smiles if len(smiles) <= 80 else f"{smiles[:60]}...")
            raise MolvaeError(f"{shown} is not a valid SMILES")
        return self.tokenize_canonical(form)

    def tokenize_canonical(self, form: str) -> list[int]:
        """Like `tokenize`, for canonical SMILES."""
        ids = self.tokenizer.ids(form)
        if len(ids) + 2 > self.vae.config.max_length:
            raise MolvaeError(
                f"{form[:40]!r}... has {len(ids)} tokens: "
                f"this model reads at most {self.vae.config.max_length - 2}"
            )
        return ids

    def batches(
        self, rows: Sequence[list[int]], label: str, progress: bool
    ) -> Iterator[tuple[Tensor, list[int]]]:
        """Rows of token ids -> batches of similar length: ids (B, L), and their row indices."""
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        with tqdm(total=len(rows), desc=label, unit="mol", disable=not progress) as bar:
            for i in range(0, len(rows), BATCH):
                indices = order[i : i + BATCH]
                x = self.tokenizer.pad([rows[i] for i in indices]).astype(np.int64)
                yield torch.from_numpy(x).to(self.device), indices
                bar.update(len(indices))
