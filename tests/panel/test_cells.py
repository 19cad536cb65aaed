"""Jobs of a panel and cells of a notebook that change the model."""

import sys
import threading
import types

import numpy as np
import pytest

import cutwidgets as cw
from cutwidgets.panel import cells


class Events:
    """The events of IPython's shell."""

    def __init__(self):
        self.callbacks = {}

    def register(self, event, callback):
        self.callbacks[event] = callback

    def cell(self, run):
        self.callbacks["pre_run_cell"](None)
        try:
            run()
        finally:
            self.callbacks["post_run_cell"](None)


@pytest.fixture
def notebook(monkeypatch):
    """A kernel whose cells are watched, as those of a notebook."""
    events = Events()
    shell = types.SimpleNamespace(events=events)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    cells.watch_cells.cache_clear()
    yield events
    cells.watch_cells.cache_clear()


def network():
    import keras

    x = inputs = keras.Input((4,))
    for i in range(3):
        y = keras.layers.BatchNormalization(name=f"b{i}_norm")(x)
        x = keras.layers.Add(name=f"b{i}_add")([x, keras.layers.Dense(4, name=f"b{i}_dense")(y)])
    return keras.Model(inputs, x)


@pytest.mark.parametrize("question", ["run", "check"])
def test_what_a_cell_trains_is_not_put_back(notebook, question):
    model = network()
    panel = cw.CutPanel(model)
    names = [block.name for block in cw.anatomy(model)]
    panel.selection = (names[0], names[0])
    norm = model.get_layer("b1_norm")
    begun, go_on = threading.Event(), threading.Event()
    inner = norm.call

    def slow(*args, **kwargs):
        begun.set()
        go_on.wait(20)
        return inner(*args, **kwargs)

    def train():
        norm.call = inner
        model(np.ones((8, 4), "float32"), training=True)

    norm.call = slow if question == "check" else inner
    panel._receive(panel, {"ask": question}, [])
    assert question == "run" or begun.wait(20)
    threading.Timer(0.3, go_on.set).start()
    notebook.cell(train)
    trained = np.array(norm.moving_mean)
    panel._thread.join(60)
    assert not np.allclose(trained, 0)
    np.testing.assert_array_equal(np.array(norm.moving_mean), trained)
    assert getattr(panel, f"_{question}")["count"]


def test_a_job_waits_for_the_end_of_a_cell(notebook):
    model = network()
    panel = cw.CutPanel(model)
    panel.selection = (None, None)

    def cell():
        panel._receive(panel, {"ask": "run"}, [])
        panel._thread.join(0.5)
        assert panel._progress["run"]["label"] == "Waiting for the running cell"

    panel._receive(panel, {"ask": "costs"}, [])
    panel._thread.join()
    notebook.cell(cell)
    panel._thread.join(60)
    assert panel._run["statistics"]


def test_the_cell_that_begins_to_watch_ends_as_any_other(notebook):
    cells.watch_cells()
    notebook.callbacks["post_run_cell"](None)
    notebook.cell(lambda: None)
    with cells.between_cells(lambda: None):
        pass
