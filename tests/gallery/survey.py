"""Compares what is found in a network of the gallery with what its source gives.

`python -m gallery.survey` prints the table of all, from the stored graphs where there are any; with
words behind it, that of the networks with these in their names, and their blocks.
"""

from collections import Counter
from dataclasses import dataclass

import cutwidgets as cw
from cutwidgets.blocks.finding import find
from cutwidgets.blocks.regions import cut_points

from .entry import Entry

SUMS = ("Add", "Average", "Subtract", "AddV2")


@dataclass(frozen=True)
class Survey:
    """What is found in a network.

    Attributes:
        entry: What its source gives.
        calls: Number of calls.
        blocks: Number of blocks by kind.
        stages: Number of blocks of each stage.
        sums: Number of residual sums: what is added comes from a common tensor.
        sums_inside: How many of them are inside one block, with all from where they part.
        closed: Number of blocks that end at a cut point of the whole network.
        length: Number of blocks.
        weightless: Number of blocks without parameters.
        shortcuts: Number of blocks by shortcut.
        anatomy: The anatomy.
    """

    entry: Entry
    calls: int
    blocks: dict[str, int]
    stages: tuple[int, ...]
    sums: int
    sums_inside: int
    closed: int
    length: int
    weightless: int
    shortcuts: dict[str, int]
    anatomy: cw.Anatomy

    @property
    def differences(self):
        """What differs from the source, in a word each."""
        found = []
        if self.blocks != dict(self.entry.blocks):
            found.append("blocks")
        if self.entry.stages and self.stages != self.entry.stages:
            found.append("stages")
        if not {*self.entry.names} <= {stage.name for stage in self.anatomy.stages}:
            found.append("names")
        if self.entry.shortcuts and self.shortcuts != dict(self.entry.shortcuts):
            found.append(f"shortcuts {self.shortcuts}")
        if self.weightless:
            found.append("weightless")
        return found

    def __str__(self):
        def counts(blocks):
            return " ".join(f"{kind} {number}" for kind, number in sorted(blocks.items()))

        def lengths(stages):
            return f"{len(stages)}: " + " ".join(map(str, stages)) if stages else "-"

        rows = [
            f"{self.entry.name} ({self.calls} calls): {', '.join(self.differences) or 'same'}",
            f"    blocks expected  {counts(self.entry.blocks)}",
            f"    blocks found     {counts(self.blocks)}",
            f"    stages expected  {lengths(self.entry.stages)}",
            f"    stages found     {lengths(self.stages)}",
            f"    names found      {' '.join(stage.name for stage in self.anatomy.stages)}"[:200],
            f"    sums inside one block {self.sums_inside} of {self.sums}; ends at cut points "
            f"{self.closed} of {self.length}; without weights {self.weightless}",
        ]
        return "\n".join(rows)


def survey(entry, graph=None):
    """Compare a network with what its source gives; without its graph, it is built."""
    if graph is None:
        anatomy = cw.anatomy(entry.build())
        graph = anatomy.graph
    else:
        anatomy = cw.Anatomy(graph.name, *find(graph), graph)
    inside = _sums(anatomy)
    points = set(cut_points(graph, range(len(graph.calls)), graph.inputs, graph.outputs))
    return Survey(
        entry=entry,
        calls=len(graph.calls),
        blocks=dict(Counter(block.kind for block in anatomy)),
        stages=tuple(len(stage.blocks) for stage in anatomy.stages),
        sums=len(inside),
        sums_inside=sum(inside.values()),
        closed=sum(set(block.exits) <= points for block in anatomy),
        length=len(anatomy),
        shortcuts=dict(Counter(block.shortcut for block in anatomy if block.shortcut)),
        weightless=sum(not block.parameters for block in anatomy),
        anatomy=anatomy,
    )


def _sums(anatomy):
    """For each sum of what one tensor leads to, whether one block holds all in between."""
    graph = anatomy.graph
    block_of = {index: i for i, block in enumerate(anatomy) for index in block.calls}
    above = [None] * len(graph.calls)  # The call that every way from the inputs passes last.
    depth = [0] * len(graph.calls)

    def common(a, b):
        while a != b and a is not None and b is not None:
            if depth[a] > depth[b]:
                a = above[a]
            elif depth[b] > depth[a]:
                b = above[b]
            else:
                a, b = above[a], above[b]
        return a if a == b else None

    inside = {}
    root = list(range(len(graph.calls)))  # The input that it depends on, by its first arguments.
    for call in graph.calls:
        makers = [graph.tensors[tensor].maker for tensor in call.inputs]
        if makers:
            root[call.index] = root[makers[0]]
            # What comes in from another input of the model, as a time embedding, is a constant.
            makers = [maker for maker in makers if root[maker] == root[makers[0]]]
            shared = makers[0]
            for maker in makers[1:]:
                shared = common(shared, maker)
            above[call.index] = shared
            depth[call.index] = depth[shared] + 1 if shared is not None else 0
        if call.kind in SUMS and len(makers) > 1 and above[call.index] is not None:
            between, pending = set(), [call.index]
            while pending:
                index = pending.pop()
                own = index > above[call.index] and root[index] == root[call.index]
                if own and index not in between and index in block_of:
                    between.add(index)
                    pending += [graph.tensors[t].maker for t in graph.calls[index].inputs]
            inside[call.index] = len({block_of[index] for index in between}) == 1
    return inside


if __name__ == "__main__":
    import sys

    from .catalogue import CATALOGUE
    from .graphs import graph_of, read_store

    words = [word.lower() for word in sys.argv[1:]]
    stored = read_store()
    for entry in CATALOGUE:
        if words and not any(word in entry.name.lower() for word in words):
            continue
        result = survey(entry, graph_of(entry.name, stored) if entry.name in stored else None)
        print(result, flush=True)
        for block in result.anatomy if words else ():
            print(f"      {block.name:28} {block.kind:10} {block.shortcut or '-':10} "
                  f"{block.stage or '-':10} {block.layers[0]} .. {block.layers[-1]} "
                  f"({len(block.layers)}) {block.output_shape[1:]}")  # fmt: skip
