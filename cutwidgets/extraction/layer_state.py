"""Which parts of a Keras layer determine its output, and which do not."""

import functools
import inspect
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import keras
import numpy as np

from .hashing import of_library

# These shape a model during training, and do not affect inference.
OF_TRAINING = (
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.optimizers.Optimizer,
    keras.losses.Loss,
    keras.metrics.Metric,
)


def adds_to_configuration(value: Any) -> bool:
    """Whether an attribute of a Keras layer may hold what the configuration leaves out."""
    if isinstance(value, list | tuple):
        return any(map(adds_to_configuration, value))
    if isinstance(value, dict):
        return any(map(adds_to_configuration, value.values()))
    if isinstance(value, keras.KerasTensor | ModuleType | keras.random.SeedGenerator):
        return False
    if hasattr(value, "__array__"):
        try:
            return np.asarray(value).dtype.kind != "O"
        except Exception:  # such as a tensor that holds a resource
            return False
    code = (keras.Layer, FunctionType, MethodType, type, functools.partial)
    return isinstance(value, code) or not of_library(type(value))


def is_random(layer: keras.Layer) -> bool:
    """Whether a layer draws random numbers when it is called without `training`."""
    training = inspect.signature(layer.call).parameters.get("training")
    return training is not None and training.default is True


def without_inner(config: Any) -> Any:
    """A layer's configuration without code and inner layers, which are hashed separately."""
    if isinstance(config, list | tuple):
        return [without_inner(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    inner = config.get("config")
    if config.get("class_name") in ("function", "__lambda__"):
        return "code"
    if "class_name" in config and isinstance(inner, Mapping):
        is_layer = "name" in inner and ("trainable" in inner or "layers" in inner)
        return {
            "class_name": config["class_name"],
            **({} if is_layer else {"config": without_inner(inner)}),
        }
    return {key: without_inner(value) for key, value in config.items()}


def assets(layer: keras.Layer) -> dict[str, bytes]:
    """The files that a layer saves, by their relative paths."""
    with tempfile.TemporaryDirectory() as folder:
        layer.save_assets(folder)
        files = (file for file in Path(folder).rglob("*") if file.is_file())
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@functools.cache
def keras_attributes() -> frozenset[str]:
    """The attributes that Keras sets on every layer and model, for its own use."""
    model = keras.Model()
    model.compile(optimizer="sgd", loss="mse")
    of_running = ("history", "_eval_epoch_iterator", "stop_predicting", "stop_evaluating")
    return frozenset([*vars(keras.Layer()), *vars(model), *of_running])
