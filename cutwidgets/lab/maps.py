"""Feature maps of a place, and the input that they can be laid over."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import CutwidgetsError, alternatives
from ..graph.callgraph import CallGraph, between
from ..structure.anatomy import Anatomy
from ..structure.places import PlaceLike, resolve


@dataclass(frozen=True, slots=True)
class Maps:
    """The feature maps of a place.

    Attributes:
        place: Name of the block, stage or layer.
        tensor: Index of the maps in the call graph.
        screen: Index of the input that the maps are laid over.
        has_channels: Whether that input has an axis of channels.
        channel_axis: That axis, there and in the maps.
    """

    place: str
    tensor: int
    screen: int
    has_channels: bool
    channel_axis: int

    def seen(self, array: np.ndarray) -> np.ndarray:
        """The input with the channels last, if it has any."""
        return np.moveaxis(array, self.channel_axis, -1) if self.has_channels else array

    def size(self, array: np.ndarray) -> tuple[int, ...]:
        """The size of the input, without examples and channels."""
        return self.seen(array).shape[1 : -1 if self.has_channels else None]


def maps_at(anatomy: Anatomy, graph: CallGraph, end: int, place: PlaceLike | None) -> Maps:
    """Find the feature maps of a place.

    Args:
        anatomy: The anatomy of the model.
        graph: Its graph, or a rewired one.
        end: Index of the tensor that the maps are to influence.
        place: A block, layer or stage; `None` for the last block that has maps.

    Raises:
        UnknownPlaceError: If the model has no such place.
        CutwidgetsError: If the place has no maps, or several, or they do not lead to the outputs.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> graph = anatomy.graph
        >>> maps_at(anatomy, graph, graph.outputs[0], None).place
        'conv5_block3'
        >>> maps_at(anatomy, graph, graph.outputs[0], "avg_pool")
        Traceback (most recent call last):
        cutwidgets.errors.CutwidgetsError: 'avg_pool' outputs (None, 2048), which has no spatial
        axes... The nearest place that has feature maps is 'conv5_block3'.
    """
    finder = _Finder(anatomy, graph, end)
    if place is None:
        places = finder.places()
        if not places:
            raise CutwidgetsError(
                f"The model {graph.name!r} has no feature maps that can be laid over its input: no "
                "layer before the scores outputs positions and channels."
            )
        return finder.at(*places[-1])
    found = resolve(anatomy, place)
    return finder.at(found.name, found.exits)


def places_of_maps(anatomy: Anatomy, graph: CallGraph, end: int) -> list[Maps]:
    """The feature maps of all blocks that have any; those of the layers, if no block has.

    Args:
        anatomy: As in `maps_at`.
        graph: As in `maps_at`.
        end: As in `maps_at`.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.VGG16(weights=None))
        >>> places = places_of_maps(anatomy, anatomy.graph, anatomy.graph.outputs[0])
        >>> [maps.place for maps in places]
        ['block1', 'block2', 'block3', 'block4', 'block5']
    """
    finder = _Finder(anatomy, graph, end)
    return [finder.at(name, exits) for name, exits in finder.places()]


class _Finder:
    """Finds places with feature maps in one graph."""

    def __init__(self, anatomy: Anatomy, graph: CallGraph, end: int) -> None:
        self._anatomy, self._graph = anatomy, graph
        calls = between(graph, [end], ())[0]
        self._used = {tensor for index in calls for tensor in graph.calls[index].inputs} | {end}
        # For each tensor the inputs of the model that it is computed from.
        self._origins: dict[int, frozenset[int]] = {t: frozenset([t]) for t in graph.inputs}
        for call in graph.calls:
            origins = frozenset[int]().union(*(self._origins[tensor] for tensor in call.inputs))
            for tensor in call.outputs:
                self._origins.setdefault(tensor, origins)

    def places(self) -> list[tuple[str, Sequence[int]]]:
        """Names and outputs of the places that `at` accepts, in the order of computation."""
        blocks = [(block.name, block.exits) for block in self._anatomy]
        layers = [(call.name, call.outputs) for call in self._graph.calls if call.inputs]
        return [p for p in blocks if self._fits(p[1])] or [p for p in layers if self._fits(p[1])]

    def at(self, name: str, exits: Sequence[int]) -> Maps:
        graph, shapes = self._graph, [self._graph.tensors[tensor].shape for tensor in exits]
        spatial = [tensor for tensor in exits if self._is_spatial(tensor)]
        used = [tensor for tensor in spatial if tensor in self._used]
        if not spatial:
            raise CutwidgetsError(
                f"{name!r} outputs {', '.join(map(str, shapes))}, which has no spatial axes: "
                f"Grad-CAM needs positions and channels.{self._nearest(exits)}"
            )
        if not used:
            raise CutwidgetsError(
                f"The output of {name!r} does not lead to the scores of the model {graph.name!r}."
                f"{self._nearest(exits)}"
            )
        if len(used) > 1:
            makers = alternatives(list(dict.fromkeys(graph.maker(t).name for t in used)))
            raise CutwidgetsError(f"{name!r} outputs {len(used)} tensors. Choose one of {makers}.")
        screen = self._screen(used[0])
        if screen is None:
            inputs = ", ".join(str(graph.tensors[index].shape) for index in graph.inputs)
            raise CutwidgetsError(
                f"{name!r} outputs {shapes[0]}, whose positions are not those of the model's "
                f"input {inputs}.{self._nearest(exits)}"
            )
        if "float" not in graph.tensors[used[0]].dtype:
            raise CutwidgetsError(f"{name!r} outputs integers, which have no gradient.")
        rank = len(graph.tensors[used[0]].shape)
        has_channels = len(graph.tensors[screen].shape) == rank
        return Maps(name, used[0], screen, has_channels, graph.channel_axis)

    def _fits(self, exits: Sequence[int]) -> bool:
        used = [t for t in exits if self._is_spatial(t) and t in self._used]
        return (
            len(used) == 1
            and self._screen(used[0]) is not None
            and "float" in self._graph.tensors[used[0]].dtype
        )

    def _is_spatial(self, tensor: int) -> bool:
        shape = list(self._graph.tensors[tensor].shape)
        if len(shape) < 3:
            return False
        del shape[self._graph.channel_axis], shape[0]
        return any(length != 1 for length in shape)

    def _screen(self, tensor: int) -> int | None:
        """The input with the same positions: with channels, or without as of token ids."""
        rank = len(self._graph.tensors[tensor].shape)
        inputs = sorted(self._origins[tensor])
        for wanted in (rank, rank - 1):
            for index in inputs:
                read = self._graph.tensors[index]
                if len(read.shape) == wanted and read.dtype != "string":
                    return index
        return None

    def _nearest(self, exits: Sequence[int]) -> str:
        places = self.places()
        if not places:
            return ""
        before = [name for name, tensors in places if max(tensors) <= max(exits)]
        nearest = before[-1] if before else places[0][0]
        return f" The nearest place that has feature maps is {nearest!r}."


def resized(maps: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize maps linearly along each axis but the first, with pixels as areas, not as points.

    Args:
        maps: An array (examples, …).
        size: The new lengths of all axes but the first.

    Example:
        >>> resized(np.array([[0.0, 4.0]]), [4])
        array([[0., 1., 3., 4.]])
    """
    for axis, length in enumerate(size, 1):
        old = maps.shape[axis]
        places = np.clip((np.arange(length) + 0.5) * old / length - 0.5, 0, old - 1)
        below = np.floor(places).astype(int)
        above = np.minimum(below + 1, old - 1)
        shares = (places - below).reshape(-1, *[1] * (maps.ndim - axis - 1))
        low, high = (np.take(maps, index, axis) for index in (below, above))
        maps = low + shares.astype(maps.dtype) * (high - low)
    return maps


def normalised(maps: np.ndarray) -> np.ndarray:
    """Divide each example's map, which has no negative values, by its largest value.

    Example:
        >>> normalised(np.array([[0.0, 4.0], [0.0, 0.0]]))
        array([[0., 1.],
               [0., 0.]])
    """
    most = maps.max(axis=tuple(range(1, maps.ndim)), keepdims=True)
    return np.asarray(np.divide(maps, most, out=np.zeros_like(maps), where=most > 0))


def area_of_half(heat: np.ndarray) -> float:
    """The smallest share of a map's positions that hold half of its sum; NaN if the sum is zero.

    Example:
        >>> area_of_half(np.ones((2, 2))), area_of_half(np.array([3.0, 1.0, 0.0, 0.0]))
        (0.5, 0.25)
    """
    sums: Any = np.cumsum(np.sort(heat.astype("float64"), axis=None)[::-1])
    return float((np.searchsorted(sums, sums[-1] / 2) + 1) / heat.size) if sums[-1] else np.nan
