"""The anatomy of a network is the same at every input size that it is made for, and at `None`."""

from functools import partial

import keras
import pytest

import cutwidgets as cw

from . import generative, paths, residual, sequences

# Even and odd multiples of the last map, and sizes that leave a remainder at every stride.
SIZES = (None, 224, 128, 96, 64, 97, 65)
LARGE = (None, 224, 128, 96, 97, 75)  # Inception and Xception take no fewer than 75 and 71 pixels.
HALVES = (None, 224, 128, 96, 64)  # What a U-Net halves four times, it must be able to enlarge.


def application(name, size):
    build = getattr(keras.applications, name)
    return build(include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg")


QUICK = {
    "ResNet-18, padded": (lambda size: residual.preactivated_resnet18(size), SIZES),
    "CIFAR ResNet-20": (lambda size: residual.cifar_resnet(size=size), SIZES),
    "VGG16": (partial(application, "VGG16"), SIZES),
    "U-Net": (lambda size: generative.unet(size=size), HALVES),
    "TCN": (lambda size: sequences.tcn(length=size), SIZES),
}
SLOW = {
    **{
        name: (partial(application, name), SIZES)
        for name in (
            "ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "MobileNet",
            "MobileNetV2", "MobileNetV3Small", "ResNet50", "ResNet50V2",
        )
    },
    # At `None`, Keras compares lengths that are open, and builds another network.
    "NASNetMobile": (partial(application, "NASNetMobile"), SIZES[1:]),
    **{name: (partial(application, name), LARGE) for name in ("InceptionV3", "Xception")},
    "ResNet-D": (lambda size: residual.resnet_d(size=size), HALVES),
    "SE-ResNeXt": (lambda size: residual.se_resnext(size=size), SIZES),
    "RepVGG": (lambda size: residual.repvgg(size=size), SIZES),
    "CSPDarknet53": (lambda size: paths.csp_darknet(size=size), SIZES),
    "HRNet": (lambda size: paths.hrnet(size=size), HALVES),
}  # fmt: skip


def cases():
    for name, case in {**QUICK, **SLOW}.items():
        slow = [pytest.mark.slow, pytest.mark.timeout(600)]
        yield pytest.param(*case, id=name, marks=[] if name in QUICK else slow)


def described(build, size):
    """All that must not depend on the size."""
    keras.backend.clear_session(free_memory=False)
    anatomy = cw.anatomy(build(size))
    return [
        (block.name, block.kind, block.shortcut, block.stage, block.scale, block.layers)
        for block in anatomy
    ]


@pytest.mark.parametrize(("build", "sizes"), list(cases()))
def test_it_is_the_same_at_every_size(build, sizes):
    expected = described(build, 224)
    for size in sizes:
        assert described(build, size) == expected, f"size {size}"
