"""Compute features on Ray Data: actors hold the model, and chunks that are lost are computed anew.

Ray is an extra, and slow to import: the module itself is imported only where Ray is asked for.
"""

import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..graph.reader import read
from .datasets import Stream
from .extractor import Chunk, Extractor
from .store import Store

# A worker of Ray started by `uv run` would pack the working directory and build its environment
# anew; workers on this computer have it.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

ray: Any = None

with suppress(ImportError):
    ray = import_module("ray")
    import_module("ray.data")


def chunks_by_ray(
    store: Store,
    extractor: Extractor,
    model: keras.Model,
    preprocess: Callable[..., Any] | None,
    workers: int | None,
) -> Iterator[Chunk]:
    """Compute the chunks that are missing, in any order.

    Args:
        store: Where they are missing.
        extractor: What computes them here.
        model: The model.
        preprocess: The user's own preprocessing.
        workers: How many actors hold the model; `None` for one a processor.

    Raises:
        CutwidgetsError: If there is no Ray, or the data or the model cannot be sent to other
            processes.
    """
    if ray is None:
        raise CutwidgetsError("engine='ray' needs Ray: pip install cutwidgets[ray]")
    examples, size = extractor.examples, store.manifest["chunk"]
    if isinstance(examples, Stream) or examples.size is None:
        raise CutwidgetsError(
            "A tf.data.Dataset is read by one process, in its order, so engine='ray' cannot share "
            "it out. Give a folder of images or arrays, or leave it to engine='local'."
        )
    missing = [n for n in range(-(-examples.size // size)) if n not in store.parts]
    if not missing:
        return
    packed = _packed(model)
    begun = not ray.is_initialized()
    if begun:
        ray.init(log_to_driver=False, configure_logging=False)
    try:
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        with ray.data.DataContext.current(context):
            yield from _computed(
                missing, workers, (packed, examples, preprocess, extractor.batch, size)
            )
    finally:
        if begun:
            ray.shutdown()


def _computed(missing: list[int], workers: int | None, shipped: tuple[Any, ...]) -> Iterator[Chunk]:
    """The chunks, as Ray Data gives them."""
    cores = int(ray.cluster_resources().get("CPU", 1))
    sent = ray.put(shipped)  # once: the workers of a machine read one copy of it
    numbers = ray.data.from_items(missing, override_num_blocks=len(missing))
    results = numbers.map_batches(
        _Worker,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers or cores, len(missing))),
        fn_constructor_args=(sent,),
        runtime_env={"env_vars": _environment()},
    )
    for row in results.iter_rows():  # in any order
        chunk = pickle.loads(row["chunk"])
        if isinstance(chunk, str):
            raise CutwidgetsError(chunk)
        yield chunk


def _environment() -> dict[str, str]:
    """What makes workers compute the same bits: sums depend on the number of threads."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL")
    threads = str(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    return {
        "KERAS_BACKEND": keras.backend.backend(),
        "TF_NUM_INTRAOP_THREADS": threads,
        **{name: os.environ[name] for name in names if name in os.environ},
    }


class _Worker:
    """An actor that holds the model. Errors of ours are results: Ray would try them again."""

    def __init__(self, shipped: Any) -> None:
        packed, examples, preprocess, batch, self._size = ray.get(shipped)
        self._error = ""
        try:
            self._extractor = Extractor(_unpacked(packed), examples, preprocess, batch)
        except Exception as error:  # whatever a user's own layer raises
            self._error = (
                f"The model cannot be built anew in a process of Ray: {error} A layer of your own "
                "needs a get_config() method that returns all arguments of its constructor."
            )

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, Any]:
        """Compute a chunk."""
        result: Chunk | str = self._error
        if not self._error:
            try:
                result = self._extractor.chunk(int(rows["item"][0]), self._size)
            except CutwidgetsError as error:
                result = str(error)
        return {"chunk": [pickle.dumps(result)]}


def _packed(model: keras.Model) -> tuple[bytes, dict[str, Any]]:
    """A model as the bytes of a `.keras` file, with the classes that are not Keras's own."""
    layers = {call.layer for call in read(model).calls}
    kinds = {type(layer) for layer in layers}
    own = {kind for kind in kinds if not kind.__module__.startswith("keras.")}
    names = {name: k for k in own for name in (k.__name__, keras.saving.get_registered_name(k))}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        try:
            model.save(file)
        except Exception as error:  # whatever a user's own layer raises
            raise CutwidgetsError(
                f"The model {model.name!r} cannot be sent to other processes: {error}"
            ) from error
        return file.read_bytes(), names


def _unpacked(packed: tuple[bytes, dict[str, Any]]) -> Any:
    content, own = packed
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        file.write_bytes(content)
        # Its Python lambdas come from the process that asked for this.
        return keras.saving.load_model(file, custom_objects=own, compile=False, safe_mode=False)
