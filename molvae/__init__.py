"""molvae learns a continuous map of molecules and searches it.

The public names are imported when first used, so `import molvae` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molvae.asking import Search
    from molvae.chem.history import History
    from molvae.chem.oracle import Oracle
    from molvae.errors import MolvaeError
    from molvae.loop import Result, optimize
    from molvae.model import MolVAE
    from molvae.rounds import OptimizeConfig

_HOMES = {
    "History": "molvae.chem.history",
    "MolVAE": "molvae.model",
    "MolvaeError": "molvae.errors",
    "OptimizeConfig": "molvae.rounds",
    "Oracle": "molvae.chem.oracle",
    "Result": "molvae.loop",
    "Search": "molvae.asking",
    "optimize": "molvae.loop",
}
__all__ = [
    "History",
    "MolVAE",
    "MolvaeError",
    "OptimizeConfig",
    "Oracle",
    "Result",
    "Search",
    "optimize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'molvae' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
