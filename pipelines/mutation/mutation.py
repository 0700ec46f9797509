"""Mutate a module, run its tests on each mutant, and list the mutants that no test notices.

A mutant is the module with one small fault: a plus for a minus, a limit that is one off, a loop
that never runs. Tests that pass all the same do not guard that line.

    python pipelines/mutation/mutation.py molvae/base/files.py --tests tests/base
    python pipelines/mutation/mutation.py molvae/loop --sample 15 --seed 1  # all files of a room
    python pipelines/mutation/mutation.py --quick  # seconds, on a module of three lines
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.metadata
import json
import os
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from difflib import ndiff
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from cosmic_ray.testing import run_tests
from cosmic_ray.work_item import TestOutcome

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "__pycache__", "*.egg-info", "build", "dist", "runs", "site", ".*_cache"
)


class Mutant(NamedTuple):
    """A file of the copy with one fault."""

    place: str
    """file:line"""
    diff: str
    """The line before and after."""
    path: Path
    code: str


def main() -> None:
    """Test the mutants; print the survivors and the score, and write both as JSON."""
    args = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(args.root, copy, ignore=LEFT_OUT)
        os.environ |= {"PYTHONPATH": str(copy), "TMPDIR": folder}  # also of what the tests start
        with contextlib.chdir(copy):
            found = measure(args)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{args.module.with_suffix('').as_posix().replace('/', '-')}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    """Read the command line; the tests are those of the module's room unless they are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", type=Path, nargs="?", help="file or folder to mutate")
    parser.add_argument("--tests", nargs="+", help="default: the tests folder of the same room")
    parser.add_argument("--sample", type=int, help="mutants, drawn at random; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--limit", type=float, help="seconds a mutant; default: 3 times the unmutated tests, and 10"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/mutation"))
    parser.add_argument("--quick", action="store_true", help="mutate example/tariff.py")
    args = parser.parse_args()
    args.root, args.out = ROOT, args.out.resolve()
    if args.quick:
        args.root, args.module, args.tests = HERE / "example", Path("tariff.py"), ["test_tariff.py"]
    if args.module is None or not (args.root / args.module).exists():
        parser.error(f"name a file or a folder, relative to {args.root}")
    args.tests = args.tests or [str(Path("tests", *args.module.parts[1:2]))]
    return args


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Test mutants in the current folder, a copy of the project -> what is written as JSON."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    words = shlex.join([*command, f"--hypothesis-seed={args.seed}", *args.tests])
    began = time.perf_counter()
    outcome, output = run_tests(words, timeout=3_600)
    if outcome is not TestOutcome.SURVIVED:
        sys.exit(f"the tests fail before anything is mutated:\n{output}")
    seconds = time.perf_counter() - began
    limit = args.limit or 10 + 3 * seconds
    print(f"{args.module}: unmutated tests take {seconds:.0f} s, limit {limit:.0f} s a mutant")
    survivors, count = list[Mutant](), 0
    for mutant in draw_mutants(args.module, args.sample, random.Random(args.seed)):
        original = mutant.path.read_text()
        mutant.path.write_text(mutant.code)
        outcome, _ = run_tests(words, limit)
        mutant.path.write_text(original)
        count += 1
        if outcome is TestOutcome.SURVIVED:
            survivors.append(mutant)
        print(f"{count:4} {outcome.value:9} {mutant.place}", flush=True)
    killed = count - len(survivors)
    print("\nsurvivors:" if survivors else "\nno survivors")
    for mutant in survivors:
        print(f"{mutant.place}\n{mutant.diff}")
    print(f"score: {killed} of {count} mutants killed ({killed / max(1, count):.0%})")
    return {
        "module": str(args.module),
        "tests": args.tests,
        "seed": args.seed,
        "mutants": count,
        "killed": killed,
        "survivors": [{"place": m.place, "diff": m.diff.splitlines()} for m in survivors],
        "cosmic-ray": importlib.metadata.version("cosmic-ray"),
    }


def draw_mutants(module: Path, sample: int | None, rng: random.Random) -> Iterator[Mutant]:
    """File or folder -> mutants in random order, at most one at each place of the code.

    There are many ways to replace a plus, but only two to change a number: drawing places and not
    mutants gives each the same chance.
    """
    places = defaultdict[tuple[Path, tuple[int, int]], list[tuple[str, int]]](list)
    for path in sorted(module.rglob("*.py")) if module.is_dir() else [module]:
        nodes = list(ast_nodes(get_ast(path.read_text())))
        for name in operator_names():
            if get_operator(name).arguments():
                continue
            operator = get_operator(name)()
            starts = [start for node in nodes for start, _ in operator.mutation_positions(node)]
            for occurrence, start in enumerate(starts):
                places[path, start].append((name, occurrence))
    order = sorted(places)
    rng.shuffle(order)
    left = len(order) if sample is None else sample
    for path, start in order:
        name, occurrence = rng.choice(places[path, start])
        before = path.read_text()
        code = mutate_code(before, get_operator(name)(), occurrence)
        if not left:
            return
        if code is None or is_same_program(before, code):
            continue
        left -= 1
        changed = ndiff(before.splitlines(), code.splitlines())
        diff = "\n".join(line for line in changed if line[0] in "-+")
        yield Mutant(f"{path}:{start[0]}", diff, path, code)


def is_same_program(before: str, after: str) -> bool:
    """Tell whether two sources differ in type annotations only, or the second is no Python."""
    try:
        return ast.dump(WithoutAnnotations().visit(ast.parse(before))) == ast.dump(
            WithoutAnnotations().visit(ast.parse(after))
        )
    except SyntaxError:
        return True


class WithoutAnnotations(ast.NodeTransformer):
    """Drops type annotations, which this project never evaluates."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Drop that of an argument."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop that of what a function returns."""
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Drop that of a variable."""
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


if __name__ == "__main__":
    main()
