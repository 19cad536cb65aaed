import json
import re

import keras
import networkx
import pytest

import networks
from cutwidgets import anatomy

MODELS = {
    "ResNet50": lambda: networks.untrained("ResNet50", 64),
    "VGG16": lambda: networks.untrained("VGG16", 64),
    "DenseNet121": lambda: networks.untrained("DenseNet121", 64),
    "U-Net": lambda: networks.unet(3),
}


@pytest.fixture(params=MODELS)
def found(request):
    return anatomy(MODELS[request.param]())


def arrows(dot):
    """The edges of the diagram by their ids; a joint is a part of its block."""
    pattern = r'"?([\w-]+)"?(?::\w+)? -> "?([\w-]+)"?(?::\w+)? \[.*?id="?([\w-]+)"?'
    for start, end, name in re.findall(pattern, dot):
        yield name.partition("-")[0], *(e.replace("joint", "block") for e in (start, end))


def test_the_graph_has_the_edges_of_the_diagram(found):
    ids = {"input": "input", "output": "output"}
    ids |= {block.name: f"block-{i}" for i, block in enumerate(found)}
    edges = {
        (kind, ids[start], ids[end]) for start, end, kind in found.to_networkx().edges(data="kind")
    }
    drawn = {arrow for arrow in arrows(found.dot) if arrow[0] in ("spine", "skip", "shortcut")}
    assert drawn <= edges
    # Where too many would be drawn, cards name each other instead.
    assert {edge for edge in edges if edge[0] != "skip"} <= drawn
    assert len(edges) == found.to_networkx().number_of_edges()


def test_every_path_leads_from_input_to_output(found):
    graph = found.to_networkx()
    assert networkx.is_directed_acyclic_graph(graph)
    assert networkx.descendants(graph, "input") == set(graph) - {"input"}
    assert networkx.ancestors(graph, "output") == set(graph) - {"output"}


def test_what_a_card_shows_is_an_attribute(found):
    graph = found.to_networkx()
    for block in found:
        node = graph.nodes[block.name]
        assert (node["kind"], node["parameters"]) == (block.kind, block.parameters)
        assert node.get("shortcut") == block.shortcut
        assert node["output"] in found.dot
        assert node.get("stage") == block.stage


def test_it_can_be_stored_as_a_file(found, tmp_path):
    graph = found.to_networkx()
    networkx.write_graphml(graph, tmp_path / "graph.graphml")
    networkx.write_gexf(graph, tmp_path / "graph.gexf")
    again = networkx.read_graphml(tmp_path / "graph.graphml", force_multigraph=True)
    assert dict(again.nodes(data=True)) == dict(graph.nodes(data=True))
    assert json.loads(json.dumps(networkx.node_link_data(graph, edges="links")))["links"]


def test_blocks_may_have_the_names_of_the_ends():
    x = keras.Input((8,), name="x")
    y = keras.layers.Add(name="input")([x, keras.layers.Dense(8, name="input_branch")(x)])
    y = keras.layers.Dense(2, name="output")(y)
    found = anatomy(keras.Model(x, y))
    graph = found.to_networkx()
    ends = set(graph) - {block.name for block in found}
    assert {graph.nodes[end]["kind"] for end in ends} == {"input", "output"}
    assert len(graph) == len(found) + 2


def test_what_is_shared_says_so():
    layer = keras.layers.Dense(8)
    x = keras.Input((8,))
    y = keras.layers.Add()([x, layer(x)])
    graph = anatomy(keras.Model(x, keras.layers.Add()([y, layer(y)]))).to_networkx()
    blocks = [n for n, kind in graph.nodes(data="kind") if kind == "residual"]
    assert len(blocks) == 2
    assert all(graph.nodes[block]["shared"] for block in blocks)
