"""Remove, replace and join, compared with the same network computed in another way."""

import re

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets.graph.reader import read
from cutwidgets.structure.places import resolve
from nested_networks import backbone, names, pixels, siamese, transfer
from networks import (
    application,
    images,
    super_resolution,
    translator,
    two_towers,
    unet,
    untrained,
)


def without_branches(model, blocks, x):
    """The oracle: the model, layer by layer, each branch's last tensor multiplied by zero."""
    adds = {f"{block}_add" for block in blocks}
    values = {}
    for layer in model.layers:
        if isinstance(layer, layers.InputLayer):
            values[id(layer.output)] = keras.ops.convert_to_tensor(x)
            continue
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        given = [values[id(symbol)] for symbol in given]
        if layer.name in adds:
            given[1] = 0 * given[1]  # in ResNet50, the branch comes second
        values[id(layer.output)] = layer(given if len(given) > 1 else given[0], training=False)
    return values[id(model.output)]


IDENTITY = [
    f"conv{s}_block{n}" for s, last in ((2, 3), (3, 4), (4, 6), (5, 3)) for n in range(2, last + 1)
]


@pytest.mark.slow
def test_every_identity_block_of_resnet50_can_go():
    model = application("ResNet50")
    x = images(model, batch=1)
    whole = np.asarray(model(x))
    assert len(IDENTITY) == 12
    for block in IDENTITY:
        smaller = cw.remove(model, block)
        result = np.asarray(smaller(x))
        np.testing.assert_array_equal(result, without_branches(model, [block], x))
        assert np.abs(result - whole).max() > 1e-3
        assert not [name for name in names(smaller) if name.startswith(f"{block}_")]


def test_all_of_them_together_and_blocks_with_a_projection():
    model = application("ResNet50")
    x = images(model, batch=1)
    conv3 = [f"conv3_block{number}" for number in (1, 2, 3, 4)]
    for blocks, meant in [
        (IDENTITY, IDENTITY),
        (["conv3_block1"], ["conv3_block1"]),
        (["conv3", "conv4_block2", 1], [*conv3, "conv4_block2", "conv2_block1"]),
    ]:
        smaller = cw.remove(model, *blocks)
        np.testing.assert_array_equal(smaller(x), without_branches(model, meant, x))
    rest = [block.name for block in cw.anatomy(cw.remove(model, *IDENTITY))]
    assert rest == ["stem", "conv2_block1", "conv3_block1", "conv4_block1", "conv5_block1"]


@pytest.mark.parametrize(
    "name",
    [
        "ResNet50V2",
        "EfficientNetB0",
        pytest.param("ConvNeXtTiny", marks=pytest.mark.slow),
        "MobileNetV2",
    ],
)
def test_a_removed_block_hands_its_input_on(name):
    model = application(name)
    anatomy = cw.anatomy(model)
    block = next(b for b in anatomy if b.shortcut == "identity" and b is not anatomy[-1])
    x = images(model, batch=1)
    smaller = cw.remove(model, block)
    assert smaller.count_params() < model.count_params()
    head, _, tail = cw.split(model, anatomy[anatomy.blocks.index(block) - 1], block)
    np.testing.assert_allclose(smaller(x), tail(head(x)), rtol=1e-5, atol=1e-6)


def test_a_scaled_sum_of_a_users_own_is_tried_and_an_average_is_refused():
    model = application("InceptionResNetV2", size=96)
    block = next(b for b in cw.anatomy(model) if b.shortcut == "identity")
    smaller = cw.remove(model, block)
    assert smaller.output_shape == model.output_shape
    assert len(smaller.layers) < len(model.layers)

    x = inputs = keras.Input((4,))
    for number in range(3):
        x = layers.Average(name=f"block{number}_mean")(
            [x, layers.Dense(4, name=f"block{number}_d")(x)]
        )
    with pytest.raises(cw.CutError, match="Average.*no plain sum"):
        cw.remove(keras.Model(inputs, x), 1)


def test_linear_blocks_go_only_where_shapes_fit():
    vgg = application("VGG16")
    with pytest.raises(cw.CutError) as caught:
        cw.remove(vgg, "block3")
    message = str(caught.value)
    assert "(None, 16, 16, 128)" in message
    assert "(None, 8, 8, 256)" in message
    assert "replace(model, 'block3'" in message

    x = inputs = keras.Input((8,))
    for name in ("one", "two", "three"):
        x = layers.Dense(8, "relu", name=f"{name}_dense")(x)
        x = layers.Dense(8, name=f"{name}_more")(x)
    model = keras.Model(inputs, x)
    assert [block.name for block in cw.anatomy(model)] == ["one", "two", "three"]
    smaller = cw.remove(model, "two")
    value = np.ones((2, 8), "float32")
    head, _, tail = cw.split(model, "one", "two")
    np.testing.assert_array_equal(smaller(value), tail(head(value)))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("conv9", "no block, stage or layer 'conv9'"),
        ("conv3_block1_1_conv", "what follows needs that"),
        ("conv3_block2_add", "takes 2 tensors, from 'conv3_block1_out', 'conv3_block2_3_bn'"),
        ("input_layer", "an input of the model"),
    ],
)
def test_what_cannot_be_removed(place, words):
    model = application("ResNet50")
    place = model.layers[0].name if place == "input_layer" else place
    with pytest.raises(cw.CutError, match=words):
        cw.remove(model, place)


def wavenet(blocks=4):
    """Residual blocks of which each also feeds a skip (van den Oord et al. 2016, figure 4)."""
    x = inputs = keras.Input((16, 1))
    x, skips = layers.Conv1D(4, 2, padding="causal", name="front")(x), []
    for k in range(blocks):
        halves = [
            layers.Conv1D(4, 2, padding="causal", activation=f, name=f"w{k}_{f}")(x)
            for f in ("tanh", "sigmoid")
        ]
        gate = layers.Multiply(name=f"w{k}_gate")(halves)
        skips.append(layers.Conv1D(4, 1, name=f"w{k}_skip")(gate))
        x = layers.Add(name=f"w{k}_add")([layers.Conv1D(4, 1, name=f"w{k}_res")(gate), x])
    return keras.Model(inputs, layers.Conv1D(2, 1, name="head")(layers.Add(name="sum")(skips)))


def small_nets():
    """Networks whose blocks are read from beside, each in another way."""
    x = inputs = keras.Input((6,), name="x")
    y = layers.Dense(6, name="a_dense")(x)
    aux = layers.Dense(2, name="a_aux")(y)
    x = layers.Add(name="a_add")([x, y])
    x = layers.Add(name="b_add")([x, layers.Dense(6, name="b_dense")(x)])
    auxiliary = keras.Model(inputs, [layers.Dense(3, name="last")(x), aux])

    x = inputs = keras.Input((6,), name="x")
    shared = layers.Dense(6, name="shared")
    for name in "abc":
        x = layers.Add(name=f"{name}_add")([x, layers.ReLU(name=f"{name}_relu")(shared(x))])
    sharing = keras.Model(inputs, layers.Dense(3, name="last")(shared(x)))

    x, told = keras.Input((6,), name="x"), keras.Input((3,), name="told")
    inputs, told_more = [x, told], layers.Dense(6, "relu", name="told_dense")(told)
    for name in "ab":
        y = layers.Multiply(name=f"{name}_by")(
            [layers.Dense(6, name=f"{name}_dense")(x), told_more]
        )
        x = layers.Add(name=f"{name}_add")([x, y])
    conditioned = keras.Model(inputs, layers.Dense(3, name="last")(x))

    x = inputs = keras.Input((6,), name="x")
    x, ends = layers.Dense(6, name="front")(x), []
    for name in "abc":
        x = layers.Add(name=f"{name}_add")([x, layers.Dense(6, name=f"{name}_dense")(x)])
        ends.append(x)
    x = inputs2 = keras.Input((8, 8, 3))
    for name in "abc":
        y = layers.Conv2D(4, 3, padding="same", name=f"{name}_conv")(x)
        x = layers.Concatenate(name=f"{name}_concat")([x, y])
    dense = keras.Model(inputs2, layers.Conv2D(2, 1, name="last")(x))
    return {
        "wavenet": wavenet(),
        "auxiliary": auxiliary,
        "sharing": sharing,
        "conditioned": conditioned,
        "read by outputs": keras.Model(inputs, ends),
        "dense": dense,
        "unet": unet(depth=2, size=16),
        "residual unet": unet(depth=2, how="residual", size=16),
        "siamese": siamese(),
        "two towers": two_towers(),
        "translator": translator(1),
        "super_resolution": super_resolution(blocks=2, gates=True),
    }


def block_of(model, layer):
    return next(block for block in cw.anatomy(model) if layer in block.layers)


def check_removal(model, place):
    """Only calls of the place go; the suggestions of a refusal work."""
    anatomy = cw.anatomy(model)
    inside = set(resolve(anatomy, place).calls)
    calls = anatomy.graph.calls
    inputs = {call.own_name for call in calls if not call.inputs}
    try:
        smaller = cw.remove(model, place)
    except cw.CutError as error:
        message = str(error)
        assert "no call of it merges" not in message
        for suggested in re.findall(r"cutwidgets\.(cut\(model, (?:end=)?'[^']+'\))", message):
            assert eval(f"cw.{suggested}", {"cw": cw, "model": model}).layers
        for name in re.findall(r"cutwidgets\.replace\(model, '([^']+)'", message):
            place = resolve(anatomy, name)
            symbol = anatomy.graph.tensors[place.entries[0]].symbol
            try:
                cw.replace(model, name, layers.Identity())
            except cw.CutError as refused:
                shape = str(tuple(symbol.shape))
                assert "returns" in str(refused)
                assert shape in str(refused)
        return None
    own_name = {call.own_name for call in calls if call.index not in inside}
    left = {name for layer in read(smaller).calls for name in [layer.own_name]}
    assert own_name - left <= inputs
    return smaller


def test_no_layer_of_another_block_goes_along():
    for model in small_nets().values():
        for block in cw.anatomy(model):
            check_removal(model, block)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["NASNetMobile", "DenseNet121", "EfficientNetB0", "Xception"])
def test_no_layer_of_another_block_of_an_application_goes_along(name):
    model = untrained(name)
    for block in cw.anatomy(model):
        check_removal(model, block)


def test_a_block_that_also_feeds_a_skip_is_refused_with_the_true_reason():
    model = wavenet()
    with pytest.raises(cw.CutError, match="the output of 'w1_gate' is read by 'w1_skip'"):
        cw.remove(model, "w1")
    last = cw.anatomy(model)[-2]
    with pytest.raises(cw.CutError, match="it takes 4 tensors, from 'w2_add'") as caught:
        cw.remove(model, last)
    assert "No block of this model can be removed" in str(caught.value)


def test_blocks_that_share_layers_are_read_by_outputs_or_told_from_beside():
    nets, random = small_nets(), np.random.default_rng(0)
    x, told = (random.normal(size=(2, n)).astype("float32") for n in (6, 3))
    model = nets["sharing"]
    smaller = cw.remove(model, block_of(model, "b_add"))
    shared, last = model.get_layer("shared"), model.get_layer("last")
    once = x + keras.ops.relu(shared(x))
    twice = once + keras.ops.relu(shared(once))
    np.testing.assert_array_equal(smaller(x), last(shared(twice)))

    model = nets["read by outputs"]
    front, a, c = (model.get_layer(name) for name in ("front", "a_dense", "c_dense"))
    first = front(x)
    second = first + a(first)
    for given, wanted in zip(
        cw.remove(model, block_of(model, "b_add"))(x),
        [second, second, second + c(second)],
        strict=True,
    ):
        np.testing.assert_array_equal(given, wanted)

    model = nets["conditioned"]
    blocks = [block.name for block in cw.anatomy(model) if block.shortcut]
    told_dense, a, last = (model.get_layer(n) for n in ("told_dense", "a_dense", "last"))
    if len(blocks) == 2:
        smaller = cw.remove(model, blocks[1])
        np.testing.assert_allclose(
            smaller([x, told]), last(x + a(x) * told_dense(told)), rtol=1e-5, atol=1e-6
        )
        with pytest.raises(cw.CutError, match="'told_dense'"):
            cw.remove(model, *blocks)  # either alone leaves told_dense something to do

    model = nets["auxiliary"]
    with pytest.raises(cw.CutError, match="'a_dense' is read by 'a_aux'"):
        cw.remove(model, block_of(model, "a_dense"))


@pytest.mark.parametrize("place", ["drop", "norm", "activation", "dense", "inner"])
def test_a_single_layer_is_dropped_where_shapes_agree(place):
    x = inputs = keras.Input((4,))
    made = {
        "first": layers.Dense(4),
        "drop": layers.Dropout(0.5),
        "norm": layers.BatchNormalization(),
        "activation": layers.ReLU(),
        "dense": layers.Dense(4),
        "inner": keras.Sequential([keras.Input((4,)), layers.Dense(4)]),
        "last": layers.Dense(2),
    }
    for name, layer in made.items():
        layer.name = name
        x = layer(x)
    model = keras.Model(inputs, x)
    value = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    wanted = value
    for name, layer in made.items():
        wanted = wanted if name == place else layer(wanted)
    for asked in (place, made[place]):
        smaller = cw.remove(model, asked)
        assert not [name for name in names(smaller) if name == place]
        np.testing.assert_array_equal(smaller(value), wanted)
    with pytest.raises(cw.CutError, match=r"cutwidgets\.cut\(model, end='inner"):
        cw.remove(model, "last")


def test_the_ends_of_a_model_that_cannot_go_can_be_cut_off():
    for model in (application("ResNet50"), application("VGG16", include_top=True)):
        for block in (cw.anatomy(model)[0], cw.anatomy(model)[-1]):
            if block.input_shape != block.output_shape:
                with pytest.raises(cw.CutError, match=r"cutwidgets\.cut\(model, ") as caught:
                    cw.remove(model, block)
                suggested = re.search(r"cutwidgets\.(cut\(.*?\))", str(caught.value))
                part = eval(f"cw.{suggested[1]}", {"cw": cw, "model": model})
                assert not set(block.layers) & set(names(part)[1:])


def test_replace_puts_another_block_in():
    model = application("ResNet50")
    x = images(model, batch=1)
    other = cw.cut(model, "conv3_block3", "conv3_block3", weights="copy")
    changed = cw.replace(model, "conv3_block2", other)
    head, tail = cw.split(model, "conv3_block1", "conv3_block2")[::2]
    np.testing.assert_array_equal(changed(x), tail(other(head(x))))
    # Its layers have the names of layers that are still there, so they are renamed.
    added = [layer.name for layer in changed.layers[1:] if layer.name not in names(model)]
    assert len(added) == len(other.layers) - 1
    assert all("conv3_block3" in name for name in added)
    assert changed.get_layer("conv4_block1_1_conv") is model.get_layer("conv4_block1_1_conv")

    same = cw.replace(model, "conv3_block2_2_conv", model.get_layer("conv3_block2_2_conv"))
    np.testing.assert_array_equal(same(x), model(x))
    half = layers.Rescaling(0.5, name="half")
    halved = cw.replace(model, "conv3_block2_3_bn", half)
    assert halved.get_layer("half") is half
    assert np.abs(np.asarray(halved(x)) - np.asarray(model(x))).max() > 1e-3


def test_the_shape_is_free_at_the_models_own_ends():
    x = keras.Input((8, 8, 3), name="x")
    y = layers.Conv2D(4, 3, name="conv")(layers.ZeroPadding2D(name="pad")(x))
    y = layers.Dense(10, name="scores")(layers.GlobalAveragePooling2D(name="gap")(y))
    model = keras.Model(x, layers.Softmax(name="softmax")(y))
    value = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")

    new = layers.Dense(5, name="scores")
    changed = cw.replace(model, "scores", new)
    gap = keras.Model(x, model.get_layer("gap").output)
    np.testing.assert_array_equal(changed(value), keras.ops.softmax(new(gap(value))))

    kernel, bias = model.get_layer("conv").get_weights()
    grey = layers.Conv2D(4, 3, name="grey")
    grey.build((None, None, None, 1))
    grey.set_weights([kernel.sum(axis=2, keepdims=True), bias])
    as_model = keras.Sequential([keras.Input((None, None, 1)), grey], name="as_model")
    for other in (grey, as_model):
        changed = cw.replace(model, "conv", other)
        assert changed.input_shape == (None, 8, 8, 1)
        one = value[..., :1]
        np.testing.assert_allclose(changed(one), model(one.repeat(3, axis=-1)), atol=1e-6)
    # In the middle the shape is not free.
    with pytest.raises(cw.CutError, match="returns"):
        cw.replace(model, "conv", layers.Conv2D(5, 3))
    read_on = keras.Model(x, [y, layers.Dense(2)(y)])
    with pytest.raises(cw.CutError, match="returns"):
        cw.replace(read_on, "scores", layers.Dense(5))
    two = keras.Model([x, more := keras.Input((4,))], [y, layers.Dense(2, name="beside")(more)])
    changed = cw.replace(two, "beside", layers.Dense(7, name="wide"))
    assert [tuple(shape) for shape in changed.output_shape] == [(None, 10), (None, 7)]
    changed = cw.replace(two, "conv", grey)
    assert [tuple(s.shape) for s in changed.inputs] == [(None, 8, 8, 1), (None, 4)]


def test_replace_within_a_nested_model():
    model = transfer()
    changed = cw.replace(model, "backbone/b_conv", layers.Conv2D(4, 1, name="b_conv"))
    assert "augmentation" in names(changed)
    assert changed(pixels()).shape == (2, 3)
    whole = cw.replace(model, "backbone", layers.Conv2D(4, 1, name="simple"))
    assert names(whole)[1:4] == ["augmentation", "rescaling", "simple"]


@pytest.mark.parametrize(
    ("place", "other", "words"),
    [
        ("conv3_block2", layers.Conv2D(5, 3, name="bad"), ["conv3_block2", "8, 8, 512", "6, 6, 5"]),
        ("conv3_block2", "a layer", ["Expected a Keras layer", "a layer"]),
        ("conv3_block2_add", layers.Dense(512), ["conv3_block2_add", "2 inputs"]),
        ("conv3_block2", layers.Dense, ["Expected a Keras layer"]),
        ("conv3_block2", layers.Reshape((3, 3)), ["does not accept", "8, 8, 512"]),
        ("conv9", layers.ReLU(), ["conv9"]),
    ],
)
def test_what_cannot_be_put_in(place, other, words):
    model = application("ResNet50")
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    with pytest.raises(cw.CutError) as caught:
        cw.replace(model, place, other)
    assert all(word in str(caught.value) for word in words)
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]


def test_replace_refuses_what_is_read_past_its_end():
    x = keras.Input((4,))
    first = layers.Dense(4, name="first")(x)
    second = layers.Dense(4, name="second")(first)
    model = keras.Model(x, [layers.Add(name="sum")([second, layers.ReLU(name="r")(first)]), first])
    assert cw.replace(model, "second", layers.Dense(4, name="new"))(np.ones((1, 4)))
    block = next(b for b in cw.anatomy(model) if "second" in b.layers)
    if len(block.exits) == len(block.entries) == 1:
        assert cw.replace(model, block, layers.Dense(4, name="new"))


def test_join_takes_apart_and_puts_together():
    model = application("ResNet50")
    x = images(model, batch=1)
    pieces = cw.split(model, "stem", "conv2", "conv3_block2", "conv5_block1")
    whole = cw.join(*pieces)
    np.testing.assert_array_equal(whole(x), model(x))
    assert names(whole) == names(model)
    pieces = cw.split(model, "conv3_block2_2_conv", "conv4_block1_1_conv", allow_bypass=True)
    np.testing.assert_array_equal(cw.join(*pieces)(x), model(x))


def test_join_inserts_and_reorders():
    model = application("ResNet50")
    x = images(model, batch=1)
    head, second, third, tail = cw.split(model, "conv3_block1", "conv3_block2", "conv3_block3")
    swapped = cw.join(head, third, second, tail)
    np.testing.assert_array_equal(swapped(x), tail(second(third(head(x)))))
    assert np.abs(np.asarray(swapped(x)) - np.asarray(model(x))).max() > 1e-3
    new = keras.Sequential([layers.Conv2D(512, 1, name="conv1_conv"), layers.ReLU()], name="new")
    new.build((None, 8, 8, 512))
    longer = cw.join(head, new, layers.ReLU(name="more"), second, third, tail)
    np.testing.assert_array_equal(longer(x), tail(third(second(keras.ops.relu(new(head(x)))))))
    assert {"new_conv1_conv", "more"} <= set(names(longer))
    # A block that comes twice is one shared block.
    twice = cw.join(head, second, second, third, tail)
    np.testing.assert_array_equal(twice(x), tail(third(second(second(head(x))))))
    assert twice.count_params() == model.count_params()


def test_join_of_strangers_renames():
    one, other = backbone("one"), backbone("other", 32)
    small = keras.Sequential(
        [keras.Input((32, 32, 4)), layers.Conv2D(3, 1, name="a_conv")], name="mid"
    )
    joined = cw.join(one, small, other)
    assert names(joined)[-1] == "other_b_add"
    assert "mid_a_conv" in names(joined)
    np.testing.assert_array_equal(joined(pixels()), other(small(one(pixels()))))


@pytest.mark.parametrize("models", [(), ("model",), (layers.Dense(2),)])
def test_join_wants_models(models):
    with pytest.raises(cw.CutError):
        cw.join(*models)


def test_join_says_which_side_expects_what():
    model = application("ResNet50")
    head, middle, tail = cw.split(model, "conv3", "conv4")
    with pytest.raises(cw.CutError) as caught:
        cw.join(head, tail)
    message = str(caught.value)
    assert f"{head.name!r} returns (None, 8, 8, 512)" in message
    assert f"{tail.name!r} accepts (None, 4, 4, 1024)" in message
    with pytest.raises(cw.CutError, match="returns .* accepts .* and "):
        cw.join(head, siamese())
    assert cw.join(head, middle, tail).name


def test_surgery_leaves_the_model_alone():
    model = application("ResNet50")
    config, weights = model.get_config(), [np.array(w) for w in model.get_weights()]
    smaller = cw.remove(model, "conv4_block2", "conv4_block3")
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    for _ in range(20):
        cw.remove(model, "conv4_block2", "conv4_block3")
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]
    cw.replace(model, "conv4_block2", layers.ReLU(name="r"))
    assert config == model.get_config()
    assert all(map(np.array_equal, weights, model.get_weights()))
    again = cw.cut(smaller, "conv4_block4", "conv5")
    assert again.output_shape == (None, 2, 2, 2048)


def test_surgery_saves_and_loads(tmp_path):
    model = application("MobileNetV2")
    x = images(model, batch=1)
    smaller = cw.remove(model, "block_2")
    smaller.save(tmp_path / "smaller.keras")
    np.testing.assert_array_equal(
        keras.models.load_model(tmp_path / "smaller.keras")(x), smaller(x)
    )


def test_remove_within_nested_models():
    model = transfer()
    smaller = cw.remove(model, "backbone/a")
    assert not any(name.startswith("a_conv") for name in names(smaller))
    inner = cw.remove(model.get_layer("backbone"), "a")
    rest = keras.Sequential(model.layers[4:])
    x = pixels() * 0.5
    changed = cw.cut(smaller, "stem")
    np.testing.assert_allclose(changed(x), rest(inner(x)), rtol=1e-5)


def test_activations_in_one_pass():
    model = application("ResNet50")
    x = images(model)
    values = cw.activations(model, x)
    anatomy = cw.anatomy(model)
    assert list(values) == [block.name for block in anatomy]
    probe = keras.Function(model.inputs, [model.get_layer(b.end).output for b in anatomy])
    for name, expected in zip(values, probe([x]), strict=True):
        np.testing.assert_array_equal(values[name], expected)
    chosen = cw.activations(model, x, ["conv3", "conv3_block2_1_conv", -1])
    assert list(chosen) == ["conv3", "conv3_block2_1_conv", "conv5_block3"]
    np.testing.assert_array_equal(chosen["conv3"], values["conv3_block4"])
    assert list(cw.activations(model, x, "stem")) == ["stem"]
    assert list(cw.activations(model, x, "res3b_branch2a")) == ["conv3_block2_1_conv"]
    with pytest.raises(cw.CutwidgetsError, match="has the shape"):
        cw.activations(model, x[:, :8])
    nested = cw.activations(transfer(), pixels(), ["backbone/a", "backbone/a_relu"])
    assert nested["backbone/a"].shape == (2, 32, 32, 4)
