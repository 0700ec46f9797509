"""List the names that options accept."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping

from molvae.cli import options

REGISTRIES = {
    "models": "",  # files, not a registry
    "data": "molvae.chem.datasets:datasets",
    "objectives": "molvae.oracles.objectives:objectives",
    "properties": "molvae.chem.properties:properties",
    "descriptors": "molvae.chem.properties:DESCRIPTORS",
    "alerts": "molvae.chem.alerts:CATALOGUES",
    "suites": "molvae.oracles.suites:SUITES",
    "strategies": "molvae.search.strategies:strategies",
    "tokenizers": "molvae.chem.tokenizers:tokenizers",
    "encoders": "molvae.latent.encoders:encoders",
    "decoders": "molvae.latent.decoders:decoders",
    "posteriors": "molvae.latent.posteriors:posteriors",
    "priors": "molvae.latent.priors:priors",
    "locators": "molvae.latent.locators:locators",
    "likelihoods": "molvae.latent.likelihoods:likelihoods",
    "gradient-estimators": "molvae.latent.gradients:estimators",
    "kinds": "molvae.latent.kinds:kinds",
}

EXAMPLES = (
    "molvae list",
    "molvae list objectives",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae list`."""
    parser.add_argument(
        "kind",
        nargs="?",
        default="all",
        choices=["all", *REGISTRIES],
        metavar="KIND",
        help=f"what to list: one of {', '.join(REGISTRIES)}",
    )
    options.add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Print each registry, one line per name."""
    kinds = {k: _entries(k) for k in (REGISTRIES if args.kind == "all" else [args.kind])}
    if args.json:
        options.answer(args, kinds)
        return
    for kind, entries in kinds.items():
        width = max(map(len, entries), default=0)
        print(kind)
        for name, description in entries.items():
            print(f"  {name:{width}}  {description}".rstrip())
        if not entries:
            print("  (none)")


def _entries(kind: str) -> dict[str, str]:
    if kind == "models":
        from molvae.model.storage import list_shipped_models

        return {name: str(path) for name, path in list_shipped_models().items()}
    module, _, attribute = REGISTRIES[kind].partition(":")
    registry: Mapping[str, object] = getattr(importlib.import_module(module), attribute)
    entries = dict(registry)
    if kind == "strategies":
        from molvae.loop import config  # noqa: F401 (registers proposers)
        from molvae.loop.proposers import proposers

        entries |= proposers
    return {name: _first_line(entry) for name, entry in entries.items()}


def _first_line(entry: object) -> str:
    """Return an entry's description, or the first line of its docstring."""
    if isinstance(entry, Mapping):  # a suite
        return f"{len(entry)} tasks"
    text = getattr(entry, "description", None) or entry.__doc__ or ""
    return str(text).strip().partition("\n")[0]
