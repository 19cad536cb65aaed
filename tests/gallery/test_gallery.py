"""The blocks of the gallery's networks against their sources, from the stored graphs.

`python -m gallery.survey` in this folder's parent prints the table of all, and with a name behind
it the blocks of that network. What runs the networks is in `test_running.py`.
"""

from functools import cache

import pytest

from .catalogue import CATALOGUE
from .graphs import graph_of, read_store
from .properties import PROPERTIES
from .survey import survey

ENTRIES = {entry.name: entry for entry in CATALOGUE}


@cache
def surveyed(name):
    """A network beside what its source gives."""
    return survey(ENTRIES[name], graph_of(name, stored()))


@cache
def stored():
    return read_store()


def networks():
    """The networks; those that still differ from their source are expected to fail, strictly."""
    for entry in CATALOGUE:
        differs = pytest.mark.xfail(strict=True, raises=AssertionError, reason=entry.differs)
        yield pytest.param(entry.name, id=entry.name, marks=[differs] if entry.differs else [])


@pytest.mark.parametrize("name", list(networks()))
def test_its_blocks_are_those_of_its_source(name, gallery_row):
    result = surveyed(name)
    gallery_row(result.row)
    print(result.details)
    assert not result.differences


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)
def test_there_are_no(check, name):
    assert not check(surveyed(name).anatomy), check.__doc__


def test_every_network_is_stored_once():
    assert sorted(stored()) == sorted(entry.name for entry in CATALOGUE)
    assert len(CATALOGUE) == len(ENTRIES) >= 40


def test_every_network_names_its_source():
    assert all(entry.source and entry.blocks for entry in CATALOGUE)


@pytest.fixture
def gallery_row(request):
    """Adds a line to the table that stands at the end of the test output."""
    return lambda row: request.node.user_properties.append(("gallery", row))
