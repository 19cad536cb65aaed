"""What a block and a stage are."""

from dataclasses import dataclass, field

from ..graph.callgraph import CallGraph, Shape, parameters

OUTSIDE_STAGES = frozenset({"stem", "top", "classifier"})


@dataclass(frozen=True, slots=True)
class Block:
    """What a person would name as one unit of a network.

    Attributes:
        name: Its name, unique in the model: what its layers' names have in common, if anything.
        kind: `"residual"`, `"inception"` (branches that are concatenated), `"dense"` (concatenated
            with its own input, as in DenseNet), `"plain"` (a straight chain), `"stem"` (before the
            first of them), `"top"` (features after the last), `"classifier"`, or `"branched"`
            (branches of any other kind).
        shortcut: For a residual block, what its shortcut passes: `"identity"`, `"pooling"` or
            `"projection"`; else `None`.
        merge: For a residual block, the index of the call that adds branch and shortcut; else
            `None`.
        shortcut_tensor: For a residual block, the index of the tensor that the merge reads from
            the shortcut; else `None`.
        stage: Name of the stage that it belongs to, `None` for stem, top and classifier.
        layers: Names of its layers, in call order.
        input_shape: Shape of the tensor that enters, with the batch axis.
        output_shape: Shape of the tensor that leaves, with the batch axis.
        scale: By how much the resolution at its output is smaller than at the model's input.
        entries: Indices of the tensors that enter, in the call graph: one, but where several
            inputs of the model meet.
        exits: Indices of the tensors that leave: one, but where several outputs of the model part.
        calls: Indices of its calls.
        graph: The call graph that it was found in.
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
    """Neighbouring blocks that share a resolution and a width.

    Attributes:
        name: What the names of its blocks have in common, or a name such as `"stage3"`.
        blocks: Its blocks, in order.
    """

    name: str
    blocks: tuple[Block, ...]

    @property
    def output_shape(self) -> Shape:
        """Shape of the tensor that leaves the stage, with the batch axis."""
        return self.blocks[-1].output_shape
