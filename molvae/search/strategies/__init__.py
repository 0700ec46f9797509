"""The strategies, one a file. A new one is a new file here: no list has to name it."""

from molvae.base.registry import import_modules
from molvae.search.protocols import strategies

__all__ = ["strategies"]

import_modules(__name__)
