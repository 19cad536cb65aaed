"""The errors of cutwidgets. Each is a `CutwidgetsError`, which is a `ValueError`.

A message names the request, the reason why it is impossible, and the nearest alternative.
"""

import copyreg
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


class CutwidgetsError(ValueError):
    """Base of all errors of cutwidgets: bad input, unreadable files, impossible cuts.

    Example:
        >>> import cutwidgets as cw
        >>> import numpy as np
        >>> cw.features("no model", np.zeros((1, 4)), to="features.parquet")
        Traceback (most recent call last):
        cutwidgets.errors.UnsupportedModelError: ...
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # By default, unpickling calls `__init__` with the finished message alone, which fails for
        # constructors with other parameters. Workers of a pool return errors by pickling.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class CutError(CutwidgetsError):
    """An impossible cut, removal or replacement.

    Example:
        >>> import cutwidgets as cw
        >>> issubclass(cw.UnknownPlaceError, cw.CutError)
        True
    """


class UnknownPlaceError(CutError):
    """The model has no such place.

    Attributes:
        place: The place, as the caller wrote it.
        suggestions: Up to five places of the model with the most similar names.

    Example:
        >>> import cutwidgets as cw
        >>> error = cw.UnknownPlaceError("conv9", "The model has no place 'conv9'.", ["conv5"])
        >>> error.suggestions
        ('conv5',)
    """

    def __init__(self, place: object, message: str, suggestions: Iterable[str] = ()) -> None:
        self.place = place
        self.suggestions = tuple(suggestions)
        if self.suggestions:
            message += f" Did you mean {alternatives(self.suggestions)}?"
        super().__init__(message)


class BypassedCutError(CutError):
    """A skip connection crosses the place of the cut.

    Attributes:
        place: The place, as the caller wrote it.
        bypasses: Names of the layers whose output crosses the place, in call order.
        nearest: The nearest places that work, the upstream one first.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> try:
        ...     cw.cut(resnet, "conv3_block2_2_conv", "conv4")
        ... except cw.BypassedCutError as error:
        ...     print(error.bypasses, error.nearest)
        ('conv3_block1_out',) ('conv3_block2', 'conv3_block3')
    """

    def __init__(
        self, place: object, message: str, bypasses: Sequence[str], nearest: Sequence[str]
    ) -> None:
        self.place = place
        self.bypasses = tuple(bypasses)
        self.nearest = tuple(nearest)
        if self.nearest:
            message += f" The nearest places that work: {alternatives(self.nearest)}."
        super().__init__(message)


class UnsupportedModelError(CutError):
    """The model has no graph: it is subclassed, not built, or not a Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> cw.anatomy(keras.Sequential([keras.layers.Dense(1)]))
        Traceback (most recent call last):
        cutwidgets.errors.UnsupportedModelError: The Sequential model '...' is not built...
    """


def alternatives(names: Sequence[str]) -> str:
    """Join names for a sentence: `'a', 'b' or 'c'`.

    Example:
        >>> alternatives(["a", "b", "c"])
        "'a', 'b' or 'c'"
    """
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def similar(name: object, names: Iterable[str]) -> list[str]:
    """Up to five of the names, those most similar to a name, the best first.

    Example:
        >>> similar("conv3_blok1", ["conv3_block1", "conv3_block2", "stem"])
        ['conv3_block1', 'conv3_block2']
    """
    return get_close_matches(str(name), list(dict.fromkeys(names)), n=5, cutoff=0.5)
