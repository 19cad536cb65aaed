"""The anatomy of a model, and its picture, against Keras' own pictures."""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from io import StringIO
from itertools import islice
from math import log
from pathlib import Path
from statistics import median
from time import perf_counter

import keras
from measure import Part, Row, Times, against, duration, interleaved, reason, timed

import cutwidgets as cw

NAMES = ("ResNet50", "DenseNet201", "EfficientNetB7")
LENGTHS = (100, 300, 1000, 3000)
# Milliseconds by the number of layers, for the picture: filled by `linearity`.
CURVES: dict[str, dict[int, float]] = {}


def plain() -> Iterator[keras.KerasTensor]:
    """What each layer of an endless chain gives, after the input."""
    yield (tensor := keras.Input((4,)))
    while True:
        yield (tensor := keras.layers.Dense(4)(tensor))


def residual() -> Iterator[keras.KerasTensor]:
    """The same of a chain of residual blocks of three layers each."""
    yield (tensor := keras.Input((4,)))
    while True:
        yield (branch := keras.layers.Dense(4, activation="relu")(tensor))
        yield (branch := keras.layers.Dense(4)(branch))
        yield (tensor := keras.layers.Add()([tensor, branch]))


def live_tensors(model: keras.Model) -> list[int]:
    """How many tensors are live after each call: the least that finding blocks takes."""
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    last = {id(tensor): i for i, node in enumerate(nodes) for tensor in node.input_tensors}
    last |= {id(tensor): len(nodes) for tensor in model.outputs}
    ends, live, counts = Counter(last.values()), 0, []
    for i, node in enumerate(nodes):
        live += sum(id(tensor) in last for tensor in node.outputs) - ends[i]
        counts.append(live)
    return counts


def linearity(
    chain: Callable[[], Iterator[keras.KerasTensor]],
    what: str,
    lengths: tuple[int, ...],
    repeats: int,
    patience: float = 10,
) -> Iterator[Row]:
    """`cw.anatomy` of longer and longer parts of a chain, against making the `keras.Model`.

    A length is left out if, by the growth so far, one call would take longer than `patience`.
    """
    endless, tensors, best = chain(), [], {}
    for length in lengths:
        expected = _expected(best, length)
        if expected > patience:
            told = f"not run: about {duration(expected)} a call, by its growth so far"
            yield Row(f"anatomy: {what} of {length} layers", told, ok=False)
            break
        with deep_recursion():
            tensors += islice(endless, length + 1 - len(tensors))
            times, scans = _measured(tensors[0], tensors[length], repeats)
        best[length] = times.ours
        _remember(f"cw.anatomy, {what}", length, times.ours)
        _remember(f"making the keras.Model, {what}", length, times.peer)
        _remember(f"counting live tensors, {what}", length, scans)
        yield times.row(f"anatomy: {what} of {length} layers", None, "keras.Model")
    short, long = (300 if 300 in best else min(best)), max(best)
    some = min(len(best[short]), len(best[long]))
    layer = {n: [seconds / n for seconds in best[n][:some]] for n in (short, long)}
    text = f"anatomy, a layer of a {what} of {long} layers"
    yield Times(layer[long], layer[short]).row(text, 1.5, f"ours, of {short}")


def _measured(
    start: keras.KerasTensor, end: keras.KerasTensor, repeats: int, warm: int = 1
) -> tuple[Times, list[float]]:
    """Seconds of the anatomy of new models, and of making each; and of the scan for live tensors.

    Each model is new, as what is found may be kept for the next time.
    """
    peer, ours, scans = [], [], []
    for _ in range(warm + repeats):
        begun = perf_counter()
        model = keras.Model(start, end)
        peer.append(perf_counter() - begun)
        ours.append(timed(cw.anatomy, model))
        scans.append(timed(live_tensors, model))
        if ours[-1] > 1:  # once is enough
            warm = len(ours) - 1
            break
    return Times(ours[warm:], peer[warm:]), scans[warm:]


def _remember(label: str, length: int, seconds: list[float]) -> None:
    CURVES.setdefault(label, {})[length] = 1000 * median(seconds)


def _expected(best: dict[int, list[float]], length: int) -> float:
    """Seconds that a length would take, if time grows as it did between the last two."""
    if len(best) < 2:
        return 0.0
    (one, before), (other, now) = list(best.items())[-2:]
    power = log(min(now) / min(before)) / log(other / one)
    return min(now) * (length / other) ** power


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Keras makes models by recursion."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def quick_anatomy(repeats: int) -> Iterator[Row]:
    """What the panel needs before anything else, of a model that was not seen before."""
    model = keras.applications.ResNet50(weights=None, include_top=False)
    models = [renewed(model) for _ in range(repeats)]
    seconds = [timed(cw.anatomy, model) for model in models]
    scans = [timed(live_tensors, model) for model in models]
    again = [timed(cw.anatomy, model) for model in models]
    yield against(seconds, 0.005, "anatomy of ResNet50")
    yield Times(seconds, scans).row("the same", None, "counting live tensors alone")
    yield Times(again, seconds).row("the same, once more", None, "ours, the first time")


def renewed(model: keras.Model) -> keras.Model:
    """A new model of the same layers, of which nothing is known yet."""
    return keras.Model(model.inputs, model.outputs)


def picture(model: keras.Model) -> str:
    """A model's diagram."""
    return cw.anatomy(model).svg


def drawn(name: str, repeats: int) -> Iterator[Row]:
    """From the model to SVG, against `keras.utils.plot_model`."""
    model = getattr(keras.applications, name)(weights=None, include_top=False)
    fresh = partial(renewed, model)
    picture(fresh())  # loads Graphviz
    with tempfile.TemporaryDirectory() as folder:
        png, svg = Path(folder, f"{name}.png"), Path(folder, f"{name}.svg")
        for file, limit, some in ((png, 1 / 20, min(repeats, 2)), (svg, 1 / 3, repeats)):
            times = interleaved(picture, partial(plotted, file), some, fresh, warm=0)
            peer = f"plot_model, {file.suffix[1:].upper()}"
            yield times.row(f"diagram of {name} as SVG", limit, peer)
        yield with_shapes(name, fresh, svg)


def with_shapes(name: str, fresh: Callable[[], keras.Model], file: Path) -> Row:
    """The same as our diagram tells: with shapes. That `dot` dies of it is the peer's failure."""
    what = f"diagram of {name} with shapes, as SVG"
    ours = timed(picture, fresh())
    try:
        with redirect_stdout(StringIO()):  # pydot prints what `dot` says
            peer = timed(partial(plotted, file, show_shapes=True), fresh())
    except Exception as error:  # whatever pydot raises
        return Row(what, duration(ours), peer=f"plot_model(show_shapes=True) {reason(error)}")
    return Times([ours], [peer]).row(what, None, "plot_model(show_shapes=True), SVG")


def plotted(file: Path, model: keras.Model, **options: bool) -> None:
    """`keras.utils.plot_model`; SVG it writes, but then fails to hand to IPython."""
    file.unlink(missing_ok=True)
    try:
        keras.utils.plot_model(model, file, **options)
    except ValueError as error:
        if "Cannot embed the 'svg' image format" not in str(error) or not file.exists():
            raise


def draw_curves(file: Path) -> None:
    """Draw how the time grows with the number of layers, from what was measured."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = {
        "cw.anatomy, chain": ("cw.anatomy: plain chain", "#0b62b0", "o-"),
        "cw.anatomy, residual chain": ("cw.anatomy: residual chain", "#d1580b", "s-"),
        "making the keras.Model, chain": ("keras.Model itself", "#555555", "^--"),
        "counting live tensors, chain": ("counting live tensors alone", "#2c8a4b", "v:"),
    }
    figure = Figure(figsize=(7.5, 5), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log", yscale="log")
    for label, (text, color, style) in shown.items():
        curve = CURVES.get(label, {})
        axes.plot(curve.keys(), curve.values(), style, color=color, label=text, linewidth=2)
    axes.set_xticks(LENGTHS, [f"{length:,}" for length in LENGTHS])
    axes.xaxis.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("layers", fontsize=12)
    axes.set_ylabel("milliseconds (median)", fontsize=12)
    axes.set_title("Time by the number of layers, both axes logarithmic", fontsize=12)
    axes.grid(color="#dddddd")
    axes.legend(fontsize=11, frameon=False)
    figure.savefig(file)


def parts(quick: bool) -> dict[str, Part]:
    """What this topic measures."""
    lengths, repeats = (LENGTHS[:-1], 2) if quick else (LENGTHS, 5)
    return {
        "anatomy of a chain": partial(linearity, plain, "chain", lengths, repeats),
        "anatomy of a residual chain": partial(
            linearity, residual, "residual chain", lengths, repeats
        ),
        "anatomy of ResNet50": partial(quick_anatomy, 10 if quick else 40),
        **{
            f"diagram of {name}": partial(drawn, name, 2 if quick else 3)
            for name in (NAMES[:1] if quick else NAMES)
        },
    }
