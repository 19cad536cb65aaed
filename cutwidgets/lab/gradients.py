"""The gradients that arrive at each block: why deep plain networks are hard to train."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from ..graph.interpreter import Edit, compute
from ..inference.backend import compiled, finite
from ..inference.backend import gradients as slopes
from .controls import Control, with_control
from .results import Result, block_frame
from .subjects import Subject, labelled, loss_name, the_loss


@dataclass(frozen=True, eq=False, repr=False)
class Gradients(Result):
    """The gradient of the loss at each block but the last, which computes the output.

    Columns: block, stage, output (the norm of an example's gradient at the block's output, averaged
    over the examples), weights (the norm of the mean gradient at the block's trainable weights,
    divided by the norm of these weights; NaN if there are none).

    Attributes:
        loss: The name of the loss.
    """

    loss: str

    @property
    def growth(self) -> float:
        """The gradient at the first block's output, divided by that at the last block's."""
        output = self.table["output"]
        return float(output.iloc[0] / output.iloc[-1]) if output.iloc[-1] else float("nan")

    @property
    def finding(self) -> str:
        """How the gradient changes from the last block back to the first."""
        output = self.table["output"]
        return (
            f"{self.name}, gradient of the {self.loss}: from the last of {len(output)} blocks back "
            f"to the first, its norm goes from {output.iloc[-1]:.3g} to {output.iloc[0]:.3g}, a "
            f"factor of {self.growth:.3g}."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        self._curve(axes, colour, "block", "output")
        axes.set(yscale="log", ylabel="‖gradient‖ at the block's output")


def gradients(
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    measure: str | None = None,
    control: Control = None,
) -> Gradients:
    """Measure the gradient of the loss at the output of each block, and at its weights.

    The model runs in training mode: normalisations use the statistics of these examples. In a
    plain network without normalisation the gradient's size depends on the weights alone, layer by
    layer (Glorot and Bengio 2010; He et al. 2015, "Delving deep into rectifiers"). Normalisation
    keeps activations in bounds, and at initialisation lets the gradient of a plain network grow
    exponentially with depth (Yang et al. 2019, "A mean field theory of batch normalization"). A
    shortcut passes it on unchanged.

    Args:
        model: A built functional or Sequential model with one output. It is not changed.
        x: Input of the model, with the batch axis. Of more than 256 examples, 256 are drawn at
            random, the same ones in whatever order they come.
        y: Classes as integers or one-hot; yes or no for each of several classes; or numbers of the
            output's shape.
        measure: `"error"` for the loss of classes, `"wrong decisions"` for that of decisions, or
            `"squared error"`; `None` to choose by the labels.
        control: A model for comparison; `True` for `untrained(model, x)`.

    Raises:
        CutwidgetsError: If the data do not fit the model, it is a single block, a gradient is not
            finite, or the backend of Keras is neither TensorFlow nor JAX.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(2,))
        >>> lab.gradients(model, *lab.digits().train).table.columns.tolist()
        ['block', 'stage', 'output', 'weights']
    """
    result = meter(model, x, y, measure)("")
    return with_control(result, lambda m: gradients(m, x, y, measure=measure), model, x, control)


def meter(
    model: keras.Model, x: Any, y: Any, measure: str | None = None
) -> Callable[[str], Gradients]:
    """A function that measures `gradients` again and again while the weights change.

    Args:
        model: As in `gradients`.
        x: As in `gradients`.
        y: As in `gradients`.
        measure: As in `gradients`.

    Returns:
        A function of a text such as "epoch 3", which is appended to the model's name.
    """
    case = labelled(model, x, y, measure)
    # The block that computes the output passes the loss's gradient on to no other.
    graph = case.anatomy.graph
    blocks = [block for block in case.anatomy if not set(block.exits) & set(graph.outputs)]
    if not blocks:
        raise CutwidgetsError(
            f"The model {case.anatomy.name!r} is a single block, and gradients are measured "
            "between blocks. Pass a model of several."
        )
    variables = list(_variables(graph, range(len(graph.calls))).values())
    arrays, labels = case.some()
    convert = keras.ops.convert_to_tensor
    # All at once, as normalisations use the statistics of the batch.
    inputs, labels = {i: convert(array) for i, array in arrays.items()}, convert(labels)
    traced = compiled(_function(case, blocks, variables))
    owned = [any(v.trainable for v in _variables(graph, b.calls).values()) for b in blocks]

    def measured(moment: str) -> Gradients:
        with keras.StatelessScope():
            values = [keras.ops.convert_to_tensor(variable.value) for variable in variables]
            norms = traced(inputs, labels, values)
        name = ", ".join(filter(None, (case.anatomy.name, moment)))
        output, weights = np.asarray(keras.ops.convert_to_numpy(norms), "float64").T
        finite(name, np.concatenate([output, weights[owned]]))
        table = block_frame(blocks, output=output, weights=weights)
        return Gradients(name, table, loss_name(case))

    return measured


def _function(
    case: Subject, blocks: list[Block], variables: list[Any]
) -> Callable[[Mapping[int, Any], Any, list[Any]], Any]:
    """From inputs, labels and the values of all variables to a row of norms for each block."""
    graph = case.anatomy.graph
    ends = [block.exits[0] for block in blocks]
    trained = [i for i, variable in enumerate(variables) if variable.trainable]
    owned = [_variables(graph, block.calls) for block in blocks]
    # The positions of each block's variables among the trained ones.
    own = [[k for k, i in enumerate(trained) if id(variables[i]) in ids] for ids in owned]

    def function(inputs: Mapping[int, Any], labels: Any, values: list[Any]) -> Any:
        def loss(at: list[Any]) -> Any:
            weights = dict(enumerate(values)) | dict(zip(trained, at[len(ends) :], strict=True))
            mapping = [(variable, weights[i]) for i, variable in enumerate(variables)]
            # Add a zero to each block's output: the gradient there is that of the zero.
            edits = {end: Edit(lambda value, i=i: value + at[i]) for i, end in enumerate(ends)}
            with keras.StatelessScope(state_mapping=mapping):
                (output,) = compute(graph, graph.outputs, inputs, edits, training=True)
            return the_loss(case, output, labels)

        zeros = [keras.ops.zeros_like(value) for value in compute(graph, ends, inputs)]
        trained_values = [values[i] for i in trained]
        all_slopes = slopes(loss, [*zeros, *trained_values])
        at_outputs, at_weights = all_slopes[: len(ends)], all_slopes[len(ends) :]
        size = keras.ops.shape(labels)[0]
        rows = [
            [_mean_norm(slope), _share(at_weights, trained_values, positions, size)]
            for slope, positions in zip(at_outputs, own, strict=True)
        ]
        return keras.ops.stack([keras.ops.stack(row) for row in rows])

    return function


def _variables(graph: CallGraph, calls: Iterable[int]) -> dict[int, Any]:
    """The variables of the layers that are called, by their ids."""
    layers = [graph.calls[index].layer for index in calls]
    return {id(v): v for layer in layers if isinstance(layer, keras.Layer) for v in layer.variables}


def _mean_norm(slope: Any) -> Any:
    rows = keras.ops.reshape(keras.ops.cast(slope, "float32"), (keras.ops.shape(slope)[0], -1))
    return keras.ops.mean(keras.ops.sqrt(keras.ops.sum(rows**2, axis=1)))


def _share(slope: list[Any], values: list[Any], positions: list[int], size: Any) -> Any:
    """The norm of the mean gradient at some weights, as a share of the norm of the weights."""
    if not positions:
        return keras.ops.convert_to_tensor(float("nan"))
    sums = [
        sum(keras.ops.sum(keras.ops.cast(arrays[i], "float32") ** 2) for i in positions)
        for arrays in (slope, values)
    ]
    return keras.ops.sqrt(sums[0] / sums[1]) / keras.ops.cast(size, "float32")
