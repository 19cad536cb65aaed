"""Which ends the page greys, against cutting every pair of places on its own."""

from functools import cache
from html import unescape

import keras
import pytest
from keras import layers

import cutwidgets as cw
import networks
import odd_networks
from cutwidgets.graph.callgraph import entering
from cutwidgets.panel import reach_view, slice_view
from cutwidgets.surgery.slicing import section


def siamese():
    x = inputs = keras.Input((8, 8, 3))
    for number in range(2):
        x = layers.Conv2D(4, 3, padding="same", name=f"conv{number}")(x)
        x = layers.Add()([x, layers.Conv2D(4, 3, padding="same", name=f"branch{number}")(x)])
    return networks.siamese(keras.Model(inputs, x, name="encoder"))


def two_inputs():
    one, other = keras.Input((8,), name="one"), keras.Input((8,), name="other")
    x = layers.Add(name="early")([one, layers.Dense(8, name="a")(one)])
    x = layers.Dense(8, name="b")(layers.Concatenate(name="joined")([x, other]))
    return keras.Model([one, other], layers.Add(name="late")([x, other]))


MODELS = {
    "U-Net": lambda: networks.unet(2),
    "residual U-Net": lambda: networks.unet(2, "residual"),
    "siamese": siamese,
    "shared layer": odd_networks.shared_layer,
    "two inputs": two_inputs,
    "output in the middle": odd_networks.output_in_the_middle,
    "transformer": odd_networks.transformer,
    "several outputs of a layer": odd_networks.several_outputs_of_a_layer,
    "two towers": networks.two_towers,
    "gates": lambda: networks.super_resolution(blocks=2, gates=True),
}


@cache
def model_of(name):
    return cw.anatomy(MODELS[name]())


def refused(anatomy, start, end, allow_bypass=False):
    try:
        section(anatomy, start, end, allow_bypass=allow_bypass)
    except cw.CutError as error:
        return error
    return None


@pytest.mark.parametrize("name", MODELS)
def test_every_pair_of_places_gets_the_answer_of_the_cut_itself(name):
    anatomy = model_of(name)
    blocks = [block.name for block in anatomy]
    inside = [anatomy.graph.calls[i].name for block in anatomy for i in block.calls]
    for start in [*blocks, *inside]:
        for block in anatomy:
            found = reach_view.ends(anatomy, start, block.name)
            told = {blocks[i]: reason for i, reason in found["blocks"].items()}
            own = [anatomy.graph.calls[i].name for i in block.calls]
            told |= {n: r for n, r in found["layers"].items() if n not in blocks}
            assert set(found["layers"]) <= set(own)
            for end in [*blocks, *own]:
                error, reason = refused(anatomy, start, end), told.get(end)
                assert (error is None) == (reason is None), (start, end)
                if reason is None:
                    continue
                is_bypassed = isinstance(error, cw.BypassedCutError)
                assert (reason["kind"] == "bypassed") == is_bypassed, (start, end)
                assert ("comes after the end" in str(error)) == (reason["kind"] == "before")
                if is_bypassed:
                    assert tuple(reason["names"]) == error.bypasses
                allowed = refused(anatomy, start, end, allow_bypass=True)
                assert (allowed is None) == is_bypassed, (start, end)


@pytest.mark.parametrize("name", MODELS)
def test_the_wires_are_where_a_slice_would_read_its_extra_inputs(name):
    anatomy = model_of(name)
    graph = anatomy.graph
    inside = [call.name for call in graph.calls if call.inputs]
    seen = 0
    for start in inside:
        for end in inside:
            if not isinstance(refused(anatomy, start, end), cw.BypassedCutError):
                continue
            block = next(b for b in anatomy if end in [graph.calls[i].name for i in b.calls])
            reason = reach_view.ends(anatomy, start, block.name)["layers"][end]
            part = section(anatomy, start, end, allow_bypass=True)
            own = [call for call in graph.calls if call.name == start]
            bypassing = [t for t in part.inputs if t not in own[0].inputs]
            bypassing = [t for t in bypassing if graph.maker(t).name in reason["names"]]
            read = {(t, i) for i in part.calls for t in graph.calls[i].inputs if t in bypassing}
            assert {(w["tensor"], w["reader"]) for w in reason["wires"]} == read
            assert read, (start, end)
            for wire in reason["wires"]:
                assert wire["reader"] in anatomy[wire["block"]].calls
                assert graph.tensors[wire["tensor"]].maker == wire["maker"]
                holder = anatomy[wire["source"]] if wire["source"] >= 0 else None
                assert holder is None or wire["maker"] in holder.calls
            extra = reach_view.extra(anatomy, part, start)
            assert set(reason["names"]) <= set(extra["names"])
            seen += 1
    assert seen or "U-Net" not in name


def test_the_shortcut_and_not_the_branch_is_drawn_for_a_start_inside_of_a_branch(tiny_resnet):
    anatomy = cw.anatomy(tiny_resnet)
    block = next(b for b in anatomy if b.shortcut == "identity")
    inner = [i for i in block.calls if block.shortcut_tensor not in anatomy.graph.calls[i].inputs]
    reason = reach_view.ends(anatomy, anatomy.graph.calls[inner[0]].name, block.name)
    (wire,) = reason["layers"][anatomy.graph.calls[block.merge].name]["wires"]
    assert wire["shortcut"]
    assert anatomy[wire["block"]] == block
    assert wire["source"] == wire["block"] - 1


def test_what_enters_an_opened_block_is_numbered_as_its_arrows_are():
    anatomy = model_of("U-Net")
    for block in anatomy:
        opened = slice_view.layers(anatomy, block.name)
        assert opened["entries"] == list(entering(anatomy.graph, block.calls))
        for k, tensor in enumerate(opened["entries"]):
            for user in anatomy.graph.tensors[tensor].users:
                if user in block.calls:
                    assert f'id="edge-entry-{k}-{user}"' in unescape(opened["svg"])


def test_a_start_that_the_model_does_not_have_has_no_answer(tiny_resnet):
    assert reach_view.ends(cw.anatomy(tiny_resnet), "no such place") == {}


def test_stages_are_told_by_their_first_and_last_block(tiny_resnet):
    anatomy = cw.anatomy(tiny_resnet)
    shown = slice_view.network(anatomy)["stages"]
    assert [stage["name"] for stage in shown] == [stage.name for stage in anatomy.stages]
    for told, stage in zip(shown, anatomy.stages, strict=True):
        assert anatomy.blocks[told["first"] : told["last"] + 1] == stage.blocks
