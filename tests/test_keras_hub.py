"""Backbones and tasks of KerasHub, built without downloads: `uv run --group hub pytest`."""

import keras
import numpy as np
import pytest

import cutwidgets as cw

models = pytest.importorskip("keras_hub", reason="an optional group: hub").models

TEXT = {
    "vocabulary_size": 50,
    "num_layers": 3,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "max_sequence_length": 12,
}


def resnet():
    return models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128],
        stackwise_num_blocks=[2, 3],
        stackwise_num_strides=[1, 2],
        block_type="bottleneck_block",
        image_shape=(32, 32, 3),
    )


def resnet_task():
    return models.ResNetImageClassifier(backbone=resnet(), num_classes=4)


def vit():
    return models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32
    )


def bert():
    return models.BertBackbone(**TEXT)


def bert_task():
    return models.BertTextClassifier(backbone=bert(), num_classes=2)


def gpt2():
    return models.GPT2Backbone(**TEXT)


def inputs_of(model):
    """Photographs or texts, with padding at the end of each text."""
    random = np.random.default_rng(0)
    texts = {
        "token_ids": random.integers(1, 50, (2, 12)),
        "segment_ids": np.zeros((2, 12), "int32"),
        "padding_mask": np.repeat([[1] * 8 + [0] * 4], 2, axis=0),
    }
    if isinstance(model.input, dict):
        return {name: texts[name] for name in model.input}
    return random.normal(size=(2, 32, 32, 3)).astype("float32")


@pytest.mark.parametrize(
    "build", [resnet, resnet_task, vit, bert, bert_task, gpt2], ids=lambda build: build.__name__
)
def test_every_block_is_exact(build):
    model = build()
    x = inputs_of(model)
    anatomy = cw.anatomy(model)
    assert "<svg" in anatomy.svg
    for block in anatomy:
        assert cw.check(model, block, None, x, allow_bypass=True).ok
        assert cw.check(model, None, block, x).ok
    handed = x
    for piece in cw.split(model, *anatomy.blocks[:-1], allow_bypass=True):
        handed = piece(handed)
    flat = keras.tree.flatten
    for got, wanted in zip(flat(handed), flat(model(x)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_blocks_of_a_resnet():
    # He et al. 2015: residual blocks a stage, here two and three.
    assert [len(stage.blocks) for stage in cw.anatomy(resnet()).stages] == [2, 3]
    task = resnet_task()
    stages = cw.anatomy(task).stages
    assert [len(stage.blocks) for stage in stages] == [2, 3]
    smaller = cw.remove(task, stages[1].blocks[1].name)
    assert smaller.output_shape == (None, 4)
