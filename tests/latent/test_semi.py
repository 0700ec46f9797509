"""M2: its bounds against brute force, and that labels for a few teach it the rest."""

from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from sklearn.datasets import load_digits
from torch import Tensor

from molvae.base.errors import MolvaeError
from molvae.chem.tokenizers import Tokenizer
from molvae.latent.elbo import iwae
from molvae.latent.fit import fit
from molvae.latent.semi import M2, UNKNOWN
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAEConfig

IMAGES: dict[str, Any] = {
    "shape": (1, 8, 8),
    "encoder": "mlp",
    "decoder": "mlp",
    "likelihood": "bernoulli",
}


def digits(*kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 1, 8, 8) in [0, 1] of some digits, and which of them each is."""
    data = load_digits()
    rows = np.isin(data.target, kinds)
    x = (data.images[rows, None] / 16).astype(np.float32)
    return x, np.searchsorted(kinds, data.target[rows])


def rings(smiles: str) -> int:
    return rdMolDescriptors.CalcNumRings(Chem.MolFromSmiles(smiles))


def m2(classes: int = 3, alpha: float = 1.0, **options: Any) -> M2:
    torch.manual_seed(0)
    sizes = {"latent": 4, "encoder_hidden": 64, "decoder_hidden": 64}
    return M2(VAEConfig(**{**sizes, **IMAGES, **options}), classes, alpha)


def test_dropout_is_of_the_classifier_and_of_training_alone() -> None:
    torch.manual_seed(0)
    config = VAEConfig(latent=4, encoder_hidden=64, decoder_hidden=64, **IMAGES)
    model, x = M2(config, 3, 1.0, dropout=0.5), torch.from_numpy(digits(0, 1, 2)[0][:20])
    one, other = (model.classify(x).logits for _ in range(2))
    assert not torch.equal(one, other)
    one, other = (model.given(torch.zeros(20, dtype=torch.long)).posterior(x).mean for _ in "ab")
    assert torch.equal(one, other)
    model.eval()
    one, other = (model.classify(x).logits for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("posterior", ["diagonal", "flow"])
def test_unlabelled_bound_is_the_brute_force_sum_over_y(posterior: str) -> None:
    model, x = m2(posterior=posterior).double(), torch.from_numpy(digits(0, 1, 2)[0][:7]).double()
    torch.manual_seed(3)
    bound = model.unlabelled(x)
    torch.manual_seed(3)
    probabilities = model.classify(x).probs
    expected = torch.zeros(len(x)).double()
    for y in range(3):
        labelled = model.labelled(x, torch.full((len(x),), y)).value()
        q = probabilities[:, y]
        expected += q * labelled - q * q.log()
    torch.testing.assert_close(bound.value(), expected, atol=1e-10, rtol=1e-10)


def test_labelled_bound_is_the_joint_of_a_latent_model_given_y() -> None:
    torch.manual_seed(0)
    model, x = m2().double(), torch.from_numpy(digits(0, 1, 2)[0][:5]).double()
    y = torch.tensor([0, 1, 2, 1, 0])
    torch.manual_seed(1)
    labelled = model.labelled(x, y)
    torch.manual_seed(1)
    q = model.given(y).posterior(x)
    z = q.rsample(torch.Size([1]))[0]
    label = torch.nn.functional.one_hot(y, 3).double()
    log_likelihood = model.decoder.log_likelihood(x, torch.cat([z, label], 1))
    torch.testing.assert_close(labelled.log_likelihood, log_likelihood)
    kl = torch.distributions.kl_divergence(q, model.given(y).prior())
    torch.testing.assert_close(labelled.kl, kl + np.log(3))
    many = torch.stack([model.labelled(x, y).value() for _ in range(300)]).mean(0)
    tighter = iwae(model.given(y), x, 200).value() - np.log(3)  # several z, each with its own y
    assert (tighter > many).all()


def test_training_objective_keeps_the_order_and_adds_the_classifier_term() -> None:
    model, x = m2(alpha=7.0).double(), torch.from_numpy(digits(0, 1, 2)[0][:6]).double()
    y = torch.tensor([UNKNOWN, 2, UNKNOWN, 0, 1, UNKNOWN])
    repeats = [model(x, y) for _ in range(400)]
    mean = torch.stack([r.value() for r in repeats]).mean(0)
    error = torch.stack([r.value() for r in repeats]).std(0) / 400**0.5
    for i in range(6):
        row, label = x[i : i + 1].expand(2_000, -1, -1, -1), int(y[i])
        if label == UNKNOWN:
            expected = model.unlabelled(row).value()
        else:
            expected = model.labelled(row, torch.full((2_000,), label)).value()
            expected = expected + 7.0 * model.classify(row).log_prob(torch.tensor(label))
        spread = 4 * (error[i] + expected.std() / 2_000**0.5)
        assert abs(mean[i] - expected.mean()) < spread
    assert model(x[:2], torch.tensor([1, 1])).value().shape == (2,)
    assert model(x[:2], torch.tensor([UNKNOWN] * 2)).value().shape == (2,)


def test_a_few_labels_teach_classes_styles_and_samples() -> None:
    x, y = digits(0, 1, 4)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    seen = np.where(np.arange(len(y)) < 15, y, UNKNOWN)
    train, test = slice(0, 400), slice(400, None)
    model = m2(alpha=0.1 * 400 / 15)
    config = FitConfig(
        epochs=80, batch=50, kl_weight=1.0, kl_warmup=0, validate_every=80, precision="32-true"
    )
    fit(model, (x[train], seen[train]), (x[test], seen[test]), config)
    model.eval()
    images, truth = torch.from_numpy(x[test]), torch.from_numpy(y[test])
    assert (model.classify(images).probs.argmax(1) == truth).float().mean() > 0.9
    means = torch.stack([images[truth == c].mean(0) for c in range(3)])
    z = model.given(truth).prior().sample(torch.Size([60]))
    wanted = torch.arange(60) % 3

    def nearest(pictures: Tensor) -> Tensor:
        return (pictures[:, None] - means).square().flatten(2).sum(2).argmin(1)

    assert (nearest(model.generate(z, wanted)) == wanted).float().mean() > 0.9
    style = model.encode(images[:60], truth[:60])
    moved = model.generate(style, wanted)
    assert (nearest(moved) == wanted).float().mean() > 0.9
    kept = model.generate(style, truth[:60])  # same label: a reconstruction
    error, chance = ((kept - images[i:][:60]).square().mean() for i in (0, 1))
    assert error < 0.6 * chance


def test_molecules_with_a_property_class(zinc: list[str]) -> None:
    """y = whether a molecule has more than two rings, known for half of them, over SMILES."""
    smiles = [s for s in zinc if len(s) < 42][:300]
    words = Tokenizer.fit("char", smiles)
    ids = words.encode(smiles)
    y = np.array([int(rings(s) > 2) for s in smiles])
    seen = np.where(np.arange(len(y)) % 2 == 0, y, UNKNOWN)
    torch.manual_seed(0)
    sizes = {"latent": 4, "encoder_hidden": 32, "decoder_hidden": 64}
    model = M2(VAEConfig(len(words), ids.shape[1], encoder="conv", **sizes), 2, alpha=50.0)
    before = model(torch.from_numpy(ids).long(), torch.from_numpy(seen)).value().mean()
    config = FitConfig(
        epochs=12, batch=20, learning_rate=0.01, validate_every=60, precision="32-true"
    )
    fit(model, (ids, seen), (ids[:60], seen[:60]), config)
    model.eval()
    x = torch.from_numpy(ids).long()
    assert model(x, torch.from_numpy(seen)).value().mean() > before + 20
    hidden = torch.from_numpy(np.flatnonzero(seen == UNKNOWN))
    right = model.classify(x[hidden]).probs.argmax(1) == torch.from_numpy(y)[hidden]
    assert right.float().mean() > 0.75
    truth = torch.from_numpy(y)[hidden]
    right, wrong = (model.labelled(x[hidden], label).value().mean() for label in (truth, 1 - truth))
    assert right > wrong  # the decoder has learned what the class says
    written = words.decode(model.generate(torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 0])).numpy())
    assert all(set(s) <= set("".join(words.vocabulary)) for s in written)


def test_a_prior_that_needs_q_without_y_is_refused() -> None:
    model = m2(prior="vamp")
    x = torch.from_numpy(digits(0, 1, 2)[0][:4])
    with pytest.raises(MolvaeError, match="use another"):
        model(x, torch.tensor([0, 1, 2, UNKNOWN]))
