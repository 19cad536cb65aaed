"""Controls: the same network with fresh weights, and plots that draw it in grey."""

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.lab.results import CONTROL


@pytest.fixture(scope="module")
def data():
    return lab.digits()


@pytest.fixture(scope="module")
def network(data):
    model = lab.residual_network((2, 1), width=4)
    lab.train(model, data, epochs=1)
    return model


@pytest.fixture(scope="module")
def control(network, data):
    return lab.untrained(network, data.train[0])


def normalisations(model):
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def test_an_untrained_twin_is_the_network_before_training(network, control):
    """The initialisers of this network have seeds, so that the weights are known."""
    before = lab.residual_network((2, 1), width=4)
    assert [w.path for w in control.weights] == [w.path for w in before.weights]
    for own, wanted in zip(control.trainable_weights, before.trainable_weights, strict=True):
        assert np.array_equal(own, wanted)
    assert not np.array_equal(network.weights[0], control.weights[0])


def test_its_statistics_are_those_of_the_examples(data):
    """Of one batch: against a pass with momentum 0, as one would write it by hand."""
    x = data.train[0][:200]
    model = lab.residual_network((2, 1), width=4)
    control = lab.untrained(model, x)
    by_hand = lab.residual_network((2, 1), width=4)
    for layer in normalisations(by_hand):
        layer.momentum = 0.0
    by_hand(x, training=True)
    for own, wanted in zip(control.get_weights(), by_hand.get_weights(), strict=True):
        assert np.allclose(own, wanted, atol=1e-5)
    assert {layer.momentum for layer in normalisations(control)} == {0.9}


def test_the_model_and_the_seeds_of_the_process_stay_as_they_are(network, data):
    import random

    before = network.get_weights(), network.to_json(), network.compiled
    random.seed(4)
    np.random.seed(4)
    wanted = random.Random(4).random(), np.random.RandomState(4).random()
    lab.untrained(network, data.train[0][:50])
    assert (random.random(), np.random.random()) == wanted
    after = network.get_weights(), network.to_json(), network.compiled
    assert all(np.array_equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert before[1:] == after[1:]


def test_a_seed_gives_the_same_weights_where_initialisers_have_none(data):
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, layers.Dense(10)(layers.Flatten()(inputs)))
    one, same, other = (lab.untrained(model, data.train[0][:9], seed) for seed in (0, 0, 1))
    assert np.array_equal(one.weights[0], same.weights[0])
    assert not np.array_equal(one.weights[0], other.weights[0])


def test_what_layers_know_of_the_data_is_kept():
    x = np.random.default_rng(0).normal(5, 3, (64, 8, 8, 3)).astype("float32")
    scale = layers.Normalization()
    scale.adapt(x)
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()]
    )
    inner.trainable = False
    inputs = keras.Input((8, 8, 3))
    top = layers.Dense(2)(layers.GlobalAveragePooling2D()(inner(scale(inputs), training=False)))
    model = keras.Model(inputs, top)
    control = lab.untrained(model, x)
    assert np.allclose(control.layers[1].mean, scale.mean)
    nested = control.layers[2]
    assert not nested.trainable
    assert not nested.layers[-1].trainable
    assert [layer.name for layer in control.layers] == [layer.name for layer in model.layers]
    assert not np.array_equal(nested.weights[0], inner.weights[0])
    # Nested and frozen, but its statistics are those of the examples.
    hidden = nested.layers[0](scale(x))
    assert np.allclose(nested.layers[-1].moving_mean, np.mean(hidden, (0, 1, 2)), atol=1e-2)


def test_a_model_that_cannot_be_built_anew_is_refused():
    @keras.saving.register_keras_serializable("test_controls")
    class Own(keras.Layer):
        def __init__(self, size):
            super().__init__()
            self.size = size

        def get_config(self):
            return {}

        def call(self, x):
            return x * self.size

    inputs = keras.Input((4,))
    model = keras.Model(inputs, Own(3)(layers.Dense(3)(inputs)))
    with pytest.raises(cw.CutwidgetsError, match="no untrained twin"):
        lab.untrained(model, np.zeros((5, 4)))


STUDIES = {
    "lesions": lambda m, x, y, c: lab.lesions(m, x, y, control=c),
    "random_lesions": lambda m, x, y, c: lab.random_lesions(m, x, y, repeats=2, control=c),
    "shuffles": lambda m, x, y, c: lab.shuffles(m, x, y, [1], repeats=2, control=c),
    "norm_ratios": lambda m, x, y, c: lab.norm_ratios(m, x, control=c),
    "gradients": lambda m, x, y, c: lab.gradients(m, x, y, control=c),
    "path_gradients": lambda m, x, y, c: lab.path_gradients(m, x, y, repeats=1, control=c),
    "probes": lambda m, x, y, c: lab.probes(m, x, y, folds=2, control=c),
    "similarity": lambda m, x, y, c: lab.similarity(m, x, control=c),
    "exits": lambda m, x, y, c: lab.exits(m, (x[:50], y[:50]), (x[50:], y[50:]), control=c),
    "receptive_fields": lambda m, x, y, c: lab.receptive_fields(m, x[0], control=c),
}


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_draws_its_control_in_grey(study, network, control, data):
    x, y = data.test[0][:100], data.test[1][:100]
    result = STUDIES[study](network, x, y, control)
    alone = STUDIES[study](control, x, y, None)
    assert result.control.table.equals(alone.table)
    assert "Control: residual_3_untrained" in repr(result)
    assert "Control: residual_3_untrained" in result._repr_html_()
    if study != "similarity":
        axes = result.plot()
        colours = {
            line.get_color(): line.get_label() for line in axes.lines if line.get_label()[0] != "_"
        }
        assert colours[CONTROL].startswith("residual_3_untrained")
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert any(label.startswith("residual_3_untrained") for label in labels)


def test_true_makes_the_control(network, data):
    x = data.test[0][:50]
    made = lab.norm_ratios(network, x, control=True).control
    wanted = lab.norm_ratios(lab.untrained(network, x), x)
    assert np.allclose(made.table["ratio"], wanted.table["ratio"])
    with pytest.raises(cw.CutwidgetsError, match="control is a model"):
        lab.norm_ratios(network, x, control="untrained")
