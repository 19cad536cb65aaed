"""What holds for the blocks of every network: each function lists the places where it does not.

Nothing here asks how blocks are found: it looks at shapes, parameters and connections only.
"""

from collections import Counter

from cutwidgets.blocks.blocks import OUTSIDE_STAGES
from cutwidgets.graph.callgraph import between, parameters
from cutwidgets.graph.frontier import carried_past


def calls_not_in_one_block(anatomy):
    """Every call but the inputs is in exactly one block."""
    count = Counter(index for block in anatomy for index in block.calls)
    calls = anatomy.graph.calls
    return [call.name for call in calls if count[call.index] != (call.role != "input")]


def repeated_names(anatomy):
    """Every block and every stage has a name of its own."""
    counts = (Counter(part.name for part in parts) for parts in (anatomy, anatomy.stages))
    return [name for count in counts for name, times in count.items() if times > 1]


def plain_blocks_without_weights(anatomy):
    """A plain block has weights, if its model has any."""
    if not any(block.parameters for block in anatomy):
        return []
    return [block.name for block in anatomy if block.kind == "plain" and not block.parameters]


def plain_blocks_that_stride_inside(anatomy):
    """The resolution of a plain block changes at its first or last weighted or pooling layer."""
    return [
        block.name
        for block in anatomy
        if block.kind == "plain" and _strides_inside(anatomy.graph, block.calls)
    ]


def _strides_inside(graph, calls):
    """Whether layers that keep the resolution stand on both sides of one that changes it."""
    changes = [
        changes_resolution(graph, graph.calls[index])
        for index in calls
        if _counts(graph, graph.calls[index])
    ]
    keeping = [position for position, change in enumerate(changes) if not change]
    return bool(keeping) and any(changes[keeping[0] : keeping[-1]])


def _counts(graph, call):
    """Whether a layer has weights or pools. A 1×1 convolution only serves its neighbour."""
    if call.role == "pooling" or changes_resolution(graph, call):
        return True
    weighted = call.role != "normalization" and parameters(graph, [call.index]) > 0
    return weighted and not call.pointwise


def changes_resolution(graph, call):
    """Whether the maps that leave a call are clearly smaller or larger than all that enter it."""
    if call.role in ("padding", "global pooling") or not call.inputs or not call.outputs:
        return False
    after = call.outputs[0]
    same_rank = [t for t in call.inputs if _rank(graph, t) == _rank(graph, after)]
    before = max((_length(graph, tensor) or 0 for tensor in same_rank), default=0)
    return bool(before and _length(graph, after)) and not (
        2 / 3 < before / _length(graph, after) < 3 / 2
    )


def _rank(graph, tensor):
    return len(graph.tensors[tensor].shape)


def _length(graph, tensor):
    """The first length of a map or sequence; `None` if there is none."""
    shape = graph.tensors[tensor].shape
    return shape[2 if graph.channel_axis == 1 else 1] if len(shape) > 2 else None


def stages_of_several_resolutions(anatomy):
    """The blocks of a stage give maps of one resolution; its last may stride (ResNet50V2).

    Stem, top and classifier are in no stage.
    """
    wrong = []
    for stage in anatomy.stages:
        blocks = stage.blocks[:-1] if len(stage.blocks) > 2 else stage.blocks
        # Patches of a map may be unfolded within a stage (MobileViT).
        calls = anatomy.graph.calls
        maps = [
            block
            for block in blocks
            if "convolution" in (roles := {calls[i].role for i in block.calls})
            and "reordering" not in roles
        ]
        lengths = {_length(anatomy.graph, block.exits[-1]) for block in maps}
        if len(lengths) > 1 or any(block.kind in OUTSIDE_STAGES for block in stage.blocks):
            wrong.append(stage.name)
    return wrong


def wrong_shortcuts(anatomy):
    """A residual block has a shortcut; a projection has weights on the way, an identity none."""
    graph = anatomy.graph
    wrong = []
    for block in anatomy:
        if (block.kind == "residual") != (block.shortcut is not None):
            wrong.append(f"{block.name}: {block.kind}, {block.shortcut}")
        elif block.shortcut == "projection":
            way = between(graph, [block.shortcut_tensor], block.entries)[0]
            if not parameters(graph, {*way}.intersection(block.calls)):
                wrong.append(f"{block.name}: a projection without weights")
        elif block.shortcut == "identity":
            shapes = [graph.tensors[tensor].shape for tensor in block.entries]
            if graph.tensors[graph.calls[block.merge].outputs[0]].shape not in shapes:
                wrong.append(f"{block.name}: an identity that changes the shape")
    return wrong


def ends_within_blocks(anatomy):
    """Only what whole blocks give, or inputs of the model, crosses the end of a block.

    Then the model can be split there, or a skip of the network itself crosses it. What a block
    makes of its features for a sum over all blocks (WaveNet) is computed after the split.
    """
    graph = anatomy.graph
    whole = {*graph.inputs, *(tensor for block in anatomy for tensor in block.exits)}
    for block in anatomy:
        if len(block.exits) > 1:
            whole.update(tensor for index in block.calls for tensor in graph.calls[index].outputs)
    return [
        f"{block.name}: {graph.maker(tensor).name}"
        for block in anatomy
        for tensor in carried_past(graph, block.exits)
        if tensor not in whole
    ]


PROPERTIES = (
    calls_not_in_one_block,
    repeated_names,
    plain_blocks_without_weights,
    plain_blocks_that_stride_inside,
    stages_of_several_resolutions,
    wrong_shortcuts,
    ends_within_blocks,
)
