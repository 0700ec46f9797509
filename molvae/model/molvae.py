"""MolVAE = tokenizer + VAE: SMILES to latent points and back."""

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
from molvae.chem.molecules import canonicalize, count_heavy_atoms, find_fault
from molvae.chem.plausibility import Domain, fit_domain
from molvae.chem.standardize import Standard, standardize
from molvae.chem.tokenizers import Tokenizer
from molvae.latent.aggregate import PriorFit, fit_prior
from molvae.latent.amortization import PosteriorFit, fit_posterior
from molvae.latent.properties import PropertyHead
from molvae.latent.refine import STEPS, refine_latents
from molvae.latent.training import FitConfig, Observer
from molvae.latent.vae import VAE
from molvae.model.decoding import BEAM, decode_points
from molvae.model.storage import read_model, write_model
from molvae.model.summary import FittedPosterior, FittedPrior, TrainingSummary
from molvae.model.training import DEFAULT_TOKENIZER, Trained, TrainingSet, prepare_training

BATCH = 512  # molecules encoded together
REFINED = 128  # molecules refined together: fewer of them are padded to the longest


class MolVAE:
    """A trained model: encodes molecules to points of dimension `latent`, and decodes them.

    >>> model = MolVAE.load("zinc")
    >>> z = model.encode(["CC(=O)Oc1ccccc1C(=O)O"])
    >>> model.decode(z)
    ['CC(=O)Oc1ccccc1C(=O)O']
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        vae: VAE,
        summary: TrainingSummary,
        domain: Domain | None = None,
    ) -> None:
        self.tokenizer, self.vae, self.summary = tokenizer, vae.eval(), summary
        self.domain = domain  # tells how plausible a molecule is; see `chem.plausibility`
        self.standardizes = summary.standardized  # whether it encodes the parent of a molecule

    def __repr__(self) -> str:
        low, high = self.heavy_atoms
        data = self.summary.data or "unnamed data"
        return (
            f"<MolVAE of {data}: {self.summary.molecules:,} molecules of {low} to {high} heavy "
            f"atoms, {self.latent} latent dimensions, {len(self.tokenizer.vocabulary)} tokens "
            f"({self.tokenizer.name})>"
        )

    @property
    def latent(self) -> int:
        """The dimension D of the latent space."""
        return self.vae.config.latent

    @property
    def heavy_atoms(self) -> tuple[int, int]:
        """Minimum and maximum number of heavy atoms in the training data."""
        return self.summary.heavy_atoms

    @property
    def device(self) -> torch.device:
        """The device of the weights; results are always returned on the CPU."""
        return next(self.vae.parameters()).device

    @classmethod
    def fit(
        cls,
        train: Sequence[str],
        validation: Sequence[str],
        *,
        tokenizer: str = DEFAULT_TOKENIZER,
        shape: Mapping[str, Any] | None = None,
        start: MolVAE | None = None,
        transfer: MolVAE | None = None,
        properties: pd.DataFrame | None = None,
        random_smiles: int = 0,
        blur: float | None = None,
        config: FitConfig | None = None,
        data: str | None = None,
        standardized: bool = False,
        folder: Path | None = None,
        observe: Observer = lambda progress: None,
        progress: bool = False,
    ) -> MolVAE:
        """Canonical SMILES for training and validation -> a trained model.

        Molecules that the tokenizer cannot represent are skipped and counted.

        Args:
            train: training molecules, without duplicates; their parts are what is plausible.
            validation: validation molecules, without duplicates.
            tokenizer: name of a tokenizer; see `molvae list tokenizers`.
            shape: overrides fields of `VAEConfig`.
            start: fine-tune a copy of this model. The copy keeps tokenizer and shape, except
                dropout; its prior is reset to N(0, I).
            transfer: begin with the weights of this model where they fit: tokens of the same text,
                its latent dimensions, its encoder. Widths, decoder and posterior are its own, and
                so are the tokens if they suffice for all molecules.
            properties: values to predict from latent points, one column per property, indexed by
                SMILES; NaN for unknown values.
            random_smiles: number of randomised SMILES per molecule, of which the encoder reads one
                (Bjerrum & Sattarov 2018); the decoder writes the canonical SMILES. 0 for none.
            blur: fraction of the molecules that are decoded from a blurred z in training
                (`latent.elbo.blurred_elbo`); None for 0.5, or that of `start`.
            config: training settings; None for the defaults, which are gentler for fine-tuning on
                few molecules (`molvae.model.training.choose_config`).
            data: name of the data set, stored in the model.
            standardized: whether the molecules are parents (`chem.standardize`); the model then
                encodes the parent of each molecule.
            folder: folder for metrics and checkpoints; a training found there is resumed.
            observe: called after every step; returns whether to stop.
            progress: show progress bars while the data is prepared.

        Raises:
            MolvaeError: there is nothing to train on, a name is unknown, or the loss is not finite.
        """
        prepared = prepare_training(
            train,
            validation,
            tokenizer=tokenizer,
            shape=shape,
            start=None if start is None else start.parts,
            transfer=None if transfer is None else transfer.parts,
            properties=properties,
            random_smiles=random_smiles,
            blur=blur,
            config=config,
            data=data,
            standardized=standardized,
            progress=progress,
        )
        model = cls(*prepared.finish(prepared.job.run(folder, observe)))
        kept = None if start is None else start.domain
        model.domain = fit_domain(train, validation, progress) or kept
        return model

    @property
    def parts(self) -> Trained:
        """Tokenizer, VAE and training summary."""
        return Trained(self.tokenizer, self.vae, self.summary, self.domain)

    @classmethod
    def load(
        cls,
        source: str | Path,
        device: str | torch.device = "cpu",
        standardize: bool | None = None,
    ) -> MolVAE:
        """Name of a shipped model, or a .safetensors file -> the model.

        Args:
            source: name or file.
            device: where its weights are.
            standardize: encode the parent of each molecule (`chem.standardize`), so that salts,
                charge states and labels do not matter; None does what the model was trained for.

        Raises:
            MolvaeError: the model does not exist, or the file is damaged or not a molvae model.
        """
        model = cls(*read_model(source))
        model.vae.to(device)
        if standardize is not None:
            model.standardizes = standardize
        return model

    def predict_properties(self, z: ArrayLike | Tensor) -> pd.DataFrame:
        """Latent points (n, D) -> table of predicted properties, one row per point.

        Raises:
            MolvaeError: the model was trained without properties, or z is not an array (n, D).
        """
        y = self._property_head(self.check_latents(z).to(self.device)).detach().cpu().numpy()
        return pd.DataFrame(y, columns=list(self.vae.config.properties))

    def predict_molecules(self, smiles: Sequence[str]) -> pd.DataFrame:
        """SMILES (n) -> table of properties predicted at their own posterior means.

        The row of a string that cannot be encoded is NaN.

        Raises:
            MolvaeError: the model was trained without properties.
        """
        known = [row for row, text in enumerate(smiles) if self.can_encode(text)]
        means = np.empty((0, self.latent), np.float32)
        if known:
            means = self.encode_means([smiles[row] for row in known])
        found = self.predict_properties(means).set_axis(known)
        return found.reindex(range(len(smiles))).astype("float64")

    def property_gradient(self, z: ArrayLike | Tensor, name: str) -> Tensor:
        """Latent points (n, D) -> gradient (n, D) of a predicted property, in its own units.

        Raises:
            MolvaeError: the model does not predict the property, or z is not an array (n, D).
        """
        head, names = self._property_head, self.vae.config.properties
        if name not in names:
            raise MolvaeError(
                f"this model does not predict {name!r}: choose from {', '.join(names)}"
            )
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

        The model then uses this prior in `sample` and `save`. Molecules that the model cannot
        encode are skipped. See `latent.aggregate`.

        Args:
            name: name of the prior; see `molvae list priors`.
            train: molecules to fit to.
            validation: held-out molecules.
            config: training settings.
            options: options of the prior.
            observe: called after every step; returns whether to stop.
            progress: show progress bars while the data is prepared and encoded.

        Returns:
            Held-out mean log p(z) before and after, nats.

        Raises:
            MolvaeError: the prior or an option is unknown, or there are no molecules.
        """
        parts, longest = (train, validation), self.vae.config.max_length
        data = TrainingSet.make(parts, self.tokenizer, longest=longest, progress=progress)
        x, held_out = data.train[0], data.validation[0]
        config = (config or FitConfig()).validate_each_epoch(len(x))
        result = fit_prior(
            self.vae,
            name,
            x,
            held_out,
            config=config,
            options=options,
            observe=observe,
            progress=progress,
        )
        prior = FittedPrior(name, **result._asdict())
        self.summary = replace(self.summary, prior=prior)
        return result

    def fit_posterior(
        self,
        iterations: int,
        train: Sequence[str],
        validation: Sequence[str],
        *,
        properties: pd.DataFrame | None = None,
        config: FitConfig | None = None,
        observe: Observer = lambda progress: None,
        progress: bool = False,
    ) -> PosteriorFit:
        """Let learned steps improve the posterior means of canonical SMILES, here and in `save`.

        Encoder, decoder, prior and property head do not change. Molecules that the model cannot
        encode are skipped. See `latent.iterative`.

        Args:
            iterations: number of steps; 0 leaves the posterior of the encoder.
            train: molecules to fit to.
            validation: held-out molecules.
            properties: table of those that the model predicts, indexed by SMILES; None leaves what
                it predicts at the new means to chance.
            config: training settings; None for the KL weight that the model was trained with.
            observe: called after every step of the training; returns whether to stop.
            progress: show progress bars while the data is prepared.

        Returns:
            Held-out mean ELBO before and after, its KL weighted as in the training, nats.

        Raises:
            MolvaeError: the posterior is not one of independent Gaussians, or there are no
                molecules.
        """
        parts, longest = (train, validation), self.vae.config.max_length
        data = TrainingSet.make(
            parts, self.tokenizer, properties=properties, longest=longest, progress=progress
        )
        config = config or FitConfig(kl_weight=self.summary.fit.kl_weight, kl_warmup=0.0)
        config = config.validate_each_epoch(len(data.smiles))
        result = fit_posterior(
            self.vae, iterations, data.train, data.validation, config=config, observe=observe
        )
        found = FittedPosterior(iterations, len(data.smiles), config, *result)
        self.summary = replace(self.summary, posterior=found if iterations else None)
        return result

    def save(self, path: str | Path) -> None:
        """Write weights, config, vocabulary and training summary to one .safetensors file.

        Weights are stored in half precision.
        """
        write_model(Path(path), *self.parts)

    def can_encode(self, smiles: str) -> bool:
        """String -> whether `encode` accepts it: valid, with known tokens, not too long."""
        try:
            self.tokenize(smiles)
        except MolvaeError:
            return False
        return True

    def can_encode_canonical(self, form: str) -> bool:
        """Like `can_encode`, for canonical SMILES."""
        try:
            self.tokenize_canonical(form)
        except MolvaeError:
            return False
        return True

    def encode(self, smiles: Sequence[str], progress: bool = False, refine: int = STEPS) -> Tensor:
        """SMILES (n) -> latent points (n, D) float32.

        SMILES are canonicalised first, and reduced to their parents by a model that `standardizes`.
        The points are posterior means. Means that do not decode
        greedily to their molecule are moved by up to `refine` steps of `latent.refine` to nearby
        points that do; `refine=0` returns the means.

        Raises:
            MolvaeError: a string is not a valid SMILES, has an unknown token or is too long, or one
                string is given in place of a list.
        """
        if isinstance(smiles, str):
            raise MolvaeError(f"give a list of SMILES, such as [{smiles[:80]!r}], not one string")
        return self.encode_ids([self.tokenize(s) for s in smiles], progress, refine)

    def encode_ids(
        self, rows: Sequence[list[int]], progress: bool = False, refine: int = STEPS
    ) -> Tensor:
        """Rows of token ids -> latent points (n, D), as in `encode`."""
        return self.encode_and_measure(rows, progress, refine)[0]

    def encode_and_measure(
        self, rows: Sequence[list[int]], progress: bool = False, refine: int = STEPS
    ) -> tuple[Tensor, Tensor]:
        """Rows of token ids -> latent points (n, D), and how far each is from its mean (n,)."""
        means, decoder = torch.empty(len(rows), self.latent), self.vae.sequence_decoder
        away: list[int] = []  # rows whose mean does not decode to them
        with torch.no_grad():
            for x, indices in self.batches(rows, "encode", progress):
                z = self.vae.encode(x)
                means[indices] = z.cpu()
                if refine > 0:
                    wrong = (~decoder.gives(x, z)).nonzero()[:, 0].tolist()
                    away += [indices[i] for i in wrong]
            points = means.clone()
            # in batches of their own: of most batches only a few would go on
            for x, places in self.batches([rows[i] for i in away], "refine", progress, REFINED):
                indices = [away[i] for i in places]
                start = means[indices].to(self.device)
                points[indices] = refine_latents(decoder.judge, x, start, refine).cpu()
        return points, (points - means).norm(dim=1)

    def check_round_trip(
        self, rows: Sequence[list[int]], z: ArrayLike | Tensor, progress: bool = False
    ) -> NDArray[np.bool_]:
        """Rows of token ids and latent points (n, D) -> whether each z decodes to its row (n,).

        Decoding is greedy; one pass of the decoder over the known tokens is enough to tell.
        """
        points, found = self.check_latents(z), np.zeros(len(rows), np.bool_)
        with torch.no_grad():
            for x, indices in self.batches(rows, "check", progress):
                own = points[indices].to(self.device)
                found[indices] = self.vae.sequence_decoder.gives(x, own).cpu().numpy()
        return found

    def decode(
        self,
        z: ArrayLike | Tensor,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        progress: bool = False,
        beam: int = BEAM,
    ) -> list[str]:
        """Latent points (n, D) -> n SMILES strings, neither canonical nor always valid.

        Args:
            z: finite latent points (n, D).
            temperature: at 0, decoding is deterministic. Above 0, one string per point is sampled
                from softmax(logits / temperature), and `beam` is ignored.
            seed: random seed of the sampled tokens.
            progress: show a progress bar.
            beam: number of strings that beam search generates per point
                (`molvae.model.decoding`). The best valid one is returned, or the most likely one if
                none is valid. 1 is greedy decoding without a validity check.

        Raises:
            MolvaeError: z is not a finite array of shape (n, D), or `beam` is less than 1.
        """
        if beam < 1:
            raise MolvaeError(f"the beam width must be at least 1, not {beam}")
        points = self.check_latents(z).to(self.device)
        return decode_points(
            self, points, temperature=temperature, seed=seed, progress=progress, beam=beam
        )

    def encode_means(self, smiles: Sequence[str]) -> NDArray[np.float32]:
        """SMILES (n) -> posterior means (n, D) as a NumPy array; errors as in `encode`."""
        means: NDArray[np.float32] = self.encode(smiles, refine=0).numpy()
        return means

    def decode_greedily(self, z: ArrayLike | Tensor) -> list[str]:
        """Latent points (n, D) -> n strings by greedy decoding, valid or not."""
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
        """Latent points as any array -> tensor (n, D) float32 on the CPU.

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
        """Number n -> latent points (n, D) from the prior, or from N(0, I) if `standard`."""
        with torch.random.fork_rng():  # torch.distributions accept no generator
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
        """Decode n points of the prior, drawn as in `sample_latents`; strings as in `decode`.

        Args:
            n: number of points.
            seed: of the points, and of symbols that are drawn.
            temperature: as in `decode`.
            progress: show a progress bar.
            beam: as in `decode`.
            standard: draw the points from N(0, I).
        """
        z = self.sample_latents(n, seed, standard)
        return self.decode(z, temperature=temperature, seed=seed, progress=progress, beam=beam)

    def read_molecule(self, smiles: str) -> Standard:
        """SMILES -> the canonical SMILES that is encoded, and what was changed to get it.

        Raises:
            MolvaeError: the SMILES is invalid.
        """
        if self.standardizes:
            return standardize(smiles)
        form = canonicalize(smiles)
        if form is None:
            shown = repr(smiles)
            shown = shown if len(shown) <= 82 else f"{shown[:61]}...'"
            raise MolvaeError(f"{shown} {find_fault(smiles)}")
        return Standard(form, ())

    def tokenize(self, smiles: str) -> list[int]:
        """SMILES -> token ids of what is encoded of it, without begin and end.

        Raises:
            MolvaeError: the SMILES is invalid, has an unknown token or is too long.
        """
        return self.tokenize_canonical(self.read_molecule(smiles).smiles)

    def tokenize_canonical(self, form: str) -> list[int]:
        """Like `tokenize`, for canonical SMILES."""
        ids = self.tokenizer.ids(form)
        if len(ids) + 2 > self.vae.config.max_length:
            raise MolvaeError(
                f"{form[:40]!r}... is too large: {count_heavy_atoms(form)} heavy atoms, written in "
                f"{len(ids)} tokens, and this model reads at most "
                f"{self.vae.config.max_length - 2} tokens"
            )
        return ids

    def batches(
        self, rows: Sequence[list[int]], label: str, progress: bool, size: int = BATCH
    ) -> Iterator[tuple[Tensor, list[int]]]:
        """Rows of token ids -> batches of similar length: ids (B, L), and their row indices."""
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        with tqdm(total=len(rows), desc=label, unit="mol", disable=not (progress and rows)) as bar:
            for i in range(0, len(rows), size):
                indices = order[i : i + size]
                x = self.tokenizer.pad([rows[i] for i in indices]).astype(np.int64)
                yield torch.from_numpy(x).to(self.device), indices
                bar.update(len(indices))
