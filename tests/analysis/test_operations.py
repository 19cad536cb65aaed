"""All layers and operations of Keras, against TensorFlow's graph and against perturbed inputs.

What counts as free must multiply no matrices, and what counts as local must read no other position.
"""

from collections import defaultdict
from contextlib import suppress
from functools import partial
from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from cutwidgets.analysis import operations
from cutwidgets.analysis.macs import macs_of
from cutwidgets.analysis.receptive_fields import fields, sizes
from cutwidgets.graph.reader import read

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the oracle is TensorFlow's graph"
)

# What multiplies and adds: types of TensorFlow's operations.
PRODUCTS = {
    "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Conv", "Conv2D", "Conv3D",
    "DepthwiseConv2dNative", "Einsum", "FFT", "FFT2D", "IFFT", "IRFFT", "MatMul", "RFFT", "Svd",
    "XlaConvV2", "XlaDotV2",
}  # fmt: skip

SHAPES = {"x": (6, 3), "n": (6, 3), "i": (4, 4, 3), "v": (3, 3, 3, 3), "w": (6,)}
DTYPES = {"n": "int32", "w": "int32"}

# Arguments to try an operation with, of a sequence, whole numbers and a picture: one of them will
# do for most operations.
ARGUMENTS = [
    lambda x, n, i: (x,),
    lambda x, n, i: (x, x),
    lambda x, n, i: (n,),
    lambda x, n, i: (n, n),
    lambda x, n, i: ([x, x],),
    lambda x, n, i: (x, 2),
    lambda x, n, i: (x, n),
    lambda x, n, i: (x, x, x),
    lambda x, n, i: (x, (0, 2, 1)),
    lambda x, n, i: (x, "float32"),
    lambda x, n, i: (x, 1, (1,)),
    lambda x, n, i: ([x > 0.5, x > 0.2], [x, x]),
    lambda x, n, i: (i,),
    lambda x, n, i: (i, (8, 8)),
    lambda x, n, i: (i, 1, 1, 1, 1),
]

# Operations that need arguments of their own, and others that need not be asked again.
CALLS = {
    "Argpartition": lambda x, n, i: ops.argpartition(x[0, 0], 1),
    "Bincount": lambda x, n, i: ops.bincount(n[..., 0], minlength=8),
    "Histogram": lambda x, n, i: ops.histogram(x[0, :, 0], 4, (0.0, 1.0)),
    "InTopK": lambda x, n, i: ops.in_top_k(n[:, 0, 0] * 0, x[:, 0], 1),
    "Reshape": lambda x, n, i: ops.reshape(x, (-1, 18)),
    "ScatterUpdate": lambda x, n, i: ops.scatter_update(x[0], n[0, :1, :2] * 0, x[0, :1, 0]),
    "SliceUpdate": lambda x, n, i: ops.slice_update(x[0], (0, 0), x[0, :2, :2]),
    "Split": lambda x, n, i: ops.split(x, 3, -1),
    "Unstack": lambda x, n, i: ops.unstack(x, axis=1),
    "ViewAsComplex": lambda x, n, i: ops.view_as_complex(ops.stack([x, x], -1)),
    "Vsplit": lambda x, n, i: ops.vsplit(x[0], 2),
    "BatchNorm": lambda x, n, i: ops.batch_normalization(x, np.zeros(3), np.ones(3), -1),
    "Concatenate": lambda x, n, i: ops.concatenate([x, x], -1),
    "Diag": lambda x, n, i: ops.diag(x[0, 0]),
    "Digitize": lambda x, n, i: ops.digitize(x, np.array([0.2, 0.5])),
    "Dsplit": lambda x, n, i: ops.dsplit(x, 3),
    "Glu": lambda x, n, i: ops.glu(i, 1),
    "Pad": lambda x, n, i: ops.pad(x, ((0, 0), (1, 1), (0, 0))),
    "ReLU": lambda x, n, i: keras.activations.relu(x, 0.1),
    "Scatter": lambda x, n, i: ops.scatter(n[0, :, :1] * 0, x[0, :, 0], (9,)),
    "SearchSorted": lambda x, n, i: ops.searchsorted(np.array([0.2, 0.5], "float32"), x[0, :, 0]),
    "SegmentMax": lambda x, n, i: ops.segment_max(x[0], n[0, :, 0] * 0, 2),
    "SegmentMin": lambda x, n, i: ops.segment_min(x[0], n[0, :, 0] * 0, 2),
    "SegmentProd": lambda x, n, i: ops.segment_prod(x[0], n[0, :, 0] * 0, 2),
    "SegmentSum": lambda x, n, i: ops.segment_sum(x[0], n[0, :, 0] * 0, 2),
    "Slice": lambda x, n, i: ops.slice(x[0], (0, 0), (2, 2)),
    "DepthToSpace": lambda x, n, i: ops.depth_to_space(ops.concatenate([i] * 4, -1), 2),
    "SpaceToDepth": lambda x, n, i: ops.space_to_depth(i, 2),
    "SparseCategoricalCrossentropy": lambda x, n, i: ops.sparse_categorical_crossentropy(
        n[..., 0] * 0, x
    ),
    "Swapaxes": lambda x, n, i: ops.swapaxes(x, 1, 2),
    "TakeAlongAxis": lambda x, n, i: ops.take_along_axis(x, n * 0, 1),
    "Vander": lambda x, n, i: ops.vander(x[0, 0], 3),
}

# Arguments that layers need.
MADE = {
    "CategoryEncoding": lambda kind: kind(num_tokens=40),
    "CenterCrop": lambda kind: kind(2, 2),
    "Conv1D": lambda kind: kind(4, 3),
    "Dense": lambda kind: kind(4),
    "Discretization": lambda kind: kind(bin_boundaries=[0.2, 0.5]),
    "Dropout": lambda kind: kind(0.5),
    "EinsumDense": lambda kind: kind("...x,xy->...y", 4),
    "Embedding": lambda kind: kind(40, 4),
    "GroupNormalization": lambda kind: kind(1),
    "Hashing": lambda kind: kind(num_bins=4),
    "Normalization": lambda kind: kind(mean=0.1, variance=2.0),
    "Permute": lambda kind: kind((2, 1)),
    "RandomCrop": lambda kind: kind(2, 2),
    "Reshape": lambda kind: kind((-1,)),
    "Rescaling": lambda kind: kind(2.0),
    "Resizing": lambda kind: kind(8, 8),
    "RepeatVector": lambda kind: kind(2),
}
# Of values that only a running model has: TensorFlow cannot trace them.
UNTRACED = {"IsIn", "Kron"}
# Keras's models use them, and do not export them; or they read texts.
NOT_LAYERS = {
    "CustomScaleLayer", "HashedCrossing", "IntegerLookup", "LayerScale", "StochasticDepth",
    "StringLookup", "TextVectorization",
}  # fmt: skip


def tensors(made):
    return [y for y in keras.tree.flatten(made) if hasattr(y, "shape") and hasattr(y, "dtype")]


def model_of(function):
    """A model that applies a function, or `None` if that does not accept its arguments."""
    symbols = {k: keras.Input(shape, name=k, dtype=DTYPES.get(k)) for k, shape in SHAPES.items()}
    try:
        outputs = [y for y in tensors(function(symbols)) if isinstance(y, keras.KerasTensor)]
        if not outputs:
            return None
        function({name: tf.convert_to_tensor(array) for name, array in values().items()})
        return keras.Model(symbols, outputs)
    except Exception:  # whatever an operation raises for arguments of other kinds
        return None


def operation_cases():
    """For each kind of operation that can be in a model, a function and a model that apply it."""
    three = [lambda values, f=f: f(*map(values.get, "xni")) for f in CALLS.values()]
    yield from ((function, model_of(function)) for function in three)
    for space in (ops, ops.image):
        for name, operation in vars(space).items():
            if not callable(operation) or isinstance(operation, type) or name[0] == "_":
                continue
            for arguments in ARGUMENTS:
                function = lambda values, f=operation, a=arguments: f(*a(*map(values.get, "xni")))  # noqa: E731
                model = model_of(function)
                if model is not None:
                    yield function, model
                    break


def layer_cases():
    """For each layer of Keras, a function and a model that apply it."""
    for name, kind in vars(layers).items():
        if not isinstance(kind, type) or not issubclass(kind, layers.Layer):
            continue
        for layer, read_by in product(layers_of(name, kind), (*"xivw", "xx")):
            function = lambda values, layer=layer, names=read_by: layer(  # noqa: E731
                [values[n] for n in names] if len(names) > 1 else values[names]
            )
            model = model_of(function)
            if model is not None:
                yield partial(model, training=False), model
                break


def layers_of(name, kind):
    """Layers of a kind: with arguments of its own, or with those that do for most."""
    if name in MADE:
        yield MADE[name](kind)
        return
    for arguments in ((), (0.5,), (2,), ("relu",), (0.2, 0.2)):
        with suppress(Exception):  # it needs other arguments
            yield kind(*arguments)


def cases(pairs):
    """Calls by the kinds of their layers or operations, each with its graph and its function."""
    calls = {}
    for function, model in pairs:
        if model is not None:
            graph = read(model)
            calls.setdefault(graph.calls[-1].kind, (graph, function))
    return calls


@pytest.fixture(scope="module")
def operation_calls():
    return cases(operation_cases())


@pytest.fixture(scope="module")
def layer_calls():
    return cases(layer_cases())


def values(batch=1):
    random = np.random.default_rng(0)
    return {
        name: random.integers(1, 6, (1, *shape)).astype("int32").repeat(batch, 0)
        if name in DTYPES
        else random.uniform(0.1, 0.9, (1, *shape)).astype("float32").repeat(batch, 0)
        for name, shape in SHAPES.items()
    }


def products(function):
    """What TensorFlow computes that multiplies and adds."""
    concrete = tf.function(lambda v: tensors(function(v))).get_concrete_function(
        {name: tf.convert_to_tensor(array) for name, array in values().items()}
    )
    definition = concrete.graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return {node.op for node in nodes} & PRODUCTS


def mixed(function, name):
    """Positions of the output that depend on several of the input, or that are out of order."""
    *spatial, _ = SHAPES[name]
    arrays = values(1 + int(np.prod(spatial)))
    positions = list(np.ndindex(*spatial))
    for i, position in enumerate(positions, 1):
        arrays[name][(i, *position)] += 1 if name in DTYPES else 0.07
    read = defaultdict(set)
    for y in tensors(function({k: tf.convert_to_tensor(v) for k, v in arrays.items()})):
        output = np.asarray(ops.convert_to_numpy(y))
        if output.ndim <= len(spatial):
            continue  # it has no batch, or no positions
        for i, position in enumerate(positions, 1):
            # Equal examples may be rounded in two ways, by where they stand in the batch.
            changed = ~np.isclose(output[i], output[0], rtol=1e-5, atol=1e-6, equal_nan=True)
            for place in zip(*np.nonzero(changed)[: len(spatial)], strict=True):
                read[tuple(map(int, place))].add(position)
    pairs = [(place, position) for place, own in read.items() for position in own]
    crossed = [
        (one, other)
        for one, other in product(pairs, repeat=2)
        if any(
            (one[0][axis] < other[0][axis]) and (one[1][axis] > other[1][axis])
            for axis in range(len(spatial))
        )
    ]
    return [place for place, own in read.items() if len(own) > 1] + crossed


def check(calls, listed):
    symbols = {k: {t.index: t.symbol for t in graph.tensors} for k, (graph, _) in calls.items()}
    free = {k for k, (graph, _) in calls.items() if macs_of(graph.calls[-1], symbols[k]) == 0}
    assert listed <= free | {"Embedding", "ReversibleEmbedding"}  # with a rule: no product
    traced = free - UNTRACED
    assert {k: kinds for k in traced if (kinds := products(calls[k][1]))} == {}
    local = {}
    for kind, (graph, function) in calls.items():
        field = sizes(fields(graph, symbols[kind])[graph.outputs[0]])
        makers = [graph.maker(tensor) for tensor in graph.calls[-1].inputs]
        names = [maker.own_name for maker in makers if maker.role == "input"]
        if field and set(field) == {1} and names:
            local[kind] = mixed(function, names[0])
    assert {kind: pairs[:3] for kind, pairs in local.items() if pairs} == {}
    return set(local)


@pytest.mark.slow
def test_operations_on_the_lists_are_free_and_local(operation_calls):
    local = check(operation_calls, operations._FREE_OPERATIONS - {"BroadcastTo", "Rearrange"})
    assert operations.ELEMENTWISE - {"Select"} <= local | {"Pad"}


@pytest.mark.slow
def test_layers_on_the_lists_are_free_and_local(layer_calls):
    local = check(layer_calls, operations._FREE_LAYERS - NOT_LAYERS)
    assert local >= operations.LOCAL_LAYERS - NOT_LAYERS


@pytest.mark.slow
def test_what_multiplies_is_counted_or_not_known(operation_calls):
    for kind in ("CDist", "Corrcoef", "FFT", "SVD", "Pinv"):
        graph, _ = operation_calls[kind]
        symbols = {tensor.index: tensor.symbol for tensor in graph.tensors}
        assert macs_of(graph.calls[-1], symbols) is None


def test_an_operation_of_a_future_keras_is_not_known():
    class FancyRelu(layers.ReLU):
        def call(self, x):
            return ops.matmul(x, x)

    FancyRelu.__module__ = "keras.src.layers.activations.fancy"
    x = keras.Input((4, 4))
    graph = read(keras.Model(x, FancyRelu()(x)))
    symbols = {tensor.index: tensor.symbol for tensor in graph.tensors}
    assert macs_of(graph.calls[-1], symbols) is None
    assert fields(graph, symbols)[graph.outputs[0]] is None


def test_joined_positions_are_not_local():
    x = keras.Input((8, 3))
    twice = layers.Concatenate(axis=1)([x, 2 * x])
    with_token = layers.Concatenate(axis=1)([x, keras.ops.zeros_like(x)[:, :1] * 0])
    for output in (twice, with_token):
        graph = read(keras.Model(x, layers.Conv1D(2, 3)(output)))
        symbols = {tensor.index: tensor.symbol for tensor in graph.tensors}
        assert fields(graph, symbols)[graph.outputs[0]] is None
