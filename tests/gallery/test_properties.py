"""The properties of `properties.py` and the sums of `sums.py` notice what is wrong."""

from dataclasses import replace

import pytest

import cutwidgets as cw
from cutwidgets.blocks.blocks import Stage
from cutwidgets.blocks.finding import find
from cutwidgets.graph.callgraph import entering, leaving

from . import properties
from .graphs import graph_of, read_store
from .sums import sums


def anatomy_of(name):
    graph = graph_of(name, read_store())
    return cw.Anatomy(graph.name, *find(graph), graph)


def joined(anatomy, first, last, kind="plain"):
    """The anatomy with some neighbouring blocks as one, which has the name of the first."""
    graph, blocks = anatomy.graph, list(anatomy)
    calls = tuple(sorted(index for block in blocks[first : last + 1] for index in block.calls))
    block = replace(
        blocks[first],
        kind=kind,
        shortcut=None,
        calls=calls,
        entries=tuple(entering(graph, calls)),
        exits=tuple(leaving(graph, calls)),
    )
    return replace(anatomy, rows=(*blocks[:first], block, *blocks[last + 1 :]))


def divided(anatomy, at):
    """The anatomy with a block divided in the middle, into two plain ones of the same name."""
    graph, blocks = anatomy.graph, list(anatomy)
    calls = blocks[at].calls
    halves = [
        replace(
            blocks[at],
            kind="plain",
            shortcut=None,
            calls=half,
            entries=tuple(entering(graph, half)),
            exits=tuple(leaving(graph, half)),
        )
        for half in (calls[: len(calls) // 2], calls[len(calls) // 2 :])
    ]
    return replace(anatomy, rows=(*blocks[:at], *halves, *blocks[at + 1 :]))


def test_all_hold_for_a_right_anatomy():
    for name in ("VGG16", "ResNet50"):
        assert not any(check(anatomy_of(name)) for check in properties.PROPERTIES)


def test_a_call_in_no_block_or_in_two():
    anatomy = anatomy_of("VGG16")
    assert properties.calls_not_in_one_block(replace(anatomy, rows=anatomy.rows[1:]))
    assert properties.calls_not_in_one_block(replace(anatomy, rows=anatomy.rows + anatomy.rows[:1]))


def test_a_block_divided_has_its_name_twice_and_a_sum_across():
    anatomy = divided(anatomy_of("ResNet50"), 2)
    assert properties.repeated_names(anatomy) == ["conv2_block2"]
    across = [index for index, inside in sums(anatomy).items() if not inside]
    assert [anatomy.graph.calls[index].name for index in across] == ["conv2_block2_add"]


def test_a_skip_from_within_a_block():
    anatomy = anatomy_of("U-Net")
    first, *others = anatomy.rows
    inner = anatomy.graph.calls[first.calls[0]].outputs
    wrong = replace(anatomy, rows=(replace(first, exits=inner), *others))
    assert not properties.ends_within_blocks(anatomy)
    crossing = {text.split(": ")[1] for text in properties.ends_within_blocks(wrong)}
    assert crossing == {"down0_conv2"}


def test_two_groups_of_a_vgg_as_one_stride_inside():
    anatomy = joined(anatomy_of("VGG16"), 1, 2)
    assert properties.plain_blocks_that_stride_inside(anatomy) == ["block2"]


@pytest.mark.parametrize("index", [1, 4])
def test_a_plain_block_without_weights(index):
    anatomy = anatomy_of("VGG16")
    pool = anatomy.rows[index].calls[-1:]
    rows = [*anatomy.rows]
    rows[index] = replace(rows[index], calls=pool)
    wrong = replace(anatomy, rows=tuple(rows))
    assert properties.plain_blocks_without_weights(wrong) == [rows[index].name]


def test_a_stage_of_two_resolutions():
    anatomy = anatomy_of("VGG16")
    wrong = replace(anatomy, stages=(Stage("both", anatomy.rows[:2]),))
    assert properties.stages_of_several_resolutions(wrong) == ["both"]


def test_a_shortcut_that_is_none():
    anatomy = anatomy_of("ResNet50")
    rows = [*anatomy.rows]
    rows[1] = replace(rows[1], shortcut="identity")  # conv2_block1 projects
    rows[2] = replace(rows[2], shortcut="projection")
    wrong = properties.wrong_shortcuts(replace(anatomy, rows=tuple(rows)))
    assert [text.split(":")[0] for text in wrong] == ["conv2_block1", "conv2_block2"]
