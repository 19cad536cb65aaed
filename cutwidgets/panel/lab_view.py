"""What the panel's page is told of the experiments of `cutwidgets.lab`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .. import lab
from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from ..inference.images import takes_images
from ..lab import labels
from ..structure.anatomy import anatomy
from ..text import percent_text


@dataclass(frozen=True)
class _Experiment:
    """A study of `lab` whose table has a row for each block.

    Attributes:
        function: Its name in `lab`.
        label: What the page calls it.
        about: What it does.
        columns: For those that are shown, what they mean and how their numbers are written; the
            first gives the colour.
        takes: The arguments after the model.
        needs_labels: Whether it can do nothing without them.
    """

    function: str
    label: str
    about: str
    columns: dict[str, tuple[str, str]]
    takes: Sequence[str] = ("x", "y")
    needs_labels: bool = False

    def missing(self, data: "Examples | None") -> str:
        """What has to be given before it can be made; `""` where nothing is missing."""
        if not self.needs_labels or (data and data.y is not None):
            return ""
        return f"{self.label} need examples with labels: CutPanel(model, data=(x, y))"


_EXPERIMENTS = {
    "lesions": _Experiment(
        "lesions",
        "Lesions",
        "Takes each block out in turn, leaves its shortcut in place, and measures what the model "
        "does then: by its errors, or without labels by how much its output changes.",
        {
            "error": ("Error without the block", "%"),
            "squared error": ("Squared error without the block", ".3g"),
            "change": ("Change of the output without the block", "%"),
        },
    ),
    "norms": _Experiment(
        "norm_ratios",
        "Norm ratios",
        "Compares, in each residual block, the length of what the branch adds, F(x), with that of "
        "what the shortcut passes, x.",
        {"ratio": ("‖F(x)‖ / ‖x‖", "z.3f"), "cosine": ("Cosine", "z.3f")},
        takes=("x",),
    ),
    "probes": _Experiment(
        "probes",
        "Linear probes",
        "Trains a linear classifier on what each block gives, and measures how often it is right "
        "about other examples; from and to are a standard deviation below and above.",
        {
            "accuracy": ("Accuracy of a linear probe", "%"),
            "low": ("From", "%"),
            "high": ("To", "%"),
        },
        needs_labels=True,
    ),
}


@dataclass(frozen=True)
class Examples:
    """A user's examples, and labels or `None`. They fit the model."""

    x: Any
    y: Any
    size: int


def examples(model: keras.Model, data: Any) -> Examples | None:
    """A user's examples, checked.

    Args:
        model: The model that they are for.
        data: A pair of examples and labels, where these may be `None`; or `None`.

    Raises:
        CutwidgetsError: If they are no pair, or do not fit the model.

    Example:
        >>> import keras
        >>> tiny = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> examples(tiny, [1, 2, 3])
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: data is a pair (x, y) of examples and labels...
    """
    if data is None:
        return None
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise CutwidgetsError(
            "data is a pair (x, y) of examples and labels, where y may be None. "
            f"Received: {data!r:.200}"
        )
    x, y = data
    seen = labels.subject(model, x)
    graph = seen.anatomy.graph
    if y is not None and np.ndim(y) == 1 < len(graph.tensors[graph.outputs[0]].shape) - 1:
        # The model gives maps, and these are classes: probes can do with them.
        labels.as_labels(y, seen.size)
    elif y is not None:
        labels.labels_of(seen.anatomy, y, seen.size)
    return Examples(x, y, seen.size)


def opened(
    model: keras.Model, graph: CallGraph, data: Examples | None
) -> tuple[Examples | None, dict[str, Any]]:
    """The examples where they fit another model too, and what the page is told of it.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from cutwidgets.graph.reader import read
        >>> tiny = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> data = examples(tiny, (np.zeros((5, 4)), None))
        >>> opened(tiny, read(tiny), data)[1]["on"]
        '5 examples without labels'
    """
    dropped = ""
    try:
        data = data and examples(model, (data.x, data.y))
    except CutwidgetsError as problem:
        data, dropped = None, f"The examples are left out: {problem}"
    shown = "the photograph of Forward pass" if takes_images(graph) else "random numbers"
    return data, choices(data, shown, dropped)


def choices(data: Examples | None, shown: str, dropped: str = "") -> dict[str, Any]:
    """The experiments that can be made, and with what.

    Args:
        data: The user's examples; `None` where there are none.
        shown: What the model is shown without them, in a few words.
        dropped: Why examples that there were are not there any more.

    Example:
        >>> told = choices(None, "the photograph")
        >>> told["on"], [bool(study["missing"]) for study in told["studies"]]
        ('the photograph', [False, False, True])
    """
    return {
        "on": _count(data) if data else shown,
        "dropped": dropped,
        "studies": [
            {
                "name": name,
                "label": experiment.label,
                "about": experiment.about,
                "missing": experiment.missing(data),
            }
            for name, experiment in _EXPERIMENTS.items()
        ],
    }


def _count(data: Examples) -> str:
    return f"{data.size:,} examples {'without' if data.y is None else 'with'} labels"


def study(
    model: keras.Model,
    name: str,
    data: Examples | None,
    shown: Callable[[], tuple[dict[int, Any], dict[str, Any]]],
    photo: str = "",
) -> dict[str, Any]:
    """Make an experiment.

    Args:
        model: The model.
        name: `"lesions"`, `"norms"` or `"probes"`.
        data: Examples; `None` to show the model something else.
        shown: Gives that, as `outcomes.shown_input` does.
        photo: The name of the photograph that it may show.

    Returns:
        What was found, with a number or `None` for each block, texts for them, the ends of the
        scale of colours and its title, a table, and the lines of Python that do the same.

    Raises:
        CutwidgetsError: If the experiment says so.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(2,))
        >>> data = examples(model, lab.digits().test)
        >>> told = study(model, "lesions", data, lambda: ({}, {}))
        >>> [value is None for value in told["values"]], told["title"]
        ([True, False, False, True], 'Error without the block')
        >>> print(told["code"])
        from cutwidgets import lab
        lab.lesions(model, x, y)
    """
    experiment = _EXPERIMENTS.get(name)
    if experiment is None:
        raise CutwidgetsError(
            f"The experiments are {', '.join(_EXPERIMENTS)}. Received: {name!r:.200}"
        )
    if experiment.missing(data):
        raise CutwidgetsError(experiment.missing(data))
    if data is None:
        given, seen = shown()
        x, y = list(given.values()), None
        on = f"one photograph, “{photo}”" if "photo" in seen else "random numbers"
    else:
        x, y, on = data.x, data.y, _count(data)
    takes = [word for word in experiment.takes if word == "x" or y is not None]
    result = getattr(lab, experiment.function)(model, *({"x": x, "y": y}[word] for word in takes))
    where = "" if data else "  # x: what Run shows to the model"
    call = f"lab.{experiment.function}(model, {', '.join(takes)}){where}"
    names = [block.name for block in anatomy(model)]
    return {
        "study": name,
        "finding": result.finding,
        "on": on,
        **_told(experiment, result.table, names),
        "code": f"from cutwidgets import lab\n{call}",
    }


def _told(experiment: _Experiment, table: Any, names: Sequence[str]) -> dict[str, Any]:
    """The table of a study as the page shows it, block by block."""
    shown = {name: words for name, words in experiment.columns.items() if name in table}
    titles, forms = zip(*shown.values(), strict=True)
    rows = {
        row["block"]: [_text(row[column], form) for column, form in zip(shown, forms, strict=True)]
        for row in table.to_dict("records")
    }
    found = dict(zip(table["block"], table[next(iter(shown))], strict=True))
    values = [_number(found.get(name)) for name in names]
    known = [value for value in values if value is not None] or [0.0]
    return {
        "title": titles[0],
        "values": values,
        "texts": [rows[name][0] if name in rows else "" for name in names],
        "low": _text(min(known), forms[0]),
        "high": _text(max(known), forms[0]),
        "columns": ["Block", *titles],
        "rows": [[name, *texts] for name, texts in rows.items()],
    }


def _number(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _text(value: float, form: str) -> str:
    if not np.isfinite(value):
        return "—"
    return percent_text(value) if form == "%" else f"{value:{form}}"
