"""The lab's studies against oracles: rebuilt models, enumeration, direct computation."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.lab.subjects import subject


@pytest.fixture(scope="module")
def model():
    return lab.residual_network(blocks=(3, 2), width=4)


@pytest.fixture(scope="module")
def data():
    x, y = lab.digits().test
    return x[:100], y[:100]


by_tape = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's tape")


def twin(model):
    """A copy, which may be called as in training."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def error(model, x, y):
    return float(np.mean(model.predict(x, verbose=0).argmax(-1) != y))


def test_lesions_are_those_of_rebuilt_models(model, data):
    before = model.get_weights()
    found = lab.lesions(model, *data)
    for name, value in zip(found.table["block"], found.table["error"], strict=True):
        assert value == error(cw.remove(model, name), *data)
    assert found.base == error(model, *data)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_without_labels_the_change_of_the_output_is_measured(model, data):
    found = lab.lesions(model, data[0])
    whole = model.predict(data[0], verbose=0)
    without = cw.remove(model, "stage1_block2").predict(data[0], verbose=0)
    wanted = np.linalg.norm(without - whole) / np.linalg.norm(whole)
    assert found.table.set_index("block").loc["stage1_block2", "change"] == pytest.approx(wanted)


def test_all_blocks_at_once_are_those_of_a_rebuilt_model(model, data):
    found = lab.random_lesions(model, *data, counts=[5], repeats=3)
    names = lab.lesions(model, *data).table["block"]
    assert found.table["error"].tolist() == [error(cw.remove(model, *names), *data)]


def test_a_swap_is_that_of_joined_pieces(data):
    model = lab.residual_network(blocks=(2,), width=4)
    found = lab.shuffles(model, *data, swaps=[1], repeats=1)
    ends = ("stem", "stage1_block1", "stage1_block2")
    head, one, other, tail = cw.split(model, *ends)
    assert found.table["error"].tolist() == [error(cw.join(head, other, one, tail), *data)]


def enumerated(graph, merges, tensor):
    """Numbers of branches on all paths to a tensor, one by one."""
    maker = graph.maker(tensor)
    if not maker.inputs:
        return [0]
    found = []
    for source in maker.inputs:
        branch = maker.name in merges and source != merges[maker.name]
        found += [branch + number for number in enumerated(graph, merges, source)]
    return found


def test_paths_are_those_of_an_enumeration(model):
    anatomy = cw.anatomy(model)
    graph = anatomy.graph
    merges = {}
    for block in anatomy:
        if block.shortcut:
            (merge,) = (graph.calls[i] for i in block.calls if graph.calls[i].kind == "Add")
            merges[merge.name] = merge.inputs[0]  # the network adds its shortcut first
    lengths = np.bincount(enumerated(graph, merges, graph.outputs[0]))
    assert lab.paths(model).table["paths"].tolist() == lengths.tolist() == [1, 5, 10, 10, 5, 1]


def test_norm_ratios_are_those_of_the_tensors(model, data):
    found = lab.norm_ratios(model, data[0]).table.set_index("block")
    layers = [model.get_layer(f"stage2_block1_{name}") for name in ("0_bn", "2_bn")]
    pair = keras.Model(model.inputs, [layer.output for layer in layers])
    shortcut, branch = (v.reshape(100, -1) for v in pair.predict(data[0], verbose=0))
    lengths = np.linalg.norm(branch, axis=1), np.linalg.norm(shortcut, axis=1)
    cosines = (branch * shortcut).sum(1) / (lengths[0] * lengths[1])
    row = found.loc["stage2_block1"]
    assert row["ratio"] == pytest.approx(np.mean(lengths[0] / lengths[1]), rel=1e-4)
    assert row["cosine"] == pytest.approx(np.mean(cosines), abs=1e-4)


@by_tape
def test_gradients_are_those_of_the_pieces(model, data):
    """Against TensorFlow's own tape over head and tail, called as in training."""
    x, y = data
    found = lab.gradients(model, x, y).table.set_index("block")
    before = model.get_weights()
    head, tail = cw.split(twin(model), "stage1_block2")
    value = head(x, training=True)
    with tf.GradientTape() as tape:
        tape.watch(value)
        answer = tail(value, training=True)
        loss = tf.reduce_sum(keras.losses.sparse_categorical_crossentropy(y, answer))
    slope = tape.gradient(loss, value).numpy().reshape(100, -1)
    wanted = np.linalg.norm(slope, axis=1).mean()
    assert found.loc["stage1_block2", "output"] == pytest.approx(wanted, rel=1e-3)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@by_tape
def test_gradients_at_weights_are_those_of_training(model, data):
    x, y = data
    found = lab.gradients(model, x, y).table.set_index("block")
    whole = twin(model)
    own = [v for v in whole.trainable_variables if v.path.startswith("stage1_block2")]
    with tf.GradientTape() as tape:
        answer = whole(x, training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, answer))
    slopes = tape.gradient(loss, [v.value for v in own])
    wanted = tf.linalg.global_norm(slopes) / tf.linalg.global_norm([v.value for v in own])
    assert found.loc["stage1_block2", "weights"] == pytest.approx(float(wanted), rel=1e-3)


def test_the_gradient_of_a_path_is_that_of_shortcuts_and_branches(data):
    """Without activations a path's gradient is the product of its branches, from the output on."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6,))
    branches = [keras.layers.Dense(6, name=f"branch{i}") for i in range(3)]
    for branch in branches:
        x = keras.layers.Add()([x, branch(x)])
    model = keras.Model(inputs, x)
    given = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    wanted = np.random.default_rng(1).normal(size=(5, 6)).astype("float32")
    found = lab.path_gradients(model, given, wanted, repeats=100).table
    slope = 2 * (model.predict(given, verbose=0) - wanted) / 6
    kernels = [branch.kernel.numpy() for branch in branches]
    for length, row in enumerate(found["gradient"]):
        norms = []
        for chosen in itertools.combinations(kernels, length):
            way = functools.reduce(np.matmul, [np.eye(6), *chosen])
            norms.append(np.linalg.norm(slope @ way.T, axis=1).mean())
        # The draws of a length take the same few subsets in unequal numbers.
        assert min(norms) * 0.999 <= row <= max(norms) * 1.001
        assert len(norms) > 1 or row == pytest.approx(norms[0], rel=1e-4)


def test_bad_input_has_one_clear_error(model, data):
    x, y = data
    plain = lab.residual_network(blocks=(2, 2), width=4, shortcuts=False)
    hole = np.where(np.arange(8) == 3, np.nan, x[..., 0])[..., np.newaxis]
    for asked, words in (
        (lambda: lab.paths(plain), "no residual blocks"),
        (lambda: lab.lesions(model, x[:, :4], y), "shape"),
        (lambda: lab.lesions(model, hole, y), "not finite"),
        (lambda: lab.lesions(model, x, y[:-1]), "as many"),
        (lambda: lab.lesions(model, x, y + 5), "has the classes"),
        (lambda: lab.random_lesions(model, x, y, counts=[6]), "5 blocks"),
        (lambda: lab.path_gradients(model, x, None), "needs labels"),
        (lambda: lab.gradients(model, x, None), "needs labels"),
    ):
        with pytest.raises(cw.CutwidgetsError, match=words):
            asked()


def test_a_plot_shows_all_of_its_lines(model, data):
    """Limits that are set before the last line is drawn would cut it off."""
    found = [lab.lesions(model, *data), lab.random_lesions(model, *data, repeats=2)]
    found += [lab.shuffles(model, *data, swaps=[1], repeats=2), lab.norm_ratios(model, data[0])]
    for one in found:
        axes = one.plot(one)
        one.plot(axes=axes)
        (left, right), (bottom, top) = sorted(axes.get_xlim()), axes.get_ylim()
        for line in axes.lines:
            x, y = line.get_xydata().T
            if line.get_marker() == "o":
                assert ((left <= x) & (x <= right)).all(), one.finding
            assert bottom == 0
            assert (y <= top).all(), one.finding


@pytest.mark.slow
def test_a_seed_gives_the_same_network_and_the_same_training():
    found = []
    for seed, watch in ((3, False), (3, True), (4, False)):
        keras.utils.set_random_seed(len(found))  # what was drawn before does not matter
        network = lab.residual_network((1,), width=4, seed=seed)
        before = network.get_weights()
        training = lab.train(network, lab.digits(), epochs=1, watch=watch, seed=seed)
        assert len(training.gradients) == 2 * watch
        found.append((before, training.table["loss"].iloc[0]))
    (one, loss), (same, same_loss), (other, _) = found
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[-2], other[-2])
    assert loss == pytest.approx(same_loss, rel=1e-3)


def test_batches_are_equally_large():
    model = lab.residual_network((1,), width=4)
    x = np.zeros((360, 8, 8, 1), "float32")
    assert [subject(model, x[:n], None).at_once for n in (1, 256, 257, 360)] == [1, 256, 129, 180]
