"""MolVAE = tokenizer + VAE: molecules to points in a continuous space, and back."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from tqdm import tqdm

from molvae.chem.molecules import canonical, heavy_atoms
from molvae.chem.tokenizers import Tokenizer, tokenizers, writable
from molvae.errors import MolvaeError
from molvae.latent import BOS, EOS, PAD
from molvae.latent.aggregate import PriorFit, fit_prior
from molvae.latent.checkpoint import load_weights, read, write
from molvae.latent.fit import fit
from molvae.latent.training import FitConfig, Observer
from molvae.latent.vae import VAE, VAEConfig

BATCH = 512  # molecules encoded or decoded together
EXAMPLES = 2_000  # molecules that a prior starts from, and that set the latent coordinates
FORMAT = 1  # of the weights file


class MolVAE:
    """A trained map between molecules and latent points of `latent` dimensions.

    >>> model = MolVAE.load("zinc")  # doctest: +SKIP
    >>> z = model.encode(["CC(=O)Oc1ccccc1C(=O)O"])  # doctest: +SKIP
    >>> model.decode(z)  # doctest: +SKIP
    ['CC(=O)Oc1ccccc1C(=O)O']
    """

    def __init__(self, tokenizer: Tokenizer, vae: VAE, summary: dict[str, Any]) -> None:
        self.tokenizer, self.vae, self.summary = tokenizer, vae.eval(), summary

    @property
    def latent(self) -> int:
        """The dimension D of the latent space."""
        return self.vae.config.latent

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
        tokenizer: str = "char",
        shape: dict[str, Any] | None = None,
        config: FitConfig | None = None,
        folder: Path | None = None,
        observe: Observer = lambda progress: None,
    ) -> MolVAE:
        """Train a model on canonical SMILES; `shape` overrides fields of `VAEConfig`.

        Molecules that the tokenizer cannot write (a few, for SELFIES) are left out and counted
        in the summary. With a `folder`, a training found there is continued (see `latent.fit`).

        Raises:
            MolvaeError: nothing to train on, an unknown name, a loss that is no longer finite.
        """
        config = config or FitConfig()
        usable = [writable(tokenizer, part) for part in (train, validation)]
        if not all(usable):
            raise MolvaeError("training needs molecules both to train on and to validate on")
        words = Tokenizer.fit(tokenizer, (s for part in usable for s in part))
        tables = [words.encode(part) for part in usable]
        vae_config = replace(
            VAEConfig(len(words), max_length=max(t.shape[1] for t in tables)), **(shape or {})
        )
        rows = np.random.default_rng(config.seed).permutation(len(tables[0]))[:EXAMPLES]
        examples = torch.from_numpy(tables[0][rows].astype(np.int64))
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            vae = VAE(vae_config)
            vae.initialise(examples)
        state = fit(vae, tables[0], tables[1], config, folder, observe)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            vae.cpu().eval().standardise(examples)
        sizes = [heavy_atoms(s) for s in usable[0]]
        summary = {
            "molecules": len(usable[0]),
            "left_out": len(train) + len(validation) - sum(map(len, usable)),
            "heavy_atoms": [min(sizes), max(sizes)],
            "fit": asdict(config),
            "training": asdict(state),
            "torch": torch.__version__,
        }
        return cls(words, vae, summary)

    @classmethod
    def load(cls, source: str | Path, device: str | torch.device = "cpu") -> MolVAE:
        """Load a model that ships with the package, by name, or a .safetensors file.

        Raises:
            MolvaeError: no such model or file, or the file is damaged or not a molvae model.
        """
        path = shipped().get(str(source), Path(source))
        if not path.is_file():
            names = ", ".join(shipped()) or "none"
            raise MolvaeError(f"{source}: no such file, and not a shipped model ({names})")
        weights, metadata = read(path)
        try:
            config = VAEConfig(**metadata["config"])
            for registry, name in [(tokenizers, metadata["tokenizer"]), *config.parts]:
                registry.without_import(name)  # a file must not make us execute anything
            tokenizer = Tokenizer(metadata["tokenizer"], metadata["vocabulary"])
            vae = VAE(config)
            summary = dict(metadata["summary"])
        except (KeyError, TypeError, RuntimeError) as error:
            raise MolvaeError(f"{path}: not a molvae model: {error!r}") from error
        load_weights(vae, weights, path)
        return cls(tokenizer, vae.to(device), summary)

    def fit_prior(
        self,
        name: str,
        train: Sequence[str],
        validation: Sequence[str],
        config: FitConfig | None = None,
        options: dict[str, Any] | None = None,
        observe: Observer = lambda progress: None,
    ) -> PriorFit:
        """Fit another prior to the posteriors of molecules, which `sample` and `save` then use.

        Molecules that the model cannot encode are left out. See `latent.aggregate`.

        Raises:
            MolvaeError: an unknown prior, options it does not take, no molecules.
        """
        x, held_out = (
            self.tokenizer.encode([s for s in part if self.encodable(s)])
            for part in (train, validation)
        )
        result = fit_prior(
            self.vae, name, x, held_out, config or FitConfig(), options, observe=observe
        )
        self.summary["prior"] = {"name": name, **result._asdict()}
        return result

    def save(self, path: str | Path) -> None:
        """Write weights, config, vocabulary and training summary into one .safetensors file.

        Weights are kept in half precision; the figures of a shipped model are those of its file.
        """
        weights = self.vae.state_dict()
        write(
            Path(path),
            {k: v.half() if v.is_floating_point() else v for k, v in weights.items()},
            {
                "format": FORMAT,
                "tokenizer": self.tokenizer.name,
                "vocabulary": self.tokenizer.vocabulary,
                "config": asdict(self.vae.config),
                "summary": self.summary,
            },
        )

    def encodable(self, smiles: str) -> bool:
        """Tell whether `encode` accepts a string: valid, known tokens, not too long."""
        try:
            self._ids(smiles)
        except MolvaeError:
            return False
        return True

    def encode(self, smiles: Sequence[str], progress: bool = False) -> Tensor:
        """SMILES -> posterior means (n, D) float32. Strings are brought into canonical form first.

        Raises:
            MolvaeError: a string is no valid SMILES, has an unknown token or is too long.
        """
        rows = [self._ids(s) for s in smiles]
        means = torch.empty(len(rows), self.latent)
        for indices in _batches(len(rows), "encode", progress, [len(r) for r in rows]):
            x = self._padded([rows[i] for i in indices])
            with torch.no_grad():
                means[indices] = self.vae.encode(x).cpu()
        return means

    def decode(
        self, z: ArrayLike | Tensor, temperature: float = 0.0, seed: int = 0, progress: bool = False
    ) -> list[str]:
        """Latent points (n, D) -> SMILES strings as generated: not checked, not canonical.

        Temperature 0 takes the likeliest token at each step; above it, tokens are drawn.

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
        generator = torch.Generator(self.device).manual_seed(seed)
        strings: list[str] = []
        for indices in _batches(len(points), "decode", progress):
            ids = self.vae.decoder.generate(points[indices].to(self.device), temperature, generator)
            strings += self.tokenizer.decode(ids.cpu().numpy())
        return strings

    def sample_latents(self, n: int, seed: int = 0) -> Tensor:
        """Draw n latent points (n, D) from the prior."""
        with torch.random.fork_rng():  # torch's distributions take no generator
            torch.manual_seed(seed)
            return self.vae.prior().sample((n,)).cpu()

    def sample(
        self, n: int, seed: int = 0, temperature: float = 0.0, progress: bool = False
    ) -> list[str]:
        """Decode n points drawn from the prior; strings as in `decode`."""
        return self.decode(self.sample_latents(n, seed), temperature, seed, progress)

    def evaluate(
        self, smiles: Sequence[str], seed: int = 0, progress: bool = False
    ) -> dict[str, float]:
        """Measure the model on held-out canonical SMILES; nats per molecule, shares 0 to 1.

        Returns reconstruction_nats and kl_nats (one posterior sample a molecule), elbo_nats,
        token_accuracy (teacher-forced, from the posterior mean) and exact_reconstruction (greedy
        free-running decode of the posterior mean is the same string), and molecules, their number.
        """
        rows = [self._ids(s) for s in smiles]
        totals = np.zeros(5)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            for indices in _batches(len(rows), "evaluate", progress, [len(r) for r in rows]):
                totals += self._measure(self._padded([rows[i] for i in indices]))
        log_likelihood, kl, right, tokens, exact = totals.tolist()
        n = len(rows)
        return {
            "molecules": n,
            "reconstruction_nats": -log_likelihood / n,
            "kl_nats": kl / n,
            "elbo_nats": (log_likelihood - kl) / n,
            "token_accuracy": right / tokens,
            "exact_reconstruction": exact / n,
        }

    def _measure(self, x: Tensor) -> NDArray[np.float64]:
        terms = self.vae(x)
        mean = self.vae.encode(x)
        target, real = x[:, 1:], x[:, 1:] != PAD
        right = (self.vae.decoder(mean, x).argmax(-1) == target) & real
        decoded = self.vae.decoder.generate(mean)[:, : x.shape[1]]
        sums = [terms.log_likelihood, terms.kl, right, real, (decoded == x).all(1)]
        return np.array([t.sum().item() for t in sums])

    def _ids(self, smiles: str) -> list[int]:
        form = canonical(smiles)
        if form is None:
            shown = repr(smiles if len(smiles) <= 80 else f"{smiles[:60]}...")
            raise MolvaeError(f"{shown} is not a valid SMILES")
        ids = self.tokenizer.ids(form)
        if len(ids) + 2 > self.vae.config.max_length:
            raise MolvaeError(
                f"{form[:40]!r}... has {len(ids)} tokens: "
                f"this model reads at most {self.vae.config.max_length - 2}"
            )
        return ids

    def _padded(self, rows: Sequence[list[int]]) -> Tensor:
        x = torch.full((len(rows), max(map(len, rows)) + 2), PAD)
        for line, row in zip(x, rows, strict=True):
            line[: len(row) + 2] = torch.tensor([BOS, *row, EOS])
        return x.to(self.device)


def shipped() -> dict[str, Path]:
    """The models that come with the package: name -> file."""
    folder = Path(str(importlib.resources.files("molvae") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def _batches(
    n: int, label: str, progress: bool, lengths: Sequence[int] | None = None
) -> Iterator[list[int]]:
    """Cut 0 .. n-1 into batches, similar lengths together, under a progress bar."""
    order = list(range(n)) if lengths is None else sorted(range(n), key=lambda i: lengths[i])
    with tqdm(total=n, desc=label, unit="mol", disable=not progress) as bar:
        for i in range(0, n, BATCH):
            yield order[i : i + BATCH]
            bar.update(len(order[i : i + BATCH]))
