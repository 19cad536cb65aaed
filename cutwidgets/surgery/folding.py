"""Fold batch normalisations into the layers before them, for inference."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from ..graph.callgraph import Call, CallGraph, between
from ..graph.keras_internals import layers_inside
from ..structure.anatomy import anatomy
from ..structure.places import first_and_last
from .edits import Edit, edited
from .likeness import to_numpy

_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_FOLDABLE = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Dense, layers.EinsumDense),
    *(*_TRANSPOSED, *_DEPTHWISE, *_SEPARABLE),
)


def fold(model: keras.Model) -> keras.Model:
    """The model with each batch normalisation folded into the layer before it, where that is exact.

    A convolution or dense layer without activation, and a `BatchNormalization` that alone reads it,
    become one layer of the same class and name. With the normalisation's γ, β, mean, variance and
    ε, its kernel is `kernel * scale` and its bias `(bias - mean) * scale + β`, for
    `scale = γ / sqrt(variance + ε)`, computed in float64 (Jacob et al. 2018, "Quantization and
    training of neural networks for efficient integer-arithmetic-only inference", section 3.2).

    This is for inference: the new layers compute what the model computes with `training=False`, up
    to rounding: in float32, outputs of trained networks differ by 1e-7 to 1e-6 of the largest. In
    training they differ, as they do not normalise by the batch. They keep the `trainable` flag of
    the convolution, but not its regularisers and constraints, which were made for another kernel.

    Args:
        model: A built functional or Sequential model.

    Returns:
        A flat `keras.Model` of the same name. It has the folded layers, with weights of their own,
        and shares all other layers with the model. Nested models in which something is folded are
        opened.

    Raises:
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Warns:
        UserWarning: If normalisations are left alone, with their names and the reasons: they follow
            another kind of layer or a class of your own, an activation, a quantised layer or one
            with LoRA; another layer or the model's output reads what they read; one of both layers
            is called several times, has another dtype than float32 or float64 or weights that are
            not finite; they normalise another axis than the channels; or they are called with
            `training=True`.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> folded = cw.fold(resnet)
        >>> len(resnet.layers) - len(folded.layers)
        53
        >>> folded.count_params() < resnet.count_params()
        True
    """
    graph = anatomy(model).graph
    edits: list[Edit] = []
    left: dict[str, list[str]] = {}
    for call in _normalisations(graph):
        found = _pair(graph, call)
        edit = found if isinstance(found, str) else _edit(found)
        if isinstance(edit, str):
            left.setdefault(edit, []).append(call.name)
        else:
            edits.append(edit)
    folded = edited(model, graph, edits)
    if left:
        reasons = (f"{first_and_last(names)}: {reason}" for reason, names in left.items())
        count = sum(map(len, left.values()))
        warnings.warn(
            f"{count} of {count + len(edits)} batch normalisations of {graph.name!r} are left "
            f"alone. {'; '.join(reasons)}.",
            stacklevel=2,
        )
    return folded


@dataclass(frozen=True, slots=True)
class _Pair:
    """A layer, and the normalisation that alone reads what it returns."""

    before: Call
    normalisation: Call


def _normalisations(graph: CallGraph) -> Iterator[Call]:
    """The calls of batch normalisations, and of layers that contain some."""
    for index in between(graph, graph.outputs, ())[0]:
        parts = layers_inside(graph.calls[index].layer)
        if any(isinstance(part, layers.BatchNormalization) for part in parts):
            yield graph.calls[index]


def _pair(graph: CallGraph, call: Call) -> _Pair | str:
    """A normalisation and the layer before it; or why they cannot be folded."""
    norm: Any = call.layer
    if not isinstance(norm, layers.BatchNormalization):
        return "inside another layer"
    before = graph.maker(call.reads[0])
    layer: Any = before.layer
    if not isinstance(layer, _FOLDABLE):
        return "not behind a convolution or dense layer"
    if type(norm) is not layers.BatchNormalization or type(layer) not in _FOLDABLE:
        return "of a class of your own, or behind one"
    if graph.tensors[call.reads[0]].users != (call.index,) or call.reads[0] in graph.outputs:
        return "what is normalised is also read elsewhere"
    if sum(each.layer in (norm, layer) for each in graph.calls) > 2:
        return "called several times, or behind a layer that is"
    if call.arguments.kwargs.get("training"):
        return "called with training=True"
    return _obstacle(layer, norm, len(graph.tensors[call.reads[0]].shape)) or _Pair(before, call)


def _obstacle(layer: Any, norm: Any, rank: int) -> str | None:
    """Why a normalisation cannot be folded into a layer whose output has so many axes."""
    if getattr(layer, "lora_enabled", False):
        return "behind a layer with LoRA"
    if getattr(layer, "quantization_mode", None):
        return "behind a quantised layer"
    if layer.activation is not keras.activations.linear:
        return "behind an activation"
    policies = {layer.dtype_policy.name, norm.dtype_policy.name}
    if len(policies) > 1 or not policies <= {"float32", "float64"}:
        return "of another dtype than float32 or float64"
    if norm.axis % rank != _channel_axis(layer, rank):
        return "over another axis than the channels of the layer before"
    if isinstance(layer, layers.EinsumDense) and _einsum_axis(layer) is None:
        return "behind an EinsumDense whose output channels are no axis of its kernel alone"
    return None


def _channel_axis(layer: Any, rank: int) -> int:
    return 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1


def _einsum_axis(layer: layers.EinsumDense) -> int | None:
    """The axis of the kernel that is the last axis of the output, and of nothing else."""
    inputs, _, outputs = layer.equation.replace(" ", "").partition("->")
    read, kernel = inputs.split(",")
    channels = outputs[-1]
    alone = channels in kernel and channels not in read and layer.bias_axes in (None, channels)
    return kernel.index(channels) if alone else None


def _edit(pair: _Pair) -> Edit | str:
    """The folded layer in place of a pair; or why there is none."""
    before, normalisation = pair.before, pair.normalisation
    layer, norm = before.layer, normalisation.layer
    with np.errstate(all="ignore"):
        weights = _folded(layer, norm)
    if not all(np.isfinite(value).all() for value in weights.values()):
        return "with weights, here or in the layer before, that are not finite"
    piece = _layer_with(layer, weights)
    calls = (before.index, normalisation.index)
    return Edit(before.name, piece, before.inputs, normalisation.outputs, calls, before)


def _folded(layer: Any, norm: Any) -> dict[str, np.ndarray]:
    """The weights of the folded layer, by the attributes that hold them."""

    def value(variable: Any, missing: float) -> np.ndarray:
        return np.asarray(missing if variable is None else to_numpy(variable), "float64")

    scale = value(norm.gamma, 1) / np.sqrt(value(norm.moving_variance, 1) + norm.epsilon)
    bias = (value(layer.bias, 0) - value(norm.moving_mean, 0)) * scale + value(norm.beta, 0)
    name = "pointwise_kernel" if isinstance(layer, _SEPARABLE) else "kernel"
    kernel = value(getattr(layer, name), 1)
    weights = {name: kernel * _along_channels(layer, kernel, scale), "bias": bias}
    if isinstance(layer, _SEPARABLE):
        weights["depthwise_kernel"] = value(layer.depthwise_kernel, 1)
    dtype = layer.dtype
    return {name: weight.astype(dtype) for name, weight in weights.items()}


def _along_channels(layer: Any, kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """A number for each output channel, in the shape that multiplies a kernel."""
    if isinstance(layer, _DEPTHWISE):  # (..., channels, multiplier)
        return scale.reshape(kernel.shape[-2:])
    axis = kernel.ndim - 1
    if isinstance(layer, _TRANSPOSED):  # (..., filters, channels)
        axis -= 1
    elif isinstance(layer, layers.EinsumDense):
        found = _einsum_axis(layer)
        assert found is not None
        axis = found
    return scale.reshape([-1 if i == axis else 1 for i in range(kernel.ndim)])


def _layer_with(layer: Any, weights: dict[str, np.ndarray]) -> keras.Layer:
    """A layer like another one, with a bias and other weights."""
    config = layer.get_config()
    config |= dict.fromkeys(k for k in config if k.endswith(("_regularizer", "_constraint")))
    if isinstance(layer, layers.EinsumDense):
        config["bias_axes"] = layer.equation.strip()[-1]
    else:
        config["use_bias"] = True
    new = type(layer).from_config(config)
    new.build_from_config(layer.get_build_config())
    for name, weight in weights.items():
        getattr(new, name).assign(weight)
    assert isinstance(new, keras.Layer)
    return new
