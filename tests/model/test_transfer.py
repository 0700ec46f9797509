"""Transfer learning: a new model knows what the trained one knew."""

from __future__ import annotations

import pytest
import torch

from molvae.base.errors import MolvaeError
from molvae.chem.tokenizers import Tokenizer
from molvae.latent.training import FitConfig
from molvae.model.molvae import MolVAE
from molvae.model.storage import read_model
from molvae.model.training import prepare_training

NEW = ["C[Si](C)(C)c1ccccc1", "OB(O)c1ccccc1", "CC[Se]CC"]
AS_IT_WAS = FitConfig(epochs=1e-9, batch=8, precision="32-true")  # one step is too many


def transferred(zinc: list[str], **shape) -> tuple[MolVAE, MolVAE]:
    old = MolVAE.load("zinc")
    prepared = prepare_training(
        [*zinc[:300], *NEW], zinc[300:320], transfer=old.parts, shape=shape, config=AS_IT_WAS
    )
    return old, MolVAE(prepared.tokenizer, prepared.job.vae, old.summary)


@pytest.mark.parametrize("latent", [64, 80])
def test_a_model_decodes_as_the_one_that_it_began_with(zinc: list[str], latent: int) -> None:
    old, new = transferred(zinc, latent=latent)
    with torch.no_grad():
        for s in zinc[400:420]:
            words = [t for t in old.tokenizer.split(s) if t in new.tokenizer.vocabulary]
            if words != old.tokenizer.split(s):
                continue
            ids = [
                torch.tensor([[1, *(t.vocabulary.index(w) + 3 for w in words), 2]])
                for t in (old.tokenizer, new.tokenizer)
            ]
            z = [m.vae.encode(x) for m, x in zip((old, new), ids, strict=True)]
            torch.testing.assert_close(z[0], z[1][:, :64])
            nats = [m.vae.decoder(a, x) for m, a, x in zip((old, new), z, ids, strict=True)]
            places = [t.vocabulary.index("CC") + 3 for t in (old.tokenizer, new.tokenizer)]
            torch.testing.assert_close(nats[0][..., places[0]], nats[1][..., places[1]])
            break
        else:
            raise AssertionError("no molecule is written in common tokens")
    assert new.can_encode("C[Si](C)(C)C")
    assert not old.can_encode("C[Si](C)(C)C")


def test_tokens_that_suffice_are_kept(zinc: list[str]) -> None:
    old = MolVAE.load("drugs")
    plain = [s for s in zinc[:300] if "+" not in s and "-]" not in s]
    for train, same in ((plain, True), ([*plain, "CC[Xe]"], False)):
        prepared = prepare_training(train, plain[:9], transfer=old.parts, config=AS_IT_WAS)
        assert (prepared.tokenizer.vocabulary == old.tokenizer.vocabulary) is same
        if same:  # so the new model begins as good as the old one
            ids = torch.tensor([[1, *old.tokenize(plain[0]), 2]])
            with torch.no_grad():
                z = [vae.encode_once(ids) for vae in (old.vae, prepared.job.vae)]
            torch.testing.assert_close(*z)


def test_what_is_transferred_is_the_better_beginning(zinc: list[str]) -> None:
    old = MolVAE.load("zinc")
    losses = []
    for transfer in (None, old.parts):
        shape = {} if transfer else {"latent": 64, "encoder_hidden": 384, "decoder_hidden": 384}
        config = FitConfig(epochs=2, batch=50, precision="32-true", learning_rate=1e-4)
        job = prepare_training(
            zinc[:400], zinc[400:440], transfer=transfer, shape=shape, config=config
        ).job
        losses.append(job.run().start_loss)
    assert losses[1] < losses[0] - 15


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"latent": 32}, "latent must be at least that of the model in --transfer, 64"),
        ({"decoder_hidden": 512}, "decoder_hidden must be that of the model in --transfer, 384"),
        ({"encoder": "conv"}, "encoder 'conv' has no weights of 'gru'"),
    ],
)
def test_a_shape_that_weights_do_not_fit_is_refused(
    zinc: list[str], shape: dict[str, object], message: str
) -> None:
    with pytest.raises(MolvaeError, match=message):
        transferred(zinc, **shape)


def test_tokens_are_matched_by_their_text() -> None:
    from molvae.model.training import TrainingSet, build_vae
    from molvae.model.transfer import transfer_weights

    words, old, *_ = read_model("zinc")
    mine = Tokenizer("atom-pairs", ["cc", "CC", "[Xe]", *(f"x{i}" for i in range(80))])
    rows = ["CCCC", "CC"]
    data = TrainingSet.make((rows, rows), mine)
    shape = {"latent": 64, "encoder_hidden": 384, "decoder_hidden": 384}
    vae = build_vae(data, len(mine), shape, 0.0, seed=0)
    assert transfer_weights(old, words, vae, mine) == 2
    a, b = old.state_dict()["decoder.out.bias"], vae.state_dict()["decoder.out.bias"]
    assert b[3] == a[words.vocabulary.index("cc") + 3]
    assert b[4] == a[words.vocabulary.index("CC") + 3]
    assert b[2] == a[2]
