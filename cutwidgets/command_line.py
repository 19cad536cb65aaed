"""The command line, for what needs no notebook: `cutwidgets show model.keras`."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from ._anatomy import anatomy
from ._costs import costs
from ._features import features as extract
from .blocks import shape_text
from .errors import CutError
from .proof import check as prove
from .slicing import cut as cut_out

app = typer.Typer(
    help="Look at Keras models, and cut them between their blocks. "
    "Exit codes: 0 if all is well, 1 if a proof fails, 2 if something cannot be done.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

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


@app.command()
def show(
    model: File, as_json: AsJson = False, unsafe: Unsafe = False, imports: Imports = None
) -> None:
    """Show the blocks of a model, with what each costs."""
    loaded = _load(model, unsafe, imports)
    found = anatomy(loaded)
    rows: list[dict[str, Any]] = [
        {
            "block": block.name,
            "kind": block.kind,
            "shortcut": block.shortcut,
            "stage": block.stage,
            "output": [found.graph.tensors[tensor].shape for tensor in block.exits],
            "parameters": cost.params,
            "macs": cost.macs,
        }
        for block, cost in zip(found, costs(loaded), strict=True)
    ]
    if as_json:
        typer.echo(json.dumps({"model": found.name, "blocks": rows}, indent=1))
        return
    table = Table(title=f"{found.name}: {len(rows)} blocks")
    for name in rows[0]:
        table.add_column(name, justify="right" if name in ("parameters", "macs") else "left")
    for row in rows:
        shapes = ", ".join(map(shape_text, row["output"]))
        table.add_row(*map(_cell, {**row, "output": shapes}.values()))
    # What reads it from a pipe wants whole names.
    Console(width=None if sys.stdout.isatty() else 240).print(table)


@app.command()
def cut(
    model: File,
    start: Start,
    end: End,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .keras file to write.")],
    force: Annotated[bool, typer.Option(help="Replace the file if there is one.")] = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Cut a slice out of a model, both ends included, and save it."""
    if output.suffix != ".keras":
        raise CutError(f"A slice is saved as a .keras file. Received: --output {output}")
    if output.exists() and not force:
        raise CutError(f"There is a file {str(output)!r} already. --force replaces it.")
    part = cut_out(_load(model, unsafe, imports), *_places(start, end))
    # Beside it first, so that no half of a file is left.
    unfinished = output.with_name(f".{output.stem}-{os.getpid()}.keras")
    try:
        part.save(unfinished)
        unfinished.replace(output)
    except OSError as error:
        raise CutError(f"Cannot write {str(output)!r}: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    typer.echo(f"{output}: {part.name}, {part.count_params():,} parameters")


@app.command()
def check(
    model: File,
    start: Start,
    end: End,
    as_json: AsJson = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Prove that head, slice and tail together compute the model."""
    proof = prove(_load(model, unsafe, imports), *_places(start, end))
    typer.echo(json.dumps({"ok": proof.ok, **asdict(proof)}) if as_json else str(proof))
    if not proof.ok:
        raise typer.Exit(1)


@app.command()
def features(
    model: File,
    data: Annotated[Path, typer.Argument(help="A folder of images, or a .npy file.")],
    to: Annotated[Path, typer.Option(help="A name that ends in .parquet or .npy.")],
    batch: Annotated[int, typer.Option(help="How many examples are computed at once.")] = 32,
    as_json: AsJson = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
) -> None:
    """Run a model over a data set, and store what it gives. A run that was killed goes on."""
    source: Any = data
    if data.suffix == ".npy":
        try:
            source = np.load(data, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise CutError(f"Cannot read {str(data)!r}: {error}") from error
    found = extract(_load(model, unsafe, imports), source, to=to, batch=batch)
    broken = found.broken.to_dict("records")
    if as_json:
        told = {"path": str(found.path), "examples": found.examples, "broken": broken}
        typer.echo(json.dumps({**told, "shapes": found.shapes}))
        return
    typer.echo(repr(found))
    for row in broken:
        typer.echo(f"{row['id']}: {row['reason']}", err=True)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value or "")


def _places(start: str, end: str) -> tuple[str | None, str | None]:
    return (None if start == "-" else start, None if end == "-" else end)


def _load(path: Path, unsafe: bool, imports: list[str] | None) -> keras.Model:
    """Load a model, in Keras's safe mode unless told otherwise."""
    if not path.is_file():
        raise CutError(f"There is no file {str(path)!r}.")
    if path.suffix != ".keras":  # Keras's safe mode is for these alone
        raise CutError(f"A model is read from a .keras file. Received: {str(path)!r}.")
    try:
        _import(imports or ())
        with Console(stderr=True).status(f"Loading {path.name}"):
            return keras.saving.load_model(path, compile=False, safe_mode=not unsafe)
    except Exception as error:  # whatever Keras or a layer of the user's raises
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
    try:
        app()
    except CutError as error:
        typer.echo(f"cutwidgets: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
