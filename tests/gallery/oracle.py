"""Runs Keras models call by call: what cutwidgets returns is compared with it.

It follows Keras's own nodes and shares nothing with cutwidgets, so that it cannot err as it does.
"""

from dataclasses import dataclass, field

import keras
import numpy as np


@dataclass
class Run:
    """The values of a model's tensors for an input.

    Attributes:
        changes: Tensors to replace by others once they are computed, both by key.
        values: The value of each tensor by its key: the names of the calls of nested models around
            it, the outermost first, and the identity of its Keras tensor.
        before: A function to call with each layer and its arguments before it runs.
    """

    changes: dict = field(default_factory=dict)
    before: object = None
    values: dict = field(default_factory=dict)

    def __call__(self, model, inputs, scope=()):
        """Run the model; its outputs, flat."""
        source = getattr(model, "_functional", None) or model
        for symbol, value in zip(source.inputs, inputs, strict=True):
            self.values[scope, id(symbol)] = keras.ops.convert_to_tensor(value)
        for depth in sorted(source._nodes_by_depth, reverse=True):
            for node in source._nodes_by_depth[depth]:
                if not node.is_input:
                    self._call(source, node, scope)
        return [self.values[scope, id(symbol)] for symbol in source.outputs]

    def _call(self, source, node, scope):
        known = {id(s): self.values[scope, id(s)] for s in node.arguments.keras_tensors}
        args, kwargs = node.arguments.fill_in(known)
        layer = node.operation
        if self.before:
            self.before(layer, args)
        if hasattr(layer, "_functional") or hasattr(layer, "_nodes_by_depth"):
            name = "/".join([*scope[-1:], _name(source, node)])
            outputs = self(layer, keras.tree.flatten(args), (*scope, name))
        else:
            if getattr(layer, "_call_has_training_arg", False):
                kwargs["training"] = False
            outputs = keras.tree.flatten(layer(*args, **kwargs))
        for symbol, value in zip(node.outputs, outputs, strict=True):
            key = scope, id(symbol)
            self.values[key] = self.values[self.changes[key]] if key in self.changes else value


def _name(source, node):
    """The layer's name, numbered if the model calls it more than once."""
    layer = node.operation
    nodes = [other for nodes in source._nodes_by_depth.values() for other in nodes]
    same = [other for other in layer._inbound_nodes if any(other is one for one in nodes)]
    if len(same) == 1:
        return layer.name
    return f"{layer.name}#{[other is node for other in same].index(True) + 1}"


def random_inputs(model, batch=2, seed=0):
    """Normal numbers, or for integers 0 and 1, which any vocabulary has."""
    generator = np.random.default_rng(seed)
    values = []
    for symbol in model.inputs:
        free = 64 if len(symbol.shape) == 4 else 12
        shape = (batch, *(length or free for length in symbol.shape[1:]))
        if "int" in symbol.dtype:
            values.append(generator.integers(0, 2, shape).astype(symbol.dtype))
        else:
            values.append(generator.normal(size=shape).astype("float32"))
    return values


def enliven(model, seed=0):
    """Let every part of a new network show in its output.

    New networks hide much: scales that are nearly zero, kernels that halve what passes a ReLU,
    normalisations whose statistics do not fit.
    """
    generator = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        value = keras.ops.convert_to_numpy(variable)
        if value.size and value.min() == value.max():
            middle, width = (1.0, 0.3) if value.max() == 1 else (0.0, 0.1)
            if 0 < abs(value.max()) < 1:
                middle = 0.5  # the scale of a branch
            variable.assign(middle + width * generator.normal(size=value.shape))
        elif variable.name == "kernel" and np.count_nonzero(value) == value.size:
            variable.assign(value * np.sqrt(2))

    def fit(layer, args):
        if isinstance(layer, keras.layers.BatchNormalization):
            x = keras.ops.convert_to_numpy(args[0])
            others = tuple(axis for axis in range(x.ndim) if axis != layer.axis % x.ndim)
            variance = np.maximum(x.var(others), 1e-8)
            layer.moving_mean.assign(x.mean(others))
            layer.moving_variance.assign(variance)
            if layer.scale:  # make up for what is added to a small variance
                layer.gamma.assign(layer.gamma * np.sqrt(1 + layer.epsilon / variance))

    Run(before=fit)(model, random_inputs(model, seed=seed + 1))
    return model
