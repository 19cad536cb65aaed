"""Hundreds of random models: what cutwidgets says, against a search and a computation by hand."""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cutwidgets as cw
from cutwidgets.surgery.slicing import section
from random_graphs import Mix, Verdict, Wire, Wiring, build, programs

pytestmark = pytest.mark.timeout(900)  # where one fails, hypothesis takes minutes to shrink it

numbers = st.integers(0, 30)


def on_random_models(examples: int, **more: st.SearchStrategy):
    """The same models in every run; a failure prints the program of the smallest that fails."""

    def decorate(test):
        settle = settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        return settle(given(program=programs(), **more)(test))

    return decorate


@dataclass
class Case:
    """A random model, what its tensors hold for a random input, and what cutwidgets reads."""

    wiring: Wiring
    anatomy: cw.Anatomy
    values: dict[int, object]
    order: dict[int, int]

    @property
    def model(self) -> keras.Model:
        return self.wiring.model

    @property
    def places(self) -> dict[str, Wire]:
        """All calls of layers and nested models, by name."""
        return {**self.wiring.calls, **self.wiring.nests}

    @property
    def calls(self) -> list[str]:
        """All calls but the inputs, in the order of computation."""
        return [call.name for call in self.anatomy.graph.calls if call.inputs]

    def exits(self, end: str | None) -> tuple[int, ...]:
        return self.wiring.outputs if end is None else self.places[end].makes

    def verdict(self, start: str, end: str | None) -> Verdict:
        wire = self.places[start]
        calls = wire.inside or ((start,) if wire.reads else ())
        return self.wiring.verdict(wire.entries, calls, self.exits(end))

    def sorted(self, tensors) -> list[int]:
        return sorted(tensors, key=self.order.__getitem__)

    def takes(self, entries, verdict: Verdict) -> list[int]:
        """What a slice takes: its start's own tensors, then the others in order."""
        own = [tensor for tensor in entries if tensor in verdict.takes]
        return own + self.sorted(set(verdict.takes) - set(own))

    def makers(self, tensors) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(self.wiring.maker, self.sorted(tensors))))

    def numbers(self, indices) -> tuple[int, ...]:
        """The numbers that the record has for tensors that cutwidgets gives an index."""
        number = {index: number for number, index in self.order.items()}
        return tuple(number[index] for index in indices)

    def frontier(self, places: list[str]) -> list[int]:
        """What pieces hand on behind the last of the places."""
        head = self.wiring.head(t for place in places for t in self.exits(place))
        exits = self.exits(places[-1])
        live = self.wiring.live(self.wiring.outputs, head)
        return [*exits, *self.sorted(live - set(exits))]


def case_of(program) -> Case:
    wiring = build(program)
    anatomy = cw.anatomy(wiring.model)
    order = {}
    for call in anatomy.graph.calls:
        order.update(zip(wiring.calls[call.name].makes, call.outputs, strict=True))
    return Case(wiring, anatomy, wiring.run(wiring.random_inputs()), order)


def call(model: keras.Model, values: list) -> list:
    return keras.tree.flatten(model(keras.tree.pack_sequence_as(model.input, values)))


def assert_gives(case: Case, part: keras.Model, takes, gives):
    """The slice computes what the record says, to the last bit."""
    assert [tuple(x.shape) for x in part.inputs] == [
        (None, *case.values[tensor].shape[1:]) for tensor in takes
    ]
    made = call(part, [case.values[tensor] for tensor in takes])
    assert len(made) == len(gives)
    for value, tensor in zip(made, gives, strict=True):
        np.testing.assert_array_equal(value, case.values[tensor])


def nodes(case: Case) -> list[int]:
    """How many calls Keras has noted for each layer and operation."""
    operations = [symbol._keras_history.operation for symbol, _ in case.wiring.symbols]
    return [len(operation._inbound_nodes) for operation in operations]


@contextmanager
def refused(case: Case, kind: type[cw.CutError]):
    """An error of exactly this kind, that leaves nothing behind."""
    before = nodes(case)
    with pytest.raises(cw.CutError) as caught:
        yield caught
    assert type(caught.value) is kind, str(caught.value)
    assert nodes(case) == before


def state(case: Case) -> list:
    model = case.model
    layers = list(model._flatten_layers())
    output = call(model, [case.values[tensor] for tensor in case.wiring.inputs])
    return [
        str(model.get_config()),
        [layer.name for layer in layers],
        [layer.trainable for layer in layers],
        [np.asarray(weight).tobytes() for weight in model.get_weights()],
        [np.asarray(value).tobytes() for value in output],
    ]


@contextmanager
def untouched(case: Case):
    """The model is the same afterwards."""
    before = state(case)
    yield
    assert state(case) == before


# --- Reading --------------------------------------------------------------------------------------


def the_graph_is_read_as_it_was_built(case, shift):
    wiring, graph = case.wiring, case.anatomy.graph
    assert sorted(call.name for call in graph.calls) == sorted(wiring.calls)
    for call_ in graph.calls:
        reads = wiring.calls[call_.name].reads
        assert case.numbers(call_.reads) == reads
        assert case.numbers(call_.inputs) == tuple(dict.fromkeys(reads))
        assert all(graph.maker(tensor).index < call_.index for tensor in call_.inputs)
    assert case.numbers(graph.inputs) == wiring.inputs
    assert case.numbers(graph.outputs) == wiring.outputs
    assert sorted(nest.call.name for nest in graph.nests) == sorted(wiring.nests)
    for nest in graph.nests:
        wire = wiring.nests[nest.call.name]
        assert case.numbers(nest.call.reads) == wire.reads
        assert case.numbers(nest.call.outputs) == wire.makes
        assert {graph.calls[index].name for index in nest.inside} == set(wire.inside)
    # The record itself is right.
    given_ = [case.values[tensor] for tensor in wiring.inputs]
    for value, tensor in zip(call(case.model, given_), wiring.outputs, strict=True):
        np.testing.assert_array_equal(value, case.values[tensor])


# --- Cutting --------------------------------------------------------------------------------------


def check_cut(case: Case, start: str, end: str | None):
    """A cut does what the search says: it is exact, or refused for the right reason."""
    verdict = case.verdict(start, end)
    cut = partial(cw.cut, case.model, start, end)
    if not verdict.possible:
        with refused(case, cw.CutError):
            cut()
    elif verdict.bypassing:
        with refused(case, cw.BypassedCutError) as caught:
            cut()
        assert caught.value.place == start
        assert caught.value.bypasses == case.makers(verdict.bypassing)
        check_nearest(case, caught.value, end)
    else:
        takes = case.takes(case.places[start].entries, verdict)
        assert_gives(case, cut(), takes, case.exits(end))


def check_nearest(case: Case, error: cw.BypassedCutError, end: str | None):
    """What the error proposes works, and it proposes something if there is anything."""
    for nearest in error.nearest:
        section(case.anatomy, nearest, end)
    graph = case.anatomy.graph
    verdicts = [
        case.wiring.verdict(
            case.numbers(block.entries),
            [graph.calls[index].name for index in block.calls],
            case.exits(end),
        )
        for block in case.anatomy
    ]
    assert bool(error.nearest) == any(verdict.legal for verdict in verdicts)


def a_cut_is_exact_or_refused(case, shift):
    places = list(case.places)
    for position, start in enumerate(places):
        check_cut(case, start, None)
        check_cut(case, start, places[(position + shift) % len(places)])


def what_bypasses_becomes_an_input(case, shift):
    places = list(case.places)
    for position, start in enumerate(places):
        for end in (None, places[(position + shift) % len(places)]):
            verdict = case.verdict(start, end)
            cut = partial(cw.cut, case.model, start, end, allow_bypass=True)
            if verdict.possible:
                takes = case.takes(case.places[start].entries, verdict)
                assert_gives(case, cut(), takes, case.exits(end))
            else:
                with refused(case, cw.CutError):
                    cut()


def several_ends_are_exact_or_refused(case, shift):
    """Up to three ends at once, under keys in the reverse order."""
    places = list(case.places)
    start = places[shift % len(places)]
    for position in range(len(places)):
        some = list(dict.fromkeys(places[(position + k * shift) % len(places)] for k in range(3)))
        ends = {f"k{9 - number}": end for number, end in enumerate(some)}
        verdicts = [case.verdict(start, end) for end in some]
        for allow_bypass in (False, True):
            cut = partial(cw.cut, case.model, start, ends, allow_bypass=allow_bypass)
            if not all(verdict.possible for verdict in verdicts):
                with refused(case, cw.CutError):
                    cut()
            elif any(verdict.bypassing for verdict in verdicts) and not allow_bypass:
                with refused(case, cw.BypassedCutError) as caught:
                    cut()
                crossing = {tensor for verdict in verdicts for tensor in verdict.bypassing}
                assert caught.value.bypasses == case.makers(crossing)
                for nearest in caught.value.nearest:
                    section(case.anatomy, nearest, ends)
            else:
                part = cut()
                assert list(part.output) == list(ends)
                entries = case.places[start].entries
                taken = {tensor for verdict in verdicts for tensor in verdict.takes}
                own = [tensor for tensor in entries if tensor in taken]
                takes = own + case.sorted(taken - set(own))
                assert_gives(
                    case, part, takes, [t for k in sorted(ends) for t in case.exits(ends[k])]
                )
                calls = [section(case.anatomy, start, e, allow_bypass=True).calls for e in some]
                together = section(case.anatomy, start, ends, allow_bypass=True).calls
                assert together == tuple(sorted(set().union(*calls)))


def every_call_is_an_end(case, shift):
    for end in case.calls:
        part = cw.cut(case.model, None, end)
        live = case.wiring.live(case.exits(end), set())
        takes = [tensor for tensor in case.wiring.inputs if tensor in live]
        assert_gives(case, part, takes, case.exits(end))


def a_tensor_is_a_place(case, shift):
    for symbol, tensors in case.wiring.symbols:
        if len(tensors) > 1:
            with refused(case, cw.UnknownPlaceError):
                cw.cut(case.model, symbol)
            continue
        exits = tuple(tensors)
        verdict = case.wiring.verdict(exits, (), case.wiring.outputs)
        if verdict.possible:
            part = cw.cut(case.model, symbol, allow_bypass=True)
            assert_gives(case, part, case.takes(exits, verdict), case.wiring.outputs)
        if exits[0] not in case.wiring.inputs:
            part = section(case.anatomy, None, symbol)
            assert case.numbers(part.outputs) == exits
        if verdict.bypassing and verdict.possible:
            with refused(case, cw.BypassedCutError) as caught:
                cw.cut(case.model, symbol)
            assert caught.value.bypasses == case.makers(verdict.bypassing)


def copies_are_exact(case, shift):
    start = case.calls[shift % len(case.calls)]
    verdict = case.verdict(start, None)
    if verdict.possible:
        before = nodes(case)
        part = cw.cut(case.model, start, weights="copy", allow_bypass=True)
        assert nodes(case) == before
        takes = case.takes(case.places[start].entries, verdict)
        assert_gives(case, part, takes, case.wiring.outputs)


def a_second_cut_adds_no_nodes(case, shift):
    ends = [end for end in case.calls if case.verdict(case.calls[0], end).possible]

    def cut_all():
        for end in ends:
            cw.cut(case.model, case.calls[0], end, allow_bypass=True)
        return nodes(case)

    assert cut_all() == cut_all()


# --- Splitting ------------------------------------------------------------------------------------


def check_pieces(case: Case, pieces: list[keras.Model], places: list[str]):
    """Pieces fit each other, and every one gives what the model has there."""
    frontiers = [case.frontier(places[: i + 1]) for i in range(len(places))]
    between = [case.wiring.inputs, *frontiers, case.wiring.outputs]
    assert len(pieces) == len(places) + 1
    value = [case.values[tensor] for tensor in case.wiring.inputs]
    for i, piece in enumerate(pieces):
        assert_gives(case, piece, between[i], between[i + 1])
        value = call(piece, value)
    for made, tensor in zip(value, case.wiring.outputs, strict=True):
        np.testing.assert_array_equal(made, case.values[tensor])


def leaves_something(case: Case, places: list[str]) -> bool:
    """Whether there is a piece before the first place, and one behind the last."""
    outputs, last = set(case.wiring.outputs), set(case.frontier(places))
    return not outputs <= last and not set(case.frontier(places[:1])) <= set(case.wiring.inputs)


def a_model_splits_at_cut_points_only(case, shift):
    proposed = set()
    for place in case.places:
        carried = set(case.frontier([place])) - set(case.exits(place))
        split = partial(cw.split, case.model, place)
        if carried:
            with refused(case, cw.BypassedCutError) as caught:
                split()
            assert caught.value.bypasses == case.makers(carried)
            proposed.update(caught.value.nearest)
        elif leaves_something(case, [place]):
            check_pieces(case, split(), [place])
        else:
            with refused(case, cw.CutError):
                split()
    for nearest in proposed:
        assert len(cw.split(case.model, nearest)) == 2


def pieces_hand_on_what_bypasses(case, shift):
    # What no output needs, as a nested model's input that it does not read, is handed on by nobody.
    needed = case.wiring.head(case.wiring.outputs)
    for position, first in enumerate(case.calls):
        later = [call for call in case.calls[position + 1 :] if call in needed]
        places = [first, later[shift % len(later)]] if later else [first]
        split = partial(cw.split, case.model, *places, allow_bypass=True)
        if leaves_something(case, places):
            check_pieces(case, split(), places)
        else:
            with refused(case, cw.CutError):
                split()


def places_out_of_order_are_refused(case, shift):
    for first in case.calls:
        for before in case.wiring.head(case.exits(first)) & set(case.calls) - {first}:
            with refused(case, cw.CutError):
                cw.split(case.model, first, before, allow_bypass=True)


# --- Check and anatomy ----------------------------------------------------------------------------


def legal_cuts_are_verified(case, shift):
    legal = [
        (start, end)
        for start in case.calls
        for end in (None, *case.calls)
        if case.verdict(start, end).legal
    ]
    for start, end in legal[shift % 5 :: 5][:4]:
        assert cw.check(case.model, start, end).ok


def blocks_divide_the_calls(case, shift):
    wiring, graph = case.wiring, case.anatomy.graph
    indices = [index for block in case.anatomy for index in block.calls]
    assert sorted(graph.calls[index].name for index in indices) == sorted(case.calls)
    for block in case.anatomy:
        names = [graph.calls[index].name for index in block.calls]
        assert block.layers == tuple(names)
        made = wiring.made_by(names)
        read = {tensor for name in names for tensor in wiring.calls[name].reads}
        assert set(case.numbers(block.entries)) == read - made
        users = {tensor: set(wiring.graph[tensor]) for tensor in made}
        leaving = {t for t in made if t in wiring.outputs or users[t] - set(names)}
        # A model may leave outputs of a nested model unused: then what nobody reads is the end.
        unread = {t for t in made if not users[t]}
        assert set(case.numbers(block.exits)) == (leaving or unread)
        section(case.anatomy, None, block)
        section(case.anatomy, None, block.name)
    assert len({block.name for block in case.anatomy}) == len(case.anatomy)
    assert "<svg" in case.anatomy.svg


# --- Removal --------------------------------------------------------------------------------------


def swapped(case: Case, old: int, new: int) -> tuple[dict[int, object], set[str]]:
    """What the tensors hold, and which calls are needed, if one is read in place of another."""
    wiring, values = case.wiring, dict(case.values)
    values[old] = values[new]
    for wire in wiring.calls.values():
        if wire.function is not None and old not in wire.makes:
            made = keras.tree.flatten(wire.function(*(values[t] for t in wire.reads)))
            values.update(zip(wire.makes, made, strict=True))
    needed, waiting = set(), list(wiring.outputs)
    while waiting:
        tensor = waiting.pop()
        call = wiring.maker(new if tensor == old else tensor)
        if call not in needed:
            needed.add(call)
            waiting += wiring.calls[call].reads
    return values, needed


def a_block_is_removed_alone_or_not_at_all(case, shift):
    wiring = case.wiring
    inputs = [case.values[tensor] for tensor in wiring.inputs]
    before = wiring.head(wiring.outputs)
    for block in case.anatomy:
        try:
            smaller = cw.remove(case.model, block)
        except cw.CutError:
            continue
        names = set(block.layers)
        made = wiring.made_by(names)
        read = made | {tensor for name in names for tensor in wiring.calls[name].reads}
        found = call(smaller, inputs[: len(smaller.inputs)]) if len(inputs) == 1 else None
        alternatives = [
            (values, before - needed)
            for old in made
            for new in read - {old}
            if case.values[new].shape == case.values[old].shape and old not in wiring.before[new]
            for values, needed in [swapped(case, old, new)]
        ]
        # Some way of reading one tensor in place of another takes calls of this block alone...
        alone = [values for values, gone in alternatives if gone and gone <= names]
        if before.isdisjoint(names):  # no output needs the block, so nothing changes
            alone = [case.values]
        assert alone
        # ... and that is what the smaller model computes.
        if found is not None:
            assert any(
                all(
                    np.array_equal(value, values[tensor])
                    for value, tensor in zip(found, wiring.outputs, strict=True)
                )
                for values in alone
            )


def assert_same(case: Case, changed: keras.Model):
    inputs = [case.values[tensor] for tensor in case.wiring.inputs]
    assert changed.name == case.model.name
    for value, tensor in zip(call(changed, inputs), case.wiring.outputs, strict=True):
        np.testing.assert_array_equal(value, case.values[tensor])


def some_layers(case: Case, shift: int):
    """A function that chooses some layers of one output, at least one."""
    needed = case.wiring.head(case.wiring.outputs)
    calls = [c for c in case.anatomy.graph.calls if c.inputs and c.name in needed]
    layers_ = [c.layer for c in calls if isinstance(c.layer, keras.Layer) and len(c.outputs) == 1]
    ids = {id(layer) for layer in layers_[shift % 3 :: 1 + shift % 2] or layers_}
    return (lambda layer: id(layer) in ids) if ids else None


def inserted_identities_change_nothing(case, shift):
    needed = case.wiring.head(case.wiring.outputs)
    tensors = [c.outputs[0] for c in case.anatomy.graph.calls if c.name in needed]
    symbols = [case.anatomy.graph.tensors[t] for t in tensors]
    outer = [t.aliases[0] for t in symbols if not t.nested and t.dtype == "float32"][shift % 2 :: 2]
    for places in filter(None, [some_layers(case, shift), outer]):
        for layer in (keras.layers.Identity(), lambda: keras.layers.Activation("linear")):
            assert_same(case, cw.insert(case.model, after=places, layer=layer))


def layers_replaced_by_copies_change_nothing(case, shift):
    places = some_layers(case, shift)
    if places:
        changed = cw.replace(case.model, places, lambda layer: layer)
        assert_same(case, changed)
        ids = {id(layer) for layer in changed._flatten_layers()}
        chosen = [layer for layer in case.model._flatten_layers() if places(layer)]
        assert chosen
        assert not [layer for layer in chosen if id(layer) in ids]


def a_comparison_finds_a_changed_layer(case, shift):
    assert cw.compare(case.model, case.model).same
    needed = case.wiring.head(case.wiring.outputs)
    calls = [c for c in case.anatomy.graph.calls if c.name in needed and isinstance(c.layer, Mix)]
    if calls:
        layer = calls[shift % len(calls)].layer
        other = Mix(layer.seed + 1, name=layer.name)
        changed = cw.replace(case.model, lambda each: each is layer, other)
        difference = cw.compare(case.model, changed)
        assert not difference.same
        found = {row.layer.split("/")[-1].split("#")[0] for row in difference.rows if row.layer}
        assert layer.name in found, difference


# --- All of it on one model ------------------------------------------------------------------

PROPERTIES = [
    the_graph_is_read_as_it_was_built,
    a_cut_is_exact_or_refused,
    what_bypasses_becomes_an_input,
    several_ends_are_exact_or_refused,
    every_call_is_an_end,
    a_tensor_is_a_place,
    copies_are_exact,
    a_second_cut_adds_no_nodes,
    a_model_splits_at_cut_points_only,
    pieces_hand_on_what_bypasses,
    places_out_of_order_are_refused,
    legal_cuts_are_verified,
    blocks_divide_the_calls,
    a_block_is_removed_alone_or_not_at_all,
    inserted_identities_change_nothing,
    layers_replaced_by_copies_change_nothing,
    a_comparison_finds_a_changed_layer,
]


@on_random_models(30, shift=numbers)
def test_what_holds_for_every_model(program, shift):
    case = case_of(program)
    with untouched(case):
        for holds in PROPERTIES:
            holds(case, shift)
