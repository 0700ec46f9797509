"""Priors p(z), one file each. Their protocol is `PriorModule` in `latent.protocols`.

To add one, subclass `priors.base.Prior` with `__init__(latent, example, ...)` and `forward`, and
register it; its further arguments are `VAEConfig.prior_options`.
"""

from __future__ import annotations

from molvae.base.registry import Registry, import_modules
from molvae.latent.protocols import PriorModule, check_part

priors: Registry[type[PriorModule]] = Registry("prior", check_part("prior", PriorModule))

import_modules(__name__)
