"""Draws without repetition, batches that count alike, and results that need no certain order."""

import itertools

import keras
import numpy as np
import pytest

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.lab.sampling import orders, subsets
from cutwidgets.progress import reporting_to


@pytest.fixture(scope="module")
def data():
    return lab.digits()


@pytest.fixture(scope="module")
def network(data):
    model = lab.residual_network((2, 2), width=4)
    lab.train(model, data, epochs=1)
    return model


@pytest.mark.parametrize("seed", range(4))
def test_a_mean_over_all_lesions_is_exact(network, data, seed):
    x, y = data.test
    one = lab.lesions(network, x, y).table["error"]
    names = lab.lesions(network, x, y).table["block"]
    found = lab.random_lesions(network, x, y, counts=[1, 2], repeats=100, seed=seed).table
    assert found["draws"].tolist() == [4, 6]
    assert found["error"][0] == pytest.approx(one.mean())
    pairs = [
        np.mean(cw.remove(network, *two).predict(x, verbose=0).argmax(1) != y)
        for two in itertools.combinations(names, 2)
    ]
    assert found["error"][1] == pytest.approx(np.mean(pairs))
    assert found["high"][1] == pytest.approx(np.quantile(pairs, 0.9))


def test_no_subset_is_drawn_twice_and_each_is_as_likely():
    random = np.random.default_rng(0)
    counts = dict.fromkeys(itertools.combinations(range(6), 3), 0)
    for _ in range(400):
        drawn = subsets(6, 3, 10, random)
        assert len(set(drawn)) == len(drawn) == 10
        for subset in drawn:
            counts[subset] += 1
    # Each of the 20 is in half of the draws: 200 ± 10.
    assert 150 < min(counts.values()) <= max(counts.values()) < 250


def test_all_orders_that_swaps_lead_to():
    random = np.random.default_rng(0)
    rows = [[1, 2, 3], [7, 8]]
    found = orders(rows, 2, 100, random)
    swaps = [(0, 1), (0, 2), (1, 2), (3, 4)]
    wanted = set()
    for pair in itertools.product(swaps, repeat=2):
        order = [1, 2, 3, 7, 8]
        for one, other in pair:
            order[one], order[other] = order[other], order[one]
        wanted.add(tuple(order))
    assert set(found) == wanted
    assert len(found) == len(wanted)
    few = orders([list(range(9))], 3, 20, random)
    assert len(set(few)) == 20


@pytest.mark.slow
def test_the_order_of_the_examples_does_not_matter(network, data):
    x, y = data.train
    by_class = np.argsort(y, kind="stable")
    one, other = lab.similarity(network, x), lab.similarity(network, x[by_class])
    assert np.allclose(one.values, other.values, atol=1e-6)
    one, other = (lab.gradients(network, x[i], y[i]).table for i in (slice(None), by_class))
    assert np.allclose(one["output"], other["output"], rtol=1e-4)
    paths = [
        lab.path_gradients(network, x[i], y[i], repeats=1).table["gradient"]
        for i in (slice(None), by_class)
    ]
    assert np.allclose(*paths, rtol=1e-4)


def test_a_rest_of_four_examples_counts_no_more_than_others(network, data):
    x = data.test[0][:260]
    whole = lab.similarity(network, x, batch=260).values
    assert np.abs(lab.similarity(network, x, batch=64).values - whole).max() < 0.05


def test_nan_in_the_weights_is_refused_by_every_study(data):
    x, y = data.test[0][:100], data.test[1][:100]
    model = lab.residual_network((2,), width=4)
    kernel = model.get_layer("stage1_block2_2_conv").kernel
    kernel.assign(kernel.value * np.nan)
    for study in (
        lambda: lab.norm_ratios(model, x),
        lambda: lab.gradients(model, x, y),
        lambda: lab.path_gradients(model, x, y),
        lambda: lab.lesions(model, x, y),
        lambda: lab.similarity(model, x),
        lambda: lab.probes(model, x, y, folds=2),
        lambda: lab.exits(model, (x[:50], y[:50]), (x[50:], y[50:])),
        lambda: lab.receptive_fields(model, x[0]),
        lambda: lab.untrained(keras.models.clone_model(model), x * np.nan),
    ):
        with pytest.raises(cw.CutwidgetsError, match="finite"):
            study()


def test_the_share_of_a_field_is_that_of_what_the_photograph_shows():
    """Each pixel counts as much as any other, and the field is larger than the photograph."""
    inputs = x = keras.Input((16, 16, 1))
    for _ in range(3):
        x = keras.layers.Conv2D(1, 31, padding="same", kernel_initializer="ones", use_bias=False)(x)
    found = lab.receptive_fields(keras.Model(inputs, x), np.ones((16, 16, 1))).table
    assert found["height"].iloc[-1] > 16
    assert np.allclose(found["share"], 1)


def test_exits_name_who_answers(network, data):
    """Without one of the ten classes the model still answers by itself."""
    keep, kept = data.train[1] < 9, data.test[1] < 9
    x, y = data.test[0][kept], data.test[1][kept]
    found = lab.exits(network, (data.train[0][keep], data.train[1][keep]), (x, y))
    assert found.answered_by == "model"
    assert found.whole == pytest.approx(np.mean(network.predict(x, verbose=0).argmax(1) == y))
    assert "the whole model is right" in found.finding


def test_each_pass_tells_how_far_it_is_and_can_be_stopped(network, data):
    x = np.concatenate([data.train[0]] * 2)

    class Stop(Exception):
        pass

    for study in (
        lambda: lab.norm_ratios(network, x),
        lambda: lab.probes(network, x, np.concatenate([data.train[1]] * 2)),
        lambda: lab.lesions(network, x),
    ):
        heard = []
        with reporting_to(lambda *progress: heard.append(progress)):  # noqa: B023
            study()
        assert (0, 12, "running the model") in heard

        def stop(done, total, label):
            if done == 3:
                raise Stop

        with pytest.raises(Stop), reporting_to(stop):
            study()


def test_training_leaves_the_seeds_of_the_process_and_ends_compiled(data):
    import random

    random.seed(5)
    np.random.seed(5)
    wanted = random.Random(5).random(), np.random.RandomState(5).random()
    model = lab.residual_network((1,), width=4)
    training = lab.train(model, data, epochs=1).table.iloc[-1]
    assert (random.random(), np.random.random()) == wanted
    # Errors are those of the network at the end of the epoch.
    for name, (x, y) in (("training error", data.train), ("test error", data.test)):
        error = np.mean(model.predict(x, verbose=0).argmax(1) != y)
        assert training[name] == pytest.approx(error)
    for _ in range(2):
        again = lab.trained((1,), epochs=1, width=4, seed=98)
        assert len(again.evaluate(*data.test, verbose=0)) == 2
