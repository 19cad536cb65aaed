"""How far the weights of layers of equal structure are apart."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf, sqrt
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..graph.keras_internals import layers_inside
from ..surgery.likeness import equal_bits, to_numpy

_CHUNK = 2**15  # numbers, which fit into the cache of a processor


@dataclass(frozen=True, slots=True)
class Change:
    """How far weights moved, as squared Frobenius norms, which add up.

    Attributes:
        difference: That of the difference; infinite for states that are no numbers and differ.
        size: That of the weights before.
    """

    difference: float = 0.0
    size: float = 0.0

    @property
    def relative(self) -> float:
        """The norm of the difference by that of the weights; 0 only for weights of equal values."""
        if self.difference == 0:
            return 0.0
        return sqrt(self.difference / self.size) if self.size else inf


def total(changes: Iterable[Change]) -> Change:
    """The change of several weights together.

    Example:
        >>> total([Change(9, 16), Change(0, 9)]).relative
        0.6
    """
    changes = list(changes)
    return Change(sum(c.difference for c in changes), sum(c.size for c in changes))


def change_of(one: keras.Operation, other: keras.Operation) -> Change:
    """How far the weights, statistics and other states of two layers of equal structure are apart.

    Example:
        >>> import keras
        >>> layers = [keras.layers.Dense(2, kernel_initializer=name) for name in ("ones", "zeros")]
        >>> for layer in layers:
        ...     layer.build((None, 3))
        >>> change_of(*layers).relative, change_of(layers[0], layers[0]).relative
        (1.0, 0.0)
    """
    if one is other:
        return Change()
    states, others = list(_states(one)), list(_states(other))
    if len(states) != len(others):
        return Change(inf)
    return total(map(_change, states, others))


def _states(layer: keras.Operation) -> Iterator[Any]:
    """The weights of a layer, and what Keras saves besides, such as vocabularies."""
    yield from getattr(layer, "weights", ())
    for part in layers_inside(layer):
        if type(part).save_own_variables is not keras.Layer.save_own_variables:
            store: dict[str, Any] = {}
            part.save_own_variables(store)
            yield from (store[key] for key in sorted(store))
        if hasattr(part, "save_assets"):
            yield _assets(part)


def _assets(layer: Any) -> np.ndarray:
    """A hash of the files that a layer saves beside its weights."""
    digest = hashlib.blake2b()
    with tempfile.TemporaryDirectory() as folder:
        layer.save_assets(folder)
        for path in sorted(Path(folder).rglob("*")):
            digest.update(path.read_bytes() if path.is_file() else path.name.encode())
    return np.array(digest.hexdigest())


def _change(one: Any, other: Any) -> Change:
    a, b = to_numpy(one).ravel(), to_numpy(other).ravel()
    if a.dtype.kind in "OSU" or a.shape != b.shape:
        return Change(0.0 if equal_bits(a, b) else inf)
    exact = "complex128" if a.dtype.kind == "c" else "float64"
    difference = size = 0.0
    for start in range(0, a.size, _CHUNK):  # in double precision, without copies of all weights
        x, y = (array[start : start + _CHUNK].astype(exact) for array in (a, b))
        y -= x
        difference += (y * y.conj()).real.sum()
        size += (x * x.conj()).real.sum()
    # NaN minus NaN is NaN, also where nothing changed.
    if np.isnan(difference) and equal_bits(a, b):
        difference = 0.0
    return Change(float(difference), float(size))
