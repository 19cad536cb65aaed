"""Backbones of KerasHub at small sizes, built from their constructors without downloads."""

from functools import partial

from .entry import Entry


def _models():
    import keras_hub

    return keras_hub.models


TEXT = {
    "vocabulary_size": 50, "num_layers": 3, "num_heads": 2, "hidden_dim": 16,
    "intermediate_dim": 32,
}  # fmt: skip


def backbone(name, **options):
    return getattr(_models(), name)(**options)


def resnet(block_type="bottleneck_block", stem=1, **options):
    return _models().ResNetBackbone(
        input_conv_filters=[64] * stem,
        input_conv_kernel_sizes=[7] if stem == 1 else [3] * stem,
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[2, 3, 2, 2],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type=block_type,
        image_shape=(64, 64, 3),
        **options,
    )


def cspnet(depths=(1, 2, 1)):
    later = len(depths) - 1
    return _models().CSPNetBackbone(
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=1,
        stem_padding="same",
        stackwise_depth=list(depths),
        stackwise_strides=[2] * len(depths),
        stackwise_num_filters=[16 << i for i in range(len(depths))],
        block_type="dark_block",
        stage_type="csp",
        bottle_ratio=[0.5] + [1.0] * later,
        block_ratio=[1.0] + [0.5] * later,
        expand_ratio=[2.0] + [1.0] * later,
        down_growth=True,
        image_shape=(64, 64, 3),
    )


def mit():
    return _models().MiTBackbone(
        layerwise_depths=[2, 2, 2, 2], num_layers=4, layerwise_num_heads=[1, 2, 2, 4],
        layerwise_sr_ratios=[8, 4, 2, 1], max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3, 3, 3], layerwise_strides=[4, 2, 2, 2],
        image_shape=(64, 64, 3), hidden_dims=[8, 16, 24, 32],
    )  # fmt: skip


def retinanet_backbone():
    return _models().RetinaNetBackbone(
        image_encoder=resnet(), min_level=3, max_level=7, use_p5=False, image_shape=(64, 64, 3)
    )


def deeplab():
    return _models().DeepLabV3Backbone(
        image_encoder=resnet(), spatial_pyramid_pooling_key="P5", upsampling_size=(8, 8),
        dilation_rates=[6, 12, 18], low_level_feature_key="P2", image_shape=(64, 64, 3),
    )  # fmt: skip


def vit():
    return _models().ViTBackbone(
        image_shape=(32, 32, 3), patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32
    )


def encoder_stack(depth=4):
    """Layers of the modelling library, as its guides use them."""
    import keras
    import keras_hub

    ids = keras.Input((12,), dtype="int32")
    x = keras_hub.layers.TokenAndPositionEmbedding(50, 12, 16)(ids)
    for _ in range(depth):
        x = keras_hub.layers.TransformerEncoder(32, 2)(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(ids, keras.layers.Dense(2)(x))


CODE = "keras_hub.models"


def _entry(*facts, **options):
    return Entry(*facts, package="keras_hub", **options)


CATALOGUE = [
    _entry("hub ResNet", resnet, f"{CODE}.ResNetBackbone; He et al. 2015",
          {"stem": 1, "residual": 9}, (2, 3, 2, 2)),
    _entry("hub ResNet-vd", partial(resnet, "bottleneck_block_vd", 3), f"{CODE}.ResNetBackbone; "
          "He et al. 2019, figure 2c", {"stem": 1, "residual": 9}, (2, 3, 2, 2)),
    _entry("hub ResNet, pre-activated", partial(resnet, "basic_block", 1, use_pre_activation=True),
          f"{CODE}.ResNetBackbone; He et al. 2016", {"stem": 1, "residual": 9, "top": 1},
          (2, 3, 2, 2)),
    _entry("hub CSPNet", cspnet, f"{CODE}.CSPNetBackbone; Wang et al. 2020",
          {"stem": 1, "residual": 4, "plain": 6}, (3, 4, 3),
          "Bottlenecks 1, 2, 1 are blocks, beside the downsampling and fusion of each stage."),
    _entry("hub MiT", mit, f"{CODE}.MiTBackbone; Xie et al. 2021, SegFormer, table 6 (B0)",
          {"plain": 12}, (3, 3, 3, 3),
          "Two encoder layers a stage, each a single layer of Keras, after an overlapping patch "
          "embedding; each stage ends in a normalisation.",
          differs="The reshape to an image at the end of a stage changes the rank, which divides "
          "the stage."),
    _entry("hub ViT", vit, f"{CODE}.ViTBackbone; Dosovitskiy et al. 2021",
          {"plain": 2}, (2,),
          "An embedding of patches; all encoder layers are a single layer of Keras."),
    _entry("hub BERT", partial(backbone, "BertBackbone", max_sequence_length=12, **TEXT),
          f"{CODE}.BertBackbone; Devlin et al. 2019", {"plain": 4, "head": 1}, (4,),
          "The embeddings and three encoder layers, each a single layer of Keras; two outputs, "
          "one of them pooled."),
    _entry("hub GPT-2", partial(backbone, "GPT2Backbone", max_sequence_length=12, **TEXT),
          f"{CODE}.GPT2Backbone; Radford et al. 2019", {"plain": 4}, (4,)),
    _entry("hub T5", partial(backbone, "T5Backbone", **TEXT),
          f"{CODE}.T5Backbone; Raffel et al. 2020", {"stem": 2, "plain": 6, "top": 2}, (3, 3),
          "Three encoder and three decoder layers share an embedding.",
          differs="Each layer also returns the position bias that the first one computes for all, "
          "so encoder and decoder are a block each."),
    _entry("hub DenseNet", partial(backbone, "DenseNetBackbone", stackwise_num_repeats=[3, 4, 3],
          growth_rate=8, image_shape=(64, 64, 3)), f"{CODE}.DenseNetBackbone; Huang et al. 2017",
          {"stem": 1, "dense": 10, "plain": 2, "top": 1}, (3, 1, 4, 1, 3)),
    _entry("hub VGG", partial(backbone, "VGGBackbone", stackwise_num_repeats=[2, 2, 3],
          stackwise_num_filters=[8, 16, 32], image_shape=(64, 64, 3)),
          f"{CODE}.VGGBackbone; Simonyan & Zisserman 2014", {"plain": 3}, (1, 1, 1)),
    _entry("hub RetinaNet", retinanet_backbone, f"{CODE}.RetinaNetBackbone; Lin et al. 2017",
          {"stem": 1, "residual": 9, "plain": 1}, (2, 3, 2, 2, 1),
          "ResNet's blocks and stages; the whole pyramid is a single layer of Keras."),
    _entry("hub DeepLabV3", deeplab, f"{CODE}.DeepLabV3Backbone; Chen et al. 2018, figure 2",
          {"stem": 1, "residual": 9, "plain": 2}, (2, 3, 2, 2, 1, 1),
          "ResNet's blocks, a pyramid of dilated convolutions that is a single layer of Keras, a "
          "decoder with a low-level skip."),
    _entry("hub encoder layers", encoder_stack, "keras_hub.layers.TransformerEncoder",
          {"plain": 5, "classifier": 1}, (5,),
          "Automatic names; the library's layers only. An embedding opens it."),
]  # fmt: skip
