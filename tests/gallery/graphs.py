"""Call graphs of the gallery without weights, stored so that no network has to be built.

`python -m gallery.graphs` builds all networks, or those named, and stores their graphs anew. Those
of a package that is not installed stay as they are.
"""

import gzip
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import keras

from cutwidgets.graph.reader import read
from stored_graphs import from_json, to_json

from .catalogue import CATALOGUE

STORE = Path(__file__).with_name("graphs.json.gz")


def read_store():
    """All stored graphs, as text, by the name of the network."""
    return json.loads(gzip.decompress(STORE.read_bytes())) if STORE.exists() else {}


def graph_of(name, store):
    """The stored graph of a network; it has no weights and no Keras tensors."""
    return from_json(store[name])


def write_store(graphs):
    """Store graphs; the same graphs give the same bytes."""
    text = json.dumps(graphs, separators=(",", ":"), sort_keys=True)
    STORE.write_bytes(gzip.compress(text.encode(), mtime=0))


def main(words):
    """Build the networks with one of the words in their names, or all, and store their graphs."""
    store = {entry.name: graph for entry in CATALOGUE if (graph := read_store().get(entry.name))}
    for entry in CATALOGUE:
        wanted = not words or any(word.lower() in entry.name.lower() for word in words)
        if wanted and (not entry.package or find_spec(entry.package)):
            store[entry.name] = to_json(read(entry.build()))
            print(entry.name, len(store[entry.name]), flush=True)
            keras.backend.clear_session(free_memory=False)
    write_store(store)


if __name__ == "__main__":
    main(sys.argv[1:])
