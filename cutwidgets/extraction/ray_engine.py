"""Compute features on Ray Data: actors hold the model, and lost chunks are computed again.

Ray is an extra and slow to import, so this module is only imported for `engine="ray"`.
"""

import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..extras import needs
from ..graph.reader import read
from .extractor import Chunk, Extractor
from .store import Store

# With `uv run`, workers would otherwise pack the working directory and rebuild its environment.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

with needs("ray", "engine='ray'"):
    import ray
    import ray.data


def chunks_by_ray(
    store: Store, extractor: Extractor, model: keras.Model, workers: int | None
) -> Iterator[Chunk]:
    """Compute the missing chunks, in any order.

    Args:
        store: The chunks that are stored.
        extractor: What computes chunks in this process.
        model: The model.
        workers: The number of actors; `None` for one per processor.

    Raises:
        CutwidgetsError: If the data or the model cannot be sent to other processes.
    """
    examples, size = extractor.examples, store.manifest["chunk"]
    if not examples.can_be_shared or examples.size is None:
        raise CutwidgetsError(
            "engine='ray' cannot share out a tf.data.Dataset, which is read in its order by one "
            "process. Give a folder of images or arrays, or use engine='local'."
        )
    missing = [n for n in range(-(-examples.size // size)) if n not in store.parts]
    if not missing:
        return
    arguments = (examples, extractor.preprocess, extractor.batch)
    shipped = (_packed(model, extractor), arguments, size)
    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(log_to_driver=False, configure_logging=False)
    try:
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        with ray.data.DataContext.current(context):
            yield from _computed(missing, workers, shipped)
    finally:
        if is_ours:
            ray.shutdown()


def _computed(missing: list[int], workers: int | None, shipped: tuple[Any, ...]) -> Iterator[Chunk]:
    processors = int(ray.cluster_resources().get("CPU", 1))
    reference = ray.put(shipped)  # the workers of a machine share one copy
    results = ray.data.from_items(missing, override_num_blocks=len(missing)).map_batches(
        _Worker,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers or processors, len(missing))),
        fn_constructor_args=(reference,),
        runtime_env={"env_vars": _environment()},
    )
    for row in results.iter_rows():
        chunk = pickle.loads(row["chunk"])
        if isinstance(chunk, str):
            raise CutwidgetsError(chunk)
        yield chunk


def _environment() -> dict[str, str]:
    """Variables with which workers compute the same bits: sums depend on the number of threads."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL")
    is_linux = hasattr(os, "sched_getaffinity")
    threads = len(os.sched_getaffinity(0)) if is_linux else os.cpu_count()
    return {
        "KERAS_BACKEND": keras.backend.backend(),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        **{name: os.environ[name] for name in names if name in os.environ},
    }


class _Worker:
    """An actor that holds the model. It returns our errors, as Ray would retry after an exception.

    Args:
        reference: The tuple that `chunks_by_ray` has put into Ray's object store.
    """

    def __init__(self, reference: Any) -> None:
        packed, arguments, self._size = ray.get(reference)
        self._error = ""
        try:
            self._extractor = Extractor(read(_unpacked(*packed)), *arguments)
        except Exception as error:  # whatever a user's own layer raises
            self._error = (
                f"The model cannot be rebuilt in a Ray process: {error} A custom layer needs a "
                "get_config() method that returns all arguments of its constructor."
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


def _packed(model: keras.Model, extractor: Extractor) -> tuple[bytes, dict[str, Any]]:
    """A model as the bytes of a `.keras` file, and its custom classes."""
    kinds = {type(call.layer) for call in extractor.graph.calls}
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


def _unpacked(content: bytes, custom_objects: dict[str, Any]) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        file.write_bytes(content)
        # Python lambdas are safe: they come from the process that started this one.
        return keras.saving.load_model(
            file, custom_objects=custom_objects, compile=False, safe_mode=False
        )
