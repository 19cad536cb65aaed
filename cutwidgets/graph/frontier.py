"""Which cuts are legal: the tensors that are live after a place, and those that bypass a start.

A model can be split after a place if no other tensor is live there: the tensors of the place are
the whole frontier. A slice can run from a start to an end if the end needs no tensor that bypasses
the start: none that the model computes on the way to the start, other than the start's own.
"""

from collections.abc import Collection, Iterable, Sequence

from .callgraph import CallGraph, between


class Frontier:
    """The live tensors after a growing set of calls: those that the remaining calls read.

    Args:
        graph: The call graph.
        calls: Indices of all calls that count as readers; `None` for those that the model needs.
        sources: Indices of the tensors that exist before the first call; `None` for the model's
            inputs.
        sinks: Indices of the tensors that stay live once they are computed; `None` for the model's
            outputs.

    Attributes:
        live: Indices of the live tensors.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> x = keras.Input((8,))
        >>> y = keras.layers.Dense(8)(x)
        >>> frontier = Frontier(read(keras.Model(x, keras.layers.Add()([x, y]))))
        >>> frontier.live
        {0}
        >>> frontier.advance([1])
        >>> frontier.live
        {0, 1}
    """

    def __init__(
        self,
        graph: CallGraph,
        calls: Iterable[int] | None = None,
        sources: Iterable[int] | None = None,
        sinks: Iterable[int] | None = None,
    ) -> None:
        self._graph = graph
        self._sinks = frozenset(graph.outputs if sinks is None else sinks)
        self._waiting = set(between(graph, graph.outputs, ())[0] if calls is None else calls)
        self._unread: dict[int, int] = {}
        self.live: set[int] = set()
        self._add(graph.inputs if sources is None else sources)

    @property
    def is_last(self) -> bool:
        """Whether no call is left to come."""
        return not self._waiting

    def advance(self, calls: Iterable[int]) -> None:
        """Move past some calls, after all those that they depend on."""
        for index in calls:
            call = self._graph.calls[index]
            if index in self._waiting:
                self._waiting.discard(index)
                for tensor in self._unread.keys() & call.inputs:
                    self._unread[tensor] -= 1
                    if not self._unread[tensor]:
                        self.live.discard(tensor)
                self._add(call.outputs)

    def _add(self, tensors: Iterable[int]) -> None:
        for tensor in tensors:
            users = self._graph.tensors[tensor].users
            # A sink is read after the last call, so its count never falls to zero.
            self._unread[tensor] = sum(u in self._waiting for u in users) + (tensor in self._sinks)
            if self._unread[tensor]:
                self.live.add(tensor)


def head(graph: CallGraph, tensors: Iterable[int]) -> set[int]:
    """Indices of the calls that compute some tensors, those of the model's inputs among them."""
    calls, inputs = between(graph, tensors, ())
    return {*calls, *(graph.tensors[tensor].maker for tensor in inputs)}


def carried_past(graph: CallGraph, exits: Sequence[int]) -> tuple[int, ...]:
    """The tensors that bypass an end: live after it, other than its own, ascending."""
    frontier = Frontier(graph)
    frontier.advance(sorted(head(graph, exits)))
    return tuple(sorted(frontier.live.difference(exits)))


class Start:
    """A start of slices, and what can be computed from it.

    Args:
        graph: The call graph.
        entries: Indices of the tensors that a slice from here accepts.
        calls: Indices of the calls that the start consists of; none if it is a tensor.

    Example:
        >>> import keras
        >>> from cutwidgets.graph.reader import read
        >>> x = keras.Input((8,))
        >>> y = keras.layers.Dense(8)(keras.layers.Dense(8)(x))
        >>> graph = read(keras.Model(x, keras.layers.Add()([x, y])))
        >>> second = Start(graph, graph.calls[2].inputs, [2])
        >>> second.leads_to([2]), second.bypassed_by([2]), second.bypassed_by([3])
        (True, (), (0,))
    """

    def __init__(self, graph: CallGraph, entries: Sequence[int], calls: Collection[int]) -> None:
        # For each tensor the bits of an integer, as a union is then a single operation: bit 0 if
        # the start leads to it, and bit 1 + t if it needs the tensor t, which bypasses the start.
        self._needs = [0] * len(graph.tensors)
        before, own, entry_set = head(graph, entries), frozenset(calls), frozenset(entries)
        for call in graph.calls:
            need = int(call.index in own)
            for tensor in call.inputs:
                need |= self._needs[tensor]
            for tensor in call.outputs:
                if call.index not in before:
                    self._needs[tensor] = need
                elif tensor in entry_set:
                    self._needs[tensor] = int(not own)
                else:
                    self._needs[tensor] = 2 << tensor

    def leads_to(self, exits: Iterable[int]) -> bool:
        """Whether some of these tensors depend on the start."""
        return any(self._needs[tensor] & 1 for tensor in exits)

    def bypassed_by(self, exits: Iterable[int]) -> tuple[int, ...]:
        """The tensors that bypass the start on the way to others, ascending."""
        bits = 0
        for tensor in exits:
            bits |= self._needs[tensor] >> 1
        return tuple(i for i in range(bits.bit_length()) if bits >> i & 1)
