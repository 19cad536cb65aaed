"""Networks of several paths that part and meet, transcribed from the papers with narrow layers."""

from functools import partial

import keras
from keras import layers

from .entry import Entry
from .parts import classify, conv, conv_bn


def _basic(x, width, name, strides=1):
    y = conv_bn(x, width, 3, strides, f"{name}_1")
    y = conv_bn(y, width, 3, 1, f"{name}_2", activation=None)
    if strides > 1 or x.shape[-1] != width:
        x = conv_bn(x, width, 1, strides, f"{name}_down", activation=None)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def hrnet(size=64):
    """Branches of four resolutions that exchange features after every four blocks."""
    x = inputs = keras.Input((size, size, 3))
    x = conv_bn(conv_bn(x, 8, 3, 2, "stem_1"), 8, 3, 2, "stem_2")
    for i in range(4):
        y = conv_bn(x, 4, 1, 1, f"layer1_{i}_1")
        y = conv_bn(y, 4, 3, 1, f"layer1_{i}_2")
        y = conv_bn(y, 16, 1, 1, f"layer1_{i}_3", activation=None)
        if not i:
            x = conv_bn(x, 16, 1, 1, f"layer1_{i}_down", activation=None)
        x = layers.ReLU(name=f"layer1_{i}_relu")(layers.Add(name=f"layer1_{i}_add")([x, y]))
    branches = [x]
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        if stage == 2:
            new = conv_bn(x, 8, 3, 2, "transition1_1")
            branches = [conv_bn(x, 4, 3, 1, "transition1_0"), new]
        else:
            name = f"transition{stage - 1}"
            branches.append(conv_bn(branches[-1], 4 << (stage - 1), 3, 2, name))
        for module in range(modules):
            name = f"stage{stage}_module{module}"
            for b, branch in enumerate(branches):
                for i in range(4):
                    branch = _basic(branch, 4 << b, f"{name}_branch{b}_{i}")
                branches[b] = branch
            branches = [_fused(branches, b, name) for b in range(len(branches))]
    ways = [
        layers.UpSampling2D(1 << b, name=f"head_up{b}")(branch) if b else branch
        for b, branch in enumerate(branches)
    ]
    x = conv_bn(layers.Concatenate(name="head_cat")(ways), 16, 1, 1, "head")
    return keras.Model(inputs, classify(x), name="hrnet")


def _fused(branches, b, name):
    ways = []
    for other, x in enumerate(branches):
        way = f"{name}_fuse{b}_{other}"
        if other > b:
            x = conv_bn(x, 4 << b, 1, 1, way, activation=None)
            x = layers.UpSampling2D(1 << (other - b), name=f"{way}_up")(x)
        for step in range(b - other):
            last = step == b - other - 1
            width = 4 << (b if last else other)
            x = conv_bn(x, width, 3, 2, f"{way}_{step}", None if last else "relu")
        ways.append(x)
    return layers.ReLU(name=f"{name}_fuse{b}_relu")(layers.Add(name=f"{name}_fuse{b}_add")(ways))


def dla():
    """DLA-34: trees of basic blocks, joined by nodes that concatenate (figure 3)."""

    def tree(x, width, level, name, strides, passed=()):
        if level == 1:
            left = _basic(x, width, f"{name}_tree1", strides)
            right = _basic(left, width, f"{name}_tree2")
            joined = layers.Concatenate(name=f"{name}_cat")([right, left, *passed])
            return conv_bn(joined, width, 1, 1, f"{name}_root")
        left = tree(x, width, level - 1, f"{name}_tree1", strides)
        return tree(left, width, level - 1, f"{name}_tree2", 1, [*passed, left])

    x = inputs = keras.Input((64, 64, 3))
    x = conv_bn(x, 4, 7, 1, "base")
    x = conv_bn(conv_bn(x, 4, 3, 1, "level0"), 8, 3, 2, "level1")
    for stage, depth in enumerate((1, 2, 2, 1), 2):
        down = layers.MaxPooling2D(2, name=f"level{stage}_down")(x)
        passed = [down] if stage > 2 else []
        x = tree(x, 4 << stage, depth, f"level{stage}", 2, passed)
    return keras.Model(inputs, classify(x), name="dla34")


def csp_darknet(depths=(1, 2, 8, 8, 4), size=64):
    """Half of the channels pass the bottlenecks of a stage, half go round them."""

    def mish(x, width, kernel, strides, name):
        return conv_bn(x, width, kernel, strides, name, activation="silu")

    x = inputs = keras.Input((size, size, 3))
    x = mish(x, 4, 3, 1, "stem")
    for stage, depth in enumerate(depths, 1):
        width, name = 4 << stage, f"stage{stage}"
        x = mish(x, width, 3, 2, f"{name}_down")
        side = mish(x, width // 2, 1, 1, f"{name}_side")
        x = mish(x, width // 2, 1, 1, f"{name}_main")
        for i in range(depth):
            y = mish(x, width // 2, 1, 1, f"{name}_res{i}_1")
            y = mish(y, width // 2, 3, 1, f"{name}_res{i}_2")
            x = layers.Add(name=f"{name}_res{i}_add")([x, y])
        x = mish(x, width // 2, 1, 1, f"{name}_post")
        x = layers.Concatenate(name=f"{name}_cat")([x, side])
        x = mish(x, width, 1, 1, f"{name}_fuse")
    return keras.Model(inputs, classify(x), name="csp_darknet")


def hourglass(stacks=2, depth=3):
    """Residual modules on the way down, on the way up and on the side paths (figure 3)."""

    def module(x, width, name):
        y = conv_bn(x, width // 2, 1, 1, f"{name}_1")
        y = conv_bn(y, width // 2, 3, 1, f"{name}_2")
        y = conv_bn(y, width, 1, 1, f"{name}_3", activation=None)
        if x.shape[-1] != width:
            x = conv(x, width, 1, 1, f"{name}_skip")
        return layers.Add(name=f"{name}_add")([x, y])

    def glass(x, level, name):
        side = module(x, 16, f"{name}_side{level}")
        low = layers.MaxPooling2D(2, name=f"{name}_pool{level}")(x)
        low = module(low, 16, f"{name}_down{level}")
        low = glass(low, level - 1, name) if level > 1 else module(low, 16, f"{name}_bottom")
        low = module(low, 16, f"{name}_up{level}")
        low = layers.UpSampling2D(2, name=f"{name}_enlarge{level}")(low)
        return layers.Add(name=f"{name}_merge{level}")([side, low])

    inputs = keras.Input((64, 64, 3))
    x = conv_bn(inputs, 8, 7, 2, "pre_conv")
    x = module(x, 8, "pre_1")
    x = layers.MaxPooling2D(2, name="pre_pool")(x)
    x = module(module(x, 8, "pre_2"), 16, "pre_3")
    outputs = []
    for i in range(1, stacks + 1):
        y = glass(x, depth, f"hg{i}")
        y = module(y, 16, f"hg{i}_out_module")
        y = conv_bn(y, 16, 1, 1, f"hg{i}_lin")
        outputs.append(layers.Conv2D(4, 1, name=f"heatmap{i}")(y))
        if i < stacks:
            back = layers.Conv2D(16, 1, name=f"hg{i}_back")(outputs[-1])
            y = layers.Conv2D(16, 1, name=f"hg{i}_remap")(y)
            x = layers.Add(name=f"hg{i}_next")([x, y, back])
    return keras.Model(inputs, outputs, name="hourglass")


def fractalnet(columns=3, blocks=5):
    """A block of C columns: f(c) = mean(f(c-1) twice, a convolution) (figure 1)."""

    def fractal(x, width, column, name):
        short = conv_bn(x, width, 3, 1, f"{name}_c{column}")
        if column == 1:
            return [short]
        ways = fractal(x, width, column - 1, f"{name}a")
        x = layers.Average(name=f"{name}_join{column}")(ways) if len(ways) > 1 else ways[0]
        return [short, *fractal(x, width, column - 1, f"{name}b")]

    x = inputs = keras.Input((32, 32, 3))
    for block in range(1, blocks + 1):
        ways = fractal(x, 4 << block, columns, f"block{block}")
        x = layers.Average(name=f"block{block}_join")(ways)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return keras.Model(inputs, classify(x), name="fractalnet")


CATALOGUE = [
    Entry("HRNet", hrnet, "Wang et al. 2020, HRNet, figure 2; modules of its code",
          {"stem": 1, "residual": 4 + 8 + 48 + 48, "branched": 8, "plain": 4, "top": 1,
           "classifier": 1}, (4, 8 + 1, 48 + 4, 48 + 3),
          "Four bottlenecks, then 1, 4 and 3 modules: four basic blocks in each of 2 to 4 "
          "branches, and an exchange of sums. Four convolutions open branches. A stage has the "
          "blocks of all resolutions.", long_sums=1 * 2 + 4 * 3 + 3 * 4,
          differs="Tensors of up to four resolutions cross every block, so its modules are not "
          "opened as lines of their own; some convolutions and sums of an exchange are "
          "plain blocks."),
    Entry("DLA-34", dla, "Yu et al. 2018, Deep layer aggregation, figure 3, table 1",
          {"stem": 1, "residual": 12, "plain": 8, "classifier": 1}, (1, 1, 3, 6, 6, 3),
          "Two levels of one convolution, then basic blocks: 2, 4, 4, 2; each pair is "
          "aggregated by a root, a convolution of what "
          "skips bring, as on the way up of a U-Net."),
    Entry("CSPDarknet53", csp_darknet, "Wang et al. 2020, CSPNet; YOLOv4's backbone",
          {"stem": 1, "residual": 23, "plain": 15, "classifier": 1}, (4, 5, 11, 11, 7),
          "Bottlenecks 1, 2, 8, 8, 4 are blocks; of each stage also the downsampling, "
          "the entry of the main way, and the fusion with the other way."),
    Entry("CSPDarknet, one bottleneck each", partial(csp_darknet, (1, 1, 1)), "as above",
          {"stem": 1, "residual": 3, "plain": 9, "classifier": 1}, (4, 4, 4),
          "A single bottleneck is as residual as several."),
    Entry("Hourglass", hourglass, "Newell et al. 2016, Stacked hourglass, figures 3 and 4",
          {"stem": 1, "residual": 3 + 2 * (3 * 3 + 1 + 1), "plain": 2, "head": 2}, (),
          "Residual modules also on the side paths (3 a stack); merges are the network's sums. "
          "Between the stacks stand a convolution that the first heat map reads as well, and two "
          "that bring both back.", long_sums=2 * 3 + 1,
          differs="The first heat map is fed back, so no output owns it: it is part of the block "
          "that reads it."),
    Entry("FractalNet", fractalnet, "Larsson et al. 2017, FractalNet, figure 1",
          {"residual": 5, "classifier": 1}, (1, 1, 1, 1, 1),
          "A fractal block with its pooling: the mean of ways, of which the shortest is one "
          "convolution (a projection).", shortcuts={"projection": 5}),
]  # fmt: skip
