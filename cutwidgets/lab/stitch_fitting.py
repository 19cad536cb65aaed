"""Stitches between two networks: resizing, least squares, training, and the model of all parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.frontier import Start
from ..graph.interpreter import compute
from ..inference.backend import applied, compiled
from ..inference.backend import gradients as slopes
from ..inference.forward import arrays, evaluate
from ..structure.anatomy import Anatomy
from ..structure.places import PlaceLike, resolve
from ..surgery.build import model_name, model_of
from ..surgery.replacement import join
from ..surgery.slicing import cut
from .linear_probes import readable
from .subjects import Subject, the_loss

_NUMBERS_AT_ONCE = 2**28  # of activations in memory
# Directions in which a front varies less than this, as a share of its largest, are rounding errors.
CUTOFF = 1e-6
_ROWS_AT_ONCE = 2**16  # in double precision
_RATE, _BATCH = 1e-3, 32


@dataclass(frozen=True, slots=True)
class Spot:
    """A place where a network is cut for a stitch.

    Attributes:
        name: Its name.
        tensor: Index of the tensor there.
        shape: The shape of an example, channels last: lengths, and the number of channels.
    """

    name: str
    tensor: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stitch:
    """A linear map from the channels of one network to those of another.

    Attributes:
        kernel: Its weights, float32 (channels, channels of the other).
        bias: Its bias, float32 (channels of the other,).
    """

    kernel: np.ndarray
    bias: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Apply it to arrays with the channels last."""
        mapped: np.ndarray = values @ self.kernel + self.bias
        return mapped


def spots(case: Subject, places: Sequence[PlaceLike] | None) -> list[Spot]:
    """The places of a network at which it can be cut for a stitch.

    Args:
        case: The network and its data.
        places: Places with one output; `None` for all blocks but those that compute the output.

    Raises:
        CutwidgetsError: If there are none, or one has several outputs or no channels.

    Example:
        >>> from cutwidgets import lab
        >>> from cutwidgets.lab.subjects import subject
        >>> case = subject(lab.residual_network(blocks=(1,), width=4), lab.digits().test[0])
        >>> [(spot.name, spot.shape) for spot in spots(case, None)]
        [('stem', (8, 8, 4)), ('stage1_block1', (8, 8, 4))]
    """
    graph = case.anatomy.graph
    readables = readable(case.anatomy)
    if places is None:
        chosen = [(b.name, b.exits[-1]) for b in readables if not set(b.exits) & {*graph.outputs}]
    else:
        found = [resolve(case.anatomy, place) for place in places]
        chosen = [(place.name, place.exits[-1]) for place in found]
    for name, tensor in chosen:
        shape = graph.tensors[tensor].shape
        if "float" not in graph.tensors[tensor].dtype or len(shape) < 2:
            raise CutwidgetsError(f"{name!r} has no channels of numbers that a stitch could read.")
    if not chosen:
        raise CutwidgetsError(
            f"The model {graph.name!r} is a single block, so it cannot be cut for a stitch."
        )
    first = {index: array[:1] for index, array in case.inputs.items()}
    values = arrays(evaluate(graph, [tensor for _, tensor in chosen], first))
    shapes = [_channels_last(value, graph.channel_axis).shape[1:] for value in values]
    return [Spot(*where, shape) for where, shape in zip(chosen, shapes, strict=True)]


def activations(case: Subject, places: Sequence[Spot]) -> Callable[[Spot], np.ndarray]:
    """A function from a place to the activations there for all examples, channels last, float32.

    They are computed in one pass, or one by one where memory does not hold them all.

    Raises:
        CutwidgetsError: If a layer does not accept the data, or an activation is not finite.
    """
    graph = case.anatomy.graph
    sizes = [prod(place.shape) for place in places]

    def of(chosen: Sequence[Spot]) -> np.ndarray:
        def function(values: Mapping[int, Any]) -> Any:
            rows = compute(graph, [place.tensor for place in chosen], values)
            moved = [_moved(row, graph.channel_axis) for row in rows]
            flat = [keras.ops.reshape(row, (keras.ops.shape(row)[0], -1)) for row in moved]
            return keras.ops.concatenate([keras.ops.cast(f, "float32") for f in flat], axis=1)

        return case.computed(compiled(function))

    if case.size * sum(sizes) > _NUMBERS_AT_ONCE:
        return lambda place: of([place]).reshape(-1, *place.shape)
    parts = np.split(of(places), np.cumsum(sizes)[:-1], axis=1) if places else []
    shaped = {p: part.reshape(-1, *p.shape) for p, part in zip(places, parts, strict=True)}
    return shaped.__getitem__


def _moved(value: Any, channel_axis: int) -> Any:
    return keras.ops.moveaxis(value, 1, -1) if channel_axis == 1 else value


def _channels_last(value: np.ndarray, channel_axis: int) -> np.ndarray:
    return np.moveaxis(value, 1, -1) if channel_axis == 1 else value


def misfit(front: Spot, back: Spot, anatomies: tuple[Anatomy, Anatomy]) -> str | None:
    """Why two places of two networks cannot be stitched; `None` if they can."""
    before, graph = (anatomy.graph for anatomy in anatomies)
    bypassing = Start(graph, (back.tensor,), ()).bypassed_by(graph.outputs)
    if bypassing:
        names = ", ".join(graph.maker(tensor).name for tensor in bypassing[:2])
        return f"what follows {back.name} also needs the output of {names}"
    one, other = len(front.shape) - 1, len(back.shape) - 1
    if one != other:
        return f"{one} spatial axes do not fit {other}"
    if one and before.channel_axis != graph.channel_axis:
        return "channels come first in one network and last in the other"
    resizing = resize(front, back, graph.channel_axis, "resize")
    return resizing if isinstance(resizing, str) else None


def resize(front: Spot, back: Spot, channel_axis: int, name: str) -> keras.Layer | str | None:
    """The layer that gives maps of one place the lengths of those of another.

    Where lengths are multiples, as those of strides are, it is pooling by the mean or repetition:
    no value is interpolated. Other images are interpolated bilinearly.

    Returns:
        A layer; `None` if the lengths are equal; the reason, if there is no layer.
    """
    old, new = front.shape[:-1], back.shape[:-1]
    order = "channels_first" if channel_axis == 1 else "channels_last"
    axes, options = len(old), {"data_format": order, "name": name}
    if old == new:
        return None
    if axes in (1, 2, 3) and all(a % b == 0 for a, b in zip(old, new, strict=True)):
        pool = tuple(a // b for a, b in zip(old, new, strict=True))
        return getattr(keras.layers, f"AveragePooling{axes}D")(pool, pool, **options)
    if axes in (1, 2, 3) and all(b % a == 0 for a, b in zip(old, new, strict=True)):
        size = tuple(b // a for a, b in zip(old, new, strict=True))
        if axes > 1:
            return getattr(keras.layers, f"UpSampling{axes}D")(size, **options)
        if channel_axis == -1:
            return keras.layers.UpSampling1D(size[0], name=name)
    if axes == 2:
        return keras.layers.Resizing(*new, interpolation="bilinear", **options)
    return f"lengths {old} do not divide {new}"


def resize_text(front: Spot, back: Spot) -> str:
    """What `resize` does, in words."""
    old, new = front.shape[:-1], back.shape[:-1]
    if old == new:
        return ""
    if all(a % b == 0 for a, b in zip(old, new, strict=True)):
        return "mean over " + "×".join(str(a // b) for a, b in zip(old, new, strict=True))
    if all(b % a == 0 for a, b in zip(old, new, strict=True)):
        return "repeated " + "×".join(str(b // a) for a, b in zip(old, new, strict=True))
    return "bilinear to " + "×".join(map(str, new))


def resized(
    values: np.ndarray, front: Spot, back: Spot, channel_axis: int, at_once: int
) -> np.ndarray:
    """Activations of the front, with the lengths of those of the back, channels last."""
    layer = resize(front, back, channel_axis, "resize")
    if not isinstance(layer, keras.Layer):
        return values
    parts = []
    for first in range(0, len(values), at_once):
        part = values[first : first + at_once]
        part = np.moveaxis(part, -1, 1) if channel_axis == 1 else part
        (value,) = applied(lambda tensors: [layer(tensors[0])], {0: part})
        parts.append(_channels_last(value, channel_axis))
    return np.concatenate(parts)


def least_squares(values: np.ndarray, targets: Sequence[np.ndarray]) -> list[Stitch]:
    """The stitches that come nearest to some activations, in the mean square over all positions.

    Where several are equally near, the one of the smallest weights.

    Args:
        values: Activations of the front, channels last.
        targets: Activations of the back at several places, all of the same lengths.

    Example:
        >>> values = np.random.default_rng(0).normal(size=(50, 2, 3))
        >>> (stitch,) = least_squares(values, [2 * values + 1])
        >>> bool(np.allclose(stitch.kernel, 2 * np.eye(3), atol=1e-6))
        True
    """
    rows = values.reshape(-1, values.shape[-1])
    wanted = np.concatenate([target.reshape(len(rows), -1) for target in targets], axis=1)
    means = rows.mean(0, dtype="float64"), wanted.mean(0, dtype="float64")
    # The normal equations in double precision: tens of times faster than a decomposition of all
    # rows, and exact enough for numbers of single precision.
    square, both = 0.0, 0.0
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        chosen = slice(first, first + _ROWS_AT_ONCE)
        centred = rows[chosen] - means[0]
        square += centred.T @ centred
        both += centred.T @ (wanted[chosen] - means[1])
    sizes, directions = np.linalg.eigh(square)
    kept = sizes > CUTOFF**2 * max(sizes.max(), 0)
    inverse = (directions[:, kept] / sizes[kept]) @ directions[:, kept].T
    kernel = inverse @ both
    bias = means[1] - means[0] @ kernel
    ends = np.cumsum([target.shape[-1] for target in targets])[:-1]
    parts = zip(np.split(kernel, ends, axis=1), np.split(bias, ends), strict=True)
    return [Stitch(k.astype("float32"), b.astype("float32")) for k, b in parts]


def smaller(
    values: np.ndarray, repeated: np.ndarray, targets: Sequence[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """What has the same least squares with fewer rows, where values are repeated.

    Args:
        values: Activations of the front, channels last.
        repeated: The same, resized to the lengths of the targets.
        targets: Activations of the back.
    """
    old, new = values.shape[1:-1], repeated.shape[1:-1]
    if old == new or any(b % a for a, b in zip(old, new, strict=True)):
        return repeated, list(targets)
    return values, [averaged(target, old) for target in targets]


def averaged(values: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """Means over neighbouring positions.

    Args:
        values: Activations, channels last.
        lengths: The new lengths, which divide those of the activations.

    Example:
        >>> averaged(np.arange(4.0).reshape(1, 4, 1), [2]).ravel().tolist()
        [0.5, 2.5]
    """
    old = values.shape[1:-1]
    pairs = [(new, length // new) for new, length in zip(lengths, old, strict=True)]
    split = values.reshape(len(values), *[n for pair in pairs for n in pair], values.shape[-1])
    mean: np.ndarray = split.mean(axis=tuple(range(2, 2 * len(old) + 1, 2)))
    return mean


def tail_from(case: Subject, back: Spot) -> Callable[[np.ndarray], np.ndarray]:
    """A function from activations at a place, channels last, to the answers of the network."""
    graph = case.anatomy.graph
    function = compiled(lambda values: compute(graph, graph.outputs[:1], values)[0])

    def answers(values: np.ndarray) -> np.ndarray:
        values = np.moveaxis(values, -1, 1) if graph.channel_axis == 1 else values
        dtype = graph.tensors[back.tensor].dtype
        return replace(case, inputs={back.tensor: values.astype(dtype)}).computed(function)

    return answers


def trainer_for(case: Subject, back: Spot) -> Callable[[np.ndarray, Stitch, int, int], Stitch]:
    """A function that trains a stitch, and nothing else, on the loss of the network behind it.

    Adam (Kingma and Ba 2015), with a rate of 0.001 and batches of 32.

    Args:
        case: The network behind the stitch, with labels.
        back: The place where it continues.

    Returns:
        A function of the activations in front of the stitch (resized, channels last), the stitch
        where training starts, the number of epochs, and the seed of the order of the examples.
    """
    graph, labels = case.anatomy.graph, case.labels
    assert labels is not None
    labels = labels.astype("float32" if labels.dtype.kind == "f" else "int32")
    batch = min(_BATCH, case.size)

    def gradient(inputs: Any, truth: Any, kernel: Any, bias: Any) -> Any:
        def loss(at: list[Any]) -> Any:
            mapped = keras.ops.matmul(inputs, at[0]) + at[1]
            mapped = keras.ops.moveaxis(mapped, -1, 1) if graph.channel_axis == 1 else mapped
            mapped = keras.ops.cast(mapped, graph.tensors[back.tensor].dtype)
            (output,) = compute(graph, graph.outputs[:1], {back.tensor: mapped})
            return the_loss(case, output, truth) / batch

        return slopes(loss, [kernel, bias])

    traced = compiled(gradient)

    def trained(values: np.ndarray, stitch: Stitch, epochs: int, seed: int) -> Stitch:
        random, weights = np.random.default_rng(seed), [stitch.kernel.copy(), stitch.bias.copy()]
        moments = [[np.zeros_like(w), np.zeros_like(w)] for w in weights]
        starts = range(0, len(values) - batch + 1, batch)
        for step in range(epochs * len(starts)):
            if step % len(starts) == 0:
                order = random.permutation(len(values))
            rows = order[starts[step % len(starts)] :][:batch]
            inputs = dict(enumerate([values[rows], labels[rows], *weights]))
            found = applied(lambda t: traced(*(t[i] for i in range(4))), inputs)
            _step(weights, moments, found, step + 1)
        return Stitch(*weights)

    return trained


def _step(
    weights: list[np.ndarray], moments: list[list[np.ndarray]], found: list[np.ndarray], number: int
) -> None:
    """A step of Adam, in place."""
    for weight, moment, slope in zip(weights, moments, found, strict=True):
        moment[0] = 0.9 * moment[0] + 0.1 * slope
        moment[1] = 0.999 * moment[1] + 0.001 * slope**2
        size = np.sqrt(moment[1] / (1 - 0.999**number)) + 1e-7
        weight -= _RATE * moment[0] / (1 - 0.9**number) / size


def whole(
    models: tuple[keras.Model, keras.Model],
    anatomies: tuple[Anatomy, Anatomy],
    places: tuple[Spot, Spot],
    stitch: Stitch,
) -> keras.Model:
    """The model of the front up to a place, the stitch, and the back from a place on.

    It is flat, has layers of its own, and consists of layers of the two models and of Keras alone.

    Raises:
        CutError: If a layer cannot be copied.
    """
    (front, back), (start, end) = models, places
    first, second = (anatomy.graph for anatomy in anatomies)
    used = {call.own_name for graph in (first, second) for call in graph.calls}
    head = cut(front, None, first.tensors[start.tensor].aliases[0], weights="copy")
    tail = cut(back, second.tensors[end.tensor].aliases[0], None, weights="copy")
    layer = _layer(stitch, len(end.shape) - 1, second.channel_axis, _free("stitch", used))
    resizing = resize(start, end, second.channel_axis, _free("resize", used))
    parts = [head, *([resizing] if isinstance(resizing, keras.Layer) else []), layer, tail]
    joined = join(*parts)
    name = model_name(first.name, "stitched_to", second.name)
    return model_of(joined.input, joined.output, name)


def _layer(stitch: Stitch, axes: int, channel_axis: int, name: str) -> keras.Layer:
    """The stitch as a layer: a 1×1 convolution, or for vectors a dense layer."""
    width, new = stitch.kernel.shape
    if axes in (1, 2, 3):
        order = "channels_first" if channel_axis == 1 else "channels_last"
        kind: Any = getattr(keras.layers, f"Conv{axes}D")
        layer = kind(new, 1, data_format=order, name=name)
        lengths = (None,) * axes
        layer.build((None, width, *lengths) if channel_axis == 1 else (None, *lengths, width))
    else:
        layer = keras.layers.Dense(new, name=name)
        layer.build((None, *(None,) * axes, width))
    layer.set_weights([stitch.kernel.reshape(layer.kernel.shape), stitch.bias])
    return layer


def _free(name: str, used: set[str]) -> str:
    while name in used:
        name = f"{name}_"
    return name
