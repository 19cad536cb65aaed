"""Which blocks a slice can end with, against asking for every pair on its own."""

import keras
import pytest
from hypothesis import HealthCheck, given, settings
from keras import layers

import cutwidgets as cw
import networks
from cutwidgets.graph.callgraph import between
from cutwidgets.structure import reach
from cutwidgets.surgery.slicing import section
from random_graphs import build, programs


def two_inputs_joined():
    """Two inputs that meet late, and one of them once more behind that."""
    one, other = keras.Input((8,), name="one"), keras.Input((8,), name="other")
    x, y = one, other
    for number in range(2):
        x = layers.Add()([x, layers.Dense(8, name=f"one{number}")(x)])
        y = layers.Add()([y, layers.Dense(8, name=f"other{number}")(y)])
    x = layers.Concatenate()([x, y])
    x = layers.Dense(8, name="joined")(x)
    x = layers.Dense(8, name="last")(layers.Add()([x, other]))
    return keras.Model([one, other], x)


def encoder():
    x = inputs = keras.Input((16, 16, 3))
    for number in range(3):
        x = layers.Conv2D(8, 3, padding="same", name=f"conv{number}")(x)
        x = layers.Add()([x, layers.Conv2D(8, 3, padding="same", name=f"branch{number}")(x)])
    return keras.Model(inputs, x, name="encoder")


LARGE = ("NASNetMobile", "InceptionResNetV2")
MODELS = {
    "ResNet50": lambda: networks.untrained("ResNet50"),
    "NASNetMobile": lambda: keras.applications.NASNetMobile(weights=None),
    "InceptionResNetV2": lambda: networks.untrained("InceptionResNetV2"),
    "MobileNetV3Small": lambda: networks.untrained("MobileNetV3Small"),
    "U-Net": lambda: networks.unet(4),
    "residual U-Net": lambda: networks.unet(3, "residual"),
    "pyramid": networks.pyramid,
    "siamese": lambda: networks.siamese(encoder()),
    "two towers": networks.two_towers,
    "translator": networks.translator,
    "two inputs": two_inputs_joined,
}


def asked(anatomy, i, j):
    """What bypasses the start, by the names of the layers; None if that pair works."""
    try:
        section(anatomy, i, j)
    except cw.BypassedCutError as error:
        return error.bypasses
    except cw.CutError:
        return ()
    return None


def searched(graph, start, end):
    """The tensors that bypass a start, by plain searches; None if that pair works."""
    calls, inputs = between(graph, start.entries, ())
    before = {tensor for index in calls for tensor in graph.calls[index].outputs}
    before = (before | set(inputs)) - set(start.entries)
    calls, reached = between(graph, end.exits, before | set(start.entries))
    if not set(start.calls) & set(calls):
        return ()
    return tuple(tensor for tensor in reached if tensor in before) or None


def assert_agrees(anatomy):
    graph = anatomy.graph
    found = reach.ends(graph, anatomy.blocks)
    assert len(found) == len(anatomy)
    for i, refused in enumerate(found):
        for j in range(len(anatomy)):
            if j < i:
                assert asked(anatomy, i, j) == ()
                assert j not in refused
                continue
            reasons = refused.get(j)
            assert reasons == searched(graph, anatomy[i], anatomy[j]), (i, j)
            if reasons is not None:
                assert list(reasons) == sorted(set(reasons))
                reasons = tuple(dict.fromkeys(graph.maker(tensor).name for tensor in reasons))
            told = asked(anatomy, i, j)
            assert reasons == (None if told is None else tuple(told)), (i, j)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in MODELS],
)
def test_every_pair_gets_the_answer_of_the_cut_itself(name):
    assert_agrees(cw.anatomy(MODELS[name]()))


@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(program=programs())
def test_random_models_too(program):
    assert_agrees(cw.anatomy(build(program).model))


def test_the_tensors_are_those_that_a_slice_would_take_besides_its_start():
    unet = cw.anatomy(networks.unet(4))
    refused = [
        (i, j, tensors)
        for i, ends in enumerate(reach.ends(unet.graph, unet.blocks))
        for j, tensors in ends.items()
    ]
    assert len(refused) > 10
    for i, j, tensors in refused:
        part = section(unet, i, j, allow_bypass=True)
        assert set(part.inputs) == {*unet[i].entries, *tensors}
