"""Likelihoods: a decoder's output -> p(x|z), one file each. Their protocol is `Likelihood`."""

from __future__ import annotations

from molvae.base.registry import Registry, import_modules
from molvae.latent.protocols import Likelihood, check_part

likelihoods: Registry[type[Likelihood]] = Registry(
    "likelihood", check_part("likelihood", Likelihood)
)

import_modules(__name__)
