"""Receptive fields of an element: theoretical, measured and effective.

Luo, Li, Urtasun, Zemel 2016, "Understanding the effective receptive field in deep convolutional
neural networks", section 3: the gradient of an element almost vanishes at the border of its
receptive field. The effective size is the square root of the number of pixels with more than
1 - 95.45 % (two standard deviations) of the gradient in the middle, and grows with the root of the
depth. Here it is relative to the largest gradient, which need not be in the middle of a single
photograph.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from ..analysis.costs import costs
from ..errors import CutwidgetsError, UnknownPlaceError, similar
from ..extras import needs
from ..graph.callgraph import CallGraph
from ..graph.interpreter import compute
from ..inference import images, inputs, pictures
from ..inference.backend import compiled, finite, gradients, in_batches
from ..progress import track
from ..structure.anatomy import anatomy
from .block_axis import along_blocks
from .controls import Control, with_control
from .results import COLOURS, CONTROL, Result, for_any_page, frame

_LEVEL = 1 - 0.9545

_DRAWS = 4  # of random weights of the channels: a single draw is noisy

_SHOWN = 5  # photographs that stay readable side by side


@dataclass(frozen=True, eq=False, repr=False)
class ReceptiveFields(Result):
    """The receptive field of the element in the middle of each block's output, on a photograph.

    Columns: block, stage; in input pixels: height and width (by the formula, not cut off at the
    border; NaN if unbounded or unknown), measured height and measured width (of the smallest
    rectangle around all pixels with a gradient), effective (the square root of the number of pixels
    with more than 4.55 % of the largest gradient); share (effective squared, divided by that part
    of the area by the formula that lies on the photograph).

    Attributes:
        heat: By block name, the norm of the gradient at each pixel, float32 (height, width),
            divided by the largest.
        photo: The photograph in grey (height, width), from 0 to 1.
    """

    heat: Mapping[str, np.ndarray]
    photo: np.ndarray
    _size = (8.5, 5.6)
    _from_zero = True

    @property
    def finding(self) -> str:
        """How the fields grow from the first to the last block."""
        table, (height, width) = self.table, self.photo.shape
        bounded = _sides(table).dropna()
        unbounded = len(table) - len(bounded)
        sizes = []
        if len(bounded):
            sizes.append(f"{bounded.min():.0f} to {bounded.max():.0f} pixels a side")
        if unbounded:
            sizes.append(f"no known bound after {unbounded} of {len(table)} blocks")
        first, last = table["effective"].iloc[[0, -1]]
        return (
            f"{self.name}: by the formula the receptive fields have {' and '.join(sizes)}, on a "
            f"photograph of {height} × {width}. The effective ones (over {100 * _LEVEL:.2f} % of "
            f"the largest gradient) grow from {first:.0f} to {last:.0f} pixels a side, if square."
        )

    def show(self, *blocks: str) -> Any:
        """Draw the fields on the photograph: dashed by the formula, solid as measured, and heat.

        Args:
            blocks: Names of blocks; without any, up to five from the first to the last.

        Returns:
            The figure of matplotlib.

        Raises:
            UnknownPlaceError: If a block is not in the table.
            CutwidgetsError: If matplotlib is not installed.
        """
        with needs("lab", "A plot"):
            from matplotlib import pyplot

        for block in set(blocks) - set(self.heat):
            reason = f"There is no field of {block!r} in {self.name!r}."
            raise UnknownPlaceError(block, reason, similar(block, list(self.heat)))
        width = 1.7 * (len(blocks) or min(_SHOWN, len(self.heat)))
        figure = pyplot.figure(figsize=(width, 2.4), layout="constrained")
        self._show_in(figure, blocks)
        return figure

    def _show_in(self, figure: Any, blocks: Sequence[str] = ()) -> None:
        from matplotlib.colors import ListedColormap

        rows, orange = self.table.set_index("block"), ListedColormap([COLOURS[1]])
        evenly = np.linspace(0, len(rows) - 1, min(_SHOWN, len(rows))).round().astype(int)
        blocks = blocks or rows.index[evenly].tolist()
        for i, name in enumerate(blocks, 1):
            row, heat, axes = rows.loc[name], self.heat[name], figure.add_subplot(1, len(blocks), i)
            axes.imshow(0.35 + 0.65 * self.photo, cmap="gray", vmin=0, vmax=1)
            # The square root, as of the heat itself only the middle would be visible.
            axes.imshow(np.ones_like(heat), cmap=orange, alpha=np.sqrt(heat))
            limits = axes.axis()
            sides = np.array([row["height"], row["width"]])
            _outline(axes, *_by_formula(heat, sides), "--", "black", 2.2)
            first, last = _box(heat)
            _outline(axes, first, last, "-", COLOURS[0], 1)
            axes.axis(limits)
            axes.set_title(name, fontsize=8)
            axes.set(xticks=[], yticks=[])
            numbers = _sides(row), _sides(row, "measured "), row["effective"]
            words = "formula {:.0f}, measured {:.0f},\neffective {:.0f} pixels".format(*numbers)
            axes.set_xlabel(words.replace("nan", "—"), fontsize=7)
            for_any_page(axes)

    def _draw(self, axes: Any, colour: str) -> None:
        sides = [_sides(self.table), _sides(self.table, "measured ")]
        places, (formula, measured) = along_blocks(axes, self.table["block"], sides)
        if colour != CONTROL:
            lines = axes.plot(places, formula, "--", color=colour)
            lines += axes.plot(places, measured, color=colour, linewidth=1, alpha=0.6)
            for line in lines:
                line.set_gid("block")
        self._curve(axes, colour, "block", "effective")
        axes.set_ylabel("pixels a side (dashed: formula,\nthin: measured, dots: effective)")

    def _fill(self, figure: Any) -> None:
        above, below = figure.subfigures(2, 1, height_ratios=(2, 3))
        self._show_in(above)
        self.plot(axes=below.subplots())


def receptive_fields(
    model: keras.Model, photo: Any = None, *, seed: int = 0, control: Control = None
) -> ReceptiveFields:
    """Find the receptive field of the element in the middle of each block's output.

    By the formula, from kernels and strides (Araujo, Norris, Sim 2019, "Computing receptive fields
    of convolutional neural networks"); measured, where its gradient is not exactly zero; and
    effective, where it is large (Luo et al. 2016, "Understanding the effective receptive field in
    deep convolutional neural networks"). The gradient is that of randomly weighted sums of the
    element's channels, so that these do not cancel out. The model runs in inference mode.

    Args:
        model: A built functional or Sequential model with one input, of images.
        photo: A photograph as the model expects it, with or without the batch axis; `None` for the
            bundled photograph, resized and preprocessed for the model.
        seed: Seed of the random weights.
        control: A model for comparison; `True` for `untrained(model, photo)`.

    Raises:
        CutwidgetsError: If the model does not accept photographs, or this one does not fit or is
            not finite; if no block's output has spatial axes; or if the backend of Keras is neither
            TensorFlow nor JAX.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> result = lab.receptive_fields(lab.residual_network(blocks=(1, 1), size=32))
        >>> result.table[["block", "height", "measured height"]].values.tolist()
        [['stem', 3.0, 3], ['stage1_block1', 7.0, 7], ['stage2_block1', 13.0, 13]]
    """
    model_anatomy = anatomy(model)
    graph = model_anatomy.graph
    values = _photo(graph, photo)
    blocks = [b for b in model_anatomy if len(graph.tensors[b.exits[-1]].shape) == 4]
    if not blocks:
        raise CutwidgetsError(
            f"No block of the model {graph.name!r} outputs feature maps, which have four axes."
        )
    by_formula, rows, heat = costs(model, values.shape[1:]), [], {}
    ends, random = [block.exits[-1] for block in blocks], np.random.default_rng(seed)
    for block, slopes in zip(blocks, _gradients(graph, ends, values, random), strict=True):
        heat[block.name] = slopes
        sides = by_formula[block.name].receptive_field or ()
        first, last = _box(slopes)
        formula = map(float, sides if len(sides) == 2 else (np.nan, np.nan))
        numbers = (*formula, *(last - first), np.sqrt(np.count_nonzero(slopes > _LEVEL)))
        rows.append((block.name, block.stage, *numbers))
    columns = ["block", "stage", "height", "width", "measured height", "measured width"]
    table = frame(rows, [*columns, "effective"])
    visible = [_visible(heat[row.block], row.height, row.width) for row in table.itertuples()]
    table["share"] = table["effective"] ** 2 / visible
    grey = np.moveaxis(values, graph.channel_axis, -1)[0].mean(axis=-1)
    grey = (grey - grey.min()) / (np.ptp(grey) or 1)
    result = ReceptiveFields(graph.name, table, heat, grey.astype("float32"))
    return with_control(
        result, lambda m: receptive_fields(m, values, seed=seed), model, values, control
    )


def _photo(graph: CallGraph, photo: Any) -> np.ndarray:
    """The photograph as the model expects it, with a batch axis of one."""
    shapes = [graph.tensors[tensor].shape for tensor in graph.inputs]
    if photo is None or len(shapes) != 1 or len(shapes[0]) != 4:
        pixels = images.pixels(graph, pictures.photo())  # raises if the model accepts no images
        photo = images.preprocessing(graph).function(pixels)
    array, shape = np.asarray(photo), shapes[0][1:]
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    fits = [fixed in (None, length) for fixed, length in zip(shape, array.shape, strict=False)]
    if array.ndim != 3 or not all(fits):
        raise CutwidgetsError(
            f"The model {graph.name!r} accepts photographs of shape {shape}, one at a time. "
            f"Received an array of shape {np.shape(photo)}."
        )
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise CutwidgetsError(
            "The photograph contains values that are not finite (NaN or infinite numbers)."
        )
    dtype = inputs.dtype_of(graph.tensors[graph.inputs[0]])
    dtype = dtype if "float" in dtype else "float32"  # integers have no gradient
    return array[np.newaxis].astype(dtype)


def _gradients(
    graph: CallGraph, ends: Sequence[int], photo: np.ndarray, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """For each tensor the norm of its middle's gradient at each pixel; the largest is 1."""
    axis, (batch, *_) = graph.channel_axis, graph.tensors[graph.inputs[0]].shape
    batches = {graph.inputs[0]: np.repeat(photo, batch or _DRAWS, axis=0)}

    def function(weights: Sequence[Any], tensors: Mapping[int, Any]) -> Any:
        def score(values: list[Any]) -> Any:
            outputs = compute(graph, ends, dict(zip(tensors, values, strict=True)))
            middles = [_middle(keras.ops.moveaxis(output, axis, -1)) for output in outputs]
            return sum(keras.ops.sum(m * w) for m, w in zip(middles, weights, strict=True))

        return gradients(score, list(tensors.values()))[0]

    traced = compiled(function)
    sizes = [(batch or _DRAWS, graph.tensors[end].shape[axis] or 1) for end in ends]
    for i in track(range(len(ends)), "measuring receptive fields"):
        # One graph serves all blocks: the others get the weight zero.
        weights = [keras.ops.zeros(size, "float32") for size in sizes]
        weights[i] = keras.ops.convert_to_tensor(random.normal(size=sizes[i]).astype("float32"))
        slope = in_batches(partial(traced, weights), batches, batch or _DRAWS)
        squares = finite(graph.name, slope).astype("float64") ** 2
        length = np.sqrt(squares.sum(axis=axis).mean(axis=0))
        yield (length / (length.max() or 1)).astype("float32")


def _middle(value: Any) -> Any:
    """The channels of the element in the middle of feature maps, (batch, channels)."""
    _, height, width, _ = keras.ops.shape(value)
    return keras.ops.cast(value[:, height // 2, width // 2], "float32")


def _box(heat: np.ndarray) -> np.ndarray:
    """The first row and column with a gradient, and those after the last."""
    pixels = np.argwhere(heat)
    return np.array([pixels.min(0), pixels.max(0) + 1]) if len(pixels) else np.zeros((2, 2), int)


def _by_formula(heat: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The field by the formula, where it begins and ends: centred, but around the measured one."""
    first, last = _box(heat)
    start = np.clip((np.array(heat.shape) - sides) / 2, last - sides, first)
    return start, start + sides


def _visible(heat: np.ndarray, height: float, width: float) -> float:
    """The area of the field by the formula that lies on the photograph; NaN if it is unknown."""
    start, end = _by_formula(heat, np.array([height, width]))
    return float(np.prod(np.minimum(end, heat.shape) - np.maximum(start, 0)))


def _sides(rows: Any, kind: str = "") -> Any:
    """The side of a square of the same area."""
    return np.sqrt(rows[f"{kind}height"] * rows[f"{kind}width"])


def _outline(
    axes: Any, start: np.ndarray, end: np.ndarray, style: str, colour: str, width: float
) -> None:
    (top, left), (bottom, right) = start - 0.5, end - 0.5
    corners = [left, right, right, left, left], [top, top, bottom, bottom, top]
    axes.plot(*corners, style, color=colour, linewidth=width)
