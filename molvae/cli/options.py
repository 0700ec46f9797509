"""Options shared by several verbs, and functions that write a verb's output."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from molvae.base.errors import MolvaeError
from molvae.cli.parser import suggest

if TYPE_CHECKING:
    from molvae.chem.datasets import DataSet
    from molvae.chem.pictures import PictureFormat
    from molvae.library.stream import StreamConfig
    from molvae.model.molvae import MolVAE

STDOUT = "-"
MODEL = "shipped model or .safetensors file"
DRUGS = "drugs"  # the model of the verbs that take a user's molecules


class Stopped(Exception):
    """A signal ended the work: what is saved and how to go on, said with `--quiet` too."""

    def __init__(self, said: str, number: int) -> None:
        super().__init__(said)
        self.code = 128 + number


def whole_number(text: str) -> int:
    """Option text -> a whole number >= 1; argparse turns the error into a usage message."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def count(text: str) -> int:
    """Option text -> a whole number >= 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def seed_number(text: str) -> int:
    """Option text -> a seed from 0 to 2^31 - 1."""
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2147483647")
    return int(text)


def share_or_off(text: str) -> float:
    """Option text -> a share from 0 to 1; 0 for "off"."""
    try:
        value = 0.0 if text == "off" else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither off nor a number from 0 to 1")
    return value


QUANTITY = (
    "a name from 'molvae list objectives' or 'molvae list properties', an RDKit descriptor, "
    "similarity(SMILES), package.module:function, 'cmd:PROGRAM {smiles}', predicted:NAME, "
    "model:FILE:COLUMN (learned from your measurements) or a goals.json file"
)
TAKE_QUANTITIES = ("--objective", "--constraint", "--properties", "--along")


def shield_minus_names(words: list[str]) -> list[str]:
    """Command-line words -> the same, with a blank before quantities such as -logP.

    argparse would take these for options; `quantity` removes the blank.
    """
    shielded, inside = [], False
    for word in words:
        if word.startswith("--"):
            inside = any(option.startswith(word) for option in TAKE_QUANTITIES)
        shielded.append(f" {word}" if inside and re.match(r"-[^\W\d].", word) else word)
    return shielded


def quantity(text: str) -> str:
    """Option text of a quantity or a constraint -> the same without blanks around it."""
    return text.strip()


def import_from_here() -> None:
    """Let functions of the user in modules of the current folder be imported."""
    sys.path.insert(0, os.getcwd())


def use_one_thread() -> None:
    """Let torch use one thread in a search, unless OMP_NUM_THREADS says otherwise.

    A round is many small steps. Where another process keeps a core busy, such as the objective,
    two threads wait for each other at each of them, and lose far more than they gain on an idle
    machine. The number must not depend on the load: it changes the last bits of results.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def add_model(parser: argparse.ArgumentParser, default: str = DRUGS) -> None:
    """Declare `--model`."""
    parser.add_argument("--model", default=default, help=f"{MODEL} (default: %(default)s)")


def add_subject(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Declare the model that a verb is about, as the first word or `--model`: see `subject_of`."""
    shown = "" if default is None else f" (default: {default})"
    parser.add_argument(
        "subject", nargs="?", default=argparse.SUPPRESS, metavar="MODEL", help=f"{MODEL}{shown}"
    )
    parser.add_argument("--model", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(default_model=default)


def subject_of(args: argparse.Namespace) -> str:
    """Parsed options of `add_subject` -> the model.

    Raises:
        MolvaeError: none is given, or two.
    """
    named = [getattr(args, name) for name in ("subject", "model") if hasattr(args, name)]
    if len(set(named)) > 1:
        raise MolvaeError(f"name one model, not {' and '.join(named)}")
    found: str | None = named[0] if named else args.default_model
    if found is None:
        raise MolvaeError("name a model: a shipped one (molvae list models) or a .safetensors file")
    return found


def add_config(parser: argparse.ArgumentParser) -> None:
    """Declare `--config`, which `read_config` reads."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML or JSON file of options by their long names, such as the config.json of another "
        "run; options on the command line come first",
    )


def read_config(path: Path | None, known: Mapping[str, Any]) -> dict[str, Any]:
    """File of `--config` -> its settings by name, with underscores; empty without a file.

    Args:
        path: .toml or .json.
        known: name -> type of each setting that it may have, such as int or list[str], which may be
            given as one text. `run`, which names a run in its history, is left out.

    Raises:
        MolvaeError: the file is missing or damaged, or a setting is unknown or has a wrong type.
    """
    from molvae.base.files import read_json_object

    if path is None:
        return {}
    try:
        found = (
            tomllib.loads(path.read_text())
            if suffix(str(path), ".toml", ".json") == ".toml"
            else read_json_object(path)
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MolvaeError(f"{path} is not valid TOML: {error}") from error
    settings = {}
    for given, value in found.items():
        name = given.replace("-", "_")
        if name == "run" or value is None:
            continue
        if name not in known:
            hint = suggest(name, known)
            raise MolvaeError(f"{path}: unknown option {given!r}{hint and f', {hint}'}")
        kind = known[name]
        if kind == list[str] and isinstance(value, str):
            value = [value]
        elif kind is float and type(value) is int:
            value = float(value)
        if not _has_type(value, kind):
            shown = str(kind) if get_origin(kind) else kind.__name__
            raise MolvaeError(f"{path}: {given} must be of type {shown}, not {value!r:.100}")
        settings[name] = value
    return settings


def _has_type(value: object, kind: Any) -> bool:
    if get_origin(kind) is list:
        (element,) = get_args(kind)
        return isinstance(value, list) and all(type(one) is element for one in value)
    return type(value) is kind


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declare `--json`, which `answer` reads."""
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON; messages go to stderr"
    )


def answer(args: argparse.Namespace, result: object) -> None:
    """Print the result of a verb as JSON if `--json` is given."""
    if args.json:
        print(json.dumps(result, indent=1, allow_nan=False), file=args.stdout)


def add_standardize(parser: argparse.ArgumentParser) -> None:
    """Declare `--standardize`, for `MolVAE.load`."""
    parser.add_argument(
        "--standardize",
        action=argparse.BooleanOptionalAction,
        help="encode the parent of each molecule: largest fragment, neutral, without isotopes and "
        "atom maps (default: whether the model was trained on parents, as drugs was)",
    )


def read_molecule(model: MolVAE, smiles: str) -> str:
    """Model and SMILES from the command line -> the SMILES that is encoded; says what was changed.

    Raises:
        MolvaeError: the SMILES is invalid.
    """
    found = model.read_molecule(smiles)
    if found.changes:
        note(f"{smiles} is read as {found.smiles} ({', '.join(found.changes)})")
        return found.smiles
    return smiles


def add_data(parser: argparse.ArgumentParser) -> None:
    """Declare `--data`, which `data_of` reads."""
    parser.add_argument(
        "--data",
        default=argparse.SUPPRESS,
        help="data set name, FILE or FILE:COLUMN (default: what the model was trained on)",
    )


def data_of(given: str | None, name: str, model: MolVAE) -> str:
    """`--data`, name and model -> `--data`, or the data set that the model was trained on.

    Raises:
        MolvaeError: `--data` is missing and the model does not name its data set.
    """
    data = given or model.summary.data
    if not data:
        raise MolvaeError(f"{name} does not name its training data: add --data")
    return data


def load_data(source: str, standardize: bool = False) -> DataSet:
    """Data set name, FILE or FILE:COLUMN -> its molecules; says what was read and left out.

    Args:
        source: data set.
        standardize: replace each molecule by its parent.

    Raises:
        MolvaeError: as in `molvae.chem.datasets.load`.
    """
    from molvae.chem.datasets import load

    data = load(source, progress(), standardize)
    if data.description:
        note(data.description)
    return data


def draw(smiles: list[str], n: int, seed: int) -> list[str]:
    """Draw n molecules without replacement; all, in their order, if there are no more."""
    return smiles if len(smiles) <= n else random.Random(seed).sample(smiles, n)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Declare `--overwrite`, which `refuse_existing` reads."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what an earlier run wrote to --out"
    )


def refuse_existing(args: argparse.Namespace, *files: str | Path) -> None:
    """Reject output files that exist already, unless `--overwrite` is given.

    A verb calls this before any work. "-", standard output, is no file.

    Raises:
        MolvaeError: one of the files exists, or is a folder, or would be inside a file.
    """
    for path in (Path(file) for file in files if str(file) != STDOUT):
        if path.is_dir():
            raise MolvaeError(f"{path} is a folder: choose another --out")
        if inside := [parent for parent in path.parents if parent.is_file()]:
            raise MolvaeError(f"{inside[0]} is a file, not a folder: choose another --out")
        if path.is_file() and not args.overwrite:
            raise MolvaeError(f"{path} exists already: add --overwrite, or choose another --out")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Declare `--seed`."""
    parser.add_argument("--seed", type=seed_number, default=0, help="random seed")


def add_fit(parser: argparse.ArgumentParser, end: str) -> None:
    """Declare how long to fit a part of a model, and where MODEL-`end`.safetensors is written."""
    parser.add_argument(
        "--minutes",
        type=float,
        default=argparse.SUPPRESS,
        help="fit for this many minutes instead of --epochs",
    )
    add_seed(parser)
    parser.add_argument(
        "--out",
        default=argparse.SUPPRESS,
        help=f"output file (default: MODEL-{end}.safetensors, beside MODEL)",
    )
    add_overwrite(parser)


def save_fit(model: MolVAE, out: str, found: str, better: bool, stopped: int) -> int:
    """Write a model with a newly fitted part, if that is better; return the exit code.

    Args:
        model: with the new part.
        out: file.
        found: what was measured, with the new part and with the previous one.
        better: whether it is.
        stopped: the signal that stopped the fit; 0 for none. What was fitted until then is kept.

    Raises:
        MolvaeError: it is no better, and nothing stopped it.
    """
    if not better:
        said = f"{found}: it is no better, and {out} is not written"
        if not stopped:
            raise MolvaeError(said)
        print(f"stopped early; {said}", file=sys.stderr)
        return 128 + stopped
    model.save(out)
    if stopped:
        print(f"stopped early; {found}\nmodel: {out}", file=sys.stderr)
        return 128 + stopped
    print(f"{found}\nmodel: {out}")
    return 0


def add_beam(parser: argparse.ArgumentParser) -> None:
    """Declare `--beam`."""
    parser.add_argument(
        "--beam",
        type=whole_number,
        default=8,
        metavar="WIDTH",
        help="beam width: strings considered for each point, the best valid one is returned; "
        "1 is greedy decoding, which is faster but not always valid (%(default)s)",
    )


def shard(text: str) -> tuple[int, int]:
    """Option text "i/n" -> (i, n) with 1 <= i <= n."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shard of the form i/n, such as 3/8")
    return int(i), int(n)


def add_stream(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a verb that can write a folder of Parquet files."""
    group = parser.add_argument_group(
        "a library larger than memory (--out FOLDER)",
        "Rows are read, processed and written in parts, in constant memory. Rerun a stopped "
        "command to resume it. FOLDER/*.parquet is one table for pandas, polars or DuckDB.",
    )
    group.add_argument("--chunk", type=whole_number, default=10_000, help="rows per Parquet file")
    group.add_argument(
        "--shard",
        type=shard,
        default="1/1",
        metavar="i/n",
        help="write only every n-th file, starting with the i-th; all shards share one FOLDER",
    )
    group.add_argument(
        "--jobs", type=whole_number, default=1, help="parallel processes, one torch thread each"
    )
    add_backend(group)


def add_backend(group: argparse._ActionsContainer) -> None:
    """Declare `--backend`."""
    group.add_argument(
        "--backend",
        default="loky",
        help="joblib backend: loky; dask, with the workers of DASK_SCHEDULER_ADDRESS or of a new "
        "local cluster; ray, with --jobs actors at RAY_ADDRESS or of a new local instance",
    )


def is_folder(out: str) -> bool:
    """Tell whether `--out` is a folder: it exists as one, ends in a slash, or has no suffix."""
    return out != STDOUT and (out.endswith("/") or Path(out).is_dir() or not Path(out).suffix)


def refuse_stream(args: argparse.Namespace) -> None:
    """Reject options that apply only to folder output.

    Raises:
        MolvaeError: one of them is given, or `--out` names a single Parquet file.
    """
    if args.shard != (1, 1) or args.jobs != 1 or args.backend != "loky":
        raise MolvaeError("--shard, --jobs and --backend need --out FOLDER, such as out/")
    if Path(args.out).suffix == ".parquet":
        folder = Path(args.out).with_suffix("")
        raise MolvaeError(f"{args.out}: Parquet output is a folder of files: use {folder}/")


def stream_config(args: argparse.Namespace) -> StreamConfig:
    """Parsed options of `add_stream` -> stream settings.

    Raises:
        MolvaeError: `--overwrite` is given.
    """
    from molvae.library.stream import StreamConfig

    if args.overwrite:
        raise MolvaeError("--overwrite is for a file: a folder is resumed, or choose another --out")
    return StreamConfig(args.chunk, args.shard, progress=progress())


@contextmanager
def engine(args: argparse.Namespace) -> Iterator[None]:
    """Make joblib use `--backend` with `--jobs` processes inside a `with` block.

    Raises:
        MolvaeError: the backend is unknown, or its package is not installed.
    """
    import joblib

    from molvae.base.parallel import keep_workers

    with ExitStack() as stack:
        try:
            if args.backend == "dask":
                stack.enter_context(importlib.import_module("distributed").Client())
            elif args.backend == "ray":
                importlib.import_module("ray.util.joblib").register_ray()
            stack.enter_context(joblib.parallel_config(args.backend, n_jobs=args.jobs))
            stack.enter_context(keep_workers(args.jobs))
        except (ImportError, ValueError) as error:
            raise MolvaeError(f"--backend {args.backend}: {error}") from error
        yield


def progress() -> bool:
    """Tell whether to show progress bars: only on a terminal, not in a log file."""
    return sys.stderr.isatty()


def suffix(path: str, *known: str) -> str:
    """File name -> its suffix, which must be one of `known`.

    Raises:
        MolvaeError: the suffix is missing or not in `known`.
    """
    found = Path(path).suffix.lower()
    if found not in known:
        raise MolvaeError(f"{path}: the name must end in {' or '.join(known)}")
    return found


def picture_format(path: str) -> PictureFormat:
    """File name ending in .png or .svg -> picture format.

    Raises:
        MolvaeError: the file name has another suffix or none.
    """
    return "svg" if suffix(path, ".png", ".svg") == ".svg" else "png"


def emit(text: str, out: str = STDOUT) -> None:
    """Write `text` to the file `out`, or to standard output if `out` is "-".

    Raises:
        OSError: the file cannot be written.
    """
    from molvae.base.files import write_file

    if out != STDOUT:
        write_file(out, text)
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """Print a message for the user to standard error."""
    print(text, file=sys.stderr)
