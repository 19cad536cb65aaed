"""Lens and alignment against models of pieces, a tape, and regressions by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.progress import reporting_to
from nested_networks import transfer
from networks import unet
from odd_networks import masked, transformer


def settled(model, x):
    """The model, with the statistics of normalisations set from one batch."""
    normalisations = [x for x in model.layers if isinstance(x, layers.BatchNormalization)]
    for layer in normalisations:
        layer.momentum = 0.0
    model(x, training=True)
    for layer in normalisations:
        layer.momentum = 0.9
    return model


@pytest.fixture(scope="module")
def data():
    x, y = lab.digits().test
    return x[:100], y[:100]


@pytest.fixture(scope="module")
def model(data):
    return settled(lab.residual_network(blocks=(3, 2), width=4), data[0])


def until(model, name, x):
    """The output of a layer."""
    return keras.Model(model.inputs, model.get_layer(name).output).predict(x, verbose=0)


def ending(model, pooled):
    return model.get_layer("classes")(pooled).numpy()


def error(answers, y):
    return float(np.mean(answers.argmax(-1) != y))


def change(answers, model, x):
    whole = model.predict(x, verbose=0)
    return np.linalg.norm(answers - whole) / np.linalg.norm(whole)


def test_the_own_tail_reads_the_block(model, data):
    x, y = data
    found, changes = (lab.lens(model, x, y).table.set_index("block") for y in (y, None))
    for block in ("stage2_block1", "stage2_block2"):
        answers = ending(model, model.get_layer("pool")(until(model, f"{block}_out", x)))
        assert found.loc[block, "error"] == error(answers, y)
        wanted = change(answers, model, x)
        assert changes.loc[block, "change"] == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert found.loc[block, "how"] == "own tail"
    assert (found["how"] == "own tail").sum() == 2


def test_the_last_block_gives_the_answer_of_the_model(model, data):
    x, y = data
    found = lab.lens(model, x, y)
    whole = error(model.predict(x, verbose=0), y)
    assert found.table["error"].iloc[-1] == found.base == whole
    assert lab.lens(model, x).table["change"].iloc[-1] == 0


def test_regressions_have_not_seen_what_they_are_scored_on(model, data):
    """Against ridge regression with loops over the folds, and standardisation by hand."""
    x, y = data
    options = {"alpha": 2.0, "folds": 4, "seed": 3}
    found = lab.lens(model, x, **options).table.set_index("block")
    target = until(model, "stage2_block2_out", x).mean((1, 2))
    values = until(model, "stage1_block2_out", x).mean((1, 2)).astype("float64")
    predicted = np.empty_like(target)
    for seen, unseen in KFold(4, shuffle=True, random_state=3).split(x):
        mean, scale = values[seen].mean(0), values[seen].std(0)
        regression = Ridge(2.0).fit((values[seen] - mean) / scale, target[seen])
        predicted[unseen] = regression.predict((values[unseen] - mean) / scale)
    assert found.loc["stage1_block2", "how"] == "tuned"
    answers = ending(model, predicted)
    assert found.loc["stage1_block2", "change"] == pytest.approx(
        change(answers, model, x), rel=1e-4
    )
    errors = lab.lens(model, x, y, **options).table.set_index("block")["error"]
    assert errors["stage1_block2"] == error(answers, y)


def test_alignment_is_that_of_a_tape(model, data):
    x, y = data
    found = lab.alignment(model, x, y).table.set_index("block")
    tails = {"stage1_block2": "stage1_block2", "stage2_block1": "stage2_block1_out"}
    ends = {
        "stage1_block2": ("stage1_block1_out", "stage1_block2_add"),
        "stage2_block1": ("stage2_block1_0_bn", "stage2_block1_add"),
    }
    for block, (shortcut, merge) in ends.items():
        at, merged = until(model, shortcut, x), until(model, merge, x)
        tail = cw.cut(model, tails[block])
        # A projection leads to the sum alone, so the gradient there is that of the sum.
        start = tf.constant(merged if "0_bn" in shortcut else at)
        with tf.GradientTape() as tape:
            tape.watch(start)
            answers = tail(start, training=False)
            loss = tf.reduce_sum(keras.losses.sparse_categorical_crossentropy(y, answers))
        slope = -tape.gradient(loss, start).numpy().reshape(100, -1).astype("float64")
        branch = (merged - at).reshape(100, -1).astype("float64")
        lengths = np.linalg.norm(branch, axis=1) * np.linalg.norm(slope, axis=1)
        wanted = ((branch * slope).sum(1) / lengths).mean()
        assert found.loc[block, "alignment"] == pytest.approx(wanted, abs=1e-5)
    both = lab.lens(model, x, y).table.set_index("block")["alignment"].dropna()
    assert both.to_dict() == pytest.approx(found["alignment"].to_dict(), abs=1e-6)


def test_alignment_uses_all_examples_and_not_their_batches(model, data, monkeypatch):
    whole = lab.alignment(model, *data).table["alignment"]
    monkeypatch.setattr("cutwidgets.lab.subjects.EXAMPLES_AT_ONCE", 7)
    assert lab.alignment(model, *data).table["alignment"].tolist() == pytest.approx(whole, abs=1e-5)


def test_a_shortcut_may_be_the_input_of_the_model(data):
    x = inputs = keras.Input((4,))
    x = layers.Add()([x, layers.Dense(4)(layers.ReLU()(x))])
    x = layers.Add()([x, layers.Dense(4)(layers.ReLU()(x))])
    model = keras.Model(inputs, layers.Dense(3)(x))
    x, y = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
    assert lab.alignment(model, x, y).table["alignment"].abs().between(1e-6, 1).all()


def test_a_branch_of_zeros_has_no_alignment(data):
    model = lab.residual_network(blocks=(2,), width=4)
    layer = model.get_layer("stage1_block2_2_bn")
    layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    found = lab.alignment(model, *data).table["alignment"]
    assert np.isfinite(found[0])
    assert np.isnan(found[1])


def test_nothing_changes_in_the_model(model, data):
    before = [weight.copy() for weight in model.get_weights()]
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    lab.lens(model, *data)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]


def test_the_layers_of_a_transformer_have_one_shape():
    """The logit lens as it was first told: each layer, read by the end of the model."""
    keras.utils.set_random_seed(0)
    model, x = transformer(), np.random.default_rng(0).normal(size=(5, 8, 6)).astype("float32")
    found = lab.lens(model, x)
    assert found.table["how"].tolist() == ["own tail", "own tail"]
    first = cw.anatomy(model)[0].end
    pooled = until(model, first, x).mean(1)
    wanted = change(model.layers[-1](pooled).numpy(), model, x)
    assert found.table["change"].iloc[0] == pytest.approx(wanted, rel=1e-4)


def test_masks_come_from_the_input_of_the_model():
    tokens = np.random.default_rng(0).integers(0, 10, size=(12, 7))
    assert lab.lens(masked(), tokens, folds=3).table["how"].tolist() == ["tuned", "own tail"]


def test_blocks_of_a_nested_model():
    model = transfer()
    x = np.random.default_rng(0).normal(size=(6, 32, 32, 3)).astype("float32")
    table = lab.lens(model, x, folds=2).table
    assert table["block"].iloc[-1] == "backbone/b"
    assert table["change"].iloc[-1] == 0
    assert table["how"].tolist()[-3:] == ["own tail"] * 3


def test_channels_may_come_first():
    """In both orders of the axes the same weights give the same table."""
    tables = []
    for order, axis in (("channels_last", -1), ("channels_first", 1)):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((4, 4, 3) if axis == -1 else (3, 4, 4))
        x = layers.Conv2D(6, 1, data_format=order, name="stem_conv")(inputs)
        for name, width in (("a", 6), ("b", 8), ("c", 8)):
            y = layers.Conv2D(width, 1, data_format=order, name=f"{name}_conv")(x)
            x = (
                layers.Conv2D(width, 1, data_format=order, name=f"{name}_0")(x)
                if width != x.shape[axis]
                else x
            )
            x = layers.Add(name=f"{name}_add")([x, layers.ReLU(name=f"{name}_relu")(y)])
        x = layers.GlobalAveragePooling2D(data_format=order)(x)
        model = keras.Model(inputs, layers.Dense(5)(x))
        images = np.random.default_rng(0).normal(size=(12, 4, 4, 3)).astype("float32")
        images = images if axis == -1 else np.moveaxis(images, -1, 1)
        tables.append(lab.lens(model, images, folds=3).table)
    assert set(tables[0]["how"]) == {"own tail", "tuned"}
    assert tables[0][["block", "how"]].equals(tables[1][["block", "how"]])
    assert tables[0]["change"].tolist() == pytest.approx(tables[1]["change"].tolist(), abs=1e-5)


def test_where_positions_are_answered_only_blocks_of_one_shape_are_read():
    model = unet(2, size=16)
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    found = lab.lens(model, x)
    assert set(found.table["how"]) == {"own tail"}
    assert {"down2", "bridge"} <= set(found.left_out)
    assert "bridge" in found.finding


def test_models_without_a_tail_are_refused(data):
    features = cw.cut(lab.residual_network(blocks=(2,), width=4), None, "stage1_block2")
    with pytest.raises(cw.CutwidgetsError, match="no layers after its last block"):
        lab.lens(features, data[0])


@pytest.mark.parametrize("options", [{"folds": 1}, {"folds": 101}, {"alpha": -1}])
def test_regressions_that_cannot_be_made_are_refused(model, data, options):
    with pytest.raises(cw.CutwidgetsError, match="tuned lens"):
        lab.lens(model, *data, **options)


def test_weights_that_are_not_finite_are_refused(data):
    model = lab.residual_network(blocks=(2,), width=4)
    layer = model.get_layer("stage1_block2_2_conv")
    layer.set_weights([np.full_like(weight, np.nan) for weight in layer.get_weights()])
    for study in (lab.lens, lab.alignment):
        with pytest.raises(cw.CutwidgetsError, match="not finite"):
            study(model, *data)


@pytest.mark.slow
def test_controls_and_measures_are_those_asked_for(model, data):
    x, y = data[0][:40], data[1][:40]
    for study in (lab.lens, lab.alignment):
        found = study(model, x, y, control=True)
        alone = study(lab.untrained(model, x), x, y)
        assert found.control.table.equals(alone.table)
        assert "Control: " in repr(found)
    assert lab.lens(model, x, y, measure="change").kind == "change"


def test_the_work_can_be_stopped(model, data):
    """Within a pass: a listener hears of each batch, and may raise."""

    def listen(done, total, label):
        if done:
            raise KeyboardInterrupt

    before = [weight.copy() for weight in model.get_weights()]
    for study in (
        lambda: lab.lens(model, *data),
        lambda: lab.alignment(model, *data),
        lambda: lab.stitch(model, model, *data),
    ):
        with reporting_to(listen), pytest.raises(KeyboardInterrupt):
            study()
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_plots_have_gaps_and_a_line_of_chance(model, data):
    axes = lab.lens(model, *data).plot()
    own, tuned = (line for line in axes.lines if line.get_gid() == "block")
    finite = [np.isfinite(np.asarray(line.get_ydata(), float)) for line in (own, tuned)]
    assert not (finite[0] & finite[1]).any()
    assert tuned.get_markerfacecolor() == "none"
    assert [text.get_text() for text in axes.texts] == ["chance"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_blocks_of_a_trained_network_refine_one_answer():
    """Jastrzębski et al. 2018, section 4; an untrained network does nothing of it."""
    data = lab.digits()
    model = lab.trained(blocks=(6, 6, 6), epochs=6)
    control = settled(lab.residual_network((6, 6, 6)), data.train[0])

    found, changes = lab.lens(model, *data.test), lab.lens(model, data.test[0])
    errors = found.table[found.table["stage"] == "stage3"]["error"]
    # An example or two of 360 may be lost again.
    assert np.diff(errors).max() <= 2 / 360
    assert errors.iloc[0] > errors.iloc[-1] + 0.05
    changed = changes.table[changes.table["stage"] == "stage3"]["change"]
    assert changed.is_monotonic_decreasing
    assert found.base == errors.iloc[-1] < 0.05

    untrained = lab.lens(control, *data.test).table
    assert untrained["error"].min() > 0.75

    means = [
        lab.alignment(m, *data.test).table.groupby("stage")["alignment"].mean()
        for m in (model, control)
    ]
    assert means[0]["stage3"] > 0.15
    assert means[0].is_monotonic_increasing
    assert means[1].abs().max() < 0.05
