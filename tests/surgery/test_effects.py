"""Anatomies of changed models that are not built, beside those of models that are."""

import pytest

import cutwidgets as cw
from cutwidgets.surgery.effects import removed, swappable, swapped
from cutwidgets.surgery.removal import removable
from nested_networks import siamese, transfer
from networks import super_resolution, translator, two_towers, unet, untrained

NETWORKS = {
    "ResNet50": lambda: untrained("ResNet50", 64),
    "ResNet50V2": lambda: untrained("ResNet50V2", 64),
    "MobileNetV2": lambda: untrained("MobileNetV2", 64),
    "U-Net": unet,
    "super-resolution": super_resolution,
    "translator": translator,
    "two towers": two_towers,
    "transfer": transfer,
    "siamese": siamese,
}


@pytest.fixture(scope="module", params=NETWORKS)
def model(request):
    return NETWORKS[request.param]()


def described(anatomy):
    """Everything of the blocks that does not depend on nested models, which surgery opens."""
    calls = anatomy.graph.calls
    return [
        (
            block.kind,
            block.shortcut,
            block.output_shape,
            [calls[index].own_name for index in block.calls],
        )
        for block in anatomy
    ]


def test_the_anatomy_without_a_block_is_that_of_the_smaller_model(model):
    anatomy = cw.anatomy(model)
    before = described(anatomy)
    for block in removable(anatomy)[::3]:
        smaller = removed(anatomy, [block])
        assert described(smaller) == described(cw.anatomy(cw.remove(model, block)))
        assert described(smaller) != before
    assert described(anatomy) == before


def test_the_anatomy_with_blocks_swapped_is_that_of_the_built_model(model):
    anatomy = cw.anatomy(model)
    for i in swappable(anatomy)[::2]:
        one, other = anatomy[i], anatomy[i + 1]
        pieces = {one.name: cw.cut(model, other, other), other.name: cw.cut(model, one, one)}
        built = cw.replace(model, [one, other], lambda block, by=pieces: by[block.name])
        assert described(swapped(anatomy, i)) == described(cw.anatomy(built))
