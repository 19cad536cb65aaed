"""The sums of a network, and the blocks that lie between where their operands part and meet."""

SUMS = ("Add", "Average", "Subtract", "AddV2")


def sums(anatomy):
    """For each sum of what one tensor leads to, whether one block holds all in between.

    Returns:
        A dictionary from the call of each sum, by its index, to whether it is inside one block.
    """
    graph = anatomy.graph
    block_of = {index: i for i, block in enumerate(anatomy) for index in block.calls}
    parting, root = _partings(graph)
    inside = {}
    for index, source in parting.items():
        between, pending = set(), [index]
        while pending:
            index_before = pending.pop()
            own = index_before > source and root[index_before] == root[index]
            if own and index_before not in between and index_before in block_of:
                between.add(index_before)
                pending += [graph.tensors[t].maker for t in graph.calls[index_before].inputs]
        inside[index] = len({block_of[i] for i in between}) == 1
    return inside


def _partings(graph):
    """For each sum, the last call that all ways to it pass; and for each call the input it reads.

    What comes in from another input of the model, as the embedding of a time, is a constant here.
    """
    above = [None] * len(graph.calls)  # The call that every way from the inputs passes last.
    depth = [0] * len(graph.calls)
    root = list(range(len(graph.calls)))  # The input that it depends on, by its first arguments.
    partings = {}

    def common(a, b):
        while a != b and a is not None and b is not None:
            if depth[a] > depth[b]:
                a = above[a]
            elif depth[b] > depth[a]:
                b = above[b]
            else:
                a, b = above[a], above[b]
        return a if a == b else None

    for call in graph.calls:
        makers = [graph.tensors[tensor].maker for tensor in call.inputs]
        if not makers:
            continue
        root[call.index] = root[makers[0]]
        makers = [maker for maker in makers if root[maker] == root[makers[0]]]
        shared = makers[0]
        for maker in makers[1:]:
            shared = common(shared, maker)
        above[call.index] = shared
        depth[call.index] = depth[shared] + 1 if shared is not None else 0
        if call.kind in SUMS and len(makers) > 1 and shared is not None:
            partings[call.index] = shared
    return partings, root
