"""Linear probes, similarity of blocks, and early exits, against sums that are written out here."""

import json
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.analysis.costs import costs
from cutwidgets.lab.early_exits import _cheapest, exits
from cutwidgets.lab.linear_probes import features, probes
from cutwidgets.lab.similarity import similarity
from cutwidgets.lab.subjects import subject
from cutwidgets.progress import reporting_to


@pytest.fixture(scope="module")
def data():
    return lab.digits()


@pytest.fixture(scope="module")
def network(data):
    """Trained in place, so that it depends on no file of an earlier run."""
    model = lab.residual_network((1, 1, 1), width=8)
    lab.train(model, data, epochs=4)
    return model


@pytest.fixture(scope="module")
def few(data):
    """150 digits, and their classes."""
    return data.test[0][:150], data.test[1][:150]


@pytest.fixture(scope="module")
def probed(network, few):
    return probes(network, *few, folds=3, seed=4)


@pytest.fixture(scope="module")
def left(network, data):
    return exits(network, data.train, data.test, [0.6, 0.9, 0.99, 1.0])


def outputs(model, x, *names):
    """What layers give, by a model of Keras."""
    ends = [model.get_layer(name).output for name in names]
    part = keras.Model(model.inputs[0], ends)
    return [np.asarray(value) for value in keras.tree.flatten(part(x, training=False))]


def pooled(model, x, *names):
    values = outputs(model, x, *names)
    return [value.mean((1, 2)) if value.ndim == 4 else value for value in values]


def dense(units, **options):
    """A model of Dense layers in a row, one block each."""
    inputs = keras.Input((6,))
    x = inputs
    for number, unit in enumerate(units):
        x = layers.Dense(unit, name=f"block{number}_dense", **options)(x)
        x = layers.ReLU(name=f"block{number}_relu")(x)
    return keras.Model(inputs, x)


def shown(result):
    """Whether a result shows itself, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert result.name in repr(result)
        assert "data:image/png" in result._repr_html_()
    return True


# Probes.


def test_probes_are_those_of_scikit_learn(network, few, probed):
    x, y = few
    names = ["stem_relu", "stage1_block1_out", "stage3_block1_out", "classes"]
    features = dict(zip(["stem", "stage1_block1", "stage3_block1", "classifier"],
                        pooled(network, x, *names), strict=True))  # fmt: skip
    table = probed.table.set_index("block")
    for block, values in features.items():
        scores = []
        for train, test in StratifiedKFold(3, shuffle=True, random_state=4).split(values, y):
            scaler = StandardScaler().fit(values[train])
            fitted = LogisticRegression(max_iter=5000).fit(
                scaler.transform(values[train]), y[train]
            )
            scores.append(np.mean(fitted.predict(scaler.transform(values[test])) == y[test]))
        row = table.loc[block]
        # One example may be a draw.
        assert row["accuracy"] == pytest.approx(np.mean(scores), abs=0.7 / len(x))
        assert row["high"] - row["accuracy"] == pytest.approx(
            min(np.std(scores), 1 - np.mean(scores)), abs=0.01
        )
        assert row["low"] == pytest.approx(np.mean(scores) - np.std(scores), abs=0.015)


def test_probes_rise_with_depth(probed, few):
    values = probed.table["accuracy"]
    assert values.iloc[-1] > values.iloc[0] + 0.2
    assert probed.chance == np.bincount(few[1]).max() / 150
    assert values.iloc[0] > 2 * probed.chance
    assert probed.table["low"].between(0, values).all()
    assert probed.table["high"].between(values, 1).all()
    assert f"of classifier in {100 * values.iloc[-1]:.1f} %" in probed.finding
    assert "the output of stem is right" in probed.finding
    assert f"chance {100 * probed.chance:.1f} %" in probed.finding
    assert shown(probed)


def test_probes_draw_accuracy_in_percent(probed):
    from matplotlib.figure import Figure

    axes = probed.plot(probed, axes=Figure().subplots())
    chance, line = axes.lines[:2]
    assert np.allclose(line.get_ydata(), 100 * probed.table["accuracy"])
    assert np.allclose(chance.get_ydata(), 100 * probed.chance)


def test_probes_of_a_model_without_a_classifier(network, few, probed):
    """With classes of its own, one-hot, in a column, and with names that do not begin with 0."""
    x, y = few
    body = keras.Model(network.inputs, network.get_layer("stage3_block1_out").output)
    found = probes(body, x, y % 2, folds=2)
    assert found.table["block"].tolist() == probed.table["block"].tolist()[:-1]
    assert found.table["accuracy"].iloc[-1] > 0.85
    x, y = x[:30], y[:30] % 2
    forms = [y, y[:, None], np.eye(2)[y], y * 3 - 7, y == 1]
    one, *others = [probes(body, x, form, folds=2).table for form in forms]
    assert all(other.equals(one) for other in others)


def test_probes_take_the_seed_and_tell_how_far_they_are(network, few):
    heard = []
    with reporting_to(lambda *progress: heard.append(progress)):
        one = probes(network, *few, folds=2, seed=1)
    assert heard[-1][:2] == (5, 5)
    other = probes(network, *few, folds=2, seed=2)
    assert not one.table.equals(other.table)


def test_probes_read_only_floating_numbers():
    """A sequence of vectors is averaged; a last block that gives integers is left out."""
    inputs = keras.Input((5,), dtype="int32")
    words = layers.Embedding(7, 3, name="words")(inputs)
    scores = layers.Dense(4, name="scores_dense")(words)
    model = keras.Model(inputs, keras.ops.cast(scores, "int32"))
    assert len(cw.anatomy(model)) == 2
    tokens = np.random.default_rng(0).integers(0, 7, (40, 5))
    y = (tokens == 3).any(1)
    found = probes(model, tokens, y, folds=2)
    assert found.table["block"].tolist() == ["words"]
    averages = outputs(model, tokens, "words")[0].mean(1)
    seen = features(subject(model, tokens), cw.anatomy(model)["words"].exits)[0]
    assert np.allclose(seen, averages, atol=1e-6)
    with pytest.raises(cw.CutwidgetsError, match="outputs floating-point numbers"):
        probes(keras.Model(inputs, keras.ops.multiply(inputs, 2)), tokens, y, folds=2)


def test_probes_respect_the_axis_of_channels():
    from cutwidgets.lab.linear_probes import _pooled

    value = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    assert np.allclose(_pooled(value, -1), value.mean((1, 2)), atol=1e-6)
    assert np.allclose(_pooled(value, 1), value.mean((2, 3)), atol=1e-6)
    assert _pooled(value[:, 0, 0, 0], -1).shape == (2, 1)
    assert np.allclose(_pooled(value[:, 0, 0], -1), value[:, 0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "told_so"),
    [
        (lambda x, y: (x, y * 0), "a single class, 0"),
        (lambda x, y: (x, y[:-1]), "There are 40 examples, and labels of shape (39,)"),
        (lambda x, y: (x, y + 0.5), "number of a class for each example"),
        (lambda x, y: (x, np.ones((40, 3))), "number of a class for each example"),
        (lambda x, y: (x, y * np.nan), "Labels are finite numbers"),
        (lambda x, y: (x, None), "Labels are finite numbers"),
        (lambda x, y: (np.where(x < 9, np.nan, x), y), "not finite"),
        (lambda x, y: (x, np.arange(40) // 37), "the class 1 has 3"),
        (lambda x, y: (x[:, :3], y), "has the shape (None, 6)"),
    ],
)
def test_probes_refuse_bad_data(change, told_so):
    x = np.random.default_rng(0).normal(size=(40, 6))
    with pytest.raises(cw.CutwidgetsError) as error:
        probes(dense([3]), *change(x, np.arange(40) % 2))
    assert told_so in str(error.value)


def test_probes_refuse_bad_folds_and_lost_weights():
    x, y = np.ones((40, 6)), np.arange(40) % 2
    for folds in (1, 2.5, "5"):
        with pytest.raises(cw.CutwidgetsError, match="2 folds at least"):
            probes(dense([3]), x, y, folds=folds)
    with pytest.raises(cw.CutwidgetsError, match="Its weights may have diverged"):
        probes(dense([3], bias_initializer=keras.initializers.Constant(np.inf)), x, y)


def test_a_dead_block_is_no_better_than_chance():
    model = dense([3, 4], kernel_initializer="zeros")
    x = np.random.default_rng(0).normal(size=(40, 6))
    found = probes(model, x, np.arange(40) % 4 == 0, folds=2)
    assert (
        found.table["accuracy"].tolist()
        == [found.chance] * len(found.table)
        == [0.75] * len(found.table)
    )


# Similarity.


def hsic_of_song(one, other):
    """The unbiased estimator of HSIC in its three terms (Song et al. 2012, equation 5)."""
    n = len(one)
    k, m = one @ one.T, other @ other.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    ones = np.ones(n)
    first = np.trace(k @ m)
    second = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
    third = 2 / (n - 2) * (ones @ k @ m @ ones)
    return (first + second - third) / (n * (n - 3))


def hsic_biased(one, other):
    """With centred Gram matrices (Kornblith et al. 2019, equation 3)."""
    one, other = one - one.mean(0), other - other.mean(0)
    return np.sum((one.T @ other) ** 2)


def cka(one, other, hsic=hsic_of_song):
    return hsic(one, other) / np.sqrt(hsic(one, one) * hsic(other, other))


def flat(values):
    return [value.reshape(len(value), -1).astype("float64") for value in values]


NAMES = ["stem_relu", "stage1_block1_out", "stage2_block1_out", "stage3_block1_out", "classes"]


def test_similarity_in_one_batch_is_the_formula_of_song(network, data):
    x = data.test[0][:50]
    values = flat(outputs(network, x, *NAMES))
    found = similarity(network, x, batch=50)
    wanted = [[cka(one, other) for other in values] for one in values]
    assert np.allclose(found.values, wanted, atol=1e-5)
    biased = [[cka(one, other, hsic_biased) for other in values] for one in values]
    assert np.abs(found.values - biased).max() > 0.01


def test_similarity_of_minibatches_sums_before_it_divides(network, data):
    """The minibatches are of nearly equal size, in an order that depends on the examples alone."""
    x = data.test[0][:105]
    values = flat(outputs(network, x, *NAMES))

    def summed(one, other, parts):
        pairs = ((one, other), (one, one), (other, other))
        over, left, right = (sum(hsic_of_song(a[p], b[p]) for p in parts) for a, b in pairs)
        return over / np.sqrt(left * right)

    for size, number in ((103, 11), (105, 11), (7, 1)):
        parts = np.array_split(subject(network, x[:size]).shuffled(), number)
        found = similarity(network, x[:size], batch=10)
        wanted = [[summed(one, other, parts) for other in values] for one in values]
        assert np.allclose(found.values, wanted, atol=1e-5)


def test_similarity_of_many_is_near_the_plain_one(network, data):
    x = data.train[0][:800]
    values = flat(outputs(network, x, *NAMES))
    biased = [[cka(one, other, hsic_biased) for other in values] for one in values]
    whole = similarity(network, x, batch=800).values
    assert np.allclose(whole, biased, atol=0.01)
    # And the estimate from minibatches is not worse for their number.
    assert np.allclose(similarity(network, x, batch=50).values, whole, atol=0.02)


def linear(matrix):
    """A block of one layer that multiplies with a matrix."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(len(matrix[0]), name="map")])
    model.layers[0].set_weights([matrix, np.full(len(matrix[0]), 5.0)])
    return model


def test_similarity_does_not_change_with_rotation_and_scale():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 6)) * [1, 2, 3, 4, 5, 6]
    plain = linear(np.eye(6))
    rotation = np.linalg.qr(random.normal(size=(6, 6)))[0]
    assert similarity(plain, x, linear(-0.3 * rotation)).values[0, 0] == pytest.approx(1, abs=1e-6)
    stretched = similarity(plain, x, linear(np.diag([60.0, 1, 1, 1, 1, 1]))).values[0, 0]
    assert stretched < 0.5
    unrelated = similarity(linear(np.eye(6)[:, :3]), x, linear(np.eye(6)[:, 3:])).values[0, 0]
    assert abs(unrelated) < 0.1
    # The plain estimate finds more than there is.
    assert cka(x[:, :3], x[:, 3:], hsic_biased) > unrelated


def test_similarity_with_itself(network, data):
    x = data.test[0][:64]
    found = similarity(network, x)
    assert np.allclose(found.values.diagonal(), 1)
    assert np.allclose(found.values, found.values.T)
    assert found.values.dtype == "float64"
    blocks = [block.name for block in cw.anatomy(network)]
    assert found.table["block"].tolist() == found.table.columns[1:].tolist() == blocks
    assert np.array_equal(found.table.iloc[:, 1:].to_numpy(), found.values)
    neighbours = [found.values[i, i + 1] for i in range(4)]
    least = int(np.argmin(neighbours))
    assert f"a CKA of {np.mean(neighbours):.2f} on average" in found.finding
    assert f"the least similar are {blocks[least]} and {blocks[least + 1]}" in found.finding
    assert shown(found)
    with pytest.raises(cw.CutwidgetsError, match="axes of its own"):
        found.plot(found)


def test_similarity_of_two_models(network, data):
    x = data.test[0][:64]
    fresh = lab.residual_network((2,), width=4)
    found = similarity(network, x, fresh)
    assert found.values.shape == (5, 4)
    assert found.other == "residual_2"
    turned = similarity(fresh, x, network)
    assert np.allclose(found.values, turned.values.T)
    mine, others = flat(outputs(network, x, *NAMES)), flat(outputs(fresh, x, "stem_relu"))
    assert found.values[2, 0] == pytest.approx(cka(mine[2], others[0]), abs=1e-5)
    assert f"CKA of {found.values.max(1).mean():.2f} on average" in found.finding
    assert shown(found)
    assert np.allclose(similarity(network, x, network).values, similarity(network, x).values)


def test_similarity_of_a_block_that_gives_always_the_same():
    model = dense([3, 4, 5])
    x = np.random.default_rng(0).normal(size=(40, 6))
    names = [block.name for block in cw.anatomy(model)]
    assert len(names) == 3
    # In float32 a tenth is no number whose mean is itself.
    model.layers[3].set_weights([np.zeros((3, 4)), np.full(4, 0.1)])
    found = similarity(model, x)
    dead = np.zeros((3, 3), bool)
    dead[1:] = dead[:, 1:] = True
    assert np.array_equal(np.isnan(found.values), dead)
    assert "no two neighbouring blocks vary" in found.finding
    assert shown(found)
    assert "block0 and block0" in similarity(model, x, model).finding
    assert shown(similarity(model, x, model))
    model.layers[1].set_weights([np.zeros((6, 3)), np.full(3, 0.1)])
    assert "is the same for all" in similarity(model, x).finding
    assert shown(similarity(model, x, model))


def test_similarity_refuses_what_it_cannot_estimate(network, data):
    x = data.test[0][:20]
    for options in ({"batch": 3}, {"batch": 4.5}):
        with pytest.raises(cw.CutwidgetsError, match="4 examples at least, in each minibatch"):
            similarity(network, x, **options)
    with pytest.raises(cw.CutwidgetsError, match="Received 3 examples"):
        similarity(network, x[:3])
    with pytest.raises(cw.CutwidgetsError, match="not finite"):
        similarity(network, x * np.nan)
    with pytest.raises(cw.CutwidgetsError, match="has the shape"):
        similarity(network, x, dense([3]))


# Early exits.


def test_exits_are_those_of_a_loop_over_the_examples(network, data, left):
    blocks = ["stem_relu", "stage1_block1_out", "stage2_block1_out", "stage3_block1_out"]
    train, test = data.train, data.test
    cost = [row.macs for row in costs(network, (8, 8, 1))]
    fitted = []
    both = zip(pooled(network, train[0], *blocks), pooled(network, test[0], *blocks), strict=True)
    for known, new in both:
        scaler = StandardScaler().fit(known.astype("float64"))
        model = LogisticRegression(max_iter=5000).fit(scaler.transform(known), train[1])
        fitted.append(model.predict_proba(scaler.transform(new)))
    own = np.asarray(network(test[0], training=False)).argmax(1)
    for row in left.table.itertuples():
        right, macs, early = [], [], []
        for i, label in enumerate(test[1]):
            spent, answer = 0, None
            for position, chances in enumerate(fitted):
                spent += cost[position] + 10 * [8, 8, 16, 32][position]
                if chances[i].max() >= row.threshold:
                    answer = chances[i].argmax()
                    break
            early.append(answer is not None)
            if answer is None:
                answer = own[i]
                spent += cost[-1]
            right.append(answer == label)
            macs.append(spent)
        assert row.accuracy == pytest.approx(np.mean(right), abs=1.5 / len(own))
        assert row.early == pytest.approx(np.mean(early), abs=1.5 / len(own))
        assert row.macs == pytest.approx(np.mean(macs), rel=0.005)
        assert row.share == pytest.approx(np.mean(macs) / sum(cost), rel=0.005)


def test_exits_save_and_cost(network, data, left):
    table = left.table
    assert table["early"].is_monotonic_decreasing
    assert table["macs"].is_monotonic_increasing
    assert left.whole == np.mean(network.predict(data.test[0], verbose=0).argmax(1) == data.test[1])
    assert left.macs == costs(network).total.macs
    assert table["accuracy"].iloc[0] < left.whole - 0.05
    # Nobody leaves, and all probes were asked in vain.
    last = table.iloc[-1]
    assert (last["early"], last["accuracy"]) == (0, left.whole)
    assert last["macs"] == left.macs + 10 * (8 + 8 + 16 + 32)
    assert shown(left)


def test_exits_find_the_cheapest_of_the_good(left):
    from dataclasses import replace

    table = left.table.assign(accuracy=[0.5, 0.895, 0.894, 0.9], macs=[1e3, 2e3, 3e3, 4e9])
    table["share"] = table["macs"] / 5e3
    assert _cheapest(table, 0.9) == 0.9
    assert _cheapest(table[3:], 0.9) == 1.0
    assert _cheapest(table, 0.99) is None
    found = replace(left, table=table, whole=0.9, macs=5_000_000, threshold=0.9)
    assert "right in 90.0 % with 5 MMACs" in found.finding
    assert (
        "at a probability of 0.9, chosen on training examples, in 89.5 % with 2 kMACs (40.0 %)"
        in found.finding
    )
    assert "loses more than half a point" in replace(found, threshold=None).finding
    assert "4 GMACs" in replace(found, threshold=1.0).finding


def test_exits_of_a_model_without_a_classifier(network, data):
    """And of one whose classifier is for other classes: the last probe answers."""
    body = keras.Model(network.inputs, network.get_layer("stage3_block1_out").output)
    found = exits(body, data.train, data.test, [0.9, 1.0])
    new = pooled(body, data.test[0], "stage3_block1_out")[0]
    known = pooled(body, data.train[0], "stage3_block1_out")[0]
    scaler = StandardScaler().fit(known)
    last = LogisticRegression(max_iter=5000).fit(scaler.transform(known), data.train[1])
    score = last.score(scaler.transform(new), data.test[1])
    assert found.whole == pytest.approx(score, abs=1.5 / 360)
    assert found.table["macs"].iloc[-1] == found.macs + 10 * (8 + 8 + 16 + 32)
    assert found.table["early"].iloc[-1] == 0
    assert 0 < found.table["early"].iloc[0] < 1

    odd = [(x, y % 2) for x, y in (data.train, data.test)]
    found = exits(network, *odd, [1.0])
    assert found.whole > 0.9
    # Two classes take a single row of weights; the last probe reads the ten probabilities.
    assert found.table["macs"].iloc[-1] == found.macs + 8 + 8 + 16 + 32 + 10


def test_exits_of_a_model_with_one_output():
    random = np.random.default_rng(0)
    x = random.normal(size=(80, 6)).astype("float32")
    y = x[:, 0] > 0
    for activation, bias in ((None, -0.5), ("sigmoid", 0.5)):
        inputs = keras.Input((6,))
        middle = layers.ReLU(name="block_relu")(layers.Dense(9, name="block_dense")(inputs))
        model = keras.Model(inputs, layers.Dense(1, activation, name="yes")(middle))
        model.layers[-1].set_weights([random.normal(size=(9, 1)), np.full(1, bias)])
        found = exits(model, (x[50:], y[50:]), (x[:50], y[:50]), [1.0])
        answers = model.predict(x[:50], verbose=0)[:, 0] > (0.5 if activation else 0)
        assert found.whole == pytest.approx(np.mean(answers == y[:50]))


def test_exits_take_default_thresholds_in_order(data):
    model = lab.residual_network((1,), width=4)
    train = data.train[0][:100], np.eye(10)[data.train[1][:100]]
    found = exits(model, train, data.test)
    thresholds = found.table["threshold"].tolist()
    assert (thresholds[0], thresholds[-1], len(thresholds)) == (0.5, 1.0, 12)
    assert {0.9, 0.95, 0.99} <= set(thresholds)
    assert json.dumps(found.table.to_dict("list"))  # plain numbers of Python
    unordered = exits(model, train, data.test, [1, 0.5, 0.9, 0.5])
    assert unordered.table["threshold"].tolist() == [0.5, 0.9, 1.0]


@pytest.mark.parametrize("thresholds", [[], [0.0], [1.1], [np.nan], 0.5, ["high"], [[0.5]]])
def test_exits_refuse_bad_thresholds(thresholds, data, network):
    with pytest.raises(cw.CutwidgetsError, match="probabilities above 0, up to 1"):
        exits(network, data.train, data.test, thresholds)


def test_exits_refuse_bad_data(data, network):
    (x, y), test = data.train, data.test
    with pytest.raises(cw.CutwidgetsError, match="train must be a pair"):
        exits(network, x, test)
    with pytest.raises(cw.CutwidgetsError, match="a single class, 3"):
        exits(network, (x, y * 0 + 3), test)
    with pytest.raises(cw.CutwidgetsError, match="labels of shape"):
        exits(network, (x, y), (test[0], test[1][:5]))
    with pytest.raises(cw.CutwidgetsError, match="not finite"):
        exits(network, (x * np.nan, y), test)
    random = np.random.default_rng(0).normal(size=(20, 6))
    with pytest.raises(cw.CutwidgetsError, match="nowhere to leave early"):
        exits(dense([3]), (random, np.arange(20) % 2), (random + 1, np.arange(20) % 2))
    with pytest.raises(cw.CutwidgetsError, match="360 of the 360 test examples are also training"):
        exits(network, test, test)
    with pytest.raises(cw.CutwidgetsError, match="50 of the 360 test examples"):
        exits(network, (np.concatenate([x, test[0][:50]]), np.concatenate([y, test[1][:50]])), test)
