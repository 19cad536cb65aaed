"""Many threads, interrupts at any line, and what is left in memory and on disk."""

import gc
import linecache
import os
import pickle
import re
import signal
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.utils.tracking import DotNotTrackScope

import cutwidgets as cw
from cutwidgets import files
from cutwidgets.graph.keras_internals import _SCOPES, functional, record, undone_on_failure

PACKAGES = (str(Path(cw.__file__).parent), str(Path(keras.__file__).parent))


def chain(blocks=8, width=4):
    """Residual blocks, with a nested model among them."""
    x = inputs = keras.Input((width,), name="in")
    for k in range(blocks):
        y = layers.Dense(width, activation="tanh", name=f"dense{k}")(x)
        x = layers.Add(name=f"add{k}")([x, y])
    inside = keras.Sequential(
        [keras.Input((width,)), layers.Dense(width, name="inner")], name="nested"
    )
    return keras.Model(inputs, layers.ReLU(name="last")(inside(x)), name="chain")


def all_layers(model):
    return [layer for layer in model._flatten_layers() if layer is not model]


def nodes(model):
    """The calls that Keras has noted down for each layer, before and behind it."""
    return [
        [list(map(id, x)) for x in (layer._inbound_nodes, layer._outbound_nodes)]
        for layer in all_layers(model)
    ]


def require_whole(model):
    """Every tensor's history names the call that made it, and that is known to what it reads."""
    for layer in all_layers(model):
        for position, node in enumerate(layer._inbound_nodes):
            assert node.operation is layer
            for number, tensor in enumerate(node.outputs):
                history = tensor._keras_history
                assert (history.operation, history.node_index) == (layer, position)
                assert history.tensor_index == number
            for tensor in node.arguments.keras_tensors:
                assert node in tensor._keras_history.operation._outbound_nodes
        for node in layer._outbound_nodes:
            assert node in node.operation._inbound_nodes


def require_cuts(model):
    """All legal cuts still are, and are exact."""
    blocks = list(cw.anatomy(model))
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    outputs = {layer.name: layer.output for layer in model.layers}
    values = keras.Function(model.inputs, outputs)([x])
    for i, start in enumerate(blocks):
        for end in {blocks[i], blocks[-1]}:
            part = cw.cut(model, start.name, end.name)
            wanted = values[end.layers[-1].partition("/")[0]]
            np.testing.assert_array_equal(part(values[part.input.name]), wanted)


def hammer(jobs, panels, threads=12):
    """Cuts, copies, anatomies, surgery and panels of one model from many threads."""
    model = chain(14)
    names = [block.name for block in cw.anatomy(model)]
    count = len(names)

    def job(j):
        a = j % (count - 1)
        b = a + j // count % (count - a)
        weights = "copy" if j % 10 == 1 else "share"
        cw.cut(model, names[a], names[b], weights=weights)
        if j % 3 == 2:
            cw.anatomy(model)
        if j % 10 == 3:
            cw.remove(model, names[1 + j % (count - 3)])
            cw.join(*cw.split(model, names[count // 2]))

    def show(j):
        panel = cw.CutPanel(model, parts=["diagram", "summary"])
        panel.selection = (names[j % 4], names[4])
        assert panel.slice is not None, panel.error
        panel.close()

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            running = [pool.submit(job, j) for j in range(jobs)]
            running += [pool.submit(show, j) for j in range(panels)]
            for future in running:
                future.result()
    finally:
        sys.setswitchinterval(usual)
    require_whole(model)
    require_cuts(model)
    before = nodes(model)
    require_cuts(model)
    assert nodes(model) == before  # further cuts from a start record nothing


def test_many_threads_leave_the_model_whole():
    for _ in range(2):
        hammer(90, 3)


@pytest.mark.slow
def test_a_thousand_cuts_and_fifty_panels_from_threads():
    for _ in range(3):
        hammer(1000, 50)


def test_anatomies_of_many_models_from_threads():
    models = [keras.Sequential([keras.Input((4,)), layers.ReLU()]) for _ in range(30)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(12) as pool:
            found = list(pool.map(lambda j: len(cw.anatomy(models[j % 30])), range(2000)))
    finally:
        sys.setswitchinterval(usual)
    assert set(found) == {1}


class Interrupt:
    """Raises a KeyboardInterrupt at the k-th line that is run in cutwidgets or Keras.

    Not at the lines of `with`: there Python itself raises none before `__exit__` is called, but a
    trace function would.
    """

    def __init__(self, k):
        self.left = k

    def __enter__(self):
        self.usual = sys.gettrace()
        sys.settrace(self.called)

    def __exit__(self, *_):
        sys.settrace(self.usual)

    def called(self, frame, _event, _argument):
        return self.line if frame.f_code.co_filename.startswith(PACKAGES) else None

    def line(self, frame, event, _argument):
        if event == "line":
            text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
            undoing = ("_recorded = outer", "_take_back", "_leave_scopes")
            if not text.startswith(("with ", "finally", *undoing)):
                self.left -= 1
                if self.left == 0:
                    raise KeyboardInterrupt
        return self.line


OPERATIONS = {
    "anatomy": lambda m: cw.anatomy(m),
    "cut": lambda m: cw.cut(m, 2, 4),
    "nested": lambda m: cw.cut(m, 5, "nested/inner"),
    "shape": lambda m: cw.cut(m, 2, 4, input_shape=(7, 4)),
    "copy": lambda m: cw.cut(m, 2, weights="copy"),
    "remove": lambda m: cw.remove(m, 2),
    "split": lambda m: cw.split(m, 2, 4),
    "join": lambda m: cw.join(*cw.split(m, 2)),
    "replace": lambda m: cw.replace(m, "dense2", layers.Dense(4, activation="tanh", name="new")),
}


def interrupt_everywhere(what, steps):
    """Interrupt an operation at many lines; afterwards the model is as it was or as it will be."""
    operation = OPERATIONS[what]
    counted, model = Interrupt(10**9), chain()
    with counted:
        operation(model)
    total = 10**9 - counted.left
    model = chain()
    weights = [value.copy() for value in model.get_weights()]
    stopped = 0
    for k in np.unique(np.linspace(1, total, steps).astype(int)):
        if k % 3:
            model = chain()  # of which nothing is remembered
            weights = [value.copy() for value in model.get_weights()]
        before = nodes(model)
        try:
            with Interrupt(int(k)):
                operation(model)
        except KeyboardInterrupt:
            stopped += 1
            require_whole(model)
            if what in ("anatomy", "copy"):
                assert nodes(model) == before
        # No other thread waits for a lock that is not given back.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(cw.cut, model, 2, 4).result(timeout=20)
    assert stopped > steps // 3
    require_whole(model)
    require_cuts(model)
    operation(model)
    for value, old in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(value, old)
    # No scope of Keras is left open, in which layers would be made otherwise.
    assert keras.Sequential([keras.Input((3,)), layers.Dense(2)]).count_params() == 8


@pytest.mark.parametrize("what", ["cut", "join", "replace"])
def test_interrupts_leave_the_model_whole(what):
    interrupt_everywhere(what, 9)


@pytest.mark.slow
@pytest.mark.parametrize("what", OPERATIONS)
def test_interrupts_at_many_lines(what):
    interrupt_everywhere(what, 150)


def test_a_call_that_was_half_recorded_is_taken_back():
    model = chain(3)
    before = nodes(model)
    call = next(c for c in cw.anatomy(model).graph.calls if c.name == "add1")

    @undone_on_failure
    def fail():
        symbol = cw.anatomy(model).graph.tensors[call.outputs[0]].symbol
        arguments = call.arguments.args, call.arguments.kwargs
        record(call.layer, arguments, [symbol])
        assert nodes(model) != before
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert nodes(model) == before


# What Keras sets for good, as the user asks, and not for the time of a scope.
SETTINGS = {
    *("dtype_policy", "flash_attention", "interactive_logging", "nnx_enabled"),
    *("traceback_filtering", "uninitialized_variables", "use_legacy_config"),
    "object_name_uids",
}


def test_every_scope_of_keras_is_left():
    sources = Path(keras.__file__).parent.rglob("*.py")
    text = "".join(path.read_text("utf-8") for path in sources)
    names = set(re.findall(r"set_global_attribute\(\s*[\"']([^\"']+)", text))
    assert names - SETTINGS <= {*_SCOPES}


def test_layers_have_variables_after_an_interrupt_while_keras_tracks_nothing():
    @undone_on_failure
    def fail():
        DotNotTrackScope().__enter__()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert keras.Sequential([keras.Input((3,)), layers.Dense(2)]).count_params() == 8


USES = {
    "cut": lambda m: cw.cut(m, 2, 4),
    "copy": lambda m: cw.cut(m, 2, 4, weights="copy"),
    "surgery": lambda m: (
        cw.join(*cw.split(m, 2)),
        cw.remove(m, 2),
        cw.replace(m, "dense2", layers.Dense(4)),
    ),
    "tail of a tail": lambda m: cw.cut(cw.cut(cw.cut(m, 1), 1), 1),
    "called on its own tensors": lambda m: (cw.cut(m, 2, 4), m(m.inputs), cw.anatomy(m)),
    "slice called on its own tensors": lambda m: (p := cw.cut(m, 2), p(p.inputs), cw.cut(p, 1)),
}


FAST = ("cut", "called on its own tensors")


@pytest.mark.slow
@pytest.mark.parametrize("use", FAST)
def test_models_that_nobody_holds_are_gone(use):
    require_gone(use)


@pytest.mark.slow
@pytest.mark.parametrize("use", [use for use in USES if use not in FAST])
def test_models_that_nobody_holds_are_gone_in_a_new_process(use):
    """Tests that ran before in this process may have left something that grows."""
    script = f"import test_threads; test_threads.require_gone({use!r})"
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, check=True)


def require_gone(use):
    alive, counts = [], []
    for k in range(15):
        model = chain(5)
        USES[use](model)
        alive.append(weakref.ref(model))
        del model
        if k % 5 == 4:
            gc.collect()
            counts.append(len(gc.get_objects()))
    assert not [ref for ref in alive if ref() is not None]
    # A single model of these has thousands of objects. What earlier tests left may go or come in
    # one of the two spans; what leaks grows in both.
    assert min(counts[1] - counts[0], counts[2] - counts[1]) < 1000


def test_a_model_shown_in_a_panel_is_gone_when_it_is_closed():
    alive = []
    for _ in range(3):
        model = chain(4)
        panel = cw.CutPanel(model, parts=["diagram"])
        panel.selection = (1, 2)
        alive.append(weakref.ref(model))
        panel.close()
    del model, panel
    gc.collect()
    assert not [ref for ref in alive if ref() is not None]


def test_classes_of_layers_are_gone():
    def use():
        class Own(layers.Layer):
            def call(self, x):
                return x + 1

        x = inputs = keras.Input((4,))
        model = keras.Model(inputs, Own()(layers.Dense(4)(x)))
        cw.anatomy(model)
        cw.costs(model)
        return weakref.ref(Own)

    alive = [use() for _ in range(4)]
    gc.collect()
    assert not [ref for ref in alive if ref() is not None]


def test_what_is_remembered_of_a_model_is_not_seen_from_outside(tmp_path):
    model = chain(4)
    before = set(vars(model)), model.to_json(), len(pickle.dumps(model))
    cw.cut(model, 1, 3)
    assert before == (set(vars(model)), model.to_json(), len(pickle.dumps(model)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for one in (again, pickle.loads(pickle.dumps(model))):
        assert "_cutwidgets" not in vars(functional(one)._tracker)
        np.testing.assert_array_equal(one(np.ones((1, 4))), model(np.ones((1, 4))))


def test_an_interrupted_save_leaves_no_file(tmp_path, monkeypatch):
    panel = cw.CutPanel(chain(4), parts=["diagram"])
    panel.selection = (1, 2)
    save, path = keras.Model.save, tmp_path / "part.keras"

    def stopped(self, file, *args, **kwargs):
        save(self, file, *args, **kwargs)
        os.truncate(file, 300)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", stopped)
        with pytest.raises(KeyboardInterrupt):
            panel.save(path)
    assert list(tmp_path.iterdir()) == []
    assert keras.saving.load_model(panel.save(path)).count_params() > 0
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_process_leaves_no_half_file(tmp_path):
    script = (
        "import sys, os, signal, pathlib; from cutwidgets import files\n"
        "def save(path):\n"
        "    path.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_whole(pathlib.Path(sys.argv[1]), save, replace=True)"
    )
    path = tmp_path / "kept.txt"
    path.write_text("old")
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert all(file == path or file.name.startswith(".") for file in tmp_path.iterdir())
    with pytest.raises(cw.CutwidgetsError, match="already exists"):
        files.write_whole(path, lambda unfinished: unfinished.write_text("new"))
    assert path.read_text() == "old"
