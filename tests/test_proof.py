import keras
import numpy as np
import pytest
from keras import layers

import cutwidgets as cw
from cutwidgets.slicing import section
from networks import application, images


@pytest.mark.parametrize(
    ("start", "end", "carried"),
    [
        ("conv3", "conv4", ()),
        (None, "conv4", ()),
        ("conv3", None, ()),
        (None, None, ()),
        ("conv3", "conv4_block2_1_relu", ("conv4_block1_out",)),
        ("conv3_block2_2_conv", "conv3_block2_3_conv", ("conv3_block1_out",)),
    ],
)
def test_every_kind_of_cut_is_proved(start, end, carried):
    model = application("ResNet50")
    proof = cw.check(model, start, end, images(model))
    assert proof.ok
    assert proof.max_abs_difference == 0
    assert proof.sensitivity > 1e-3
    assert "bit for bit" in str(proof)
    assert proof.carried == carried


def test_the_proof_has_teeth(monkeypatch):
    """A slice with a wrong layer in it must be found out."""
    import cutwidgets.proof

    model = application("ResNet50")

    def wrong(model, part, weights):
        made = keras.Input(batch_shape=part.graph.tensors[part.inputs[0]].shape)
        return keras.Model(made, layers.ReLU(threshold=0.1)(cw.cut(model, "conv3", "conv4")(made)))

    monkeypatch.setattr(cutwidgets.proof, "build", wrong)
    proof = cw.check(model, "conv3", "conv4")
    assert not proof.ok
    assert "NOT" in str(proof)
    assert "✗" in proof._repr_html_()


def test_difference_is_largest_absolute():
    from cutwidgets.proof import _largest_difference

    a = np.array([0.0, 1.0, np.inf, np.nan])
    assert _largest_difference([a, a], [a, a.copy()]) == 0
    assert _largest_difference([a], [a + np.array([0.25, -0.5, 0, 0])]) == 0.5
    assert _largest_difference([a], [np.nan_to_num(a)]) == np.inf
    assert _largest_difference([np.array([1, 2])], [np.array([1, 5])]) == 3


@pytest.mark.parametrize("x", [np.ones((64, 64, 3)), np.ones((1, 32, 32, 3)), "photo", [], [1, 2]])
def test_input_that_does_not_fit(x):
    with pytest.raises(cw.CutError, match="resnet50"):
        cw.check(application("ResNet50"), "conv3", "conv4", x)


def test_several_inputs_by_name_or_in_order():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b", dtype="int32")
    embedded = layers.Flatten()(layers.Embedding(2, 4, name="embedded")(b))
    model = keras.Model([a, b], layers.Concatenate(name="both")([a, embedded]))
    given = {"a": np.ones((2, 2), "float32"), "b": np.zeros((2, 3), "int32")}
    for x in (None, given, list(given.values())):
        assert cw.check(model, "embedded", "both", x).ok
    with pytest.raises(cw.CutError, match="'a', 'b'"):
        cw.check(model, "embedded", "both", {"a": given["a"]})


def test_carried_tensors_suffice():
    anatomy = cw.anatomy(application("ResNet50"))
    for start, end in [("conv3_block1", "conv3_block1_2_conv"), ("conv2", "conv4_block1_1_conv")]:
        assert section(anatomy, start, end).carried
        assert cw.check(application("ResNet50"), start, end).ok
