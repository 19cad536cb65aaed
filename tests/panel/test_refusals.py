"""What the panel offers when a cut is refused: each offer gives a slice."""

import pytest

import cutwidgets as cw
import nested_networks
import networks

MODELS = {
    "resnet": "tiny_resnet",
    "unet": lambda: networks.unet(2),
    "two towers": networks.two_towers,
    "siamese": nested_networks.siamese,
    "translator": networks.translator,
}
ALLOW = "Let skip connections become extra inputs"
SWAP = "Swap start and end"


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    build = MODELS[request.param]
    return request.getfixturevalue(build) if isinstance(build, str) else build()


def take(panel, action):
    values = {name: value for name, value in action.items() if name != "label"}
    assert values.keys() <= {"selection", "allow_bypass"}
    panel.set_state(values)


@pytest.mark.parametrize("allow_bypass", [False, True])
def test_each_action_gives_a_slice(model, allow_bypass):
    panel = cw.CutPanel(model, parts=["diagram"])
    names = [block["name"] for block in panel._network["blocks"]]
    names += [call.name for call in panel._anatomy.graph.calls if call.inputs]
    names = names[:: max(1, len(names) // 9)]
    offered = 0
    for start in names:
        for end in names:
            panel.allow_bypass = allow_bypass
            panel.selection = (start, end)
            if panel.slice is not None:
                assert "actions" not in panel._result
                continue
            refused = panel.selection
            for action in panel._result["actions"]:
                panel.allow_bypass = allow_bypass
                panel.selection = refused
                take(panel, action)
                assert panel.slice is not None, (refused, action, panel.error)
                offered += 1
    assert offered


def test_the_actions_of_a_resnet(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet)
    panel.selection = ("s2_a", "s1_a")
    assert panel._result["actions"] == [{"label": SWAP, "selection": ["s1_a", "s2_a"]}]
    panel.selection = ("s1_b_2_conv", "s2_b")
    first, *nearest = panel._result["actions"]
    assert first == {"label": ALLOW, "allow_bypass": True}
    assert [action["selection"] for action in nearest] == panel._result["nearest"]
    assert nearest[0]["label"] == "s1_b to s2_b"
    panel.selection = ("s1_b_2_conv", "s1_b")
    assert [action["label"] for action in panel._result["actions"]] == [ALLOW, "s1_b"]
    panel.selection = ("s1_b", "s1_a_2_conv")
    assert panel._result["actions"][0]["label"].startswith(f"{SWAP}")
    panel.selection = ("nothing", "s1_a")
    assert panel._result["actions"] == []


def test_the_page_finds_the_model_of_its_widget(tiny_resnet):
    panel = cw.CutPanel(tiny_resnet)
    assert panel._kernel == {"id": panel.model_id}
    assert "_kernel" not in panel.trait_names(in_page=True)
