"""Receptive fields against arithmetic, finite differences of every pixel, and Luo et al. 2016."""

from functools import reduce

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.lab.receptive_fields import receptive_fields


def ones(filters, size, **options):
    return layers.Conv2D(filters, size, kernel_initializer="ones", use_bias=False, **options)


def stack(*parts, shape):
    """A model that gives what each part gives, so that every part ends a block."""
    x = inputs = keras.Input(shape)
    outputs = [x := part(x) for part in parts]
    return keras.Model(inputs, outputs)


def linear(padding):
    return stack(
        ones(3, (3, 5), padding=padding),
        ones(2, 3, strides=2, padding=padding),
        layers.AveragePooling2D(2),
        ones(2, (2, 3), dilation_rate=2, padding=padding),
        shape=(90, 110, 2),
    )


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_positive_linear_network_sees_what_the_formula_says(padding):
    photo = np.random.default_rng(0).normal(size=(90, 110, 2))
    found = receptive_fields(linear(padding), photo).table
    # By hand: 3; 3 + 2, and 5 + 2 behind the pooling, which is in that block; 7 + 2 * 4.
    assert found["height"].tolist() == found["measured height"].tolist() == [3, 7, 15]
    assert found["width"].tolist() == found["measured width"].tolist() == [5, 9, 25]


def test_channels_may_come_first():
    photo = np.random.default_rng(0).normal(size=(2, 40, 60))
    keras.config.set_image_data_format("channels_first")
    try:
        # TensorFlow has no gradient of such convolutions on a CPU, but of pooling it has.
        model = stack(layers.AveragePooling2D((2, 3)), layers.ReLU(), shape=(2, 40, 60))
        found = receptive_fields(model, photo)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert found.table["measured height"].tolist()[-1] == 2
    assert found.table["measured width"].tolist()[-1] == 3
    assert found.photo.shape == (40, 60)


@pytest.mark.parametrize("seed", [3, 4])
def test_what_is_measured_is_what_changes_when_a_pixel_does(seed):
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        network = lab.residual_network(blocks=(2, 2), width=1, size=16, seed=seed)
        photo = np.random.default_rng(2).uniform(size=(16, 16, 1))
        found = receptive_fields(network, photo)
        changed = photo + 1e-6 * np.eye(256).reshape(256, 16, 16, 1)
        before, after = (cw.activations(network, x) for x in (photo[np.newaxis], changed))
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    partly = 0
    for block, heat in found.heat.items():
        middle = before[block].shape[1] // 2
        slopes = ((after[block] - before[block])[:, middle, middle] / 1e-6).reshape(16, 16, -1)
        seen = np.abs(slopes).max(axis=-1) > 1e-8
        np.testing.assert_array_equal(heat > 0, seen, block)
        if slopes.shape[-1] == 1 and seen.any():
            wanted = np.abs(slopes[..., 0]) / np.abs(slopes).max()
            np.testing.assert_allclose(heat, wanted, atol=1e-4)
        row = found.table.set_index("block").loc[block]
        for axis, side in ((1, "height"), (0, "width")):
            places = np.flatnonzero(seen.any(axis=axis))
            length = np.ptp(places) + 1 if len(places) else 0
            assert row[f"measured {side}"] == length <= row[side]
        partly += 0 < seen.sum() < row["measured height"] * row["measured width"]
    assert partly, "activations let some pixels through, and others not"


DEPTHS = (1, 4, 9, 16, 25, 36)


@pytest.fixture(scope="module")
def deep():
    """Fields behind layers that each add up 3 by 3 elements, by their number."""
    photo = np.ones((81, 81, 1))
    models = {}
    for n in DEPTHS:
        parts = [ones(1, 3, padding="same") for _ in range(n)]
        models[n] = keras.Sequential([keras.Input((81, 81, 1)), *parts])
    return {n: receptive_fields(model, photo) for n, model in models.items()}


def test_effective_is_the_size_of_a_gradient_by_hand(deep):
    for n, found in deep.items():
        row = found.table.iloc[-1]
        *_, heat = found.heat.values()
        kernel = reduce(np.convolve, [np.ones(3)] * n)
        wanted = np.outer(kernel, kernel) / kernel.max() ** 2
        np.testing.assert_allclose(heat[40 - n : 41 + n, 40 - n : 41 + n], wanted, rtol=1e-3)
        assert np.count_nonzero(heat) == (2 * n + 1) ** 2
        assert row["effective"] == np.sqrt(np.count_nonzero(wanted > 1 - 0.9545))
        assert row["share"] == pytest.approx(row["effective"] ** 2 / (2 * n + 1) ** 2)


def test_effective_grows_with_the_root_of_the_depth(deep):
    # Luo et al. 2016, figure 3: a slope of 0.56 in the logarithms; the formula's is 1.
    slopes = [
        np.polyfit(
            np.log(DEPTHS[1:]), np.log([deep[n].table[name].iloc[-1] for n in DEPTHS[1:]]), 1
        )[0]
        for name in ("effective", "height")
    ]
    assert 0.4 < slopes[0] < 0.65
    assert slopes[1] > 0.9


def test_where_the_formula_knows_no_bound_all_of_the_photograph_is_seen():
    inputs = keras.Input((20, 20, 1))
    x = ones(4, 3, padding="same", name="stem_conv")(inputs)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Dense(4, "sigmoid")(gate)])
    found = receptive_fields(keras.Model(inputs, [x]), np.full((20, 20, 1), 0.1))
    last = found.table.iloc[-1]
    assert np.isnan(last[["height", "width", "share"]].astype(float)).all()
    assert (last["measured height"], last["measured width"]) == (20, 20)
    assert "no known bound after 1 of" in found.finding


def test_a_model_of_any_size_takes_the_sample_or_any_photograph():
    parts = [layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(2), ones(4, 3)]
    model = stack(*parts, shape=(None, None, 3))
    assert receptive_fields(model).photo.shape == (224, 224)
    photo = np.random.default_rng(1).uniform(size=(50, 70, 3))
    one, other = (receptive_fields(model, x) for x in (photo, photo[np.newaxis]))
    assert one.table.equals(other.table)
    assert one.photo.shape == one.heat[one.table["block"][0]].shape == (50, 70)
    assert (one.table["measured height"] <= one.table["height"]).all()
    block = one.table["block"][0]
    assert not np.array_equal(one.heat[block], receptive_fields(model, photo, seed=1).heat[block])


def test_batches_of_fixed_size_and_integers_are_no_obstacle():
    inputs = keras.Input(batch_shape=(2, 12, 12, 3), dtype="uint8")
    x = ones(2, 3)(layers.Rescaling(1 / 255)(inputs))
    found = receptive_fields(keras.Model(inputs, x), np.full((12, 12, 3), 200, "uint8"))
    assert found.table["measured height"].tolist()[-1] == 3


def test_the_model_stays_as_it_is():
    model = lab.residual_network(blocks=(1, 1), width=4)
    before = [np.array(weight) for weight in model.get_weights()]
    first, second = receptive_fields(model), receptive_fields(model)
    assert first.table.equals(second.table)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_it_shows_itself():
    found = receptive_fields(lab.residual_network(blocks=(2, 2), width=2))
    html = found._repr_html_()
    assert "data:image/png" in html
    assert "effective" in html
    figure = found.show("stem", "stage2_block1")
    assert [axes.get_title() for axes in figure.axes] == ["stem", "stage2_block1"]
    assert len(found.show().axes) == 5
    assert found.plot(found).get_legend() is not None
    with pytest.raises(cw.UnknownPlaceError, match="stage2_blok1") as caught:
        found.show("stage2_blok1")
    assert "stage2_block1" in caught.value.suggestions


def test_bad_input_has_one_clear_error():
    network = lab.residual_network(blocks=(1,), width=2)
    flat = keras.Sequential([keras.Input((8,)), layers.Dense(2)])
    no_maps = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])
    both = [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))]
    two = keras.Model(both, layers.Add()(both))
    lost = lab.residual_network(blocks=(1,), width=2)
    lost.set_weights([np.full_like(weight, np.nan) for weight in lost.get_weights()])
    hole = np.where(np.arange(64) == 9, np.nan, 0.5).reshape(8, 8, 1)
    for asked, words in (
        (lambda: receptive_fields(flat), "takes no photographs"),
        (lambda: receptive_fields(flat, np.zeros(8)), "takes no photographs"),
        (lambda: receptive_fields(two, hole), "takes no photographs"),
        (lambda: receptive_fields(no_maps), "outputs feature maps"),
        (lambda: receptive_fields(network, np.zeros((8, 9, 1))), r"shape \(8, 8, 1\), one"),
        (lambda: receptive_fields(network, np.zeros((2, 8, 8, 1))), "one at a time"),
        (lambda: receptive_fields(network, np.zeros((8, 8))), "one at a time"),
        (lambda: receptive_fields(network, "cat.png"), "one at a time"),
        (lambda: receptive_fields(network, hole), "not finite"),
        (lambda: receptive_fields(network, np.full((8, 8, 1), "a")), "not finite"),
        (lambda: receptive_fields(lost), "not finite"),
    ):
        with pytest.raises(cw.CutwidgetsError, match=words):
            asked()
    with pytest.raises(cw.UnsupportedModelError):
        receptive_fields(type("Own", (keras.Model,), {})())
