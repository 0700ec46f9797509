"""Posterior heads: hidden (B, H) -> q(z|x), one file each. Their protocol is `PosteriorHead`.

Distributions do not validate what the networks give them: each such check waits for the GPU.
"""

from __future__ import annotations

from molvae.base.registry import Registry, import_modules
from molvae.latent.protocols import PosteriorHead, check_part

posteriors: Registry[type[PosteriorHead]] = Registry(
    "posterior", check_part("posterior", PosteriorHead)
)

import_modules(__name__)
