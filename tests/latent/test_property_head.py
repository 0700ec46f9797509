"""Properties that are predicted from z."""

import torch

from molvae.latent.vae import VAE, VAEConfig
from random_ids import LONGEST, VOCABULARY, sequences


def test_new_latent_coordinates_leave_what_is_predicted_as_it_was() -> None:
    torch.manual_seed(0)
    names = ("mass", "charge")
    vae = VAE(VAEConfig(VOCABULARY, LONGEST, latent=4, encoder_hidden=16, properties=names)).eval()
    assert vae.property_head is not None
    vae.property_head.initialise(torch.tensor([[300.0, -1.0], [500.0, 1.0]]))
    x = sequences(200)
    with torch.no_grad():
        means, said = vae.encode(x), vae.property_head(vae.encode(x))
        vae.standardise(x)
        assert (vae.encode(x) - means).norm(dim=1).min() > 0.1  # they did change
        torch.testing.assert_close(vae.property_head(vae.encode(x)), said, atol=1e-3, rtol=1e-3)
