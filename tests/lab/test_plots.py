"""Plots: blocks in their order, gaps where nothing was measured, labels, and any page."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.lab.block_axis import in_order

mpl.use("Agg")


@pytest.fixture(scope="module")
def results():
    x, y = lab.digits().test
    models = {
        "small": lab.residual_network(blocks=(1, 1), width=4),
        "big": lab.residual_network(blocks=(2, 2), width=4),
        "plain": lab.residual_network(blocks=(2, 2), width=4, shortcuts=False),
    }
    return {name: lab.lesions(model, x[:50], y[:50]) for name, model in models.items()}


ORDER = ["stage1_block1", "stage1_block2", "stage2_block1", "stage2_block2"]


def ticks(axes):
    return [text.get_text() for text in axes.get_xticklabels()]


def curve(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return np.array(line.get_xdata()), np.array(line.get_ydata())


@pytest.mark.parametrize("names", [("small", "big"), ("plain", "big"), ("big", "plain", "small")])
@pytest.mark.parametrize("at_once", [True, False])
def test_blocks_stand_in_the_order_of_the_network(results, names, at_once):
    first, *others = (results[name] for name in names)
    axes = Figure().subplots()
    first.plot(*others if at_once else (), axes=axes, labels=names if at_once else names[:1])
    for name, other in zip(names[1:], () if at_once else others, strict=False):
        other.plot(axes=axes, labels=[name])
    assert ticks(axes) == ORDER
    for name in names:
        x, y = curve(axes, name)
        assert x.tolist() == [0, 1, 2, 3]
        table = results[name].table.set_index("block")["error"]
        assert np.array_equal(y, 100 * table.reindex(ORDER), equal_nan=True)


def test_bands_move_with_their_curves():
    x, y = lab.digits().test
    found = [
        lab.probes(lab.residual_network(blocks=b, width=4), x[:60], y[:60], folds=2)
        for b in ((1, 1), (2, 2))
    ]
    axes = Figure().subplots()
    found[0].plot(axes=axes)
    found[1].plot(axes=axes)
    places = {round(v) for v in axes.collections[0].get_paths()[0].vertices[:, 0]}
    assert places == {ticks(axes).index(block) for block in found[0].table["block"]}


def test_orders_that_contradict_each_other_are_put_side_by_side():
    assert in_order(["a", "b"], ["b", "a", "c"]) == ["a", "b", "c"]


def test_labels_name_models_of_one_name(results):
    axes = results["big"].plot(results["big"], axes=Figure().subplots(), labels=["as usual", "b"])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["as usual", "b"]
    with pytest.raises(cw.CutwidgetsError, match="as many labels"):
        results["big"].plot(results["big"], labels=["one"])
    with pytest.raises(cw.CutwidgetsError, match="one study"):
        results["big"].plot(lab.paths(lab.residual_network(blocks=(1,), width=4)))


def test_a_legend_covers_nothing(results):
    figure = Figure(layout="constrained")
    axes = results["big"].plot(results["plain"], axes=figure.subplots())
    figure.canvas.draw()
    assert axes.get_legend().get_window_extent().y0 >= axes.bbox.y1 - 1


def test_pictures_are_transparent_and_readable_on_any_page(results):
    import base64
    import io
    import re

    from PIL import Image

    html = results["big"]._repr_html_()
    picture = base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGBA"))
    assert pixels[0, 0, 3] == 0
    axes = results["big"].plot()
    grey = mpl.colors.to_rgb(axes.xaxis.label.get_color())[0]
    assert 0.35 < grey < 0.55
    assert axes.figure.patch.get_alpha() == 0
