"""What the page shows of the experiments of `cutwidgets.lab`, as plain dictionaries."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .. import lab
from ..errors import CutwidgetsError
from ..inference.images import takes_images
from ..lab import labels, subjects
from ..structure.anatomy import Anatomy
from ..text import percent_text


@dataclass(frozen=True)
class _Experiment:
    """A study of `lab` whose table has a row for each block.

    Attributes:
        function: Its name in `lab`.
        label: Its name on the page.
        about: What it does.
        columns: Title and number format of each column that the page may show. The first of them
            that the table contains colours the diagram.
        uses_labels: Whether it takes labels, if there are any.
        needs_labels: Whether it requires them.
    """

    function: str
    label: str
    about: str
    columns: dict[str, tuple[str, str]]
    uses_labels: bool = True
    needs_labels: bool = False

    def missing(self, data: "Examples | None") -> str:
        """What the user has to provide first; `""` if nothing is missing."""
        if not self.needs_labels or (data and data.y is not None):
            return ""
        return f"{self.label}: needs examples with labels, CutPanel(model, data=(x, y))."


_EXPERIMENTS = {
    "lesions": _Experiment(
        "lesions",
        "Remove one block at a time",
        "Lesion study: removes each block in turn, keeps its shortcut, and measures the damage: "
        "the error if there are labels, else how far the output moves.",
        {
            "error": ("Error without the block", "%"),
            "wrong decisions": ("Wrong decisions without the block", "%"),
            "squared error": ("Squared error without the block", ".3g"),
            "change": ("Change of the output without the block", "%"),
        },
    ),
    "norms": _Experiment(
        "norm_ratios",
        "Norm ratios",
        "Compares, in each residual block, the norm of the branch, F(x), with the norm of the "
        "shortcut, x.",
        {"ratio": ("‖F(x)‖ / ‖x‖", "z.3f"), "cosine": ("Cosine similarity", "z.3f")},
        uses_labels=False,
    ),
    "probes": _Experiment(
        "probes",
        "Linear probes",
        "Trains a linear classifier on the output of each block, and measures its accuracy on "
        "other examples. From and To are one standard deviation below and above.",
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
    """A user's examples, which fit the model; `y` holds their labels or is `None`."""

    x: Any
    y: Any
    size: int

    def __str__(self) -> str:
        """How many there are, and whether they have labels."""
        return f"{self.size:,} examples {'without' if self.y is None else 'with'} labels"


def examples(model: keras.Model, data: Any) -> Examples | None:
    """Check a user's examples.

    Args:
        model: The model that they are for.
        data: A pair of examples and labels, where the labels may be `None`; or `None`.

    Raises:
        CutwidgetsError: If they are no pair, or do not fit the model.

    Example:
        >>> import keras
        >>> tiny = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> examples(tiny, [1, 2, 3])
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: data must be a pair (x, y) of examples and labels...
    """
    if data is None:
        return None
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise CutwidgetsError(
            "data must be a pair (x, y) of examples and labels, where y may be None. "
            f"Received: {data!r:.200}"
        )
    x, y = data
    subject = subjects.matched(model, x)
    graph = subject.anatomy.graph
    if y is not None and np.ndim(y) == 1 < len(graph.tensors[graph.outputs[0]].shape) - 1:
        # The model outputs feature maps and the labels are classes: linear probes can use them.
        labels.as_labels(y, subject.size)
    elif y is not None:
        labels.labels_of(graph, y, subject.size, subject.answers)
    return Examples(x, y, subject.size)


def experiments(
    model: keras.Model, anatomy: Anatomy, data: Examples | None
) -> tuple[Examples | None, dict[str, Any]]:
    """Keep the examples if they fit a new model; also return how the page shows the experiments.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import cutwidgets as cw
        >>> tiny = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> data = examples(tiny, (np.zeros((5, 4)), None))
        >>> data, shown = experiments(tiny, cw.anatomy(tiny), data)
        >>> shown["on"], [bool(study["missing"]) for study in shown["studies"]]
        ('5 examples without labels', [False, False, True])
    """
    dropped = ""
    try:
        data = data and examples(model, (data.x, data.y))
    except CutwidgetsError as problem:
        data, dropped = None, f"The examples are left out, as they do not fit: {problem}"
    shown = "the photograph from Forward pass" if takes_images(anatomy.graph) else "random numbers"
    return data, {
        "on": str(data or shown),
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


def study(
    model: keras.Model,
    anatomy: Anatomy,
    name: str,
    data: Examples | None,
    shown_input: Callable[[], tuple[dict[int, Any], dict[str, Any]]],
    photo: str = "",
) -> dict[str, Any]:
    """Run an experiment.

    Args:
        model: The model.
        anatomy: Its anatomy.
        name: `"lesions"`, `"norms"` or `"probes"`.
        data: Examples; `None` to use what *Run* feeds to the model.
        shown_input: Returns that, as `result_views.shown_input` does.
        photo: The name of the current photograph.

    Returns:
        The result: a number or `None` for each block, texts for them, the ends of the colour scale
        and its title, a table, and the lines of Python that do the same.

    Raises:
        CutwidgetsError: If there is no such experiment, or it cannot run on this model and data.

    Example:
        >>> import cutwidgets as cw
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(2,))
        >>> data = examples(model, lab.digits().test)
        >>> result = study(model, cw.anatomy(model), "lesions", data, lambda: ({}, {}))
        >>> [value is None for value in result["values"]], result["title"]
        ([True, False, False, True], 'Error without the block')
        >>> print(result["code"])
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
        inputs, shown = shown_input()
        x, y = list(inputs.values()), None
        on = f"one photograph, “{photo}”" if "photo" in shown else "random numbers"
    else:
        x, y, on = data.x, data.y, str(data)
    uses_labels = experiment.uses_labels and y is not None
    result = getattr(lab, experiment.function)(model, x, *([y] if uses_labels else []))
    call = f"lab.{experiment.function}(model, {'x, y' if uses_labels else 'x'})"
    comment = "" if data else "  # x: the input that Run feeds to the model"
    return {
        "finding": result.finding,
        "on": on,
        **_table(experiment, result.table, [block.name for block in anatomy]),
        "code": f"from cutwidgets import lab\n{call}{comment}",
    }


def _table(experiment: _Experiment, table: Any, blocks: list[str]) -> dict[str, Any]:
    """The table of a study as the page shows it, block by block."""
    columns = {name: shown for name, shown in experiment.columns.items() if name in table}
    titles = [title for title, _ in columns.values()]
    rows = {
        row["block"]: [_text(row[name], form) for name, (_, form) in columns.items()]
        for row in table.to_dict("records")
    }
    first, (title, form) = next(iter(columns.items()))
    numbers = dict(zip(table["block"], table[first], strict=True))
    values = [_number(numbers.get(block)) for block in blocks]
    finite = [value for value in values if value is not None] or [0.0]
    return {
        "title": title,
        "values": values,
        "texts": [rows[block][0] if block in rows else "" for block in blocks],
        "low": _text(min(finite), form),
        "high": _text(max(finite), form),
        "columns": ["Block", *titles],
        "rows": [[block, *texts] for block, texts in rows.items()],
    }


def _number(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _text(value: float, form: str) -> str:
    if not np.isfinite(value):
        return "—"
    return percent_text(value) if form == "%" else f"{value:{form}}"
