"""The files of a panel have the colours that its page shows."""

import re
from xml.etree import ElementTree

import numpy as np
from panelpage import PanelPage

import cutwidgets as cw

SVG = "{http://www.w3.org/2000/svg}"


def test_values_have_the_colours_of_the_page(page, tiny_resnet):
    random = np.random.default_rng(0)
    data = random.normal(size=(12, 16, 16, 3)).astype("float32"), random.integers(0, 3, 12)
    at = PanelPage(page, cw.CutPanel(tiny_resnet, data=data))
    at.begin("lesions")
    at.finish()
    shown = at.page.locator(".cw-pill").evaluate_all(
        "all => all.map((pill) => [pill.querySelector('text').textContent,"
        " getComputedStyle(pill.querySelector('rect')).fill])"
    )
    at.panel._handle_custom_msg({"ask": "save", "kind": "svg", "colours": True}, [])
    groups = ElementTree.fromstring(at.panel._save["content"]).iter(f"{SVG}g")
    saved = []
    for group in groups:
        if not re.match("block-", group.get("id", "")):
            continue
        for below, text in zip(group, list(group)[1:], strict=False):
            if text.tag == f"{SVG}text" and below.tag == f"{SVG}polygon" and "%" in text.text:
                parts = ", ".join(str(part) for part in bytes.fromhex(below.get("fill")[1:]))
                saved.append([text.text, f"rgb({parts})"])
    assert len(shown) > 2
    assert saved == shown
