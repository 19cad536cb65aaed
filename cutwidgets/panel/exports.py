"""The diagram as a panel shows it, to save to a file: with the slice, and colours of a study."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..blocks import flow
from ..drawing import block_diagram
from ..drawing.dot import in_dark
from ..drawing.folding import Card
from ..drawing.marks import Marks, Values
from ..structure.anatomy import Anatomy
from .ends import each


@dataclass(frozen=True, slots=True)
class View:
    """What a view of a panel shows, besides the state of the panel.

    Attributes:
        colours: Whether the cards show the values of the last study of *Lab*.
        unfolded: The run of blocks that is open; `None` if none is.
        dark: Whether its colours are dark.
        tab: The tab in front, one of `panel.PARTS`; `""` for the first.
    """

    colours: bool = True
    unfolded: Card | None = None
    dark: bool = False
    tab: str = ""


def dot(anatomy: Anatomy, state: Mapping[str, Any], view: View) -> str:
    """The diagram of a panel in DOT.

    Args:
        anatomy: The anatomy of its model.
        state: Values of the panel's traits by name.
        view: What else is shown.

    Example:
        >>> import cutwidgets as cw
        >>> import keras
        >>> panel = cw.CutPanel(keras.applications.ResNet50(include_top=False, weights=None))
        >>> panel.selection = ("conv3_block1", "conv4_block6")
        >>> state = {name: getattr(panel, name) for name in ("selection", "_result")}
        >>> drawn = dot(cw.anatomy(panel.model), state, View())
        >>> [drawn.count(flag) for flag in ("START", "END")]
        [1, 1]
    """
    marks = _marks(anatomy, state, view.colours)
    network = anatomy.name, anatomy.blocks, anatomy.stages
    source = block_diagram.source(*network, view.unfolded, marks)
    return in_dark(source) if view.dark else source


def _marks(anatomy: Anatomy, state: Mapping[str, Any], coloured: bool) -> Marks:
    """What the panel marks. A cut that is impossible has ends, and edges that make it so."""
    result, study = state.get("_result", {}), state.get("_lab", {})
    values = _values(study) if coloured and study.get("values") else None
    if "range" in result:
        calls = set(result["calls"])
        lit = [i for i, block in enumerate(anatomy) if not calls.isdisjoint(block.calls)]
        first, last = result["range"]
        ends = tuple(result.get("ends", [last]))
        return Marks(frozenset(lit), first, ends, values=values)
    position = {name: i for i, block in enumerate(anatomy) for name in (*block.layers, block.name)}
    start, end = state.get("selection") or ("", "")
    ends = tuple(position[place] for place in each(end) if place in position)
    crossing = result.get("crossing")
    edges = frozenset(_crossing(anatomy, **crossing) if crossing else ())
    return Marks(start=position.get(start), ends=ends, crossing=edges, values=values)


def _values(study: Mapping[str, Any]) -> Values:
    return Values(*(study[name] for name in ("title", "low", "high", "values", "texts")))


def _crossing(anatomy: Anatomy, makers: list[int], start: int) -> Iterator[str]:
    """Ids of the edges that carry the outputs of some blocks past the start of another."""
    for i, sources in enumerate(flow.sources(anatomy.blocks)):
        for k, source in enumerate(sources):
            if i < start or source not in makers:
                continue
            if k:
                yield f"skip-{i}-{k}"
            else:
                yield f"shortcut-{i}"
                if i > start:
                    yield f"spine-{i}"
