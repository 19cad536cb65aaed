"""Grad-CAM in the tab Forward pass of the panel's page, in Chromium, without JupyterLab."""

import pytest
from panelpage import PanelPage

import cutwidgets as cw


@pytest.fixture
def at(page, tiny_resnet):
    page.set_default_timeout(20_000)
    at = PanelPage(page, cw.CutPanel(tiny_resnet))
    at.choose("s1_b", "s2_a")
    at.tab("run")
    return at


def test_after_a_run_heat_lies_over_the_photograph(at):
    heat = at.part("heat")
    assert not heat.is_visible()
    at.part("run").click()
    places = at.part("heat-place").locator("option").all_text_contents()
    assert places == ["s1_b", "s2_a"]
    assert at.part("heat-place").input_value() == "s2_a"
    at.part("heat-place").select_option("s1_b")
    heat.get_by_role("button", name="Show heat").click()
    finding = at.part("heat-finding")
    finding.wait_for()
    assert finding.text_content() == at.panel._heat["finding"]
    assert "at s1_b" in at.live()
    assert at.part("heat-place").input_value() == "s1_b"
    below, above = heat.locator("img").all()
    assert below.get_attribute("alt") == finding.text_content()
    assert below.bounding_box() == above.bounding_box()
    assert above.evaluate("one => one.complete && one.naturalWidth") == 16
    at.part("heat-strength").fill("0")
    assert above.evaluate("one => one.style.opacity") == "0"
    assert "lab.grad_cam(model, x, 's1_b')" in heat.locator("pre").text_content()
    assert at.violations() == []
    # Another class, at the same block.
    options = at.part("heat-class").locator("option").all()
    assert len(options) == 4
    at.part("heat-class").select_option("2")
    heat.get_by_role("button", name="Show heat").click()
    at.page.wait_for_function("model.get('_heat').class === 2")
    assert "target=2" in heat.locator("pre").text_content()
    assert at.part("heat-class").input_value() == "2"


def test_a_slice_without_maps_says_why_it_has_no_heat(at):
    at.choose("classifier", "classifier")
    at.part("run").click()
    heat = at.part("heat")
    heat.wait_for()
    assert "no spatial axes" in heat.text_content()
    assert not heat.get_by_role("button", name="Show heat").is_visible()
    assert at.violations() == []
