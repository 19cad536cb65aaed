"""The types of blocks and stages."""

from dataclasses import dataclass, field
from math import isclose

from ..graph.callgraph import CallGraph, Shape, parameters

OUTSIDE_STAGES = frozenset({"stem", "top", "classifier", "head"})


@dataclass(frozen=True, slots=True)
class Block:
    """A unit of a network that a person would give a name.

    Attributes:
        name: Its name, unique in the model: the common beginning of its layers' names, if any.
        kind: `"residual"`, `"inception"` (branches that are concatenated), `"dense"` (concatenated
            with its own input, as in DenseNet), `"plain"` (a chain, which other tensors may join
            from the side), `"stem"` (before the first of these), `"top"` (features after the last),
            `"classifier"` (from global pooling, flattening or the choice of a token to a prediction
            for the whole input), `"head"` (what computes an output in any other way: for each
            position, from two inputs, or in a branch of its own), or `"branched"` (any other
            branches).
        shortcut: The kind of a residual block's shortcut: `"identity"`; `"projection"` if it has
            weights; `"padding"` if it appends channels of zeros (He et al. 2015, option A);
            `"pooling"` if it lowers the resolution only. `None` for other blocks.
        merge: For a residual block, the index of the call that adds branch and shortcut; the last
            one, for a layer of a transformer, which has two or more. `None` for other blocks.
        shortcut_tensor: For a residual block, the index of the tensor that its (first) merge reads
            from the shortcut; else `None`.
        stage: Name of its stage; `None` for stem, top, classifier and head.
        layers: Names of its layers, in call order.
        input_shape: Shape of the tensor that enters, with the batch axis.
        output_shape: Shape of the tensor that leaves, with the batch axis.
        scale: The factor by which the resolution at its output is smaller than at the model's
            input.
        entries: Indices of the tensors that enter, in the call graph; several where skips or inputs
            of the model join.
        exits: Indices of the tensors that leave; several where skips or outputs of the model leave.
        calls: Indices of its calls.
        graph: The call graph that it belongs to.
    """

    name: str
    kind: str
    shortcut: str | None
    merge: int | None
    shortcut_tensor: int | None
    stage: str | None
    layers: tuple[str, ...]
    input_shape: Shape
    output_shape: Shape
    scale: float
    entries: tuple[int, ...]
    exits: tuple[int, ...]
    calls: tuple[int, ...]
    graph: CallGraph = field(repr=False, compare=False)

    @property
    def parameters(self) -> int:
        """Number of parameters, a shared layer counted once."""
        return parameters(self.graph, self.calls)

    @property
    def start(self) -> str:
        """Name of the first layer."""
        return self.layers[0]

    @property
    def end(self) -> str:
        """Name of the last layer."""
        return self.layers[-1]


@dataclass(frozen=True, slots=True)
class Stage:
    """Neighbouring blocks of equal resolution and width; of resolution if each block is wider.

    Attributes:
        name: The common beginning of its layers' names, or a name such as `"stage3"` or `"up2"`.
        blocks: Its blocks, in order.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> resnet = keras.applications.ResNet50(weights=None)
        >>> [(stage.name, stage.stride, stage.channels) for stage in cw.anatomy(resnet).stages]
        [('conv2', 4, 256), ('conv3', 8, 512), ('conv4', 16, 1024), ('conv5', 32, 2048)]
    """

    name: str
    blocks: tuple[Block, ...]

    @property
    def output_shape(self) -> Shape:
        """Shape of the tensor that leaves the stage, with the batch axis."""
        return self.blocks[-1].output_shape

    @property
    def stride(self) -> int | float:
        """The factor by which its output's resolution is smaller than that of the model's input.

        An `int` where it is whole; below 1 where the resolution is larger than at the input. What
        timm calls the `reduction` of a feature. Tokens have the stride of the patches that they
        stand for.
        """
        scale = self.blocks[-1].scale
        return round(scale) if isclose(scale, round(scale)) else scale

    @property
    def channels(self) -> int | None:
        """The length of the channel axis of its output; `None` where it is not fixed."""
        last = self.blocks[-1]
        return last.output_shape[last.graph.channel_axis]
