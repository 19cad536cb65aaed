"""Controls: the same network, never trained. What it shows too was not learned."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from typing import Any, TypeAlias, TypeVar

import keras
import numpy as np
from keras import layers

from ..errors import CutwidgetsError
from ..graph.callgraph import CallGraph
from ..graph.interpreter import compute
from ..graph.keras_internals import functional, layers_inside
from ..inference.backend import finite
from ..inference.forward import arrays
from ..inference.side_effects import put_back_after
from ..progress import track
from ..structure.anatomy import anatomy
from ..surgery.states import copy_state
from .results import Result
from .subjects import Subject, subject

Control: TypeAlias = keras.Model | bool | None

Study = TypeVar("Study", bound=Result)


def with_control(
    result: Study,
    study: Callable[[keras.Model], Result],
    model: keras.Model,
    x: Any,
    control: Control,
) -> Study:
    """The result of a study, with that of a control.

    Args:
        result: The result for the model.
        study: The same study, as a function of another model.
        model: The model.
        x: Its input.
        control: The model for comparison; `True` for `untrained(model, x)`.
    """
    if control is None or control is False:
        return result
    other = untrained(model, x) if control is True else control
    if not isinstance(other, keras.Model):
        raise CutwidgetsError(
            f"control is a model, or True for an untrained one. Received: control={control!r:.200}"
        )
    return replace(result, control=study(other))


def untrained(model: keras.Model, x: Any, seed: int = 0) -> keras.Model:
    """The same network with fresh weights, as if it had never been trained.

    Weights come from the layers' own initialisers. The statistics of batch normalisation are those
    of these examples, gathered in one pass in training mode, as without them no signal would get
    through a deep network. What layers hold of data, such as the mean of a `Normalization` or a
    vocabulary, is copied.

    Args:
        model: A built functional or Sequential model with one output. It is not changed.
        x: Input of the model, with the batch axis.
        seed: Seed of the initialisers that have none of their own.

    Returns:
        A model that shares nothing with the other. Its name ends with `_untrained`.

    Raises:
        CutwidgetsError: If the data do not fit, or Keras cannot build a layer from its
            configuration.
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> from cutwidgets import lab
        >>> data = lab.digits()
        >>> model = lab.trained(blocks=(1,), epochs=1, width=4)
        >>> control = lab.untrained(model, data.train[0])
        >>> control.name
        'residual_1_untrained'
    """
    case = subject(model, x)
    fresh = _fresh(case.anatomy.graph, model, seed)
    pairs = _pairs(model, fresh)
    for old, new in pairs:
        if _holds_data(old):
            copy_state(old, new)
    normalisations = [new for _, new in pairs if isinstance(new, layers.BatchNormalization)]
    if normalisations:
        gather_statistics(anatomy(fresh).graph, normalisations, batches_of(case))
    for old, new in pairs:  # outer layers first, as they set the flags of those inside
        new.trainable = old.trainable
    return fresh


def _fresh(graph: CallGraph, model: keras.Model, seed: int) -> keras.Model:
    """A model of the same configuration; the seeds of the user's process stay as they are."""
    with put_back_after([]):
        random.seed(seed)  # from which Keras draws the seeds of initialisers that have none
        try:
            # Keras would compile the clone of a compiled model.
            plain = keras.Model(functional(model).input, functional(model).output)
            inputs = [
                keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=graph.maker(i).name)
                for i, tensor in ((i, graph.tensors[i]) for i in graph.inputs)
            ]
            packed = keras.tree.pack_sequence_as(plain.input, inputs)
            fresh = keras.models.clone_model(plain, input_tensors=packed)
        except Exception as error:  # whatever the configuration of a user's own layer raises
            raise CutwidgetsError(
                f"The model {model.name!r} cannot be built anew from its configuration, so it has "
                f"no untrained twin: {error} Give your own layers a get_config, or pass "
                "control=a_model that you have built."
            ) from error
        fresh.name = f"{model.name}_untrained"
        return fresh


def _pairs(model: keras.Model, fresh: keras.Model) -> list[tuple[keras.Layer, keras.Layer]]:
    """The layers of both, those inside of other layers too."""
    both = layers_inside(model), layers_inside(fresh)
    if [type(layer) for layer in both[0]] != [type(layer) for layer in both[1]]:
        raise CutwidgetsError(
            f"The model {model.name!r} has other layers if it is built anew from its "
            "configuration, so it has no untrained twin. Pass control=a_model that you have built."
        )
    return list(zip(*both, strict=True))


def _holds_data(layer: keras.Layer) -> bool:
    """Whether a layer has a state that is not learned from a loss, such as a vocabulary."""
    inside = layers_inside(layer)
    # Not `trainable_variables`: a frozen layer has none.
    learned = any(part._trainable_variables for part in inside)
    if learned or any(isinstance(part, keras.Model | layers.BatchNormalization) for part in inside):
        return False
    return bool(layer.weights) or hasattr(layer, "adapt")


def batches_of(case: Subject) -> list[list[np.ndarray]]:
    """All examples in batches of nearly equal size, drawn as `Subject.shuffled` does.

    Each batch has an array for each input of the model.
    """
    parts = np.array_split(case.shuffled(), ceil(case.size / case.at_once))
    return [[array[part] for array in case.inputs.values()] for part in parts]


def gather_statistics(
    graph: CallGraph, normalisations: Sequence[Any], batches: list[list[np.ndarray]]
) -> None:
    """Set the statistics of normalisations to their averages over batches.

    Args:
        graph: The call graph of their model.
        normalisations: Layers `BatchNormalization`.
        batches: For each batch an array for each input of the model.

    Raises:
        CutwidgetsError: If the output is not finite.
    """
    before = [(layer.momentum, layer.trainable) for layer in normalisations]
    try:
        for layer in normalisations:
            layer.trainable = True  # a frozen one keeps its statistics
        for count, batch in enumerate(track(batches, "setting batch normalisation")):
            for layer in normalisations:
                layer.momentum = count / (count + 1)
            tensors = dict(zip(graph.inputs, map(keras.ops.convert_to_tensor, batch), strict=True))
            output = compute(graph, graph.outputs, tensors, training=True)
            finite(graph.name, arrays(output)[0])
    finally:
        for layer, (momentum, trainable) in zip(normalisations, before, strict=True):
            layer.momentum, layer.trainable = momentum, trainable
