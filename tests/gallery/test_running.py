"""Builds the networks of the gallery, splits each at every block end, and removes blocks.

All is compared with `oracle.Run`, which runs Keras's own calls one by one.
"""

from dataclasses import dataclass

import keras
import numpy as np
import pytest

import cutwidgets as cw
from cutwidgets.graph.frontier import Frontier, carried_past, head
from stored_graphs import to_json

from .catalogue import CATALOGUE
from .entry import Entry
from .graphs import read_store
from .oracle import Run, enliven, random_inputs
from .sums import SUMS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Network:
    """A network of the gallery with random weights, and the values of its tensors for an input."""

    entry: Entry
    model: keras.Model
    anatomy: cw.Anatomy
    inputs: list
    run: Run
    outputs: list

    def key(self, tensor):
        """The key by which a run has a tensor of the call graph."""
        graph = self.anatomy.graph
        scope = graph.maker(tensor).scope
        ids = [id(symbol) for symbol in graph.tensors[tensor].aliases]
        return next((scope, name) for name in ids if (scope, name) in self.run.values)

    def values(self, tensors):
        """What the run has for tensors of the call graph."""
        return [self.run.values[self.key(tensor)] for tensor in tensors]


# Called as a whole, it gives something else than `keras.Function` does with the same calls.
UNLIKE_ITS_CALLS = ("hub DeepLabV3",)


@pytest.fixture(scope="module", params=CATALOGUE, ids=lambda entry: entry.name)
def network(request):
    entry = request.param
    if entry.package:
        pytest.importorskip(entry.package, reason="an optional package")
    if entry.name in UNLIKE_ITS_CALLS:
        pytest.skip("its calls one by one are no oracle of it")
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(7)
    model = enliven(entry.build())
    inputs, run = random_inputs(model), Run()
    return Network(entry, model, cw.anatomy(model), inputs, run, run(model, inputs))


def call(model, values):
    """The outputs of a model, flat."""
    source = getattr(model, "_functional", None) or model
    packed = keras.tree.pack_sequence_as(source.input, list(values))
    return keras.tree.flatten(model(packed, training=False))


def largest(values):
    return max(float(np.abs(np.asarray(value, "float64")).max()) for value in values)


def difference(values, others):
    """The largest difference, as a part of the largest value."""
    pairs = zip(values, others, strict=True)
    return largest([np.asarray(a) - np.asarray(b) for a, b in pairs]) / largest(others)


def assert_equal(values, expected):
    assert len(values) == len(expected)
    for value, wanted in zip(values, expected, strict=True):
        wanted = np.asarray(wanted)
        close = 1e-5 * largest([wanted])
        np.testing.assert_allclose(np.asarray(value), wanted, rtol=1e-5, atol=close)


def test_its_stored_graph_is_that_of_the_network(network):
    assert to_json(network.anatomy.graph) == read_store()[network.entry.name]


def test_it_can_be_split_at_every_block_end(network):
    model, anatomy = network.model, network.anatomy
    assert_equal(call(model, network.inputs), network.outputs)
    others = call(model, random_inputs(model, seed=5))
    assert difference(others, network.outputs) > 1e-3  # so the comparison shows something

    pieces = cw.split(model, *range(len(anatomy) - 1), allow_bypass=True)
    values, frontier, before = network.inputs, Frontier(anatomy.graph), set()
    for piece, block in zip(pieces[:-1], anatomy, strict=False):
        before |= head(anatomy.graph, block.exits)
        frontier.advance(sorted(before))
        values = call(piece, values)
        carried = sorted(frontier.live.difference(block.exits))
        assert_equal(values, network.values([*block.exits, *carried]))
    assert_equal(call(pieces[-1], values), network.outputs)


def test_it_can_be_split_in_two_without_bypass_where_nothing_crosses(network):
    model, anatomy = network.model, network.anatomy
    for i in sorted({0, len(anatomy) // 2, max(len(anatomy) - 2, 0)} - {len(anatomy) - 1}):
        exits = anatomy[i].exits
        if carried_past(anatomy.graph, exits):
            with pytest.raises(cw.BypassedCutError):
                cw.split(model, i)
            continue
        first, second = cw.split(model, i)
        values = call(first, network.inputs)
        assert_equal(values, network.values(exits))
        assert_equal(call(second, values), network.outputs)


def test_identity_blocks_can_be_removed(network):
    model, anatomy = network.model, network.anatomy
    blocks = [i for i, block in enumerate(anatomy) if block.shortcut == "identity"]
    if not blocks:
        pytest.skip("no identity block")
    if len(anatomy.graph.calls) > 60:
        blocks = sorted({blocks[0], blocks[len(blocks) // 2], blocks[-1]})
    for i in blocks:
        block = anatomy[i]
        if len(block.exits) > 1:  # the network reads a tensor of the branch (WaveNet)
            with pytest.raises(cw.CutError):
                cw.remove(model, i)
            continue
        changes = shortcuts(anatomy.graph, block)
        keys = {network.key(out): network.key(shortcut) for out, shortcut in changes.items()}
        expected = Run(keys)(model, network.inputs)
        smaller = cw.remove(model, i)  # which need not read all inputs
        inputs = dict(zip(map(input_name, model.inputs), network.inputs, strict=True))
        assert_equal(call(smaller, [inputs[input_name(x)] for x in smaller.inputs]), expected)
        assert difference(expected, network.outputs) > 1e-5, block.name


def input_name(tensor):
    """The name of the layer of an input."""
    return tensor._keras_history.operation.name


def shortcuts(graph, block):
    """The output of a block's last sum, and what its first sum reads from the block's input.

    A layer of a transformer has several sums.
    """
    way, swaps = set(block.entries), {}  # What is a block's input, but for sums.
    opened = set(way)  # The same, normalised or activated before the branch begins.
    for index in block.calls:
        called, outputs = graph.calls[index], graph.calls[index].outputs
        is_merge = index == block.merge
        ways = [t for t in called.inputs if t in way] or [
            t for t in called.inputs if is_merge and t in opened
        ]
        if set(called.inputs) <= set(block.entries) and called.kind in SUMS:
            way.update(outputs)  # a sum of the network that leads into the block
        elif ways and len(called.inputs) > 1 and (is_merge or called.kind in SUMS):
            swaps[outputs[0]] = ways[0]
            way.add(outputs[0])
        elif called.role in ("normalization", "activation"):
            way.update(outputs if called.inputs[0] in swaps else ())
            opened.update(outputs if called.inputs[0] in opened else ())
    *_, last = swaps
    return {last: next(iter(swaps.values()))}
