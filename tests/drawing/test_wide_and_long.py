"""Diagrams of networks with many skips, many readers of one tensor, and very many blocks."""

import re
from xml.etree import ElementTree

import keras
import pytest
from test_block_diagram import SVG, parsed, parts, texts

from cutwidgets import anatomy
from cutwidgets.drawing import block_diagram, folding
from cutwidgets.drawing.folding import Card

layers = keras.layers


def diffusion_unet(levels):
    """Residual blocks that all read one time embedding, and a skip from each level to its twin."""
    image, time = keras.Input((8, 8, 4), name="image"), keras.Input((4,), name="time")
    embedding = layers.Dense(4, name="emb2")(layers.Dense(4, name="emb1")(time))
    x = layers.Conv2D(4, 3, padding="same", name="first")(image)

    def block(x, name):
        y = layers.Conv2D(4, 3, padding="same", name=f"{name}_c1")(x)
        y = y + layers.Dense(4, name=f"{name}_t")(embedding)[:, None, None]
        y = layers.Conv2D(4, 3, padding="same", name=f"{name}_c2")(y)
        return layers.Add(name=f"{name}_add")([x, y])

    skips = [x]
    for k in range(levels):
        x = block(x, f"d{k}")
        skips.append(x)
    for k in range(levels):
        x = layers.Concatenate(name=f"u{k}_cat")([x, skips.pop()])
        x = block(layers.Conv2D(4, 1, name=f"u{k}_in")(x), f"u{k}")
    return keras.Model([image, time], layers.Conv2D(3, 1, name="last")(x))


def chain(kinds):
    """A chain of residual blocks with a number of activations in each."""
    x = inputs = keras.Input((4,))
    for count in kinds:
        y = x
        for _ in range(count):
            y = layers.Activation("tanh")(y)
        x = layers.Add()([x, y])
    return keras.Model(inputs, x)


@pytest.mark.parametrize("levels", [3, 20])
def test_a_tensor_that_many_blocks_read_does_not_widen_the_diagram(levels):
    found = anatomy(diffusion_unet(levels))
    assert float(re.search(r'width="([\d.]+)pt"', found.svg)[1]) <= 800
    cards = [texts(group) for name, group in parts(found.svg).items() if "block-" in str(name)]
    assert sum("reads emb" in card or "reads stage" in card for card in cards) >= levels
    assert any("read by" in card for card in cards)


def curve(group):
    """Points on the curve of an edge."""
    numbers = [float(n) for n in re.findall(r"-?[\d.]+", group.find(f"{SVG}path").get("d"))]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    for i in range(0, len(points) - 1, 3):
        for t in (k / 20 for k in range(21)):
            weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3)
            four = points[i : i + 4]
            yield tuple(
                sum(w * p[axis] for w, p in zip(weights, four, strict=True)) for axis in (0, 1)
            )


@pytest.mark.parametrize("model", [lambda: diffusion_unet(4), lambda: diffusion_unet(6)])
def test_skips_do_not_cross_the_titles_of_stages(model):
    groups = parts(anatomy(model()).svg)
    titles = []
    for name, group in groups.items():
        for text in group.iter(f"{SVG}text") if str(name).startswith("stage-") else ():
            x, y, width = float(text.get("x")), float(text.get("y")), 4.5 * len(texts(text))
            titles.append((x, y - 7, x + width, y + 1))
    skips = [group for name, group in groups.items() if str(name).startswith("skip-")]
    assert skips
    assert titles
    for x, y in (point for skip in skips for point in curve(skip)):
        assert not any(left < x < right and top < y < low for left, top, right, low in titles)


def test_a_run_of_like_blocks_is_one_card_that_opens_in_pieces():
    blocks, stages = (found := anatomy(chain([1] * 400))).blocks, found.stages
    assert folding.cards(blocks) == [Card(0, 399)]
    assert "400 × residual" in texts(parts(found.svg)["block-0"])
    pieces = folding.cards(blocks, Card(0, 399))
    assert 1 < len(pieces) <= folding.LIMIT
    assert [i for card in pieces for i in range(card.first, card.last + 1)] == list(range(400))
    single = folding.cards(blocks, Card(300, 300))
    assert Card(300, 300) in single
    assert len(single) <= 2 * folding.LIMIT
    _, ids, _ = parsed(block_diagram.source("x", blocks, stages, Card(300, 300)))
    assert "joint-300" in ids


@pytest.mark.slow
def test_patterns_are_runs_too_and_unlike_blocks_are_stretches():
    patterned = anatomy(chain([1, 2, 3] * 100)).blocks
    assert folding.cards(patterned) == [Card(0, 299)]
    unlike = anatomy(chain([1 + i % 7 + (i * i) % 5 for i in range(600)])).blocks
    cards = folding.cards(unlike)
    assert len(cards) <= folding.LIMIT
    assert [i for card in cards for i in range(card.first, card.last + 1)] == list(range(600))


def test_two_hundred_blocks_have_a_card_each():
    blocks = anatomy(chain([1] * 200)).blocks
    assert folding.cards(blocks) == [Card(i, i) for i in range(200)]


def test_cards_name_merges_and_shared_layers():
    left, right = keras.Input((4,)), keras.Input((4,))
    tower = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(2)], name="tower")
    joined = layers.Concatenate()([tower(left), tower(right)])
    model = keras.Model([left, right], layers.Dense(1)(joined))
    found = anatomy(model)
    shown = ElementTree.tostring(ElementTree.fromstring(found.svg), "unicode")
    assert shown.count("shared") == sum(block.name.startswith("tower") for block in found)
    assert "‖" in shown
