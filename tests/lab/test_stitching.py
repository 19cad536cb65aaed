"""Stitching against models of pieces, NumPy's least squares, and other studies."""

import random
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import rel_entr
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.lab.subjects import subject
from nested_networks import transfer
from odd_networks import u_net

FRONT, BACK = "stage2_block1", "stage2_block2"


@pytest.fixture(scope="module")
def data():
    x, y = lab.digits().train
    return x[:120], y[:120]


@pytest.fixture(scope="module")
def held(data):
    x, y = lab.digits().test
    return x[:60], y[:60]


@pytest.fixture(scope="module")
def front(data):
    return lab.untrained(lab.residual_network(blocks=(1, 2), width=4, seed=1), data[0])


@pytest.fixture(scope="module")
def back(data):
    return lab.untrained(lab.residual_network(blocks=(1, 2), width=6, seed=2), data[0])


@pytest.fixture(scope="module")
def result(front, back, data, held):
    return lab.stitch(front, back, *data, test=held)


def until(model, name, x):
    """The output of a layer."""
    return keras.Model(model.inputs, model.get_layer(name).output).predict(x, verbose=0)


def after(model, name, values):
    """What the model answers if a layer gives these values."""
    return cw.cut(model, model.get_layer(name).output, None)(values).numpy()


def least_squares(values, targets):
    rows = np.concatenate(
        [values.reshape(-1, values.shape[-1]), np.ones((values.size // values.shape[-1], 1))], 1
    )
    found = np.linalg.lstsq(rows.astype("float64"), targets.reshape(len(rows), -1), rcond=None)[0]
    return found[:-1], found[-1]


def halved(values):
    n, h, w, c = values.shape
    return values.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


def doubled(values):
    return values.repeat(2, 1).repeat(2, 2)


def row(result, one, other):
    table = result.table
    return table[(table["front"] == one) & (table["back"] == other)].iloc[0]


def error(answers, y):
    return float(np.mean(answers.argmax(-1) != y))


@pytest.mark.parametrize(
    ("one", "other", "resize", "words"),
    [
        ("stage2_block1", "stage2_block2", lambda values: values, ""),
        ("stage1_block1", "stage2_block1", halved, "mean over 2×2"),
        ("stage2_block2", "stage1_block1", doubled, "repeated 2×2"),
    ],
)
def test_a_stitch_is_the_least_squares_of_numpy(
    result, front, back, data, held, one, other, resize, words
):
    values, targets = (
        until(m, f"{name}_out", data[0]) for m, name in ((front, one), (back, other))
    )
    kernel, bias = least_squares(resize(values), targets)
    seen = resize(until(front, f"{one}_out", held[0]))
    answers = after(back, f"{other}_out", (seen @ kernel + bias).astype("float32"))
    found = row(result, one, other)
    assert found["resize"] == words
    assert found["error"] == error(answers, held[1])
    model = result.model(one, other)
    assert model.predict(held[0], verbose=0) == pytest.approx(answers, abs=2e-4)
    own, added = model.get_layer("stitch").get_weights()
    assert own[0, 0] == pytest.approx(kernel, abs=1e-3 * np.abs(kernel).max())
    assert added == pytest.approx(bias, abs=1e-3 * np.abs(bias).max())


def test_the_penalty_is_against_the_back_alone(result, back, held):
    alone = error(back.predict(held[0], verbose=0), held[1])
    assert result.base == alone
    assert (result.table["penalty"] == result.table["error"] - alone).all()
    assert len(result.table) == 16
    best = row(result, *result.best)
    assert best["penalty"] == result.table["penalty"].min()
    model = result.model()
    assert error(model.predict(held[0], verbose=0), held[1]) == best["error"]


def test_a_model_stitched_to_itself_is_the_model(front, data, held):
    found = lab.stitch(front, front, data[0], test=(held[0], None))
    same = found.table[found.table["front"] == found.table["back"]]
    assert len(same) == 4
    assert (same["change"] < 1e-4).all()
    model, whole = found.model(FRONT, FRONT), front.predict(held[0], verbose=0)
    assert model.predict(held[0], verbose=0) == pytest.approx(whole, abs=1e-5)


def test_the_model_is_flat_and_has_layers_of_its_own(result, front, back):
    model = result.model(FRONT, BACK)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    theirs = {id(layer) for m in (front, back) for layer in m.layers}
    assert not theirs & {id(layer) for layer in model.layers}


@pytest.mark.slow
def test_the_model_runs_where_there_is_no_cutwidgets(result, held, tmp_path):
    model = result.model("stage1_block1", BACK)
    model.save(tmp_path / "stitched.keras")
    np.save(tmp_path / "x.npy", held[0])
    script = (
        "import sys; sys.modules['cutwidgets'] = None\n"
        "import keras, numpy\n"
        f"model = keras.models.load_model({str(tmp_path / 'stitched.keras')!r})\n"
        f"x = numpy.load({str(tmp_path / 'x.npy')!r})\n"
        f"numpy.save({str(tmp_path / 'y.npy')!r}, model.predict(x, verbose=0))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    there, here = np.load(tmp_path / "y.npy"), model.predict(held[0], verbose=0)
    assert there == pytest.approx(here, abs=1e-6)


def test_nothing_else_changes(front, back, data):
    keras.utils.set_random_seed(5)
    before = [w.copy() for m in (front, back) for w in m.get_weights()]
    names = [layer.name for m in (front, back) for layer in m.layers]
    flags = [layer.trainable for m in (front, back) for layer in m.layers]
    lab.stitch(front, back, *data, fronts=[FRONT], backs=[BACK], epochs=1).model()
    drawn = random.random(), np.random.random(), float(keras.random.uniform(()))
    keras.utils.set_random_seed(5)
    assert drawn == (random.random(), np.random.random(), float(keras.random.uniform(())))
    weights = [w for m in (front, back) for w in m.get_weights()]
    assert all(np.array_equal(a, b) for a, b in zip(before, weights, strict=True))
    assert names == [layer.name for m in (front, back) for layer in m.layers]
    assert flags == [layer.trainable for m in (front, back) for layer in m.layers]


def test_pairs_are_ranked_by_the_cka_of_similarity(front, back, data, held):
    x, y = data[0][:60], data[1][:60]
    found = lab.stitch(front, back, x, y, test=held)
    similar = lab.similarity(front, x, back).table.set_index("block")
    for _, pair in found.table.iterrows():
        assert pair["cka"] == pytest.approx(similar.loc[pair["front"], pair["back"]], abs=1e-5)
    best = found.table.loc[found.table["rank_cka"].idxmin()]
    assert best["cka"] == found.table["cka"].max()


def test_pairs_are_ranked_by_the_divergence_of_probes(result, front, back, data):
    x, y = data
    order = subject(front, x).shuffled(0)
    seen, unseen = order[:60], order[60:]

    def answers(model):
        pooled = until(model, f"{BACK}_out", x).mean((1, 2)).astype("float64")
        scaler = StandardScaler().fit(pooled[seen])
        probe = LogisticRegression(max_iter=10_000, tol=0.01)
        probe.fit(scaler.transform(pooled[seen]), y[seen])
        return probe.predict_proba(scaler.transform(pooled[unseen]))

    wanted = rel_entr(answers(front), answers(back)).sum(1).mean()
    assert row(result, BACK, BACK)["divergence"] == pytest.approx(wanted, rel=1e-3)
    table = result.table
    assert table.loc[table["divergence"].idxmin(), "rank_divergence"] == 1
    spearman = table["rank_divergence"].corr(table["penalty"], method="spearman")
    assert f"{spearman:.2f} by divergence" in result.finding


def test_held_out_examples_are_those_of_the_input(front, back, data):
    found = lab.stitch(front, back, *data, fronts=[FRONT], backs=[BACK])
    shares = found.table["error"] * 30
    assert shares.tolist() == pytest.approx(np.round(shares).tolist())
    order = np.random.default_rng(0).permutation(120)
    again = lab.stitch(front, back, data[0][order], data[1][order], fronts=[FRONT], backs=[BACK])
    assert again.table["error"].tolist() == found.table["error"].tolist()


def test_training_moves_the_stitch_alone(front, back, data, held):
    options = {"fronts": ["stage1_block1"], "backs": ["stage1_block1"], "test": held}
    fitted, trained = (lab.stitch(front, back, *data, epochs=e, **options) for e in (0, 3))
    assert trained.table["start"].tolist() == fitted.table["penalty"].tolist()
    losses = []
    for found in (fitted, trained):
        model = found.model()
        answers = model.predict(data[0], verbose=0)
        losses.append(keras.losses.sparse_categorical_crossentropy(data[1], answers).numpy().mean())
        assert error(model.predict(held[0], verbose=0), held[1]) == found.table["error"][0]
        for name in ("stage2_block2_2_conv", "classes"):
            theirs, own = (m.get_layer(name).get_weights() for m in (back, model))
            assert all(np.array_equal(a, b) for a, b in zip(theirs, own, strict=True))
    assert losses[1] < losses[0]
    with pytest.raises(cw.CutwidgetsError, match="needs labels"):
        lab.stitch(front, back, data[0], epochs=1)


def network(order="channels_last", size=6, width=4, strides=2):
    """Two convolutions and a classifier, other than a residual network."""
    keras.utils.set_random_seed(width)
    shape = (size, size, 3) if order == "channels_last" else (3, size, size)
    inputs = keras.Input(shape, name="picture")
    options = {"padding": "same", "activation": "relu", "data_format": order}
    x = layers.Conv2D(width, 3, strides, name="one", **options)(inputs)
    x = layers.Conv2D(width, 3, name="two", **options)(x)
    x = layers.GlobalAveragePooling2D(data_format=order)(x)
    return keras.Model(inputs, layers.Dense(3)(x), name=f"plain_{width}")


def pictures(number, size=6, seed=0):
    return np.random.default_rng(seed).normal(size=(number, size, size, 3)).astype("float32")


def test_other_lengths_are_interpolated():
    x, front, back = pictures(40), network(strides=1), network(strides=4, width=5)
    wide = keras.Sequential(
        [keras.Input((6, 6, 3)), layers.ZeroPadding2D(1), network(size=8, strides=2, width=5)]
    )
    found = lab.stitch(front, wide, x, fronts=["two"], backs=["plain_5/two"])
    assert found.table["resize"].tolist() == ["bilinear to 4×4"]
    assert any(isinstance(layer, layers.Resizing) for layer in found.model().layers)
    assert lab.stitch(front, back, x).table["resize"].iloc[-1] == "mean over 3×3"


def test_channels_may_come_first():
    x = pictures(40)
    first = np.moveaxis(x, -1, 1)
    tables = []
    for order, images in (("channels_last", x), ("channels_first", first)):
        pair = network(order, width=4, strides=1), network(order, width=5)
        x, test = images[:30], (images[30:], None)
        found = lab.stitch(*pair, x, test=test, fronts=["two"], backs=["two"])
        answers = found.model().predict(images, verbose=0)
        tables.append((found.table["change"][0], answers))
    assert tables[0][0] == pytest.approx(tables[1][0], rel=1e-3)
    assert tables[0][1] == pytest.approx(tables[1][1], abs=1e-4)


def test_vectors_and_sequences_are_stitched():
    for shape, kind, made in (
        ((6,), layers.Dense, layers.Dense),
        ((8, 6), lambda n, name: layers.Conv1D(n, 3, padding="same", name=name), layers.Conv1D),
    ):
        models = []
        for width in (4, 5):
            keras.utils.set_random_seed(width)
            inputs = keras.Input(shape)
            x = layers.ReLU(name="a_relu")(kind(width, name="a")(inputs))
            x = layers.ReLU(name="b_relu")(kind(width, name="b")(x))
            x = x if len(shape) == 1 else layers.GlobalAveragePooling1D()(x)
            models.append(keras.Model(inputs, layers.Dense(2, name="end")(x)))
        x = np.random.default_rng(0).normal(size=(60, *shape)).astype("float32")
        found = lab.stitch(*models, x, fronts=["b_relu"], backs=["b_relu"])
        assert isinstance(found.model().get_layer("stitch"), made)
        values, targets = (until(m, "b_relu", x) for m in models)
        assert found.model().predict(x, verbose=0).shape == (60, 2)
        assert values.shape[-1] != targets.shape[-1]


def test_blocks_of_nested_models_are_stitched():
    """Up to a block inside of the nested backbone, against the layers called one by one."""
    x, front, back = pictures(12, 32), transfer(), network(size=32)
    found = lab.stitch(front, back, x, fronts=["backbone/a"], backs=["two"])
    inner = front.get_layer("backbone")
    values = until(inner, "a_add", front.get_layer("rescaling")(x))
    model = found.model()
    kernel, bias = model.get_layer("stitch").get_weights()
    wanted = after(back, "two", halved(values) @ kernel[0, 0] + bias)
    assert model.predict(x, verbose=0) == pytest.approx(wanted, abs=1e-4)


def test_half_precision_and_several_inputs(data):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = lab.residual_network(blocks=(1,), width=4)
    finally:
        keras.config.set_dtype_policy("float32")
    single = lab.residual_network(blocks=(1,), width=6)
    for pair in ((half, single), (single, half)):
        assert lab.stitch(*pair, *data, backs=["stage1_block1"]).model().output.shape == (None, 10)
    inputs = [keras.Input((6,), name="a"), keras.Input((5,), name="b")]
    x = layers.Dense(4, "relu", name="before")(inputs[0])
    x = layers.Dense(4, "relu", name="join")(layers.Concatenate()([x, inputs[1]]))
    model = keras.Model(inputs, layers.Dense(2, name="end")(x))
    random_x = [np.random.default_rng(0).normal(size=(40, n)).astype("float32") for n in (6, 5)]
    found = lab.stitch(
        model, model, random_x, fronts=["before", "join"], backs=["before", "join", "end"]
    )
    notes = dict(zip(found.table["back"], found.table["note"], strict=True))
    assert notes["before"] == "what follows before also needs the output of b"
    assert notes["end"] == "no layer after end computes the output"
    assert [tensor.name for tensor in found.model("before", "join").inputs] == ["a"]
    assert len(found.model("join", "join").inputs) == 2


def test_pairs_that_do_not_fit_are_left_out_with_the_reason(data):
    x = pictures(12, 16)
    back = u_net()
    found = lab.stitch(network(size=16, strides=1), back, x, fronts=["two"])
    notes = dict(zip(found.table["back"], found.table["note"], strict=True))
    assert any("also needs the output of" in note for note in notes.values())
    assert "left out" in found.finding
    unfit = next(name for name, note in notes.items() if "also needs" in note)
    with pytest.raises(cw.CutwidgetsError, match="also needs"):
        found.model("two", unfit)
    with pytest.raises(cw.CutwidgetsError, match="no such pair"):
        found.model("two", "nowhere")
    flat = keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(4), layers.Dense(3)]
    )
    with pytest.raises(cw.CutwidgetsError, match="spatial axes"):
        lab.stitch(flat, network(size=16), x)


def test_channels_first_is_not_stitched_to_channels_last():
    keras.utils.set_random_seed(0)
    inner = network("channels_first", width=5)
    inputs = keras.Input((6, 6, 3))
    turned = keras.Model(inputs, inner(layers.Permute((3, 1, 2))(inputs)))
    with pytest.raises(cw.CutwidgetsError, match="channels come first"):
        lab.stitch(network(), turned, pictures(12), backs=["plain_5/two"])


def test_too_few_positions_are_told(front, back, data):
    found = lab.stitch(front, back, data[0][:4], fronts=["stage2_block2"], backs=["stage2_block1"])
    assert found.table["note"].tolist() == [""]
    wide = lab.residual_network(blocks=(1, 1), width=32)
    found = lab.stitch(wide, back, data[0][:4], fronts=["stage2_block1"], backs=["stage2_block1"])
    assert "not unique: 48 positions for 64 channels" in found.table["note"][0]


def test_data_that_prove_nothing_are_refused(front, back, data):
    with pytest.raises(cw.CutwidgetsError, match="the same examples"):
        lab.stitch(front, back, *data, test=data)
    with pytest.raises(cw.CutwidgetsError, match="pair of inputs and labels"):
        lab.stitch(front, back, *data, test=(data[0], None))
    with pytest.raises(cw.CutwidgetsError, match="2 at least"):
        lab.stitch(front, back, data[0][:1])
    with pytest.raises(cw.CutwidgetsError, match="not finite"):
        lab.stitch(front, back, np.full_like(data[0], np.nan))


def test_a_network_that_has_changed_since_is_not_stitched(back, data):
    front = lab.residual_network(blocks=(1,), width=4)
    found = lab.stitch(front, back, *data, fronts=["stage1_block1"], backs=["stage1_block1"])
    front.get_layer("stem_conv").set_weights([2 * front.get_layer("stem_conv").get_weights()[0]])
    with pytest.raises(cw.CutwidgetsError, match="has changed since"):
        found.model()


def test_the_plot_shows_the_numbers(result):
    axes = result.plot()
    assert len(axes.texts) == 16
    shown = [float(text.get_text()) for text in axes.texts]
    assert shown == pytest.approx(100 * result.table["penalty"], abs=0.51)
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "stage2_block2"
    assert "<img" in result._repr_html_()
    with pytest.raises(cw.CutwidgetsError, match="on top of each other"):
        result.plot(result)


def test_a_control_has_the_same_places(front, back, data):
    found = lab.stitch(front, back, *data, fronts=[FRONT], backs=[BACK], control=True)
    assert found.control.table[["front", "back"]].equals(found.table[["front", "back"]])
    assert "untrained" in found.control.finding
    assert found._repr_html_().count("<img") == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_trained_networks_continue_each_other():
    """Bansal et al. 2021, with the start of SN-Net: least squares. The control fails it."""
    data = lab.digits()
    front = lab.trained(blocks=(6, 6, 6), epochs=6)
    back = lab.trained(blocks=(2, 2, 2), epochs=6, seed=1)
    pairs = [("stage1_block6", "stage1_block2"), ("stage2_block6", "stage2_block2")]
    last = ("stage3_block6", "stage3_block2")
    found = lab.stitch(front, back, *data.train, test=data.test)
    penalties = [row(found, *pair)["penalty"] for pair in (*pairs, last)]
    assert penalties[2] <= 0.01
    assert penalties[0] > penalties[1] > penalties[2] + 0.05
    later = found.table["front"].str.startswith("stage3") & found.table["back"].str.startswith(
        "stage3"
    )
    assert found.table[later]["penalty"].median() <= 0.01

    places = {"fronts": [a for a, _ in (*pairs, last)], "backs": [b for _, b in (*pairs, last)]}
    control = lab.stitch(
        lab.untrained(front, data.train[0]), back, *data.train, test=data.test, **places
    )
    errors = [row(control, *pair)["error"] for pair in (*pairs, last)]
    assert min(errors) > 0.6
    assert np.mean(errors) > 0.7

    itself = lab.stitch(
        front, front, data.train[0], test=(data.test[0], None), fronts=[last[0]], backs=[last[0]]
    )
    whole = front.predict(data.test[0], verbose=0)
    assert itself.model().predict(data.test[0], verbose=0) == pytest.approx(whole, abs=1e-5)
