"""The anatomy of a model: its blocks and stages, by name and index, and as a diagram."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral

import keras

from ..blocks.blocks import Block, Stage
from ..blocks.finding import find
from ..drawing import block_diagram, layer_diagram, rendering
from ..errors import UnknownPlaceError, similar
from ..graph.callgraph import CallGraph
from ..graph.keras_internals import alone, functional, memory_of, state_of
from ..graph.reader import read
from ..text import shape_text, text_table


@dataclass(frozen=True, repr=False)
class Anatomy:
    """A model's blocks and stages. Shows itself as a diagram in a notebook.

    Attributes:
        name: Name of the model.
        blocks: All blocks, in the order of computation.
        stages: Neighbouring blocks that share a resolution and a width.
        graph: The call graph.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
        >>> len(anatomy), [len(stage.blocks) for stage in anatomy.stages]
        (18, [3, 4, 6, 3])
        >>> anatomy["conv3_block1"].shortcut, anatomy[0].kind
        ('projection', 'stem')
        >>> anatomy.svg[:4]
        '<svg'
    """

    name: str
    blocks: tuple[Block, ...]
    stages: tuple[Stage, ...]
    graph: CallGraph = field(repr=False, compare=False)

    def __len__(self) -> int:
        """The number of blocks."""
        return len(self.blocks)

    def __iter__(self) -> Iterator[Block]:
        """The blocks, in the order of computation."""
        return iter(self.blocks)

    def __getitem__(self, place: str | int) -> Block:
        """A block by its name or its index; negative indices count from the end.

        Raises:
            UnknownPlaceError: If there is no such block.
        """
        if isinstance(place, str):
            for block in self.blocks:
                if block.name == place:
                    return block
            names = [block.name for block in self.blocks]
            raise UnknownPlaceError(
                place, f"The model {self.name!r} has no block {place!r}.", similar(place, names)
            )
        if not isinstance(place, Integral) or not -len(self) <= place < len(self):
            raise UnknownPlaceError(
                place,
                f"The model {self.name!r} has {len(self)} blocks, numbered 0 to {len(self) - 1}. "
                f"Received: {place!r}.",
            )
        return self.blocks[place]

    @cached_property
    def dot(self) -> str:
        """The diagram in the DOT language of Graphviz."""
        return block_diagram.source(self.name, self.blocks, self.stages)

    @cached_property
    def svg(self) -> str:
        """The diagram as an SVG element."""
        return rendering.render(self.dot)

    def layers_svg(self, block: str | int) -> str:
        """The layers of a block, by its name or its index, as an SVG element.

        Raises:
            UnknownPlaceError: If there is no such block.

        Example:
            >>> import cutwidgets as cw
            >>> import keras
            >>> anatomy = cw.anatomy(keras.applications.ResNet50(weights=None))
            >>> "conv3_block2_add" in anatomy.layers_svg("conv3_block2")
            True
        """
        return rendering.render(layer_diagram.source(self.graph, self[block].calls))

    def _repr_html_(self) -> str:
        return rendering.html(self.svg)

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        """The blocks as a table of text."""
        rows = [("block", "kind", "shortcut", "stage", "output", "parameters")] + [
            (
                block.name,
                block.kind,
                block.shortcut or "",
                block.stage or "",
                shape_text(block.output_shape, block.scale),
                f"{block.parameters:,}",
            )
            for block in self.blocks
        ]
        return text_table(rows, left=len(rows[0]))


@alone
def anatomy(model: keras.Model) -> Anatomy:
    """Find the blocks and stages of a model from its graph, without changing the model.

    Blocks begin and end at cut points: tensors that every path from input to output passes through
    (single-entry single-exit regions: Johnson, Pearson, Pingali 1994, "The program structure
    tree"). A residual block (He et al. 2015, "Deep residual learning for image recognition") adds a
    branch to a shortcut.

    Args:
        model: A built functional or Sequential model.

    Raises:
        UnsupportedModelError: If the model is subclassed, not built or no Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> [block.name for block in cw.anatomy(keras.applications.VGG16(weights=None))]
        ['block1', 'block2', 'block3', 'block4', 'block5', 'classifier']
    """
    source = functional(model)
    state = [model.name, *state_of(source)]
    memory = memory_of(source)
    cached_state, cached = memory.get("anatomy", (None, None))
    if not isinstance(cached, Anatomy) or state != cached_state:
        graph = read(model)
        cached = Anatomy(graph.name, *find(graph), graph)
        memory["anatomy"] = state, cached
    return replace(cached)  # without cached diagrams: weights may have been added since
