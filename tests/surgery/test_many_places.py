"""What people do to many layers at once, compared with the same network built by hand."""

import keras
import numpy as np
from keras import layers, ops

import cutwidgets as cw
from nested_networks import names
from networks import settle

WIDTH = 4


class Hooks:
    """What the hand-built twin does in a few places; nothing, for the usual network."""

    def norm(self, name):
        return layers.BatchNormalization(name=name)

    def relu(self, name):
        return layers.Activation("relu", name=name)

    def branch(self, x, block):
        return x

    def block(self, x, block):
        return x


def network(hooks=None, nested=False):
    """Two stages of two residual blocks, with `hooks` built in; perhaps inside another model."""
    hooks = hooks or Hooks()
    inputs = keras.Input((8, 8, 3), name="pixels")
    x = layers.Conv2D(WIDTH, 3, padding="same", name="stem_conv")(inputs)
    x = hooks.relu("stem_relu")(hooks.norm("stem_norm")(x))
    for stage in ("s1", "s2"):
        if stage == "s2":
            x = layers.Conv2D(WIDTH, 2, strides=2, name="s2_down")(x)
        for number in (1, 2):
            block, shortcut = f"{stage}_b{number}", x
            x = layers.Conv2D(WIDTH, 3, padding="same", use_bias=False, name=f"{block}_conv")(x)
            x = hooks.branch(hooks.norm(f"{block}_norm")(x), block)
            x = layers.Add(name=f"{block}_add")([shortcut, x])
            x = hooks.block(hooks.relu(f"{block}_relu")(x), block)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(5, name="scores")(x), name="network")
    if not nested:
        return model
    photo = keras.Input((8, 8, 3), name="photo")
    return keras.Model(photo, model(layers.Rescaling(0.5, name="scale")(photo)), name="outer")


def trained(nested=False):
    keras.utils.set_random_seed(3)
    return settle(network(nested=nested))


def weights_by_name(model):
    """All weights, by the path of each variable's layer."""
    found = {}
    for layer in model._flatten_layers():
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            found[layer.name, variable.name] = variable
    return found


def assert_like_twin(changed, model, twin):
    """The twin, with the weights of both by their names, computes the same, bit for bit."""
    given = weights_by_name(model) | weights_by_name(changed)
    for key, variable in weights_by_name(twin).items():
        variable.assign(given[key])
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(changed(x), twin(x))
    assert np.abs(np.asarray(changed(x)) - np.asarray(model(x))).max() > 1e-6
    kept = {id(variable) for variable in model.variables} & {id(v) for v in changed.variables}
    assert kept, "the weights of the rest are the model's own"


def residual(model):
    return [block for block in cw.anatomy(model) if block.kind == "residual"]


def both_kinds(test):
    """Run a test on a flat network and on one inside another."""

    def on_both():
        for nested in (False, True):
            test(trained(nested), nested)

    on_both.__name__, on_both.__doc__ = test.__name__, test.__doc__
    return on_both


@both_kinds
def test_dropout_behind_every_residual_block(model, nested):
    class Twin(Hooks):
        def block(self, x, block):
            return layers.Dropout(0.5, seed=7)(x)

    blocks = residual(model)
    assert len(blocks) == 4
    changed = cw.insert(
        model,
        after=blocks,
        layer=lambda block: layers.Dropout(0.5, seed=7),
    )
    twin = network(Twin(), nested)
    given = weights_by_name(model)
    for key, variable in weights_by_name(twin).items():
        if key in given:
            variable.assign(given[key])
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(changed(x), model(x))
    model.trainable = twin.trainable = False  # a pass in training changes no statistics then
    np.testing.assert_array_equal(changed(x, training=True), twin(x, training=True))


@both_kinds
def test_every_batch_normalisation_by_group_normalisation(model, nested):
    class Twin(Hooks):
        def norm(self, name):
            return layers.GroupNormalization(2, name=name)

    changed = cw.replace(
        model,
        lambda layer: isinstance(layer, layers.BatchNormalization),
        lambda layer: layers.GroupNormalization(2, name=layer.name),
    )
    assert not [x for x in changed.layers if isinstance(x, layers.BatchNormalization)]
    assert_like_twin(changed, model, network(Twin(), nested))


@both_kinds
def test_every_relu_by_gelu(model, nested):
    class Twin(Hooks):
        def relu(self, name):
            return layers.Activation("gelu", name=name)

    def is_relu(layer):
        return getattr(layer, "activation", None) is keras.activations.relu and not layer.weights

    for other in (layers.Activation("gelu"), lambda: layers.Activation("gelu")):
        changed = cw.replace(model, is_relu, other)
        assert_like_twin(changed, model, network(Twin(), nested))
        assert len([x for x in changed.layers if isinstance(x, layers.Activation)]) == 5


def gate(name):
    """Squeeze and excite, Hu et al. 2018, figure 2."""
    inputs = keras.Input((None, None, WIDTH))
    x = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(inputs)
    x = layers.Dense(2, "relu", name=f"{name}_reduce")(x)
    x = layers.Dense(WIDTH, "sigmoid", name=f"{name}_excite")(x)
    return keras.Model(inputs, layers.Multiply(name=f"{name}_scale")([inputs, x]), name=name)


@both_kinds
def test_a_squeeze_and_excite_gate_in_every_branch(model, nested):
    class Twin(Hooks):
        def branch(self, x, block):
            y = gate(f"{block}_gate")
            z = layers.GlobalAveragePooling2D(keepdims=True, name=f"{block}_gate_squeeze")(x)
            for layer in y.layers[2:4]:
                z = layer(z)
            return layers.Multiply(name=f"{block}_gate_scale")([x, z])

    graph = cw.anatomy(model).graph
    branches = [
        graph.maker(tensor).name
        for block in residual(model)
        for tensor in graph.calls[block.merge].inputs
        if tensor != block.shortcut_tensor
    ]
    assert [name.split("/")[-1][:5] for name in branches] == ["s1_b1", "s1_b2", "s2_b1", "s2_b2"]
    changed = cw.insert(model, branches, lambda layer: gate(layer.name.replace("_norm", "_gate")))
    assert_like_twin(changed, model, network(Twin(), nested))
    anatomy = cw.anatomy(changed)
    assert len([block for block in anatomy if block.kind == "residual"]) == 4


def adapter(width):
    """A bottleneck adapter, Houlsby et al. 2019, figure 2; at first it changes nothing."""
    inputs = keras.Input((None, None, width))
    x = layers.Dense(2, "gelu", name="down")(inputs)
    x = layers.Dense(width, kernel_initializer="zeros", name="up")(x)
    return keras.Model(inputs, layers.Add(name="sum")([inputs, x]), name="adapter")


def assert_tuned(changed, model, new):
    """At first it computes what the model computes, and only new weights are trained."""
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(changed(x), model(x))
    assert sorted({layer.name for layer in changed.layers if layer.trainable_weights}) == new
    old = [np.array(weight) for weight in model.get_weights()]
    changed.compile("sgd", "mse")
    changed.fit(x, np.ones((4, 5), "float32"), epochs=2, verbose=0)
    assert all(map(np.array_equal, old, model.get_weights()))
    assert np.abs(np.asarray(changed(x)) - np.asarray(model(x))).max() > 1e-6


def test_adapters_in_the_last_stage():
    model = trained()
    model.trainable = False
    blocks = [block for block in cw.anatomy(model).stages[-1].blocks if block.shortcut]
    changed = cw.insert(model, blocks, lambda block: adapter(block.output_shape[-1]))
    assert_tuned(changed, model, ["adapter_down", "adapter_up", "down", "up"])

    class Twin(Hooks):
        def block(self, x, block):
            if block[:2] == "s1":
                return x
            prefix = "" if block == "s2_b1" else "adapter_"
            y = layers.Dense(2, "gelu", name=f"{prefix}down")(x)
            y = layers.Dense(WIDTH, name=f"{prefix}up")(y)
            return layers.Add(name=f"{prefix}sum")([x, y])

    assert_like_twin(changed, model, network(Twin()))


def test_lora_in_the_last_stage():
    model = trained()
    model.trainable = False
    stage = cw.anatomy(model).stages[-1]
    inside = {name for block in stage.blocks for name in block.layers}

    def with_lora(layer):
        layer.trainable = True
        layer.enable_lora(2)
        return layer

    changed = cw.replace(
        model, lambda layer: layer.name in inside and layer.name.endswith("conv"), with_lora
    )
    assert_tuned(changed, model, ["s2_b1_conv", "s2_b2_conv"])
    assert all("lora" in weight.name for weight in changed.trainable_weights)
    assert not model.get_layer("s2_b1_conv").lora_enabled
    assert names(changed) == names(model)
    layer, own = changed.get_layer("s2_b1_conv"), model.get_layer("s2_b1_conv")
    a, b = layer.lora_kernel_a, layer.lora_kernel_b
    scale = layer.lora_alpha / layer.lora_rank
    merged = own.kernel + scale * ops.matmul(a, b)
    np.testing.assert_allclose(layer.kernel, merged, rtol=1e-5)
    assert np.abs(np.asarray(merged) - np.asarray(own.kernel)).max() > 0


@both_kinds
def test_all_normalisations_dropped(model, nested):
    class Twin(Hooks):
        def norm(self, name):
            return lambda x: x

    bare = cw.remove(model, lambda layer: isinstance(layer, layers.BatchNormalization))
    assert len(bare.weights) < len(model.weights)
    assert_like_twin(bare, model, network(Twin(), nested))
