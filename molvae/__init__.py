"""molvae learns a continuous map of molecules and searches it.

The public names are imported when first used, so `import molvae` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molvae.base.errors import MolvaeError
    from molvae.loop.ask_tell import Search
    from molvae.loop.config import OptimizeConfig
    from molvae.loop.optimization import optimize
    from molvae.loop.result import Result
    from molvae.model.molvae import MolVAE
    from molvae.oracles.history import History
    from molvae.oracles.oracle import Oracle

_HOMES = {
    "History": "molvae.oracles.history",
    "MolVAE": "molvae.model.molvae",
    "MolvaeError": "molvae.base.errors",
    "OptimizeConfig": "molvae.loop.config",
    "Oracle": "molvae.oracles.oracle",
    "Result": "molvae.loop.result",
    "Search": "molvae.loop.ask_tell",
    "optimize": "molvae.loop.optimization",
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
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("molvae")
    if name not in _HOMES:
        raise AttributeError(f"module 'molvae' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__", *(n for n in globals() if n.startswith("__"))})
