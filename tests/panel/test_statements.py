"""What the panel says of a slice is what its graph bears out."""

import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
import nested_networks
import networks
import odd_networks
from cutwidgets.graph.callgraph import between

pytestmark = pytest.mark.filterwarnings("ignore:.*does not support masking")


class Back(layers.Layer):
    """Multiplies by the transposed kernel of another layer."""

    def __init__(self, other, **options):
        super().__init__(**options)
        self.other = other

    def call(self, x):
        return keras.ops.matmul(x, keras.ops.transpose(self.other.kernel))


def tied():
    """Two layers that hold one weight."""
    inputs = keras.Input((8,))
    one = layers.Dense(6, "relu", name="one")
    x = layers.Dense(6, "relu", name="middle")(one(inputs))
    return keras.Model(inputs, layers.Dense(2, name="last")(Back(one, name="back")(x)))


def shared_encoder():
    """Two inputs through blocks of the same layers."""
    encode = [layers.Dense(8, "relu", name=f"dense{k}") for k in range(3)]
    inputs = [keras.Input((4,), name=name) for name in ("left", "right")]
    ends = []
    for x in inputs:
        for layer in encode:
            x = layer(x)
        ends.append(x)
    return keras.Model(inputs, layers.Dense(1, name="last")(layers.Concatenate()(ends)))


MODELS = {
    **{build.__name__: build for build in odd_networks.BUILDERS},
    "nested siamese": nested_networks.siamese,
    "nested transfer": nested_networks.transfer,
    "siamese of a backbone": lambda: networks.siamese(nested_networks.backbone()),
    "shared encoder": shared_encoder,
    "tied": tied,
    "two towers": networks.two_towers,
    "translator": networks.translator,
    "unet": lambda: networks.unet(2),
    "nested unet": lambda: networks.unet(2, "nested"),
    "super resolution": lambda: networks.super_resolution(1, 2, gates=True),
    "masked attention": networks.masked_attention,
    "frozen ResNet": lambda: networks.untrained("ResNet50"),
    "DenseNet": lambda: networks.untrained("DenseNet121"),
    "MobileNet": lambda: networks.untrained("MobileNetV2"),
}
EVERY_MODEL = [
    pytest.param(name, marks=[pytest.mark.slow] * name.endswith("Net")) for name in MODELS
]


def ask(panel, question, /, **arguments):
    panel._handle_custom_msg({"ask": question, **arguments}, [])
    if panel._thread is not None:
        panel._thread.join()
    return getattr(panel, f"_{question}")


def number(text):
    return int(text.replace(",", ""))


def selections(panel):
    """Slices between blocks, and between layers inside of blocks."""
    blocks = [block["name"] for block in panel._network["blocks"]]
    names = [call.name for call in panel._anatomy.graph.calls if call.inputs]
    rng = np.random.default_rng(0)
    pairs = [(blocks[0], blocks[-1]), *((name, name) for name in blocks[:3])]
    for places in (blocks, names):
        for _ in range(4):
            i, j = sorted(rng.integers(0, len(places), 2))
            pairs.append((places[i], places[j]))
    return list(dict.fromkeys(pairs))


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_parameters_add_up(name):
    model = MODELS[name]()
    panel = cw.CutPanel(model, parts=["summary", "costs"])
    if not panel._network["blocks"]:
        return
    panel.allow_bypass = True
    costs = ask(panel, "costs")
    assert panel.error == ""
    whole = model.count_params()
    assert sum(row["parameters"] for row in costs["rows"]) == costs["model"]["parameters"] == whole
    for key in ("macs", "bytes"):
        assert sum(row[key] for row in costs["rows"]) == costs["model"][key]
    made = 0
    for places in selections(panel):
        panel.selection = places
        if panel.slice is None:
            continue
        made += 1
        result, part = panel._result, panel.slice.count_params()
        assert sum(number(row[-1]) for row in result["rows"]) == part
        assert dict(result["facts"])["Parameters"].startswith(f"{part:,} (")
        totals = result["totals"]
        assert totals["slice"]["parameters"] == part
        assert totals["model"]["parameters"] == whole
        for key in ("parameters", "macs", "bytes"):
            pieces = [totals[piece][key] for piece in ("head", "slice", "tail")]
            assert sum(pieces) == totals["model"][key]
    assert made


def test_a_block_in_part_counts_its_part(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet)
    panel.selection = ("s1_a_1_relu", "s1_b")
    panel.allow_bypass = True
    (partly, _, count), whole = panel._result["rows"]
    layer = tiny_resnet.get_layer
    assert partly == "s1_a (partly)"
    assert number(count) == layer("s1_a_2_conv").count_params()
    assert number(whole[-1]) == cw.anatomy(tiny_resnet)["s1_b"].parameters
    totals = panel._result["totals"]
    assert "macs" not in totals["slice"]
    ask(panel, "costs")
    totals = panel._result["totals"]
    table = cw.costs(tiny_resnet)
    assert totals["slice"]["macs"] == table["s1_b"].macs + 16 * 16 * 4 * 4 * 9
    assert totals["model"]["macs"] == table.total.macs
    panel.selection = ("s1_b", "s1_b")
    assert panel._result["totals"]["slice"]["macs"] == table["s1_b"].macs


def test_shared_weights_are_marked():
    model = shared_encoder()
    panel = cw.CutPanel(model)
    blocks = panel._network["blocks"]
    shared = {block["name"]: block["shared"] for block in blocks if block["shared"]}
    assert shared
    for name, others in shared.items():
        assert all(name in shared[other] for other in others)
        about = next(block["about"] for block in blocks if block["name"] == name)
        assert "weights shared with" in about
    panel.selection = (None, None)
    panel.allow_bypass = True
    marked = [row for row in panel._result["rows"] if "shares weights with" in row[0]]
    assert {row[0].partition(" (")[0] for row in marked} == set(shared)
    assert [number(row[-1]) for row in marked][-1] == 0
    assert model.count_params() == sum(number(row[-1]) for row in panel._result["rows"])


def test_no_block_of_a_plain_network_shares_weights(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet)
    assert not panel._network["shared"]
    assert not any(block["shared"] for block in panel._network["blocks"])


def test_weights_that_are_added_later_count(tiny_resnet):
    x = inputs = keras.Input((4,))
    for k in range(3):
        x = layers.Dense(4, name=f"dense{k}")(x)
    model = keras.Model(inputs, x)
    panel = cw.CutPanel(model)
    panel.selection = (None, None)
    model.get_layer("dense1").enable_lora(2)
    panel.selection = ("dense0", "dense2")
    panel.selection = ("dense0", "dense1")
    rows = panel._result["rows"]
    assert sum(number(row[-1]) for row in rows) == panel.slice.count_params()
    assert panel._result["totals"]["model"]["parameters"] == model.count_params()


def crossing(panel):
    """The names of what enters and leaves, by a search of our own through the graph."""
    part = panel._section
    graph = part.graph
    inside = set(part.calls)
    read = {
        t for i in inside for t in graph.calls[i].inputs if graph.tensors[t].maker not in inside
    }
    needed = between(graph, graph.outputs, part.outputs)
    return read, set(part.outputs), bool(set(needed[1]) - set(part.outputs))


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_what_crosses_is_told_by_name(name):
    panel = cw.CutPanel(MODELS[name](), parts=["summary"])
    panel.allow_bypass = True
    for places in selections(panel):
        panel.selection = places
        if panel.slice is None:
            continue
        note, graph = panel._result["note"], panel._section.graph
        entering, leaving, _ = crossing(panel)
        assert "cut points" not in note
        one_each = "rebuild the model exactly: one tensor crosses at each end." in note
        assert one_each == (panel._result["exact"] and len(entering) == len(leaving) == 1)
        for tensors, words in ((entering, "enter at the start"), (leaving, "leave at the end")):
            assert (f"{len(tensors)} tensors {words}" in note) == (len(tensors) > 1)
            if len(tensors) > 1:
                sentence = next(s for s in note.split(". ") if words in s)
                assert all(graph.maker(tensor).name in sentence for tensor in tensors)
        if panel._result["exact"]:
            assert cw.check(panel.model, *panel._places(), allow_bypass=True).carried == ()
        else:
            assert "the tail also needs the output" in note


def test_a_skip_connection_that_is_an_input_is_named(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet)
    panel.allow_bypass = True
    panel.selection = ("s1_b_2_conv", "s1_b_out")
    assert panel._result["note"] == (
        "Head, slice and tail rebuild the model exactly. 2 tensors enter at the start: the outputs "
        "of s1_b_1_relu and s1_a_out. The skip connection from s1_a_out is an extra input. One "
        "tensor leaves at the end."
    )


def test_surgery_says_why_a_block_cannot_be_removed(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet)
    panel.selection = ("stem_conv", "s1_b_1_relu")
    options = ask(panel, "surgery")
    assert options["removable"] == ["s1_a"]
    reasons = dict(options["reasons"])
    assert reasons["s1_b"] == "only a part of it is in the slice"
    assert "it turns" in reasons["stem"]


@pytest.mark.parametrize("name", ["MobileNet", "unet", "perceptron", "translator"])
def test_surgery_offers_what_remove_can_do(name):
    model = MODELS[name]()
    panel = cw.CutPanel(model)
    panel.allow_bypass = True
    panel.selection = (None, None)
    options = ask(panel, "surgery")
    assert panel.error == ""
    reasons = dict(options["reasons"])
    for block in panel._network["blocks"]:
        if block["name"] in options["removable"]:
            cw.remove(model, block["name"])
        else:
            with pytest.raises(cw.CutError) as refused:
                cw.remove(model, block["name"])
            assert reasons[block["name"]] in str(refused.value)


@pytest.mark.parametrize(
    ("question", "arguments", "label"),
    [
        ("text", {}, "Writing the summary"),
        ("code", {}, "Writing the script"),
        ("save", {"kind": "svg"}, "Saving"),
    ],
)
def test_what_blocks_the_kernel_is_told_before(tiny_resnet, question, arguments, label):
    panel = cw.CutPanel(tiny_resnet)
    panel.selection = (1, 2)
    seen = []
    panel.observe(lambda change: seen.append(change["new"]), ["_progress", f"_{question}"])
    ask(panel, question, **arguments)
    assert seen[0] == {question: {"done": 0, "total": 0, "label": label}}
    assert seen[1]["selection"] == ["s1_a", "s1_b"]
    assert seen[2:] == [{}]


def test_copying_is_told_before(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet)
    seen = []
    panel.observe(lambda change: seen.append(change["new"]), ["_progress"])
    panel.selection = (1, 2)
    assert seen == []
    panel.set_state({"weights": "copy"})
    assert seen == [{"cut": {"done": 0, "total": 0, "label": "Copying layers and weights"}}, {}]


def classifier(use_bias=True, normalised=False):
    inputs = keras.Input((6,))
    x = layers.BatchNormalization(name="normal")(inputs) if normalised else inputs
    x = layers.Dense(8, "relu", use_bias=False, name="hidden")(x)
    x = layers.Dense(5, use_bias=use_bias, name="scores")(x)
    model = keras.Model(inputs, layers.Softmax(name="likely")(x))
    keras.utils.set_random_seed(0)
    for weight in model.trainable_weights:
        if weight.name == "kernel":
            weight.assign(3 * np.random.default_rng(1).normal(size=weight.shape))
    return model


def note_of(model):
    panel = cw.CutPanel(model)
    panel.selection = (None, None)
    answer = ask(panel, "run")
    assert answer["predictions"]
    return answer["predictions_note"]


def test_predictions_of_untrained_weights_are_doubted():
    model = classifier()
    assert note_of(model) == "These weights look untrained: all biases of scores are 0."
    model.get_layer("scores").bias.assign([0.1, 0, 0, 0, 0])
    assert note_of(model) == ""
    model = classifier(use_bias=False, normalised=True)
    assert note_of(model) == "These weights look untrained: all moving means are 0."
    model.get_layer("normal").moving_mean.assign([0.1] * 6)
    assert note_of(model) == ""
    model.get_layer("scores").kernel.assign(np.zeros((8, 5)))
    assert note_of(model) == "All classes are nearly equally likely, as with untrained weights."


def test_names_of_classes_say_where_they_are_from(monkeypatch):
    from cutwidgets.panel import result_views

    monkeypatch.setattr(result_views, "_classes", lambda: [f"animal {i}" for i in range(1000)])
    inputs = keras.Input((4,))
    x = layers.Dense(1000, "softmax", name="predictions")(inputs)
    model = keras.Model(inputs, x, name="resnet50")
    model.get_layer("predictions").bias.assign(np.ones(1000))
    panel = cw.CutPanel(model)
    panel.selection = (None, None)
    answer = ask(panel, "run")
    assert answer["predictions"][0][0].startswith("animal")
    assert "names are those of ImageNet" in answer["predictions_note"]
