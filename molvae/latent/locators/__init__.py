"""Locators: images -> where one object is, one file each. Their protocol is `Locator`."""

from __future__ import annotations

from molvae.base.registry import Registry, import_modules
from molvae.latent.protocols import Locator, check_part

locators: Registry[type[Locator]] = Registry("locator", check_part("locator", Locator))

import_modules(__name__)
