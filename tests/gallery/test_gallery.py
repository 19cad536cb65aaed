"""Builds every network of the gallery and prints what is found beside what its source gives.

All but a few are slow: `uv run pytest -m slow tests/gallery -s`, or the table without pytest:
`python -m gallery.survey` in this folder's parent.
"""

import pytest

from .catalogue import CATALOGUE
from .graphs import graph_of, read_store
from .survey import survey

QUICK = ("ResNet50", "CSPDarknet, one bottleneck each", "LSTM classifier")


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, marks=[] if entry.name in QUICK else [pytest.mark.slow], id=entry.name)
        for entry in CATALOGUE
    ],
)
def test_every_call_is_in_one_block(entry):
    if entry.name.startswith("hub"):
        pytest.importorskip("keras_hub", reason="an optional group: hub")
    divides_the_calls(survey(entry))


def test_stored_graphs_are_divided_too():
    stored = read_store()
    for entry in CATALOGUE:
        if entry.name in stored:
            divides_the_calls(survey(entry, graph_of(entry.name, stored)))


def divides_the_calls(result):
    print(result)
    anatomy = result.anatomy
    calls = sorted(index for block in anatomy for index in block.calls)
    assert calls == [call.index for call in anatomy.graph.calls if call.role != "input"]


def test_names_of_the_gallery_are_unique():
    names = [entry.name for entry in CATALOGUE]
    assert len(set(names)) == len(names) >= 40
