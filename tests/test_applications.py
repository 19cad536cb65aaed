"""Every architecture of keras.applications, cut at all its cut points and compared, in a table.

Most are slow, and run in continuous integration only: `uv run pytest -m slow`.
"""

import keras
import numpy as np
import pytest

import cutwidgets as cw
from cutwidgets.blocks.regions import cut_points
from networks import images, settle

# One network of each architecture: the others of a family differ in depth and width alone.
QUICK = ("MobileNetV3Small", "VGG16")
SLOW = (
    "ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionResNetV2",
    "InceptionV3",
    "MobileNet", "MobileNetV2", "MobileNetV3Large", "NASNetMobile", "ResNet50", "ResNet50V2",
    "Xception",
)  # fmt: skip
SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}


def cases():
    for name in (*QUICK, *SLOW):
        for top in (False, True):
            marks = [] if name in QUICK and not top else [pytest.mark.slow]
            yield pytest.param(name, top, marks=marks, id=f"{name}-top" if top else name)


@pytest.mark.parametrize(("name", "top"), list(cases()))
def test_every_cut_of_it_is_exact(name, top, table):
    keras.utils.set_random_seed(7)
    size = SIZES.get(name, 64)
    options = {"include_top": top, "weights": None, "input_shape": (size, size, 3)}
    if top:
        options["classifier_activation"] = None  # a softmax would hide what came before it
    model = settle(getattr(keras.applications, name)(**options))
    anatomy = cw.anatomy(model)
    graph = anatomy.graph
    x = images(model, batch=1)

    points = cut_points(graph, range(1, len(graph.calls)), graph.inputs, graph.outputs)[1:-1]
    # Keras has no names for what is inside of a nested model (ConvNeXt has some).
    points = [point for point in points if not graph.tensors[point].nested]
    wanted = keras.Function(model.inputs, [graph.tensors[point].aliases[0] for point in points])(
        [x]
    )
    pieces = cw.split(model, *(graph.tensors[point].aliases[0] for point in points))
    assert len(pieces) == len(points) + 1
    value, largest = x, 0.0
    for piece, expected in zip(pieces, [*wanted, model(x, training=False)], strict=True):
        value = piece(value, training=False)
        largest = max(largest, float(np.abs(np.asarray(value) - np.asarray(expected)).max()))
    table(name + (" with top" if top else ""), graph, anatomy, points, largest)
    assert largest == 0
    other = np.asarray(model(images(model, seed=5, batch=1), training=False))
    assert np.abs(np.asarray(value) - other).max() > 1e-6 * np.abs(other).max()

    # A cut from one block to another is put together in another way than these pieces.
    for start, end in np.sort(np.random.default_rng(0).integers(0, len(anatomy), (2, 2))):
        assert cw.check(model, int(start), int(end), x, allow_bypass=True).max_abs_difference == 0


@pytest.fixture
def table(request):
    """Adds a row to the table that stands at the end of the test output."""

    def add(name, graph, anatomy, points, largest):
        row = f"{name:28} {len(graph.calls):6} {len(anatomy):7} {len(points):10} {largest:19.3g}"
        request.node.user_properties.append(("applications", row))

    return add
