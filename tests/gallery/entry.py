"""What the gallery says about a network: how it is built, and the blocks that its source gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import keras


@dataclass(frozen=True)
class Entry:
    """A network and its anatomy as its author describes it.

    Attributes:
        name: Its name in the gallery.
        build: Builds it, without weights from elsewhere.
        source: The paper, with section, table or figure, or the code that it follows.
        blocks: Number of blocks by kind; a range where the source leaves it open.
        stages: Number of blocks of each stage, in order. A stage shares a resolution and a width;
            a downsampling layer that stands alone opens the stage that it leads to. Empty where the
            source has no stages.
        note: What the author calls a block, and what is hard about the network.
        names: Names that some of the stages must have.
        shortcuts: Number of residual blocks by shortcut, where the source says it.
        long_sums: Number of sums that belong to the network and not to a block: they add what
            several blocks compute, as where the paths of an hourglass meet.
        differs: Where our blocks and the author's still differ, and why, in a sentence; empty if
            they are the same.
        package: The package that it is built from, if it is an optional one.
    """

    name: str
    build: Callable[[], keras.Model]
    source: str
    blocks: Mapping[str, int | range]
    stages: tuple[int, ...]
    note: str = ""
    names: tuple[str, ...] = ()
    shortcuts: Mapping[str, int] = field(default_factory=dict)
    long_sums: int = 0
    differs: str = ""
    package: str = ""
