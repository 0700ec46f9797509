"""Encoders: x -> hidden (B, H), one file each. Their protocol is `Encoder`."""

from __future__ import annotations

from molvae.base.registry import Registry, import_modules
from molvae.latent.protocols import Encoder, check_part

encoders: Registry[type[Encoder]] = Registry("encoder", check_part("encoder", Encoder))

import_modules(__name__)
