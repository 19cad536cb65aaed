"""Cuts and folding against those of PyTorch and of ONNX, where these are installed.

They are no part of the project: they are looked for in an environment beside it, made by

    uv venv ../peers
    uv pip install --python ../peers onnx torch torchvision --torch-backend cpu

and handed over by `benchmarks/run.py --peers ../peers/lib/python3.*/site-packages`. The project's
own packages come first, so all runs in one process.

The slice is that of `cuts.py`: what leaves the second stage, to what leaves the fourth.
"""

import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
from cuts import resnet
from measure import Part, Row, interleaved

import cutwidgets as cw

# Keras' layers of ResNet50 in ONNX.
OPERATORS = {
    "Activation": "Relu",
    "Add": "Add",
    "BatchNormalization": "BatchNormalization",
    "Conv2D": "Conv",
    "MaxPooling2D": "MaxPool",
    "ZeroPadding2D": "Pad",
}


def look_in(folder: Path) -> None:
    """Find packages in the `site-packages` of another environment, after the project's own."""
    sys.path.append(str(folder))


def if_installed(name: str, against: Callable[[ModuleType, int], Row], repeats: int) -> Row:
    """The row of a peer; one that says so if it is not there."""
    try:
        module = _torchvision() if name == "torchvision" else importlib.import_module(name)
    except ImportError:
        return Row(f"cut, against {name}", peer=f"{name}: not installed (see benchmarks/peers.py)")
    return against(module, repeats)


def _torchvision() -> ModuleType:
    """Torchvision, even beside a build of PyTorch that its own operators do not fit.

    Its import then fails, as two operators are unknown. It is enough that they have a form: no
    classifier uses them.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise
    import torch

    form = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", form)
    return importlib.import_module("torchvision")


def feature_extractor(torchvision: ModuleType, repeats: int) -> Row:
    """Torchvision's slices begin at the input, and so does ours here."""
    from torchvision.models.feature_extraction import create_feature_extractor

    other, model = torchvision.models.resnet50(weights=None).eval(), resnet()
    return interleaved(
        lambda new: cw.cut(new, end="conv4"),
        lambda _: create_feature_extractor(other, ["layer3"]),
        repeats,
        fresh=lambda: keras.Model(model.inputs, model.outputs),
    ).row("the first cut, from the input", None, "torchvision's create_feature_extractor")


def several_ends(torchvision: ModuleType, repeats: int) -> Row:
    """Three stages at once."""
    from torchvision.models.feature_extraction import create_feature_extractor

    other, model = torchvision.models.resnet50(weights=None).eval(), resnet()
    return interleaved(
        lambda new: cw.cut(new, end=["conv3", "conv4", "conv5"]),
        lambda _: create_feature_extractor(other, ["layer2", "layer3", "layer4"]),
        repeats,
        fresh=lambda: keras.Model(model.inputs, model.outputs),
    ).row("three ends, from the input", None, "torchvision's create_feature_extractor")


def fusion(torchvision: ModuleType, repeats: int) -> Row:
    """Convolutions with the normalisations behind them, by torch.fx."""
    from torch.fx.experimental.optimization import fuse

    other, model = torchvision.models.resnet50(weights=None).eval(), resnet()
    norms = [type(part).__name__ for part in fuse(other).modules()].count("BatchNorm2d")
    if norms:
        raise ValueError(f"{norms} normalisations are left, so this is another thing.")
    times = interleaved(lambda: cw.fold(model), lambda: fuse(other), repeats)
    return times.row("fold", None, "torch.fx.experimental.optimization.fuse")


def graph_copy(torchvision: ModuleType, repeats: int) -> Row:
    """The nodes between two places copied by hand into a graph of torch.fx, of a traced model."""
    import torch.fx

    traced = torch.fx.symbolic_trace(torchvision.models.resnet50(weights=None).eval())
    names = [node.name for node in traced.graph.nodes]
    begin, end = names.index("layer1_2_relu_2"), names.index("layer3_5_relu_2")

    def peer() -> torch.fx.GraphModule:
        graph = torch.fx.Graph()
        start, *nodes = list(traced.graph.nodes)[begin : end + 1]
        made = {start: graph.placeholder("x")}
        for node in nodes:
            made[node] = graph.node_copy(node, made.__getitem__)
        graph.output(made[nodes[-1]])
        return torch.fx.GraphModule(traced, graph)

    model = resnet()
    times = interleaved(lambda: cw.cut(model, "conv3", "conv4"), peer, repeats)
    return times.row("a further cut", None, "a copy of the nodes in torch.fx, traced before")


def extractor(onnx: ModuleType, repeats: int) -> Row:
    """ONNX keeps weights in the graph, so its slices have weights of their own."""
    model = resnet()
    proto = as_onnx(onnx, model)

    def peer() -> Any:
        found = onnx.utils.Extractor(proto)
        return found.extract_model(["conv2_block3_out"], ["conv4_block6_out"])

    nodes = {node.name for node in peer().graph.node}
    missing = {layer.name for layer in cw.cut(model, "conv3", "conv4").layers[1:]} - nodes
    if missing:
        raise ValueError(f"ONNX' slice is another one: {missing}")
    return interleaved(lambda: cw.cut(model, "conv3", "conv4", weights="copy"), peer, repeats).row(
        'cut(weights="copy")', None, "onnx.utils.Extractor"
    )


def several_extracted(onnx: ModuleType, repeats: int) -> Row:
    """Three ends of a slice with weights of its own."""
    model = resnet()
    proto = as_onnx(onnx, model)
    names = ["conv3_block4_out", "conv4_block6_out", "conv5_block3_out"]

    def peer() -> Any:
        return onnx.utils.Extractor(proto).extract_model(["conv2_block3_out"], names)

    def ours() -> keras.Model:
        return cw.cut(model, "conv3", ["conv3", "conv4", "conv5"], weights="copy")

    times = interleaved(ours, peer, repeats)
    return times.row('cut(weights="copy"), three ends', None, "onnx.utils.Extractor")


def as_onnx(onnx: ModuleType, model: keras.Model) -> Any:
    """ResNet50's graph in ONNX, to be cut, not run: its padding has no attributes."""
    helper, values, nodes, weights = onnx.helper, [], [], []
    for layer in model.layers:
        shape = [layer.output.shape[axis] for axis in (0, 3, 1, 2)]
        values.append(helper.make_tensor_value_info(layer.name, onnx.TensorProto.FLOAT, shape))
        if isinstance(layer, keras.layers.InputLayer):
            continue
        arrays = {weight.path: _channels_first(np.asarray(weight)) for weight in layer.weights}
        weights += [onnx.numpy_helper.from_array(value, name) for name, value in arrays.items()]
        inputs = [
            tensor._keras_history.operation.name for tensor in keras.tree.flatten(layer.input)
        ]
        kind = OPERATORS[type(layer).__name__]
        attributes = {"strides": list(layer.strides)} if hasattr(layer, "strides") else {}
        nodes.append(
            helper.make_node(kind, [*inputs, *arrays], [layer.name], layer.name, **attributes)
        )
    graph = helper.make_graph(
        nodes, model.name, values[:1], values[-1:], weights, value_info=values[1:-1]
    )
    return helper.make_model(graph)


def _channels_first(array: np.ndarray) -> np.ndarray:
    """The weights of a convolution in the order of ONNX."""
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1)) if array.ndim == 4 else array


def parts(quick: bool) -> dict[str, Part]:
    """What this topic measures."""
    peers = {
        "create_feature_extractor": ("torchvision", feature_extractor),
        "create_feature_extractor, three ends": ("torchvision", several_ends),
        "fuse": ("torchvision", fusion),
        "torch.fx": ("torchvision", graph_copy),
        "onnx.utils": ("onnx", extractor),
        "onnx.utils, three ends": ("onnx", several_extracted),
    }
    return {
        what: partial(if_installed, name, against, 3 if quick else 7)
        for what, (name, against) in peers.items()
    }
