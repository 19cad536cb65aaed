"""The command line: `cutwidgets show model.keras`.

Each command imports its modules when it runs: Keras is slow to import, and `--help` does not need
it.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict, replace
from enum import StrEnum
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from . import files
from .errors import BypassedCutError, CutwidgetsError, UnknownPlaceError
from .exit_codes import FAILED_CHECK, exit_codes, run, say, visible
from .loading import load
from .tables import Column, Table
from .text import shape_text

if TYPE_CHECKING:
    import keras

    from .analysis.costs import Cost

app = typer.Typer(
    help="Look at Keras models, and cut them between their blocks.\n\n"
    "Exit status: 0 success, 1 check failed or models differ, 2 cannot be done (which includes a "
    "full disk or too little memory), 70 internal error in cutwidgets or in a model's own layers, "
    "with a traceback on stderr, 130 interrupted by Ctrl-C, 141 broken pipe.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Engine(StrEnum):
    """What computes features."""

    LOCAL = "local"
    RAY = "ray"


File = Annotated[Path, typer.Argument(metavar="MODEL", help="A .keras or .h5 file.")]

Start = Annotated[
    str, typer.Argument(help="First block, stage or layer of the slice; - for the input.")
]

Ends = Annotated[
    list[str],
    typer.Argument(
        metavar="END...",
        help="Last block, stage or layer; - for the output. Several make a dictionary of outputs; "
        "KEY=END gives one a key of its own.",
    ),
]

AllowBypass = Annotated[
    bool,
    typer.Option("--allow-bypass", help="Turn tensors that bypass the start into extra inputs."),
]

InputShape = Annotated[
    str | None,
    typer.Option(metavar="N,N,N", help="Shape that the slice accepts, without the batch axis."),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON.")]

Unsafe = Annotated[
    bool, typer.Option(help="Allow the file to run its own code: only if you trust its origin.")
]

Imports = Annotated[
    list[str] | None,
    typer.Option("--import", metavar="MODULE", help="Module that defines the model's own layers."),
]


@app.command()
@exit_codes()
def show(
    model: File,
    with_costs: Annotated[
        bool, typer.Option("--costs", help="Add activation bytes and receptive fields.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the diagram to this .svg file.")
    ] = None,
    as_json: AsJson = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Show the blocks of a model, and their costs."""
    if svg is not None:
        _refuse_output(svg, ".svg", "The diagram")
    with _loaded(model, unsafe, imports) as loaded:
        from .analysis.costs import costs
        from .structure.anatomy import anatomy

        blocks, block_costs = anatomy(loaded), costs(loaded)
        if svg is not None:
            files.write_whole(svg, lambda path: path.write_text(blocks.svg, "utf-8"))
    total = _numbers(block_costs.total, with_costs)
    rows = [
        {
            "block": block.name,
            "kind": block.kind,
            "shortcut": block.shortcut,
            "stage": block.stage,
            "output": [blocks.graph.tensors[tensor].shape for tensor in block.exits],
            **_numbers(cost, with_costs),
        }
        for block, cost in zip(blocks, block_costs, strict=True)
    ]
    if as_json:
        costs_too = {"total": total, "inputs": block_costs.input_shapes} if with_costs else {}
        _print_json({"model": blocks.name, "blocks": rows, **costs_too})
        return
    table = Table(_columns(with_costs), rows)
    if with_costs:
        shapes = ", ".join(map(shape_text, block_costs.input_shapes))
        caption = f"Costs are for one example of {shapes}."
        table = replace(table, caption=caption, total={"block": "total", **total})
    say(f"{_line(blocks.name)}: {len(rows)} blocks\n\n{table.text()}")


@app.command()
@exit_codes()
def cut(
    model: File,
    start: Start,
    ends: Ends,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .keras file to write.")],
    allow_bypass: AllowBypass = False,
    input_shape: InputShape = None,
    force: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Save a slice of a model, from START to END inclusive, or to several ends."""
    _refuse_output(output, ".keras", "The slice", force, " Use --force to replace it.")
    with _loaded(model, unsafe, imports) as loaded:
        from .surgery.slicing import cut as cut_out

        part = _on_slice(cut_out, loaded, start, ends, allow_bypass, input_shape)
        files.write_whole(output, part.save, force)
    say(f"{output}: {part.name}, {part.count_params():,} parameters")


@app.command()
@exit_codes()
def check(
    model: File,
    start: Start,
    ends: Ends,
    allow_bypass: AllowBypass = False,
    input_shape: InputShape = None,
    as_json: AsJson = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Check that head, slice and tail together compute the model."""
    with _loaded(model, unsafe, imports) as loaded:
        from .surgery.checking import check as checked

        result = _on_slice(checked, loaded, start, ends, allow_bypass, input_shape)
    if as_json:
        verdict = {"ok": result.ok, "conclusive": result.conclusive, "verdict": str(result)}
        _print_json(verdict | asdict(result))
    else:
        say(str(result))
    if not result.ok:
        raise typer.Exit(FAILED_CHECK)


@app.command()
@exit_codes()
def compare(
    model: File,
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="Another .keras or .h5 file.")],
    as_json: AsJson = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Say what differs between two models; exit status 1 if anything does."""
    with _loaded(model, unsafe, imports) as one, _loaded(other, unsafe, imports) as two:
        from .comparison.comparison import compare as compared

        result = compared(one, two)
    if as_json:
        rows = [asdict(row) for row in result.rows]
        _print_json({"same": result.same, "finding": result.finding, "rows": rows})
    else:
        say(visible(repr(result)))
    if not result.same:
        raise typer.Exit(FAILED_CHECK)


@app.command()
@exit_codes()
def page(
    model: File,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .html file to write.")],
    start: Annotated[
        str | None,
        typer.Option(help="Select from this block, stage or layer on; - for the input."),
    ] = None,
    end: Annotated[
        list[str] | None,
        typer.Option(
            help="Select up to this block, stage or layer; - for the output. May be repeated."
        ),
    ] = None,
    allow_bypass: AllowBypass = False,
    force: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Save the panel of a model as one HTML file that works without Python."""
    _refuse_output(output, ".html", "The page", force, " Use --force to replace it.")
    with _loaded(model, unsafe, imports) as loaded:
        from .panel.panel import CutPanel
        from .surgery.slicing import cut as cut_out

        panel = CutPanel(loaded)
        panel.allow_bypass = allow_bypass
        if start is not None or end:
            start, end = start or "-", end or ["-"]
            _on_slice(cut_out, loaded, start, end, allow_bypass, None)  # a panel raises nothing
            panel.selection = _place(start), _ends(loaded, end)
        files.write_whole(output, panel.save, force)
    say(f"{output}: {panel!r}")


@app.command()
@exit_codes()
def features(
    model: File,
    data: Annotated[
        Path,
        typer.Argument(
            help="A folder of images, a .npy file, or a .npz file: one array per input."
        ),
    ],
    to: Annotated[Path, typer.Option(help="The .parquet folder or .npy file to write.")],
    batch: Annotated[int, typer.Option(min=1, help="Number of examples in a batch.")] = 32,
    engine: Annotated[Engine, typer.Option(help="Compute here, or on Ray.")] = Engine.LOCAL,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of Ray processes; default: one per processor.")
    ] = None,
    as_json: AsJson = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Run a model over a data set, and store its outputs. A run that was stopped resumes."""
    with _loaded(model, unsafe, imports) as loaded:
        from .extraction.features import features as extract

        source = _read(data, {tensor.name: tensor.dtype for tensor in loaded.inputs})
        stored = extract(loaded, source, to=to, batch=batch, engine=engine.value, workers=workers)
    broken = stored.broken.to_dict("records")
    if as_json:
        result = {"path": str(stored.path), "examples": stored.examples, "broken": broken}
        _print_json(result | {"shapes": stored.shapes})
        return
    say(repr(stored))
    for row in broken:
        say(f"{row['id']}: {row['reason']}", err=True)


def _numbers(cost: "Cost", with_costs: bool) -> dict[str, Any]:
    """The numbers that are shown for a block."""
    names = ["parameters", "macs", "uncounted"]
    names += ["activation_bytes", "receptive_field"] if with_costs else []
    return {name: getattr(cost, name) for name in names}


def _columns(with_costs: bool) -> list[Column]:
    """The columns of the table of blocks."""

    def words(name: str) -> Column:
        return Column(name, text=lambda row: _line(row.get(name) or ""), left=True)

    def number(name: str) -> Column:
        return Column(name, text=lambda row: f"{row[name]:,}")

    def shapes(row: dict[str, Any]) -> str:
        return ", ".join(map(shape_text, row.get("output", ())))

    def macs(row: dict[str, Any]) -> str:
        return f"≥ {row['macs']:,}" if row["uncounted"] else f"{row['macs']:,}"

    def field(row: dict[str, Any]) -> str:
        return "×".join(map(str, row["receptive_field"] or ()))

    columns = [*map(words, ("block", "kind", "shortcut", "stage"))]
    columns += [Column("output", text=shapes, left=True), number("parameters")]
    columns += [Column("macs", text=macs)]
    if with_costs:
        columns += [number("activation_bytes"), Column("receptive_field", text=field)]
    return columns


def _line(name: str) -> str:
    """A name in one line."""
    return visible(name).replace("\n", "\\n")


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    """Replace infinity and NaN, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _place(written: str) -> str | None:
    return None if written == "-" else written


def _ends(model: "keras.Model", written: list[str]) -> str | dict[str, str] | None:
    """The ends of a slice, as `cut` takes them."""
    pairs = [_key_and_place(model, text) for text in written]
    if len(pairs) == 1 and pairs[0][0] == pairs[0][1]:
        return _place(written[0])
    ends: dict[str, str] = {}
    for key, place in pairs:
        if place == "-":
            raise CutwidgetsError("- stands for the model's own output, and is the only end then.")
        if key in ends:
            raise CutwidgetsError(f"Two of the ends are named {key!r}. Write KEY=END for one.")
        ends[key] = place
    return ends


def _key_and_place(model: "keras.Model", written: str) -> tuple[str, str]:
    """What `"C3=conv3"` says, unless that is the whole name of a place."""
    from .structure.anatomy import anatomy
    from .structure.places import resolve

    key, equals, place = written.partition("=")
    if equals:
        with suppress(UnknownPlaceError):
            resolve(anatomy(model), written)
            return written, written
        return key, place
    return written, written


def _on_slice(
    function: Callable[..., Any],
    model: "keras.Model",
    start: str,
    ends: list[str],
    allow_bypass: bool,
    input_shape: str | None,
) -> Any:
    """Call `cut` or `check` with the arguments of a command."""
    options = {"allow_bypass": allow_bypass, "input_shape": _shape(input_shape)}
    try:
        return function(model, _place(start), _ends(model, ends), **options)
    except BypassedCutError as error:
        raise CutwidgetsError(f"{error} On the command line, use --allow-bypass.") from error


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
    """Refuse an output file before the work, not after it."""
    if output.suffix != suffix:
        raise CutwidgetsError(f"{what} must be a {suffix} file. Received: {str(output)!r}.")
    if os.path.lexists(output) and not force:
        raise CutwidgetsError(f"The file {str(output)!r} exists already.{hint}")


def _read(data: Path, dtypes: dict[str, str]) -> Any:
    """Read the array of a file, or its arrays by input name; return a folder's path as it is."""
    import numpy as np

    if data.suffix not in (".npy", ".npz"):
        return data
    try:
        content = np.load(data, mmap_mode="r")
        if isinstance(content, np.ndarray):
            arrays = {"": content}
        else:
            names = [name for name in content.files if name in dtypes]
            arrays = {name: content[name] for name in names or content.files}
    except Exception as error:  # damaged files make NumPy raise almost anything
        raise CutwidgetsError(f"Cannot read {str(data)!r}: {error}") from error
    kinds, accepted = "biuf", "numbers"
    if "string" in dtypes.values():
        kinds, accepted = "biufSU", "numbers or strings"
    for array in arrays.values():
        if array.dtype.kind not in kinds:
            raise CutwidgetsError(
                f"The model accepts {accepted}, but {str(data)!r} contains {array.dtype}."
            )
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


@contextmanager
def _loaded(path: Path, unsafe: bool, imports: list[str] | None) -> Iterator["keras.Model"]:
    """Load a model, in Keras's safe mode unless `unsafe`, for the commands of the context.

    Keras and a user's own layers may print: within the context to standard error.
    """
    with redirect_stdout(sys.stderr):
        yield _load(path, unsafe, imports)


def _load(path: Path, unsafe: bool, imports: list[str] | None) -> "keras.Model":
    try:
        _import(imports or ())
    except (Exception, SystemExit) as error:  # a module may raise anything, and may exit
        raise CutwidgetsError(f"Cannot import the module of --import: {error}") from error
    try:
        with Console(stderr=True).status(Text(visible(f"Loading {path.name}"))):
            return load(path, safe_mode=not unsafe)
    except CutwidgetsError as error:
        hint = ""
        if "safe_mode=False" in str(error):
            hint = " On the command line, use --unsafe."
        elif "custom_objects" in str(error):
            hint = " On the command line, use --import MODULE to import the module."
        raise CutwidgetsError(f"{error}{hint}") from error


def _import(modules: Iterable[str]) -> None:
    """Import modules, also from the current folder, which nothing else is imported from."""
    path = sys.path.copy()
    sys.path.append(os.getcwd())
    try:
        for name in modules:
            import_module(name)
    finally:
        sys.path[:] = path  # removing the folder by name might remove the user's own entry


def main() -> None:
    """Run the command line, and exit with its status."""
    # Before TensorFlow is imported, which logs about processors and missing GPUs each time.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    run(app)
