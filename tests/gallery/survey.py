"""Compares the blocks of each network of the gallery with those that its source gives.

`python -m gallery.survey` prints a table of all, from the stored graphs; with words behind it, the
blocks of the networks that have one of them in their names.
"""

import sys
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import cutwidgets as cw
from cutwidgets.blocks.finding import find
from cutwidgets.graph.frontier import carried_past

from .entry import Entry
from .properties import PROPERTIES
from .sums import sums

ORDER = ("stem", "plain", "residual", "inception", "dense", "branched", "top", "classifier", "head")


@dataclass(frozen=True)
class Survey:
    """A network's anatomy beside what its source gives.

    Attributes:
        entry: What its source gives.
        anatomy: What we give.
    """

    entry: Entry
    anatomy: cw.Anatomy

    @cached_property
    def blocks(self):
        """Number of blocks by kind."""
        return dict(Counter(block.kind for block in self.anatomy))

    @cached_property
    def stages(self):
        """Number of blocks of each stage."""
        return tuple(len(stage.blocks) for stage in self.anatomy.stages)

    @cached_property
    def shortcuts(self):
        """Number of residual blocks by shortcut."""
        return dict(Counter(block.shortcut for block in self.anatomy if block.shortcut))

    @cached_property
    def long_sums(self):
        """The sums of what several blocks compute."""
        calls = self.anatomy.graph.calls
        return [calls[index].name for index, one in sums(self.anatomy).items() if not one]

    @cached_property
    def crossed(self):
        """Number of block ends that a skip of the network crosses."""
        return sum(bool(carried_past(self.anatomy.graph, block.exits)) for block in self.anatomy)

    @cached_property
    def differences(self):
        """Where it differs from the source: a dictionary of what is expected and what is not."""
        entry, names = self.entry, [stage.name for stage in self.anatomy.stages]
        pairs = {
            "blocks": (counts(entry.blocks, self.blocks), counts(self.blocks)),
            "shortcuts": (counts(entry.shortcuts), counts(self.shortcuts)),
            "stages": (lengths(entry.stages), lengths(self.stages)),
            "names": (" ".join(entry.names), " ".join(names)),
            "long sums": (str(entry.long_sums), str(len(self.long_sums))),
        }
        if not entry.shortcuts:
            del pairs["shortcuts"]
        if not entry.stages:
            del pairs["stages"]
        if {*entry.names} <= {*names}:
            del pairs["names"]
        return {what: pair for what, pair in pairs.items() if pair[0] != pair[1]}

    @cached_property
    def faults(self):
        """Where the properties of all networks do not hold, by property."""
        places = {check.__name__: check(self.anatomy) for check in PROPERTIES}
        return {name: found for name, found in places.items() if found}

    @property
    def row(self):
        """The line of a table."""
        state = ("differs in " + ", ".join(self.differences)) if self.differences else "same"
        return (
            f"{self.entry.name:30.30} {len(self.anatomy.graph.calls):5} {len(self.anatomy):6} "
            f"{len(self.stages):6} {self.crossed:7}  {counts(self.blocks):56} {state:26} "
            f"{self.entry.source.split(';')[0]}"
        )

    @property
    def details(self):
        """All that is compared, and all blocks."""
        entry = self.entry
        lines = [f"{entry.name}, of {entry.source}", f"  {entry.note}"]
        lines += [f"  It differs: {entry.differs}"] if entry.differs else []
        for what, (expected, actual) in self.differences.items():
            lines += [f"  {what}: the source has  {expected or '-'}"]
            lines += [f"  {'':{len(what)}}  we have         {actual or '-'}"]
        for check, places in self.faults.items():
            lines.append(f"  {check.replace('_', ' ')}: {short(places)}")
        lines += [f"  sums of several blocks: {short(self.long_sums)}"] if self.long_sums else []
        lines += [
            f"    {block.name:32} {block.kind:10} {block.shortcut or '-':10} "
            f"{block.stage or '-':12} {block.start} .. {block.end} ({len(block.layers)}) "
            f"{block.output_shape[1:]}"
            for block in self.anatomy
        ]
        return "\n".join(filter(str.strip, lines))


HEADING = (
    f"{'network':30} {'calls':>5} {'blocks':>6} {'stages':>6} {'crossed':>7}  {'by kind':56} "
    f"{'compared with its source':26} source"
)


def counts(numbers, actual=None):
    """Numbers by word as text, in the order of a network; a range is the actual number in it."""

    def text(word):
        number = numbers[word]
        if isinstance(number, range):
            fits = (actual or {}).get(word) in number
            return actual[word] if fits else f"{number.start} to {number.stop - 1}"
        return number

    words = sorted(numbers, key=lambda word: (ORDER.index(word) if word in ORDER else -1, word))
    return ", ".join(f"{text(word)} {word}" for word in words)


def lengths(stages):
    """The numbers of blocks of some stages as text."""
    return f"{len(stages)} of " + " ".join(map(str, stages))


def short(places):
    """The first of some places as text."""
    return ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")


def survey(entry, graph=None):
    """Compare a network with what its source gives; without its graph, it is built."""
    if graph is None:
        return Survey(entry, cw.anatomy(entry.build()))
    return Survey(entry, cw.Anatomy(graph.name, *find(graph), graph))


def main(words):
    """Print the table, or the details of the networks with one of the words in their names."""
    from .catalogue import CATALOGUE
    from .graphs import graph_of, read_store

    stored = read_store()
    results = []
    print(*[] if words else [HEADING], sep="\n")
    for entry in CATALOGUE:
        if not words or any(word.lower() in entry.name.lower() for word in words):
            result = survey(entry, graph_of(entry.name, stored))
            results.append(result)
            print(result.details if words else result.row, flush=True)
    same = sum(not result.differences for result in results)
    print(f"{same} of {len(results)} networks have the blocks of their sources.")


if __name__ == "__main__":
    main(sys.argv[1:])
