"""Block counts against the papers, on stored call graphs: without Keras, in milliseconds.

`PYTHONPATH=tests python tests/blocks/test_stored_graphs.py` stores them anew.
"""

import gzip
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from cutwidgets.blocks.finding import find
from cutwidgets.graph.callgraph import between, parameters
from cutwidgets.graph.frontier import carried_past, head
from stored_graphs import from_json, to_json

GRAPHS = Path(__file__).parent / "graphs"

# He et al. 2015, "Deep residual learning for image recognition", table 1.
RESNETS = {"ResNet101": [3, 4, 23, 3], "ResNet152": [3, 8, 36, 3]}


def text(name):
    """A stored graph of a network of keras.applications, without its top, for 96×96 pixels."""
    return gzip.decompress((GRAPHS / f"{name}.json.gz").read_bytes()).decode()


@cache
def graph_of(name):
    return from_json(text(name))


def divided(name):
    """The blocks and the stages of a network."""
    return find(graph_of(name))


def residual(blocks):
    return [block for block in blocks if block.kind == "residual"]


@pytest.mark.parametrize("name", RESNETS)
def test_residual_blocks_as_in_the_paper(name):
    blocks, stages = divided(name)
    assert [len(residual(stage.blocks)) for stage in stages] == RESNETS[name]
    assert blocks[0].kind == "stem"
    assert blocks[-1].kind != "classifier"


@pytest.mark.parametrize("name", RESNETS)
def test_first_block_of_a_stage_has_a_projection(name):
    for stage in divided(name)[1]:
        shortcuts = [block.shortcut for block in stage.blocks]
        assert shortcuts == ["projection"] + ["identity"] * (len(shortcuts) - 1)


# Numbers of parameters without the top, as the documentation of keras.applications has them with
# it: 44.7, 60.4 and 8.1 million.
@pytest.mark.parametrize(
    ("name", "count"),
    [("ResNet101", 42_658_176), ("ResNet152", 58_370_944), ("DenseNet121", 7_037_504)],
)
def test_blocks_divide_the_calls(name, count):
    graph, (blocks, _) = graph_of(name), divided(name)
    layers_in_blocks = [layer for block in blocks for layer in block.layers]
    assert sorted(layers_in_blocks) == sorted(call.name for call in graph.calls[1:])
    assert sum(block.parameters for block in blocks) == count
    assert parameters(graph, range(len(graph.calls))) == count
    for before, block in pairwise(blocks):
        assert block.entries == before.exits
        assert block.input_shape == before.output_shape


# Blocks between stem and top, stage by stage as the papers' tables group them.
TABLES = {
    # Howard et al. 2017, "MobileNets", table 1: depthwise separable convolutions.
    "MobileNet": [1, 2, 2, 6, 2],
    # Howard et al. 2019, "Searching for MobileNetV3", tables 2 and 1.
    "MobileNetV3Small": [1, 2, 3, 2, 3],
    "MobileNetV3Large": [1, 2, 3, 4, 2, 3],
    # Tan and Le 2021, "EfficientNetV2", table 4; B0 as in the authors' code.
    "EfficientNetV2B0": [1, 2, 2, 3, 5, 8],
    "EfficientNetV2S": [2, 4, 4, 6, 9, 15],
    # Szegedy et al. 2015, "Rethinking the Inception architecture", table 1: by resolution 3, 5 and
    # 3 with the modules that lower it, which the width divides further.
    "InceptionV3": [1, 2, 5, 1, 2],
    # Szegedy et al. 2016, "Inception-v4, Inception-ResNet", figure 15: 10, 20, 10 and the modules
    # mixed_5b, mixed_6a and mixed_7a before them.
    "InceptionResNetV2": [1 + 10, 1 + 20, 1 + 10],
    # Chollet 2017, "Xception", figure 5: modules 2 to 13, the residual ones of 14.
    "Xception": [1, 1, 9, 1],
    # Liu et al. 2022, "A ConvNet for the 2020s", section 3.1; each stage but the first with the
    # downsampling before it.
    "ConvNeXtTiny": [3, 1 + 3, 1 + 9, 1 + 3],
    # Zoph et al. 2018, "Learning transferable architectures", figure 2 and table 2: two reduction
    # cells as a stem, then 4, reduction, 4, reduction, 4.
    "NASNetMobile": [1, 1, 4, 1, 4, 1, 4],
}


@pytest.mark.parametrize("name", TABLES)
def test_blocks_as_in_the_tables_of_the_papers(name):
    blocks, stages = divided(name)
    assert [len(stage.blocks) for stage in stages] == TABLES[name]
    assert blocks[0].kind == "stem"
    assert [block.kind for block in blocks if not block.stage] in (["stem"], ["stem", "top"])


# Residual blocks by the papers' rule: where resolution and width stay. In Xception's and
# Inception-ResNet's papers all but the entry are drawn with a shortcut.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("MobileNetV3Small", 6),
        ("MobileNetV3Large", 10),
        ("EfficientNetV2B0", 21 - 6),
        ("EfficientNetV2S", 40 - 5),
        ("Xception", 12),
        ("InceptionResNetV2", 40),
        ("ConvNeXtTiny", 18),
        ("InceptionV3", 0),
        ("NASNetMobile", 0),
    ],
)
def test_residual_blocks_are_counted(name, count):
    assert len(residual(divided(name)[0])) == count


def test_dense_layers_as_in_the_paper():
    # Huang et al. 2017, "Densely connected convolutional networks", table 1.
    _, stages = divided("DenseNet121")
    dense = [len(s.blocks) for s in stages if s.blocks[0].kind == "dense"]
    assert dense == [6, 12, 24, 16]


def test_a_cell_of_nasnet_reads_the_two_before_it():
    blocks, _ = divided("NASNetMobile")
    makers = {tensor: i for i, block in enumerate(blocks) for tensor in block.exits}
    cells = [(i, block) for i, block in enumerate(blocks) if block.stage]
    assert [len(block.exits) for _, block in cells] == [1] * len(cells)
    first, *others = [sorted(makers[tensor] for tensor in block.entries) for _, block in cells]
    assert first == [0]
    assert others == [[i - 2, i - 1] for i, _ in cells[1:]]


@pytest.mark.parametrize("name", ["NASNetMobile", "MobileNetV3Small", "InceptionV3"])
def test_tensors_past_a_place_against_a_plain_search(name):
    graph = graph_of(name)
    for call in graph.calls:
        calls = head(graph, call.outputs)
        before = {tensor for index in calls for tensor in graph.calls[index].outputs}
        _, reached = between(graph, graph.outputs, before)
        expected = tuple(tensor for tensor in reached if tensor not in call.outputs)
        assert carried_past(graph, call.outputs) == expected


def test_writing_a_stored_graph_again_changes_nothing():
    for name in [*RESNETS, *TABLES]:
        assert to_json(graph_of(name)) == text(name)


def test_no_keras_is_needed():
    script = f"""
import pathlib, sys
sys.path += [{str(GRAPHS.parent)!r}, {str(GRAPHS.parents[1])!r}]
from test_stored_graphs import GRAPHS, divided
assert all(divided(path.name.split(".")[0])[0] for path in GRAPHS.iterdir())
assert not {{"keras", "tensorflow", "jax", "torch"}} & set(sys.modules), sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def read_from_keras(name):
    """A network of keras.applications, built and written as JSON."""
    import keras

    from cutwidgets.graph.reader import read

    keras.utils.clear_session()  # automatic names count from 1
    build = getattr(keras.applications, name)
    return to_json(read(build(include_top=False, weights=None, input_shape=(96, 96, 3))))


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(GRAPHS.iterdir()), ids=lambda path: path.name)
def test_keras_builds_the_stored_graphs(path):
    name = path.name.removesuffix(".json.gz")
    assert read_from_keras(name) == text(name)


if __name__ == "__main__":
    for network in [*RESNETS, *TABLES, "DenseNet121"]:
        data = gzip.compress(read_from_keras(network).encode(), mtime=0)
        (GRAPHS / f"{network}.json.gz").write_bytes(data)
