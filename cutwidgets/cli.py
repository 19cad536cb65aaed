"""The command line, for what needs no notebook: `cutwidgets show model.keras`.

Each command imports what it needs when it runs: Keras is slow to import, and `--help` needs none.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from enum import StrEnum
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import files
from .errors import BypassedCutError, CutwidgetsError
from .exit_codes import FAILED_PROOF, exit_codes, run, say, visible
from .loading import load, refuse_unreadable

if TYPE_CHECKING:
    import keras

    from .analysis.costs import Cost, Costs

app = typer.Typer(
    help="Look at Keras models, and cut them between their blocks.\n\n"
    "Exit codes: 0 if all is well; 1 if a check fails; 2 if something cannot be done, which may be "
    "for want of memory or disk space; 70 for a bug of cutwidgets or of a model's own layers, "
    "whose traceback is then on stderr; 130 after Ctrl-C; 141 if nobody reads what is printed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Engine(StrEnum):
    """Where features are computed."""

    LOCAL = "local"
    RAY = "ray"


File = Annotated[Path, typer.Argument(metavar="MODEL", help="A .keras or .h5 file.")]

Start = Annotated[
    str, typer.Argument(help="Block, stage or layer that the slice starts with; - for the input.")
]

End = Annotated[str, typer.Argument(help="What it ends with; - for the output.")]

AllowBypass = Annotated[
    bool,
    typer.Option("--allow-bypass", help="Turn tensors that bypass the start into extra inputs."),
]

InputShape = Annotated[
    str | None,
    typer.Option(metavar="N,N,N", help="Shape that the slice accepts, without the batch axis."),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]

Unsafe = Annotated[
    bool, typer.Option(help="Let the file run code of its own: only if you trust its origin.")
]

Imports = Annotated[
    list[str] | None,
    typer.Option("--import", metavar="MODULE", help="Module with the model's own layers."),
]


@app.command()
@exit_codes()
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
    refuse_unreadable(model)  # before Keras is imported
    if svg is not None:
        _refuse_output(svg, ".svg", "A diagram")
    from .analysis.costs import costs
    from .structure.anatomy import anatomy

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
    at_terminal = sys.stdout is not None and sys.stdout.isatty()
    Console(width=None if at_terminal else 240).print(_table(rows, counted, with_costs))


@app.command()
@exit_codes()
def cut(
    model: File,
    start: Start,
    end: End,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .keras file to write.")],
    allow_bypass: AllowBypass = False,
    input_shape: InputShape = None,
    force: Annotated[bool, typer.Option(help="Replace the file if there is one.")] = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Cut a slice out of a model, both ends included, and save it."""
    refuse_unreadable(model)  # before Keras is imported
    _refuse_output(output, ".keras", "A slice", force, " --force replaces it.")
    from .surgery.slicing import cut as cut_out

    with _working():
        loaded = _load(model, unsafe, imports)
        with _hint_for_bypass():
            part = cut_out(
                loaded,
                *_places(start, end),
                allow_bypass=allow_bypass,
                input_shape=_shape(input_shape),
            )
        _write(output, part.save, force)
    say(f"{output}: {part.name}, {part.count_params():,} parameters")


@app.command()
@exit_codes()
def check(
    model: File,
    start: Start,
    end: End,
    allow_bypass: AllowBypass = False,
    input_shape: InputShape = None,
    as_json: AsJson = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Check that head, slice and tail together compute the model."""
    refuse_unreadable(model)  # before Keras is imported
    from .surgery.checking import check as checked

    with _working():
        loaded = _load(model, unsafe, imports)
        with _hint_for_bypass():
            result = checked(
                loaded,
                *_places(start, end),
                allow_bypass=allow_bypass,
                input_shape=_shape(input_shape),
            )
    if as_json:
        verdict = {"ok": result.ok, "conclusive": result.conclusive, "verdict": str(result)}
        _print_json(verdict | asdict(result))
    else:
        say(str(result))
    if not result.ok:
        raise typer.Exit(FAILED_PROOF)


@app.command()
@exit_codes()
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
    refuse_unreadable(model)  # before Keras is imported
    from .extraction.features import features as extract

    with _working():
        loaded = _load(model, unsafe, imports)
        source = _read(data, {tensor.name: tensor.dtype for tensor in loaded.inputs})
        found = extract(loaded, source, to=to, batch=batch, engine=engine.value, workers=workers)
    broken = found.broken.to_dict("records")
    if as_json:
        told = {"path": str(found.path), "examples": found.examples, "broken": broken}
        _print_json({**told, "shapes": found.shapes})
        return
    say(repr(found))
    for row in broken:
        say(f"{row['id']}: {row['reason']}", err=True)


def _working() -> redirect_stdout[Any]:
    """Within this, what Keras or a user's own layers print is kept out of a command's output."""
    return redirect_stdout(sys.stderr)


def _counted(cost: "Cost", whole: bool) -> dict[str, Any]:
    """The numbers of a block that are shown."""
    counted: dict[str, Any] = {"parameters": cost.parameters, "macs": cost.macs}
    counted["uncounted"] = cost.uncounted
    if whole:
        counted["activation_bytes"] = cost.activation_bytes
        counted["receptive_field"] = cost.receptive_field
    return counted


def _table(rows: list[dict[str, Any]], costs: "Costs", with_costs: bool) -> Table:
    """The blocks as a table, with what all of them cost if asked for."""
    from .text import shape_text

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
    return visible(str(value or "")).replace("\n", "\\n")


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


@contextmanager
def _hint_for_bypass() -> Iterator[None]:
    """Name the option in the error of a start that is bypassed."""
    try:
        yield
    except BypassedCutError as error:
        raise CutwidgetsError(f"{error} On the command line that is --allow-bypass.") from error


def _shape(written: str | None) -> tuple[int, ...] | None:
    """The shape that a text such as `"56,56,256"` stands for."""
    try:
        return None if written is None else tuple(map(int, written.split(",")))
    except ValueError as error:
        raise CutwidgetsError(
            f"--input-shape is written as numbers with commas. Received: {written!r:.200}"
        ) from error


def _refuse_output(
    output: Path, suffix: str, what: str, force: bool = False, hint: str = ""
) -> None:
    """Refuse a file to write before the work, not after it."""
    if output.suffix != suffix:
        raise CutwidgetsError(f"{what} is saved as a {suffix} file. Received: {str(output)!r}.")
    if os.path.lexists(output) and not force:
        raise CutwidgetsError(f"There is a file {str(output)!r} already.{hint}")


def _write(output: Path, save: Callable[[Path], Any], force: bool = False) -> None:
    """Write a file, all of it or nothing."""
    try:
        files.write(output, save, replace=force)
    except OSError as error:
        raise CutwidgetsError(f"Cannot write {str(output)!r}: {error.strerror or error}") from error


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
        raise CutwidgetsError(f"Cannot read {str(data)!r}: {error}") from error
    with_texts = "string" in dtypes.values()
    for array in arrays.values():
        if array.dtype.kind not in ("biufSU" if with_texts else "biuf"):
            wanted = "numbers or texts" if with_texts else "numbers"
            raise CutwidgetsError(
                f"The model takes {wanted}, and {str(data)!r} holds {array.dtype}."
            )
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def _load(path: Path, unsafe: bool, imports: list[str] | None) -> "keras.Model":
    """Load a model, in Keras's safe mode unless told otherwise."""
    try:
        _import(imports or ())
    except (Exception, SystemExit) as error:  # whatever a module raises; it may also exit
        raise CutwidgetsError(f"Cannot import what --import names: {error}") from error
    try:
        with Console(stderr=True).status(Text(visible(f"Loading {path.name}"))):
            return load(path, safe_mode=not unsafe)
    except CutwidgetsError as error:
        hint = ""
        if "safe_mode=False" in str(error):
            hint = " On the command line that is --unsafe."
        elif "custom_objects" in str(error):
            hint = " On the command line, --import MODULE imports the module."
        raise CutwidgetsError(f"{error}{hint}") from error


def _import(modules: Iterable[str]) -> None:
    """Import modules, also from the current folder: from there nothing but what was asked for."""
    path = sys.path.copy()
    sys.path.append(os.getcwd())
    try:
        for name in modules:
            import_module(name)
    finally:
        sys.path[:] = path  # to remove the folder by name might remove the user's own entry


def main() -> None:
    """Run the command line, and end Python with its exit code."""
    # Before TensorFlow is imported, which reports on processors and absent GPUs each time.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    run(app)


if __name__ == "__main__":
    main()
