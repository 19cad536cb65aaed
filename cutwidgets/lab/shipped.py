"""Weights of trained networks that come with the package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

_FOLDER = Path(__file__).parent / "weights"

# The arguments of `trained` for which there are weights.
SHIPPED: Mapping[str, Mapping[str, Any]] = {
    name: {"blocks": blocks, "width": 8, "epochs": 24, "seed": 0, **options}
    for name, blocks, options in (
        ("residual", (18, 18, 18), {}),
        ("stochastic", (18, 18, 18), {"survival": 0.5}),
        # A plain network of 54 blocks does not learn, and one of 27 hardly does.
        ("plain", (6, 6, 6), {"shortcuts": False}),
    )
}


def shipped_weights(settings: Mapping[str, Any]) -> list[np.ndarray] | None:
    """The weights of a network, float32, in Keras's order; `None` if there are none.

    Args:
        settings: The arguments of `trained`.

    Example:
        >>> shipped_weights({"blocks": (1,), "width": 8, "epochs": 12, "seed": 0}) is None
        True
    """
    for name, arguments in SHIPPED.items():
        file = _FOLDER / f"{name}.npz"
        if dict(arguments) == dict(settings) and file.exists():
            with np.load(file) as arrays:
                return [arrays[key].astype("float32") for key in arrays.files]
    return None


def save_weights(name: str, model: keras.Model) -> None:
    """Write the weights of a network into the package.

    Kernels become float16, which halves the file. Statistics stay float32, as small variances have
    no float16.
    """
    _FOLDER.mkdir(exist_ok=True)
    arrays = [w.astype("float16") if w.ndim > 1 else w for w in model.get_weights()]
    np.savez_compressed(_FOLDER / f"{name}.npz", *arrays)
