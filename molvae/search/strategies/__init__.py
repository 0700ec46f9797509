"""Search strategies, one per file. Every file in this folder is imported and registers itself."""

from molvae.base.registry import import_modules
from molvae.search.protocols import strategies

__all__ = ["strategies"]

import_modules(__name__)
