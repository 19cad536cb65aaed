"""Stitches between two networks: resizing, least squares, and the model of all parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.callgraph import between
from ..graph.frontier import Start
from ..graph.interpreter import compute
from ..inference.backend import applied, batches, compiled, finite
from ..inference.forward import arrays, evaluate
from ..inference.side_effects import put_back_after
from ..structure.anatomy import Anatomy
from ..structure.places import PlaceLike, resolve
from ..surgery.build import model_name, model_of
from ..surgery.joining import join
from ..surgery.slicing import cut
from .linear_probes import readable
from .subjects import Subject

_NUMBERS_AT_ONCE = 2**28  # of activations in memory
# Directions in which a front varies less than this, as a share of its largest, are rounding errors.
CUTOFF = 1e-6
_ROWS_AT_ONCE = 2**16  # in double precision


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
    if case.size * sum(prod(place.shape) for place in places) <= _NUMBERS_AT_ONCE:
        return dict(zip(places, _reader(case, places)(), strict=True)).__getitem__
    readers = {place: _reader(case, [place]) for place in places}
    return lambda place: readers[place]()[0]


def _reader(case: Subject, places: Sequence[Spot]) -> Callable[[], list[np.ndarray]]:
    """A function that computes the activations at some places for all examples, in batches."""
    graph, size, at_once = case.anatomy.graph, case.size, case.at_once

    def function(values: Mapping[int, Any]) -> list[Any]:
        found = compute(graph, [place.tensor for place in places], values)
        moved = [keras.ops.moveaxis(v, 1, -1) if graph.channel_axis == 1 else v for v in found]
        return [keras.ops.cast(value, "float32") for value in moved]

    traced = compiled(function)

    def read() -> list[np.ndarray]:
        # Not `in_batches`, which would hold everything twice.
        filled = [np.empty((size, *place.shape), "float32") for place in places]
        for chosen, batch in batches(case.inputs, at_once):
            for array, value in zip(filled, applied(traced, batch, graph.name), strict=True):
                array[chosen] = value
        return [finite(graph.name, array) for array in filled]

    return read


def _channels_last(value: np.ndarray, channel_axis: int) -> np.ndarray:
    return np.moveaxis(value, 1, -1) if channel_axis == 1 else value


def misfit(front: Spot, back: Spot, anatomies: tuple[Anatomy, Anatomy]) -> str | None:
    """Why two places of two networks cannot be stitched; `None` if they can."""
    before, graph = (anatomy.graph for anatomy in anatomies)
    after = Start(graph, (back.tensor,), ())
    if back.tensor in graph.outputs or not after.leads_to(graph.outputs):
        return f"no layer after {back.name} computes the output"
    inputs = set(between(graph, graph.outputs, [back.tensor])[1]) - {back.tensor}
    if others := sorted({*after.bypassed_by(graph.outputs), *inputs}, reverse=True):
        names = ", ".join(graph.maker(tensor).name for tensor in others[:2])
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
    axes, options = len(old), {"data_format": order, "name": name, "dtype": "float32"}
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
            return keras.layers.UpSampling1D(size[0], name=name, dtype="float32")
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


def whole(
    models: tuple[keras.Model, keras.Model],
    anatomies: tuple[Anatomy, Anatomy],
    places: tuple[Spot, Spot],
    stitch: Stitch,
) -> keras.Model:
    """The model of the front up to a place, the stitch, and the back from a place on.

    It has layers of its own, of the kinds that the two models have, and of Keras. Models inside of
    them are called as a whole where all of their layers are used; otherwise it is flat.

    Raises:
        CutError: If a layer cannot be copied.
    """
    (front, back), (start, end) = models, places
    first, second = (anatomy.graph for anatomy in anatomies)
    used = {call.own_name for graph in (first, second) for call in graph.calls}
    with put_back_after([]):  # layers draw their seeds from the generators of the user's process
        head = cut(front, None, first.tensors[start.tensor].aliases[0], weights="copy")
        tail = cut(back, second.tensors[end.tensor].aliases[0], None, weights="copy")
        axis = second.channel_axis
        layer = _layer(stitch, len(end.shape) - 1, axis, _free("stitch", used))
        resizing = resize(start, end, axis, _free("resize", used))
        parts = [head, *([resizing] if isinstance(resizing, keras.Layer) else []), layer]
        dtype = second.tensors[end.tensor].dtype
        if dtype != "float32":
            parts.append(keras.layers.Identity(dtype=dtype, name=_free("cast", used)))
        joined = join(*parts, tail)
    name = model_name(first.name, "stitched_to", second.name)
    return model_of(joined.input, joined.output, name)


def _layer(stitch: Stitch, axes: int, channel_axis: int, name: str) -> keras.Layer:
    """The stitch as a layer: a 1×1 convolution, or for vectors a dense layer."""
    width, new = stitch.kernel.shape
    if axes in (1, 2, 3):
        order = "channels_first" if channel_axis == 1 else "channels_last"
        kind: Any = getattr(keras.layers, f"Conv{axes}D")
        layer = kind(new, 1, data_format=order, name=name, dtype="float32")
        lengths = (None,) * axes
        layer.build((None, width, *lengths) if channel_axis == 1 else (None, *lengths, width))
    else:
        layer = keras.layers.Dense(new, name=name, dtype="float32")
        layer.build((None, *(None,) * axes, width))
    layer.set_weights([stitch.kernel.reshape(layer.kernel.shape), stitch.bias])
    return layer


def _free(name: str, used: set[str]) -> str:
    while name in used:
        name = f"{name}_"
    return name
