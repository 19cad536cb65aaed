"""Call graphs as JSON: everything that block finding needs, without weights.

Reading one takes milliseconds and needs no Keras.
"""

import json
from dataclasses import dataclass
from typing import Any

from cutwidgets.graph.callgraph import Call, CallGraph, Nest, Tensor

# The attributes of a call that are stored as they are.
_CALL = ("name", "kind", "role", "weighted", "pointwise", "stride", "reads", "outputs", "scope")


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """The stored facts about a layer.

    Attributes:
        name: Its name.
        size: Its number of parameters.
    """

    name: str
    size: int

    def count_params(self) -> int:
        """Its number of parameters, as Keras's layers report it."""
        return self.size


def to_json(graph: CallGraph) -> str:
    """Write a call graph as JSON.

    Args:
        graph: The call graph of a model.

    Example:
        >>> import keras
        >>> from cutwidgets.blocks.finding import find
        >>> from cutwidgets.graph.reader import read
        >>> graph = read(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        >>> copy = from_json(to_json(graph))
        >>> find(copy)[0][0].parameters, copy.calls[1].kind
        (3, 'Dense')
    """
    calls = [*graph.calls, *(nest.call for nest in graph.nests)]
    layers = list({id(call.layer): call.layer for call in calls}.values())
    positions = {id(layer): i for i, layer in enumerate(layers)}

    def fields(call: Call) -> dict[str, Any]:
        return {"layer": positions[id(call.layer)], **{name: getattr(call, name) for name in _CALL}}

    data = {
        "name": graph.name,
        "channel_axis": graph.channel_axis,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "layers": [[layer.name, getattr(layer, "count_params", int)()] for layer in layers],
        "tensors": [[tensor.shape, tensor.dtype, tensor.nested] for tensor in graph.tensors],
        "calls": [fields(call) for call in graph.calls],
        "nests": [[n.inside.start, n.inside.stop, fields(n.call)] for n in graph.nests],
    }
    return json.dumps(data, separators=(",", ":"))


def from_json(text: str) -> CallGraph:
    """Read a call graph that `to_json` wrote. Nothing in it belongs to Keras.

    Args:
        text: The JSON.
    """
    data = json.loads(text)
    layers = [StoredLayer(name, size) for name, size in data["layers"]]

    def call(index: int, fields: dict[str, Any]) -> Call:
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        fields |= {
            "layer": layers[fields["layer"]],
            "inputs": tuple(dict.fromkeys(fields["reads"])),
        }
        return Call(index=index, arguments=None, **fields)

    calls = tuple(call(i, fields) for i, fields in enumerate(data["calls"]))
    makers = {tensor: call.index for call in calls for tensor in call.outputs}
    users: list[list[int]] = [[] for _ in data["tensors"]]
    for reader in calls:
        for tensor in reader.inputs:
            users[tensor].append(reader.index)
    tensors = (
        Tensor(i, tuple(shape), dtype, makers[i], tuple(users[i]), None, (), nested)
        for i, (shape, dtype, nested) in enumerate(data["tensors"])
    )
    return CallGraph(
        name=data["name"],
        calls=calls,
        tensors=tuple(tensors),
        inputs=tuple(data["inputs"]),
        outputs=tuple(data["outputs"]),
        nests=tuple(Nest(call(i, fields), range(i, stop)) for i, stop, fields in data["nests"]),
        channel_axis=data["channel_axis"],
    )
