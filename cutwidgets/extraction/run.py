"""A run of `features`: identify it, compute the chunks that are missing, and store them."""

import os
import warnings
from collections.abc import Iterator
from itertools import count
from typing import Any

import keras
from tqdm.auto import tqdm

from ..errors import CutwidgetsError
from .extractor import Chunk, Extractor, Output, chunk_size, output_names
from .identity import Identifier
from .store import SHUFFLES, Store


def run(
    model: keras.Model,
    extractor: Extractor,
    to: str | os.PathLike[str],
    engine: str,
    workers: int | None,
    version: str | None,
) -> Store:
    """Compute and store the features that are missing.

    Args:
        model: The model of the extractor.
        extractor: What computes them.
        to: Where to store them.
        engine: Where to compute: `"local"` or `"ray"`.
        workers: The number of Ray processes.
        version: The user's own version of the features.
    """
    store = Store(to)
    identity = _identity(extractor, version)

    def measure() -> tuple[dict[str, Output], int]:
        outputs = extractor.outputs()
        return outputs, chunk_size(outputs, extractor.batch)

    with store.locked():
        store.begin(identity, measure)
        if not store.complete:
            _check_unchanged(store, extractor)
            chunks = _missing_chunks(store, extractor)
            if engine == "ray":
                from .ray_engine import chunks_by_ray

                chunks = chunks_by_ray(store, extractor, model, workers)
            _store_all(store, chunks, extractor.examples.size)
            store.finish()
    return store


def _identity(extractor: Extractor, version: str | None) -> dict[str, Any]:
    """What distinguishes this run from others, for JSON; warns about what cannot be identified."""
    of_model, of_code = Identifier(), Identifier()
    name = getattr(extractor.preprocessing, "name", "none")
    if extractor.preprocess is None:
        code = f"{name} {keras.config.image_data_format()}"
    else:
        code = of_code.value(extractor.preprocess, "preprocess")
    examples = extractor.examples
    identity = {
        **of_model.model(extractor.graph),
        "outputs' names": output_names(extractor.graph),
        "data": {**examples.identity(), "ids": examples.ids.__name__},
        "preprocessing": {"name": name, "hash": code},
        "batch": extractor.batch,
        "version": version,
    }
    unknown = dict.fromkeys([*of_model.unknown, *of_code.unknown, *examples.unknown])
    if unknown and version is None:
        warnings.warn(
            "Whether features that are already stored belong to this run cannot be told where it "
            f"depends on: {'; '.join(unknown)}. Give version='...', and another one whenever that "
            "changes.",
            stacklevel=4,  # the caller of `features`
        )
    return identity


def _check_unchanged(store: Store, extractor: Extractor) -> None:
    """Check that the data of the last part before the first missing one are still the same."""
    size, batch = store.manifest["chunk"], extractor.batch
    last = next(number for number in count() if number not in store.parts) - 1
    if last < 0 or not store.parts[last].examples:
        return
    part = store.parts[last]
    first = last * size + (part.examples - 1) // batch * batch
    if extractor.digest(first) != part.digest:
        raise CutwidgetsError(
            f"{str(store.path)!r} cannot be resumed: the examples {first:,} to "
            f"{last * size + part.examples:,} of the data have changed, moved or gone. "
            f"{SHUFFLES}Or begin anew in another place, to=..."
        )


def _missing_chunks(store: Store, extractor: Extractor) -> Iterator[Chunk]:
    """Compute the chunks that are not stored, in order."""
    size = store.manifest["chunk"]
    for number in count():
        if number in store.parts:
            examples = store.parts[number].examples
        else:
            chunk = extractor.chunk(number, size)
            examples = len(chunk.ids)
            if examples:
                yield chunk
        if examples < size:
            return


def _store_all(store: Store, chunks: Iterator[Chunk], size: int | None) -> None:
    """Store chunks, with a progress bar."""
    done = store.stored()
    unit = " examples"
    with tqdm(desc="features", total=size, initial=done, unit=unit, delay=1, leave=False) as bar:
        for chunk in chunks:
            store.write(chunk)
            bar.update(len(chunk.ids))
