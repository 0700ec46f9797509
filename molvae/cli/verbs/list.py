"""List the names that options accept."""

from __future__ import annotations

import argparse
import ast
import importlib
from collections.abc import Mapping
from pathlib import Path

from molvae.cli import options
from molvae.model.shipped import list_shipped_models

PACKAGE = Path(__file__).parents[2]
REGISTRIES = {  # module and attribute; in brackets what is read as text, for it needs torch
    "models": "",  # files, not a registry
    "data": "molvae.chem.datasets:datasets",
    "objectives": "molvae.oracles.objectives:objectives",
    "properties": "molvae.chem.properties:properties",
    "descriptors": "molvae.chem.properties:DESCRIPTORS",
    "alerts": "molvae.chem.alerts:CATALOGUES",
    "suites": "molvae.oracles.suites:SUITES",
    "strategies": "[search/strategies]:strategies [loop]:proposers",
    "tokenizers": "molvae.chem.tokenizers:tokenizers",
    "encoders": "[latent/encoders]:encoders",
    "decoders": "[latent/decoders]:decoders",
    "posteriors": "[latent/posteriors]:posteriors",
    "priors": "[latent/priors]:priors",
    "locators": "[latent/locators]:locators",
    "likelihoods": "[latent/likelihoods]:likelihoods",
    "gradient-estimators": "[latent]:estimators",
    "kinds": "[latent]:kinds",
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
        return {name: str(path) for name, path in list_shipped_models().items()}
    found: dict[str, str] = {}
    for place in REGISTRIES[kind].split():
        module, _, attribute = place.partition(":")
        if module.startswith("["):
            found |= _read_registered(PACKAGE / module.strip("[]"), attribute)
            continue
        registry: Mapping[str, object] = getattr(importlib.import_module(module), attribute)
        found |= {name: _first_line(entry) for name, entry in registry.items()}
    return found


def _read_registered(folder: Path, registry: str) -> dict[str, str]:
    """Folder of modules and name of a registry -> what they register in it, and as what.

    `@encoders.register("gru")` in front of a class or function that has a docstring, or
    `kinds.register("ids")(Kind("what it is", ...))`.
    """
    found = {}
    for path in sorted(folder.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match node:
                case ast.ClassDef(decorator_list=calls) | ast.FunctionDef(decorator_list=calls):
                    text = ast.get_docstring(node) or ""
                case ast.Expr(
                    value=ast.Call(func=call, args=[ast.Call(args=[ast.Constant(value=what), *_])])
                ):
                    calls, text = [call], str(what)
                case _:
                    continue
            for call in calls:
                match call:
                    case ast.Call(
                        func=ast.Attribute(value=ast.Name(id=name), attr="register"),
                        args=[ast.Constant(value=key)],
                    ) if name == registry:
                        found[str(key)] = text.partition("\n")[0]
    return found


def _first_line(entry: object) -> str:
    """Return an entry's description, or the first line of its docstring."""
    if isinstance(entry, Mapping):  # a suite
        return f"{len(entry)} tasks"
    text = getattr(entry, "description", None) or entry.__doc__ or ""
    return str(text).strip().partition("\n")[0]
