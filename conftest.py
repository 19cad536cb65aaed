"""Fixtures for all tests, those in docstrings too, and the tables that the test run prints."""

import os
from functools import cache
from importlib.util import find_spec

import pytest
from chromium import NoBrowserError, chromium, watch

# Its module imports Ray, which only the group `ray` has.
collect_ignore = [] if find_spec("ray") else ["cutwidgets/extraction/ray_engine.py"]


@pytest.fixture(scope="module")
def browser():
    try:
        with chromium() as started:
            yield started
    except NoBrowserError as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs the browser tests: {reason}")
        pytest.skip(str(reason))


@pytest.fixture
def page(browser):
    """A page whose test fails on any console error, exception or request off this machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    opened = context.new_page()
    faults = watch(opened)
    yield opened
    context.close()
    assert not faults, "\n".join(faults)


@pytest.fixture(autouse=True)
def one_model_for_all_docstrings(request, monkeypatch):
    """Build each network of keras.applications once for all examples in docstrings.

    An example shows the whole way, from the network on. That they all share one is also a test: no
    function may change the model that it is called with.
    """
    if isinstance(request.node, pytest.DoctestItem):
        import keras

        for name in ("ResNet50", "VGG16"):
            monkeypatch.setattr(keras.applications, name, built_once(name))


@cache
def built_once(name):
    """A builder of `keras.applications` that returns the same model for the same options."""
    import keras

    return cache(getattr(keras.applications, name))


@pytest.fixture(scope="session")
def tiny_resnet():
    """A residual network for pictures of 16 by 16: stem, four residual blocks, classifier."""
    import keras

    def block(x, name, width):
        branch = keras.layers.Conv2D(width, 3, padding="same", name=f"{name}_1_conv")(x)
        branch = keras.layers.ReLU(name=f"{name}_1_relu")(branch)
        branch = keras.layers.Conv2D(width, 3, padding="same", name=f"{name}_2_conv")(branch)
        if x.shape[-1] != width:
            x = keras.layers.Conv2D(width, 1, name=f"{name}_0_conv")(x)
        x = keras.layers.Add(name=f"{name}_add")([x, branch])
        return keras.layers.ReLU(name=f"{name}_out")(x)

    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3), name="photo")
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem_conv")(inputs)
    x = keras.layers.ReLU(name="stem_relu")(x)
    for name, width in (("s1_a", 4), ("s1_b", 4), ("s2_a", 8), ("s2_b", 8)):
        x = block(x, name, width)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(3, name="scores")(x)
    return keras.Model(inputs, x, name="tiny_resnet")


# The tables at the end of the test output: the name of the user property that holds a row, and the
# heading of the columns.
TABLES = {
    "applications": (
        f"{'model':28} {'calls':>6} {'blocks':>7} {'legal cuts':>10} {'largest difference':>19}"
    ),
    "gallery": (
        f"{'network':30} {'calls':>5} {'blocks':>6} {'stages':>6} {'crossed':>7}  {'by kind':56} "
        f"{'compared with its source':26} source"
    ),
}


def pytest_terminal_summary(terminalreporter):
    """The tables of `tests/test_applications.py` and of the gallery."""
    reports = [r for group in terminalreporter.stats.values() for r in group]
    properties = [
        own
        for report in reports
        if getattr(report, "when", "") == "call"
        for own in report.user_properties
    ]
    for table, heading in TABLES.items():
        rows = [row for name, row in properties if name == table]
        if rows:
            terminalreporter.section(table)
            terminalreporter.line(heading)
            for row in sorted(rows):
                terminalreporter.line(row)
