"""Models inside of models: opened, cut across their borders, whole where they are taken whole."""

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets.graph.reader import read
from nested_networks import backbone, names, pixels, siamese, transfer
from networks import application, images


def test_calls_have_paths():
    graph = read(transfer())
    called = [call.name for call in graph.calls]
    assert called[0] == "photo"
    assert "backbone/a_conv" in called
    assert called[-1] == "scores"
    assert [nest.call.name for nest in graph.nests] == ["augmentation", "backbone"]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("backbone/b_bn", None),
        (None, "backbone/a_add"),
        ("backbone/a_conv", "backbone/b_add"),
        ("backbone/a_conv", "pool"),
        ("augmentation", "backbone/stem"),
        ("backbone", "scores"),
        ("pool", None),
        (None, None),
        (0, -1),
    ],
)
@pytest.mark.parametrize("options", [{}, {"training": False}])
def test_cuts_across_borders(start, end, options):
    model = transfer(**options)
    if start == "backbone/b_bn":
        with pytest.raises(cw.BypassedCutError) as caught:
            cw.cut(model, start, end)
        assert caught.value.bypasses == ("backbone/a_add",)
        assert cw.check(model, start, end, allow_bypass=True).ok
        return
    result = cw.check(model, start, end, pixels())
    assert result.max_abs_difference == 0
    assert result.conclusive


def test_a_model_that_is_taken_whole_stays_a_layer():
    model = transfer()
    part = cw.cut(model, "rescaling", "pool")
    assert names(part)[1:] == ["rescaling", "backbone", "pool"]
    assert part.get_layer("backbone") is model.get_layer("backbone")
    opened = cw.cut(model, "backbone/a_conv", "pool")
    assert names(opened)[:2] == ["stem", "a_conv"]
    # What was cut before changes nothing.
    assert names(cw.cut(model, "rescaling", "backbone/a_add"))[1:3] == ["rescaling", "stem"]
    assert names(cw.cut(model, "rescaling", "pool")) == names(part)


def test_what_the_nested_model_was_told_about_training_goes_to_its_layers():
    """`backbone(x, training=False)` hands this on; an opened backbone cannot."""
    for options in ({}, {"training": False}):
        part = cw.cut(transfer(**options), "backbone/a_conv", "pool")
        told = [call.arguments.kwargs for call in read(part).calls if call.name == "a_bn"]
        assert [kwargs.get("training") for kwargs in told] == [options.get("training")]


def test_a_tensor_of_the_nested_model_is_a_place():
    model = transfer()
    inner = model.get_layer("backbone").get_layer("a_add").output
    by_name = cw.cut(model, None, "backbone/a_add")
    wanted = by_name(pixels(), training=False)
    np.testing.assert_array_equal(cw.cut(model, None, inner)(pixels(), training=False), wanted)
    assert cw.cut(model, model.get_layer("backbone").get_layer("stem")).name.endswith("stem")


def test_names_without_their_path_are_suggested():
    with pytest.raises(cw.UnknownPlaceError) as caught:
        cw.cut(transfer(), "a_conv")
    assert caught.value.suggestions[0] == "backbone/a_conv"


def test_old_resnet50_names_behind_a_path():
    x = keras.Input((64, 64, 3))
    resnet = application("ResNet50")
    model = keras.Model(x, layers.GlobalAveragePooling2D()(resnet(x)), name="outer")
    part = cw.cut(model, "resnet50/res3a_branch2a", "resnet50/activation_89")
    assert names(part)[1] == "conv3_block1_1_conv"
    assert names(part)[-1] == "conv4_block6_out"


def test_a_model_in_a_model_in_a_model():
    x = keras.Input((32, 32, 3))
    inner = backbone("inner")
    middle = keras.Model(x, layers.ReLU(name="after")(inner(x)), name="middle")
    y = keras.Input((32, 32, 3))
    model = keras.Model(y, layers.Flatten()(middle(y)), name="outer")
    for place in ("middle/inner/a_add", "middle/inner", "middle/after", "middle"):
        head, tail = cw.split(model, place)
        np.testing.assert_array_equal(tail(head(pixels())), model(pixels()))
    part = cw.cut(model, "middle/inner/a_conv", "middle/after")
    again = cw.cut(part, "a_conv", "b_add")
    assert names(again)[1:3] == ["a_conv", "a_bn"]


def test_a_model_that_is_called_twice():
    model = siamese()
    values = [pixels(seed=0), pixels(seed=1)]
    called = [call.name for call in read(model).calls]
    assert {"twin#1/a_conv", "twin#2/a_conv", "pool#2"} <= set(called)
    part = cw.cut(model, "twin#2/a_conv", "alike")
    assert [tensor.name for tensor in part.inputs] == ["stem_input", "one"]
    twin = model.get_layer("twin")
    stem = keras.Function(twin.inputs, twin.get_layer("stem").output)([values[1]])
    values = [keras.ops.convert_to_tensor(value) for value in values]
    np.testing.assert_allclose(part([stem, values[0]]), model(values), rtol=1e-6)
    for place in ("twin#1/a_conv", "twin#2", "pool#1", "distance"):
        assert cw.check(model, place, None, values).ok
        assert cw.check(model, None, place, values).ok
    with pytest.raises(cw.UnknownPlaceError, match="2 times") as caught:
        cw.cut(model, "twin")
    assert caught.value.suggestions == ("twin#1", "twin#2")
    inner = twin.get_layer("a_conv").output
    with pytest.raises(cw.UnknownPlaceError, match="twin#1/a_conv"):
        cw.cut(model, inner)


def test_two_backbones_of_equal_layer_names():
    keras.utils.set_random_seed(3)
    x = keras.Input((32, 32, 3), name="photo")
    both = layers.Add(name="both")([backbone("left")(x), backbone("right")(x)])
    model = keras.Model(x, both)
    # Of one, a part is opened, and the other is whole: no name stands twice.
    part = cw.cut(model, "left/a_conv", "both", allow_bypass=True)
    assert {"right", "a_conv"} <= set(names(part))
    assert cw.check(model, "left/a_conv", "both", allow_bypass=True).ok
    # Parts of both would have two layers of each name.
    with pytest.raises(cw.CutError, match="'right/b_conv' and 'left/b_conv'.*weights='copy'"):
        cw.split(model, "left/a_add", "right/a_add", allow_bypass=True)


def test_what_a_nested_model_does_to_its_input():
    """A backbone for floats that is called on bytes casts them; opened, something else must."""
    keras.utils.set_random_seed(4)
    x = keras.Input((32, 32, 3), dtype="uint8")
    model = keras.Model(x, layers.GlobalAveragePooling2D()(backbone()(x)))
    values = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3)).astype("uint8")
    head, tail = cw.split(model, "backbone/a_add")
    np.testing.assert_array_equal(tail(head(values)), model(values))
    assert names(head) == names(cw.split(model, "backbone/a_add")[0])

    short = keras.Sequential([keras.Input((4, 1)), layers.Dense(2, name="d")], name="short")
    y = keras.Input((4,))
    model = keras.Model(y, layers.Flatten()(short(y)))
    head, tail = cw.split(model, "short/d")
    value = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(tail(head(value)), model(value))


def test_shapes_are_those_of_the_call():
    """A backbone for any size that is called on 64 pixels has fixed sizes there."""
    free = keras.applications.MobileNetV2(include_top=False, weights=None, name="free")
    x = keras.Input((64, 64, 3))
    model = keras.Model(x, layers.Flatten()(free(x)))
    anatomy = cw.anatomy(model)
    assert anatomy["free/block_3"].output_shape == (None, 8, 8, 32)
    assert cw.cut(model, "free/block_3").input_shape == (None, 16, 16, 24)


def test_nested_models_of_several_inputs_and_outputs():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    total = layers.Add(name="total")([a, b])
    given = {"sum": total, "more": layers.Dense(3, name="more")(total), "a": a}
    inner = keras.Model({"a": a, "b": b}, given, name="inner")
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
    made = inner({"b": y, "a": layers.Dense(4, name="first")(x)})
    model = keras.Model([x, y], [made["more"], layers.Multiply()([made["sum"], made["a"]])])
    values = [pixels()[:, :4, 0, 0], pixels()[:, :4, 1, 1]]
    for place in ("inner/total", "inner/more", "inner", "first"):
        assert cw.check(model, None, place, values).ok
        pieces = cw.split(model, place, allow_bypass=True)
        handed = values
        for piece in pieces:
            handed = piece(handed)
        for got, wanted in zip(handed, model(values), strict=True):
            np.testing.assert_array_equal(got, wanted)


class Own(keras.Model):
    def call(self, x):
        return 2 * x


def test_a_subclassed_model_inside_is_a_layer_like_any_other():
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(Own(name="own")(layers.Dense(4)(x))))
    assert cw.check(model, "own").ok
    assert [call.role for call in read(model).calls][2] == "model"


def test_slices_save_and_load(tmp_path):
    model = transfer(training=False)
    for number, part in enumerate(
        [cw.cut(model, "backbone/a_conv", "scores"), cw.cut(model, "rescaling", "pool")]
    ):
        part.save(tmp_path / f"{number}.keras")
        loaded = keras.models.load_model(tmp_path / f"{number}.keras")
        shape = [2 if length is None else length for length in part.input_shape]
        values = np.random.default_rng(0).normal(size=shape).astype("float32")
        np.testing.assert_array_equal(loaded(values), part(values))


def test_the_nested_model_is_the_same_after_many_cuts():
    model = transfer()
    inner = model.get_layer("backbone")
    config, weights = model.get_config(), [np.array(w) for w in model.get_weights()]
    nodes = {layer: len(layer._inbound_nodes) for layer in inner.layers}
    for number in range(200):
        cw.cut(model, "backbone/a_conv", ["pool", "scores", "backbone/b_add"][number % 3])
        cw.cut(model, None, ["pool", "backbone/a_add"][number % 2])
    # One for the start in the backbone, and one for that at the input.
    assert all(len(layer._inbound_nodes) <= nodes[layer] + 2 for layer in inner.layers)
    assert config == model.get_config()
    assert all(map(np.array_equal, weights, model.get_weights()))


def test_a_real_backbone():
    resnet = application("ResNet50")
    x = keras.Input((64, 64, 3))
    model = keras.Model(x, layers.GlobalAveragePooling2D(name="pool")(resnet(x)), name="outer")
    result = cw.check(model, "resnet50/conv3_block1", "resnet50/conv4_block6", images(resnet))
    assert result.max_abs_difference == 0
    assert result.conclusive
    assert result.differences[0] == ("resnet50/conv3_block1", 0.0)
