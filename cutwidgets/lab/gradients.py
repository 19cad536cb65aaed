"""The gradients that arrive at each block: why deep plain networks are hard to train."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

from ..blocks.blocks import Block
from ..errors import CutwidgetsError
from ..graph.interpreter import Edit, compute
from ..inference.backend import compiled
from ..inference.backend import gradients as slopes
from ..structure.anatomy import Anatomy
from .labels import Subject, labelled, the_loss
from .results import Result, by_block


class Gradients(Result):
    """The gradient of the loss at each block but the last, which gives the answer.

    Columns: block, stage, output (the norm of an example's gradient at the block's output, its mean
    over the examples), weights (the norm of the mean gradient at the block's trainable weights,
    divided by the norm of these weights; not a number where there are none).
    """

    @property
    def growth(self) -> float:
        """The gradient at the first block's output, divided by that at the last block's."""
        output = self.table["output"]
        return float(output.iloc[0] / output.iloc[-1]) if output.iloc[-1] else float("nan")

    @property
    def finding(self) -> str:
        """How the gradient changes on its way back from the last block to the first."""
        output = self.table["output"]
        return (
            f"{self.name}: on its way back through {len(output)} blocks the gradient's norm goes "
            f"from {output.iloc[-1]:.3g} to {output.iloc[0]:.3g}, {self.growth:.3g} times as much."
        )

    def _draw(self, axes: Any, colour: str) -> None:
        blocks, output = self.table["block"], self.table["output"]
        axes.plot(blocks, output, "o-", color=colour, markersize=4, label=self.name)
        axes.set(yscale="log", ylabel="‖gradient‖ at the block's output")
        by_block(axes)


def gradients(model: keras.Model, x: Any, y: Any) -> Gradients:
    """Measure the gradient of the loss at the output of each block, and at its weights.

    The model behaves as in training: normalisations take the statistics of these examples. In a
    plain network without normalisation the gradient's size depends on the weights alone, layer by
    layer (Glorot and Bengio 2010; He et al. 2015, "Delving deep into rectifiers"). Normalisation
    keeps activations in bounds, and at initialisation lets the gradient of a plain network grow
    exponentially with depth (Yang et al. 2019, "A mean field theory of batch normalization"). A
    shortcut passes it on as it is.

    Args:
        model: A built functional or Sequential model with one output. It is not changed.
        x: Input of the model, with the batch axis; of many examples the first 256 are looked at.
        y: Classes as integers or one-hot, or numbers of the output's shape.

    Raises:
        CutwidgetsError: If the data do not fit the model, it is a single block, or Keras runs on a
            backend whose gradients are not known here.
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> model = lab.residual_network(blocks=(2,))
        >>> lab.gradients(model, *lab.digits().train).table.columns.tolist()
        ['block', 'stage', 'output', 'weights']
    """
    return meter(model, x, y)("")


def meter(model: keras.Model, x: Any, y: Any) -> Callable[[str], Gradients]:
    """What `gradients` measures, as often as asked for, while the weights change.

    Args:
        model: As in `gradients`.
        x: As in `gradients`.
        y: As in `gradients`.

    Returns:
        A function of what to say of the moment, which is added to the model's name.
    """
    seen = labelled(model, x, y)
    # What gives the answer itself passes the loss's gradient on to nobody.
    blocks = [b for b in seen.anatomy if not set(b.exits) & set(seen.anatomy.graph.outputs)]
    if not blocks:
        raise CutwidgetsError(
            f"The model {seen.anatomy.name!r} is a single block, and gradients are measured "
            "between blocks. Give a model of several."
        )
    variables = _variables(seen.anatomy)
    inputs, labels = seen.first_inputs(), seen.first_labels()
    traced = compiled(_function(seen, blocks, variables))

    def measure(moment: str) -> Gradients:
        with keras.StatelessScope():
            values = [keras.ops.convert_to_tensor(variable.value) for variable in variables]
            norms = traced(inputs, labels, values)
        name = ", ".join(filter(None, (seen.anatomy.name, moment)))
        found = np.asarray(keras.ops.convert_to_numpy(norms), "float64")
        return Gradients(name, _table(blocks, found))

    return measure


def _function(
    seen: Subject, blocks: list[Block], variables: list[Any]
) -> Callable[[Mapping[int, Any], Any, list[Any]], Any]:
    """From inputs, labels and the values of all variables to a row of norms for each block."""
    graph = seen.anatomy.graph
    ends = [block.exits[0] for block in blocks]
    trained = [i for i, variable in enumerate(variables) if variable.trainable]
    own = [_positions(seen.anatomy, block, [variables[i] for i in trained]) for block in blocks]

    def function(inputs: Mapping[int, Any], labels: Any, values: list[Any]) -> Any:
        def loss(at: list[Any]) -> Any:
            weights = dict(enumerate(values)) | dict(zip(trained, at[len(ends) :], strict=True))
            mapping = [(variable, weights[i]) for i, variable in enumerate(variables)]
            # Something is added to each block's output, to ask for the gradient there: nothing.
            edits = {end: Edit(lambda value, i=i: value + at[i]) for i, end in enumerate(ends)}
            with keras.StatelessScope(state_mapping=mapping):
                (output,) = compute(graph, graph.outputs, inputs, edits, training=True)
            return the_loss(seen, output, labels)

        nothing = [keras.ops.zeros_like(value) for value in compute(graph, ends, inputs)]
        found = slopes(loss, [*nothing, *(values[i] for i in trained)])
        at_outputs, at_weights = found[: len(ends)], found[len(ends) :]
        size = keras.ops.shape(labels)[0]
        rows = [
            [_mean_norm(slope), _share(at_weights, [values[i] for i in trained], positions, size)]
            for slope, positions in zip(at_outputs, own, strict=True)
        ]
        return keras.ops.stack([keras.ops.stack(row) for row in rows])

    return function


def _variables(found: Anatomy) -> list[Any]:
    layers = [call.layer for call in found.graph.calls if isinstance(call.layer, keras.Layer)]
    return list({id(v): v for layer in layers for v in layer.variables}.values())


def _positions(found: Anatomy, block: Block, trained: list[Any]) -> list[int]:
    """Where in the list of trained variables those of a block stand."""
    layers = [found.graph.calls[index].layer for index in block.calls]
    own = {id(v) for layer in layers if isinstance(layer, keras.Layer) for v in layer.variables}
    return [i for i, variable in enumerate(trained) if id(variable) in own]


def _mean_norm(slope: Any) -> Any:
    rows = keras.ops.reshape(keras.ops.cast(slope, "float32"), (keras.ops.shape(slope)[0], -1))
    return keras.ops.mean(keras.ops.sqrt(keras.ops.sum(rows**2, axis=1)))


def _share(slope: list[Any], values: list[Any], positions: list[int], size: Any) -> Any:
    """The norm of the mean gradient at some weights, as a share of the norm of the weights."""
    if not positions:
        return keras.ops.convert_to_tensor(float("nan"))
    sums = [
        sum(keras.ops.sum(keras.ops.cast(all_of[i], "float32") ** 2) for i in positions)
        for all_of in (slope, values)
    ]
    return keras.ops.sqrt(sums[0] / sums[1]) / keras.ops.cast(size, "float32")


def _table(blocks: list[Block], norms: np.ndarray) -> pd.DataFrame:
    rows = [
        {"block": block.name, "stage": block.stage, "output": output, "weights": weights}
        for block, (output, weights) in zip(blocks, norms, strict=True)
    ]
    return pd.DataFrame(rows)
