"""The command line, for what needs no notebook: `cutwidgets show model.keras`.

Each command imports what it needs when it runs: Keras is slow to import, and `--help` needs none.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from enum import StrEnum
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zipfile import is_zipfile

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import files
from .errors import BypassedCutError, CutError

if TYPE_CHECKING:
    import keras

    from ._costs import Cost, Costs

app = typer.Typer(
    help="Look at Keras models, and cut them between their blocks.\n\n"
    "Exit codes: 0 if all is well, 1 if a proof fails, 2 if something cannot be done, 70 for a "
    "bug of cutwidgets or of a model's own layers, whose traceback is then on stderr.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_CLOSED = 141  # as shells tell of programs that a closed pipe ends
_BUG = 70  # EX_SOFTWARE of sysexits.h; Python's own 1 would say that a proof failed


class Engine(StrEnum):
    """Where features are computed."""

    LOCAL = "local"
    RAY = "ray"


File = Annotated[Path, typer.Argument(metavar="MODEL", help="A .keras file.")]
Start = Annotated[
    str, typer.Argument(help="Block, stage or layer that the slice starts with; - for the input.")
]
End = Annotated[str, typer.Argument(help="What it ends with; - for the output.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
Unsafe = Annotated[
    bool, typer.Option(help="Let the file run code of its own: only if you trust its origin.")
]
Imports = Annotated[
    list[str] | None,
    typer.Option("--import", metavar="MODULE", help="Module with the model's own layers."),
]


@contextmanager
def _exit_codes() -> Iterator[None]:
    """End a command whose work cannot be done, or that has a bug, with the code that says so."""
    try:
        yield
    except CutError as error:
        _say(f"cutwidgets: {error}", err=True)
        raise typer.Exit(2) from None
    except typer.Exit:
        raise
    except BrokenPipeError:
        # What is left to write has to go somewhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_CLOSED) from None
    except (Exception, SystemExit):
        _say(traceback.format_exc(), err=True)
        raise typer.Exit(_BUG) from None


@app.command()
@_exit_codes()
def show(
    model: File,
    with_costs: Annotated[
        bool, typer.Option("--costs", help="Also activation bytes and receptive fields.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An .svg file to write: the diagram.")
    ] = None,
    as_json: AsJson = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Show the blocks of a model, with what each costs."""
    from ._anatomy import anatomy
    from ._costs import costs

    if svg is not None:
        _refuse_output(svg, ".svg", "A diagram")
    with _working():
        loaded = _load(model, unsafe, imports)
        found, counted = anatomy(loaded), costs(loaded)
        if svg is not None:
            _write(svg, lambda path: path.write_text(found.svg, "utf-8"))
    rows = [
        {
            "block": block.name,
            "kind": block.kind,
            "shortcut": block.shortcut,
            "stage": block.stage,
            "output": [found.graph.tensors[tensor].shape for tensor in block.exits],
            **_counted(cost, with_costs),
        }
        for block, cost in zip(found, counted, strict=True)
    ]
    if as_json:
        shown: dict[str, Any] = {"model": found.name, "blocks": rows}
        if with_costs:
            shown |= {"total": _counted(counted.total, True), "inputs": counted.input_shapes}
        _print_json(shown)
        return
    # What reads it from a pipe wants whole names.
    Console(width=None if sys.stdout.isatty() else 240).print(_table(rows, counted, with_costs))


@app.command()
@_exit_codes()
def cut(
    model: File,
    start: Start,
    end: End,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .keras file to write.")],
    bypass: Annotated[
        bool, typer.Option("--bypass", help="Make what bypasses the start an input too.")
    ] = False,
    force: Annotated[bool, typer.Option(help="Replace the file if there is one.")] = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Cut a slice out of a model, both ends included, and save it."""
    from .slicing import cut as cut_out

    _refuse_output(output, ".keras", "A slice", force, " --force replaces it.")
    with _working():
        loaded = _load(model, unsafe, imports)
        try:
            part = cut_out(loaded, *_places(start, end), bypass="input" if bypass else None)
        except BypassedCutError as error:
            raise CutError(f"{error} On the command line that is --bypass.") from error
        _write(output, part.save, force)
    _say(f"{output}: {part.name}, {part.count_params():,} parameters")


@app.command()
@_exit_codes()
def check(
    model: File,
    start: Start,
    end: End,
    as_json: AsJson = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Prove that head, slice and tail together compute the model."""
    from .proof import check as prove

    with _working():
        proof = prove(_load(model, unsafe, imports), *_places(start, end))
    if as_json:
        verdict = {"ok": proof.ok, "conclusive": proof.conclusive, "verdict": str(proof)}
        _print_json(verdict | asdict(proof))
    else:
        _say(str(proof))
    if not proof.ok:
        raise typer.Exit(1)


@app.command()
@_exit_codes()
def features(
    model: File,
    data: Annotated[
        Path,
        typer.Argument(help="A folder of images, a .npy file, or a .npz file by inputs' names."),
    ],
    to: Annotated[Path, typer.Option(help="A name that ends in .parquet or .npy.")],
    batch: Annotated[int, typer.Option(min=1, help="How many examples are computed at once.")] = 32,
    engine: Annotated[Engine, typer.Option(help="Compute here, or on Ray.")] = Engine.LOCAL,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of Ray; one a processor if not given.")
    ] = None,
    as_json: AsJson = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Run a model over a data set, and store what it gives. A run that was killed goes on."""
    from ._features import features as extract

    with _working():
        loaded = _load(model, unsafe, imports)
        source = _read(data, {tensor.name: tensor.dtype for tensor in loaded.inputs})
        found = extract(loaded, source, to=to, batch=batch, engine=engine.value, workers=workers)
    broken = found.broken.to_dict("records")
    if as_json:
        told = {"path": str(found.path), "examples": found.examples, "broken": broken}
        _print_json({**told, "shapes": found.shapes})
        return
    _say(repr(found))
    for row in broken:
        _say(f"{row['id']}: {row['reason']}", err=True)


def _working() -> redirect_stdout[Any]:
    """Within this, what Keras or a user's own layers print is kept out of a command's output."""
    return redirect_stdout(sys.stderr)


def _counted(cost: "Cost", whole: bool) -> dict[str, Any]:
    """The numbers of a block that are shown."""
    counted: dict[str, Any] = {"parameters": cost.params, "macs": cost.macs}
    counted["uncounted"] = cost.uncounted
    if whole:
        counted["activation_bytes"] = cost.activation_bytes
        counted["receptive_field"] = cost.receptive_field
    return counted


def _table(rows: list[dict[str, Any]], costs: "Costs", with_costs: bool) -> Table:
    """The blocks as a table, with what all of them cost if asked for."""
    from .blocks import shape_text

    shapes = ", ".join(map(shape_text, costs.input_shapes))
    table = Table(
        title=Text(_cell(f"{costs.name}: {len(rows)} blocks")),
        caption=Text(f"Costs are for one example of {shapes}.") if with_costs else None,
    )
    columns = ["block", "kind", "shortcut", "stage", "output", *_counted(costs.total, with_costs)]
    columns = [name for name in columns if name != "uncounted"]
    for name in columns:
        is_number = name not in ("block", "kind", "shortcut", "stage", "output")
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    total = {"block": "total", **_counted(costs.total, True)}
    for row in [*rows, total] if with_costs else rows:
        if row is total:
            table.add_section()
        told = row | {"output": ", ".join(map(shape_text, row.get("output", ())))}
        if row.get("receptive_field"):
            told["receptive_field"] = "×".join(map(str, row["receptive_field"]))
        if row.get("uncounted"):
            told["macs"] = f"≥ {row['macs']:,}"
        table.add_row(*(Text(_cell(told.get(name))) for name in columns))
    return table


def _cell(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, int):
        return f"{value:,}"
    return _visible(str(value or "")).replace("\n", "\\n")


def _visible(text: str) -> str:
    """A text with its control characters spelled out: names in files are written by strangers."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1]
        for letter in text
    )


def _say(text: str, err: bool = False) -> None:
    typer.echo(_visible(text), err=err)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    """The same with null for infinity and NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _places(start: str, end: str) -> tuple[str | None, str | None]:
    return (None if start == "-" else start, None if end == "-" else end)


def _refuse_output(
    output: Path, suffix: str, what: str, force: bool = False, hint: str = ""
) -> None:
    """Refuse a file to write before the work, not after it."""
    if output.suffix != suffix:
        raise CutError(f"{what} is saved as a {suffix} file. Received: {str(output)!r}.")
    if os.path.lexists(output) and not force:
        raise CutError(f"There is a file {str(output)!r} already.{hint}")


def _write(output: Path, save: Callable[[Path], Any], force: bool = False) -> None:
    """Write a file, all of it or nothing."""
    try:
        files.write(output, save, replace=force)
    except OSError as error:
        raise CutError(f"Cannot write {str(output)!r}: {error.strerror or error}") from error


def _read(data: Path, dtypes: dict[str, str]) -> Any:
    """The array of a file, or those for a model's inputs by their names; a folder as it is."""
    import numpy as np

    if data.suffix not in (".npy", ".npz"):
        return data
    try:
        read = np.load(data, mmap_mode="r")
        if isinstance(read, np.ndarray):
            arrays = {"": read}
        else:
            names = [name for name in read.files if name in dtypes]
            arrays = {name: read[name] for name in names or read.files}
    except Exception as error:  # what damaged files make NumPy raise is no closed list
        raise CutError(f"Cannot read {str(data)!r}: {error}") from error
    with_texts = "string" in dtypes.values()
    for array in arrays.values():
        if array.dtype.kind not in ("biufSU" if with_texts else "biuf"):
            wanted = "numbers or texts" if with_texts else "numbers"
            raise CutError(f"The model takes {wanted}, and {str(data)!r} holds {array.dtype}.")
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def _load(path: Path, unsafe: bool, imports: list[str] | None) -> "keras.Model":
    """Load a model, in Keras's safe mode unless told otherwise."""
    import keras

    if not os.path.isfile(path):
        raise CutError(f"There is no file {str(path)!r}{', but a folder' * os.path.isdir(path)}.")
    if path.suffix != ".keras":  # Keras's safe mode is for these alone
        raise CutError(f"A model is read from a .keras file. Received: {str(path)!r}.")
    if not is_zipfile(path):
        raise CutError(f"Cannot load {str(path)!r}: it is no .keras file, or a damaged one.")
    try:
        _import(imports or ())
        with Console(stderr=True).status(Text(_visible(f"Loading {path.name}"))):
            return keras.saving.load_model(path, compile=False, safe_mode=not unsafe)
    # Whatever Keras or a layer of the user's raises; a module that is imported may also exit.
    except (Exception, SystemExit) as error:
        hint = ""
        if "safe_mode" in str(error) and not unsafe:
            hint = " --unsafe allows it; do so only if you trust where the file comes from."
        elif "locate" in str(error):
            hint = " --import MODULE imports the module that has the model's own layers."
        raise CutError(f"Cannot load {str(path)!r}: {error}{hint}") from error


def _import(modules: Iterable[str]) -> None:
    """Import modules, also from the current folder: from there nothing but what was asked for."""
    sys.path.append(os.getcwd())
    try:
        for name in modules:
            import_module(name)
    finally:
        sys.path.remove(os.getcwd())


def main() -> None:
    """Run the command line."""
    # Before TensorFlow is imported, which reports on processors and absent GPUs each time.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    app()


if __name__ == "__main__":
    main()
