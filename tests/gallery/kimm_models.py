"""Networks of the package kimm (Keras Image Models), built without downloads.

Their graphs are stored; they are built anew only where the package can be imported.
"""

from functools import partial

from .entry import Entry


def build(name, size=64):
    import kimm

    # A softmax would hide differences between runs.
    options = {"weights": None, "classes": 10, "classifier_activation": None}
    return getattr(kimm.models, name)(input_shape=(size, size, 3), **options)


def _entry(name, source, blocks, stages, note="", size=64, **options):
    build_it = partial(build, name, size)
    source = f"kimm.models.{name}; {source}"
    return Entry(f"kimm {name}", build_it, source, blocks, stages, note, package="kimm", **options)


CATALOGUE = [
    _entry("GhostNetV2W100", "Tang et al. 2022, GhostNetV2, figure 4",
           {"stem": 1, "residual": 16, "top": 1, "classifier": 1}, (1, 2, 2, 4, 2, 5),
           "As our own transcription; the attention is enlarged to a fixed size.",
           shortcuts={"identity": 11, "projection": 5}),
    _entry("InceptionNeXtTiny", "Yu et al. 2024, InceptionNeXt, figure 2, table 2",
           {"stem": 1, "residual": 18, "plain": 3, "classifier": 1}, (3, 4, 10, 4),
           "As ConvNeXt; a concatenation of three depthwise convolutions inside of each branch.",
           names=("stages_1", "stages_2", "stages_3"), shortcuts={"identity": 18}),
    _entry("LCNet050", "Cui et al. 2021, PP-LCNet, table 1",
           {"stem": 1, "plain": 13, "classifier": 1}, (1, 2, 2, 6, 2),
           "A depthwise and a pointwise convolution make a block; the last two have gates."),
    _entry("MobileViTXXS", "Mehta & Rastegari 2022, MobileViT, figure 1b, table 4",
           {"stem": 1, "residual": 3 + 9, "plain": 4 + 3 * 2, "top": 1, "classifier": 1},
           (1, 3, 5, 7, 6),
           "Inverted bottlenecks, 3 with a shortcut; 2, 4 and 3 transformer layers of two sums "
           "each, between what unfolds the patches and what fuses them with the input.",
           differs="The last convolution is a part of the fusion before it: a skip joins there."),
    _entry("RepVGGA0", "Ding et al. 2021, RepVGG, table 2", {"plain": 5, "classifier": 1},
           (1, 1, 1, 1, 1), "Each block is a single layer of the package."),
    _entry("HGNetTiny", "PP-HGNet, the code of PaddleClas; no paper",
           {"stem": 1, "dense": 4, "residual": 1, "plain": 3, "classifier": 1}, (1, 2, 3, 2),
           "A block concatenates its input with all layers; a second one in a stage adds its "
           "input. Each stage but the first opens with a strided depthwise convolution.",
           differs="The aggregation after a concatenation is a plain block, not a part of it."),
    _entry("Xception", "Chollet 2017, Xception, figure 5",
           {"stem": 1, "residual": 12, "top": 1, "classifier": 1}, (1, 1, 9, 1),
           "As the network of keras.applications.", size=71,
           shortcuts={"identity": 8, "projection": 4}),
]  # fmt: skip
