"""The anatomy of a model: its blocks and stages, with lookup, tables and diagrams."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import keras

from ..blocks.blocks import Block, Stage
from ..blocks.finding import find
from ..drawing import block_diagram, block_network, layer_diagram, rendering
from ..graph.callgraph import CallGraph
from ..graph.keras_internals import alone, functional, memory_of, state_of
from ..graph.reader import read
from ..tables import Column, Rows, Table
from ..text import shape_text

if TYPE_CHECKING:
    import networkx
    import pydot


@dataclass(frozen=True, repr=False)
class Anatomy(Rows[Block]):
    """A model's blocks and stages. Shows itself as a diagram in a notebook.

    Attributes:
        name: Name of the model.
        blocks: All blocks, in the order of computation.
        stages: Neighbouring blocks that share a resolution and a width.
        graph: The call graph of the model.

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

    stages: tuple[Stage, ...]
    graph: CallGraph = field(repr=False, compare=False)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, in the order of computation."""
        return self.rows

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

    def to_pydot(self) -> "pydot.Dot":
        """The diagram as an editable pydot graph, the type that `keras.utils.model_to_dot` returns.

        Example:
            >>> import cutwidgets as cw
            >>> import keras
            >>> graph = cw.anatomy(keras.applications.VGG16(weights=None)).to_pydot()
            >>> graph.set_rankdir("LR")
            >>> graph.to_string()[:7]
            'digraph'
        """
        import pydot  # slow to import

        graphs = pydot.graph_from_dot_data(self.dot)
        assert graphs is not None  # pydot's answer to DOT that it cannot read
        return graphs[0]

    def to_networkx(self) -> "networkx.MultiDiGraph[str]":
        """The blocks as a graph of networkx, with what the diagram shows as attributes.

        Nodes are the names of the blocks, and `"input"` and `"output"` (with a number if a block
        has that name). They have the attributes `kind`, `shortcut`, `stage`, `output` (the shape as
        the diagram writes it), `parameters`, `merges` (inside the block) and `shared` (whether a
        layer is called elsewhere too); those that a block has not are left out. Edges have the
        attribute `kind`: `"spine"` for the main input of a block, `"skip"` for a long skip
        connection, `"shortcut"` for that of a residual block, whose attribute `shortcut` is its
        kind. All values can be stored in GraphML, GEXF and JSON.

        Example:
            >>> import cutwidgets as cw
            >>> import keras
            >>> graph = cw.anatomy(keras.applications.ResNet50(weights=None)).to_networkx()
            >>> graph.nodes["conv3_block1"]["output"], graph.nodes["conv3_block1"]["stage"]
            ('28×28×512', 'conv3')
            >>> graph.edges["conv2_block3", "conv3_block1", "shortcut"]
            {'kind': 'shortcut', 'shortcut': 'projection'}
        """
        return block_network.network(self.name, self.blocks, self.stages)

    def html_table(self) -> str:
        """The blocks as a table of HTML.

        Example:
            >>> import cutwidgets as cw
            >>> import keras
            >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
            >>> "<table" in cw.anatomy(model).html_table()
            True
        """
        return self._table().html(self.name)

    def _repr_html_(self) -> str:
        return rendering.html(self.svg)

    def _repr_svg_(self) -> str:
        return self.svg

    def _table(self) -> Table:
        columns = [
            Column("block", value=lambda block: block.name, left=True),
            Column("kind", left=True),
            Column("shortcut", left=True),
            Column("stage", left=True),
            Column("output_shape", "output", text=_shape_text, left=True),
            Column("parameters", text=lambda block: f"{block.parameters:,}"),
        ]
        return Table(columns, self.rows)


def _shape_text(block: Block) -> str:
    return shape_text(block.output_shape, block.scale)


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
        UnsupportedModelError: If the model is subclassed, not built or not a Keras model.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> [block.name for block in cw.anatomy(keras.applications.VGG16(weights=None))]
        ['block1', 'block2', 'block3', 'block4', 'block5', 'classifier']
    """
    source = functional(model)
    state = [model.name, *state_of(source)]
    memory = memory_of(source)
    last_state, last = memory.get("anatomy", (None, None))
    if not isinstance(last, Anatomy) or state != last_state:
        graph = read(model)
        last = Anatomy(graph.name, *find(graph), graph)
        memory["anatomy"] = state, last
    return replace(last)  # without its cached pictures: weights may have been added
