"""What of a layer of Keras tells it from others, and what does not."""

import functools
import inspect
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import keras

from .hashing import of_library, readable

# They shape a model in training, and change nothing of what it gives.
OF_TRAINING = (
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.optimizers.Optimizer,
    keras.losses.Loss,
    keras.metrics.Metric,
)


def tells(value: Any) -> bool:
    """Whether a layer of Keras may hold in it what its configuration does not say."""
    if isinstance(value, list | tuple):
        return any(map(tells, value))
    if isinstance(value, dict):
        return any(map(tells, value.values()))
    if isinstance(value, keras.KerasTensor | ModuleType | keras.random.SeedGenerator):
        return False
    if hasattr(value, "__array__"):
        return readable(value)
    code = (keras.Layer, FunctionType, MethodType, type, functools.partial)
    return isinstance(value, code) or not of_library(type(value))


def is_random(layer: keras.Layer) -> bool:
    """Whether a layer draws random numbers where nobody says that it is not trained."""
    training = inspect.signature(layer.call).parameters.get("training")
    return training is not None and training.default is True


def nameless(config: Any) -> Any:
    """A layer's configuration, without what is hashed apart: code, and inner layers."""
    if isinstance(config, list | tuple):
        return [nameless(v) for v in config]
    if not isinstance(config, Mapping):
        return config
    inner = config.get("config")
    if config.get("class_name") in ("function", "__lambda__"):
        return "code"
    if "class_name" in config and isinstance(inner, Mapping):
        if "name" in inner and ("trainable" in inner or "layers" in inner):
            return {"class_name": config["class_name"]}
        return {"class_name": config["class_name"], "config": nameless(inner)}
    return {key: nameless(value) for key, value in config.items()}


def assets(layer: keras.Layer) -> dict[str, bytes]:
    """The files that a layer would save."""
    with tempfile.TemporaryDirectory() as folder:
        layer.save_assets(folder)
        files = (file for file in Path(folder).rglob("*") if file.is_file())
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@functools.cache
def internal() -> frozenset[str]:
    """The attributes that Keras gives to each layer and model, for its own use."""
    model = keras.Model()
    model.compile(optimizer="sgd", loss="mse")
    of_running = ("history", "_eval_epoch_iterator", "stop_predicting", "stop_evaluating")
    return frozenset([*vars(keras.Layer()), *vars(model), *of_running])
