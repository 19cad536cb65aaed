"""The diagram of the layers of a block, against the call graph."""

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import keras
import networkx
import pytest
from keras import layers
from test_block_diagram import HOSTILE, SVG, corners, parsed, parts, texts

import networks
from cutwidgets import anatomy
from cutwidgets.drawing import layer_diagram, rendering


def transformer():
    """An encoder (Vaswani et al. 2017, figure 1, left), normalised first."""
    x = inputs = keras.Input((16, 32))
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 8)(y, y)])
    y = layers.Dense(64, activation="gelu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Dense(32)(y)])
    return keras.Model(inputs, x)


def forks():
    """Tensors that leave from the middle, two inputs, and a call that makes several tensors."""
    one, other = keras.Input((8,), name="one"), keras.Input((8,), name="other")
    parts = keras.ops.split(layers.Dense(8, name="dense")(one), 2, axis=1)
    x = layers.Multiply(name="product")(list(parts))
    return keras.Model([one, other], [x, parts[0], layers.Concatenate()([x, other, parts[1]])])


MODELS = {
    "ResNet50": lambda: networks.untrained("ResNet50"),
    "EfficientNetB0": lambda: networks.untrained("EfficientNetB0"),
    "InceptionV3": lambda: networks.untrained("InceptionV3"),
    "DenseNet121": lambda: networks.untrained("DenseNet121"),
    "VGG16": lambda: networks.untrained("VGG16"),
    "U-Net": lambda: networks.unet(3),
    "two towers": networks.two_towers,
    "transformer": transformer,
    "forks": forks,
}
# Blocks that look different from each other, to be drawn and not only written.
BLOCKS = [
    ("ResNet50", "conv3_block1"),
    ("ResNet50", "conv3_block2"),
    ("EfficientNetB0", "block3b"),
    ("InceptionV3", 2),
    ("DenseNet121", "conv2_block2"),
    ("transformer", 0),
    ("U-Net", -2),
    ("VGG16", 0),
    ("forks", 0),
]


@pytest.fixture(scope="module", params=MODELS)
def written(request):
    """The graph of a model; its blocks, each with the ids of its nodes, and its edges, in DOT."""
    found = anatomy(MODELS[request.param]())
    blocks = found.blocks[:20]  # those behind repeat them
    dots = [layer_diagram.source(found.graph, block.calls) for block in blocks]
    return found.graph, [(block, *parsed(dot)[1:]) for block, dot in zip(blocks, dots, strict=True)]


@pytest.fixture(params=BLOCKS, ids=lambda block: f"{block[0]}-{block[1]}")
def block(request):
    model, place = request.param
    whole = anatomy(MODELS[model]())
    return whole.graph, whole[place]


def expected(graph, calls):
    """Who reads from whom among some calls; what enters and leaves by its tensor."""
    edges = set()
    for index in calls:
        for tensor in graph.calls[index].inputs:
            maker = graph.tensors[tensor].maker
            edges.add((f"call-{maker}" if maker in calls else ("from", tensor), f"call-{index}"))
        for tensor in graph.calls[index].outputs:
            users = set(graph.tensors[tensor].users)
            if tensor in graph.outputs or users - set(calls):
                edges.add((f"call-{index}", ("to", tensor)))
    return edges


def test_every_call_is_a_card_and_every_tensor_an_edge(written):
    graph, blocks = written
    for block, ids, edges in blocks:
        assert {name for name in ids if name.startswith("call-")} == {
            f"call-{index}" for index in block.calls
        }
        # Blocks have their entries and exits in an order of their own.
        entering = list(dict.fromkeys(
            t for i in block.calls for t in graph.calls[i].inputs if t in block.entries
        ))  # fmt: skip
        leaving = sorted(t for t in block.exits if t in graph.outputs or graph.tensors[t].users)
        nodes = {f"entry-{k}": ("from", tensor) for k, tensor in enumerate(entering)}
        nodes |= {f"exit-{k}": ("to", tensor) for k, tensor in enumerate(leaving)}
        drawn = [(nodes.get(a, a), nodes.get(b, b)) for a, b, *_ in edges.values()]
        assert len(drawn) == len(set(drawn))
        assert set(drawn) == expected(graph, block.calls)
        for name, (start, end, *_) in edges.items():
            assert name == f"edge-{start}-{end}".replace("call-", "")


def test_orange_is_what_no_path_needs(written):
    for _, _, edges in written[1]:
        ways = networkx.DiGraph(edge[:2] for edge in edges.values())
        needed = set(networkx.transitive_reduction(ways).edges)
        for start, end, kind, _ in edges.values():
            assert kind == ("spine" if (start, end) in needed else "shortcut")


def test_the_svg_has_ids_and_classes_and_names(block):
    graph, block = block
    groups = parts(rendering.render(layer_diagram.source(graph, block.calls)))
    for index in block.calls:
        call = graph.calls[index]
        card = groups[f"call-{index}"]
        assert card.get("class") == f"node call {call.role}"
        assert call.name in texts(card)
        assert call.kind in texts(card)
    first = graph.maker(block.entries[0]).name
    assert f"from {first}" in texts(groups["entry-0"])
    assert texts(groups["exit-0"]).strip().startswith("to ")


def test_cards_hold_their_texts_and_nothing_overlaps(block):
    graph, block = block
    svg = rendering.render(layer_diagram.source(graph, block.calls))
    groups = {k: g for k, g in parts(svg).items() if re.match("call-", k or "")}
    boxes = {name: corners(group) for name, group in groups.items()}
    for name, group in groups.items():
        left, top, right, bottom = boxes[name]
        for text in group.iter(f"{SVG}text"):
            assert left < float(text.get("x")) < right
            assert top < float(text.get("y")) < bottom
    assert len({round(right - left) for left, _, right, _ in boxes.values()}) == 1
    for a, one in boxes.items():
        for b, other in boxes.items():
            apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
            assert a == b or apart, (a, b)


def test_the_spine_is_straight():
    resnet = anatomy(MODELS["ResNet50"]())
    for name in ("conv3_block1", "conv3_block2"):
        calls = resnet[name].calls
        groups = parts(rendering.render(layer_diagram.source(resnet.graph, calls)))
        # Two layers of the projection stand beside it.
        spine = [i for i in calls if "_0_" not in resnet.graph.calls[i].name]
        boxes = [corners(groups[f"call-{index}"]) for index in spine]
        centres = [(left + right) / 2 for left, _, right, _ in boxes]
        assert max(centres) - min(centres) < 0.5
        assert all(above[3] < below[1] for above, below in pairwise(boxes))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: layers.Conv2D(64, (3, 5), strides=2, activation="relu"),
         "Conv2D 3×5, 64, /2, relu"),
        (lambda: layers.Conv2DTranspose(8, 2, 2), "Conv2DTranspose 2×2, 8, ×2"),
        (lambda: layers.DepthwiseConv2D(3), "DepthwiseConv2D 3×3"),
        (lambda: layers.MaxPooling2D(3, 2), "MaxPooling2D 3×3, /2"),
        (lambda: layers.Dense(7), "Dense 7"),
        (lambda: layers.Activation("gelu"), "Activation gelu"),
        (lambda: layers.BatchNormalization(), "BatchNormalization"),
    ],
)  # fmt: skip
def test_cards_tell_what_a_layer_does(make, words):
    x = keras.Input((16, 16, 4))
    graph = anatomy(keras.Model(x, make()(x))).graph
    card = texts(parts(rendering.render(layer_diagram.source(graph, [1])))["call-1"])
    assert re.search(rf"\n{re.escape(words)}\s+\d+×\d+×\d+\s*$", re.sub(r"\s*\n\s*", "\n", card))


def test_attributes_of_a_users_own_layer_may_be_anything():
    class Odd(layers.Layer):
        kernel_size, filters, strides, units = "<b>", object(), 1.5, None
        activation, num_heads, pool_size = "no function", True, [1.5]

        def call(self, x):
            return x

    x = keras.Input((16, 16, 4))
    graph = anatomy(keras.Model(x, layers.ReLU()(Odd(name="odd")(x)))).graph
    card = texts(parts(rendering.render(layer_diagram.source(graph, [1])))["call-1"])
    assert card.split() == ["odd", "Odd", "16×16×4"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_nothing_else(name):
    resnet = anatomy(MODELS["ResNet50"]())
    graph, block = resnet.graph, resnet["conv3_block2"]
    kind = type(name.replace("\x00", "").replace("\ud800", "") or "Odd", (layers.ReLU,), {})
    calls = tuple(replace(call, name=name) for call in graph.calls)
    odd = block.calls[-1]
    calls = (*calls[:odd], replace(calls[odd], layer=kind()), *calls[odd + 1 :])
    dot = layer_diagram.source(replace(graph, calls=calls), block.calls)
    _, ids, edges = parsed(dot)
    assert ids == {"entry-0", "exit-0", *(f"call-{index}" for index in block.calls)}
    assert len(edges) == 1 + len(block.calls) + 1  # the shortcut is one more than a chain has

    svg = rendering.render(dot)
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
    assert tags <= {"svg", "g", "path", "polygon", "text"}
    shown = "".join(x if x.isprintable() else "�" for x in name)
    groups = parts(svg)
    for part in ("entry-0", "exit-0", *(f"call-{index}" for index in block.calls)):
        assert shown.strip() in texts(groups[part])


def test_long_names_lose_their_middle():
    vgg = anatomy(MODELS["VGG16"]())
    calls = tuple(replace(call, name=f"a{'x' * 300}{call.index}") for call in vgg.graph.calls)
    svg = rendering.render(layer_diagram.source(replace(vgg.graph, calls=calls), vgg[0].calls))
    for index in vgg[0].calls:
        assert re.search(rf"ax+…x+{index}\b", texts(parts(svg)[f"call-{index}"]))
    assert float(ElementTree.fromstring(svg).get("viewBox").split()[2]) < 300


def test_no_calls_have_a_diagram():
    resnet = anatomy(MODELS["ResNet50"]())
    assert rendering.render(layer_diagram.source(resnet.graph, [])).startswith("<svg")
