"""The list of edits between two sequences, compared with a search of all lists."""

from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cutwidgets.comparison.alignment import Element, align

ANYTHING = lambda i, j: 1.0  # noqa: E731


def elements(word):
    return [Element(letter) for letter in word]


def length(steps):
    return sum(step.status != "same" for step in steps)


def fewest(one, other):
    """The oracle: the fewest edits. Moves are tried for all pairs of equal letters."""

    @cache
    def distance(a, b):
        if not a or not b:
            return len(a) + len(b)
        return min(
            distance(a[1:], b[1:]) + (a[0] != b[0]),
            distance(a[1:], b) + 1,
            distance(a, b[1:]) + 1,
        )

    @cache
    def search(a, b):
        best = distance(a, b)
        for i, letter in enumerate(a):
            for j, same in enumerate(b):
                if letter == same:
                    without = a[:i] + a[i + 1 :], b[:j] + b[j + 1 :]
                    if best > 1:
                        best = min(best, 1 + search(*without))
        return best

    return search(tuple(one), tuple(other))


def applied(steps, one, other):
    """What the steps make of the first sequence."""
    return [other[s.other] if s.status in ("added", "changed") else one[s.one] for s in steps
            if s.other is not None]  # fmt: skip


words = st.lists(st.sampled_from("abcde"), max_size=6)
permutations = st.integers(1, 6).flatmap(lambda n: st.permutations("abcdef"[:n]))


@given(words, words)
@settings(max_examples=300, deadline=None)
def test_the_steps_lead_from_one_to_the_other(one, other):
    steps = align(elements(one), elements(other), ANYTHING)
    in_order = [step for step in steps if step.other is not None]
    assert [step.other for step in in_order] == list(range(len(other)))
    assert sorted(s.one for s in steps if s.one is not None) == list(range(len(one)))
    assert applied(in_order, one, other) == other
    stay = [step.one for step in steps if step.status in ("same", "changed")]
    assert stay == sorted(stay)


@given(permutations, permutations)
@settings(max_examples=300, deadline=None)
@example(list("abcdef"), list("fabcde"))
@example(list("abcdef"), list("bcxefa"))
def test_no_list_of_edits_is_shorter(one, other):
    assert length(align(elements(one), elements(other), ANYTHING)) == fewest(one, other)


@given(words, words)
@settings(max_examples=300, deadline=None)
def test_with_elements_that_occur_more_than_once_it_is_at_most_one_longer(one, other):
    assert length(align(elements(one), elements(other), ANYTHING)) <= fewest(one, other) + 1


def test_identities_tell_equal_elements_apart():
    one = [Element("block", identity=i) for i in (0, 2, 1, 3)]
    other = [Element("block", identity=i) for i in (0, 2, 1, 3)]
    steps = align(one, other, ANYTHING)
    assert [s.status for s in steps].count("moved") == length(steps) == 1
    assert length(align(elements("xxxx"), elements("xxxx"), ANYTHING)) == 0


def test_what_cannot_be_changed_is_removed_and_added():
    steps = align(elements("axc"), elements("ayc"), lambda i, j: 0)
    assert sorted(s.status for s in steps) == ["added", "removed", "same", "same"]
