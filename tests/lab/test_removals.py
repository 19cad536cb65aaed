"""Outputs without blocks, against models rebuilt without them."""

import numpy as np
import pytest

import cutwidgets as cw
from cutwidgets import lab


@pytest.fixture(scope="module")
def model():
    return lab.residual_network(blocks=(2, 2), width=4)


@pytest.fixture(scope="module")
def x():
    return lab.digits().test[0][:7]


def test_outputs_are_those_of_rebuilt_models(model, x):
    removals = [[], ["stage1_block2"], ["stage2_block2", "stage1_block1"]]
    outputs = lab.outputs_without(model, x, removals)
    assert outputs.shape == (3, 7, 10)
    for names, output in zip(removals, outputs, strict=True):
        rebuilt = cw.remove(model, *names) if names else model
        np.testing.assert_allclose(output, rebuilt.predict(x, verbose=0), atol=1e-6)
    assert np.abs(outputs[1] - outputs[0]).max() > 0.01


@pytest.mark.parametrize(
    ("removals", "words"),
    [
        ([], "empty"),
        (["stage1_block2"], "list of lists"),
        ([["stem"]], "stage1_block1"),
        ([["nothing"]], "'nothing'"),
    ],
)
def test_refusals(model, x, removals, words):
    with pytest.raises(cw.CutwidgetsError, match=words):
        lab.outputs_without(model, x, removals)
