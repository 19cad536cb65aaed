"""Tables of named rows: as text, as HTML, and as a DataFrame of pandas."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from .errors import UnknownPlaceError, similar
from .extras import needs
from .text import number_text

if TYPE_CHECKING:
    import pandas as pd

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its name in the DataFrame.
        heading: Its heading for people; the name if empty.
        value: Returns the value for a row; `None` for the row's attribute of the column's name.
        text: Returns the text for a row; `None` to write the value, numbers with SI prefixes.
        unit: The unit of the numbers.
        full: The number whose bar fills the cell; 0 for no bars.
        left: Whether it is aligned to the left.
        hidden: Whether only the DataFrame has it.
    """

    name: str
    heading: str = ""
    value: Callable[[Any], Any] | None = None
    text: Callable[[Any], str] | None = None
    unit: str = ""
    full: float = 0
    left: bool = False
    hidden: bool = False

    def value_of(self, row: Any) -> Any:
        """The value for a row."""
        return getattr(row, self.name) if self.value is None else self.value(row)

    def text_of(self, row: Any) -> str:
        """The text for a row."""
        if self.text is not None:
            return self.text(row)
        value = self.value_of(row)
        return number_text(value, self.unit) if isinstance(value, int | float) else str(value or "")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with columns.

    Attributes:
        columns: The columns, from left to right.
        rows: The rows, from top to bottom.
        caption: What the numbers are.
        total: A last row for all others together, which the DataFrame does not have.
        bold: The rows that stand out in HTML.
    """

    columns: Sequence[Column]
    rows: Sequence[Any]
    caption: str = ""
    total: Any = None
    bold: Collection[Any] = ()

    def frame(self) -> "pd.DataFrame":
        """The values as a DataFrame, with all columns.

        Example:
            >>> table = Table([Column("block", value=str), Column("letters", value=len)], ["Stem"])
            >>> table.frame().to_dict("records")
            [{'block': 'Stem', 'letters': 4}]
        """
        with needs("lab", "A table"):  # slow to import, and not everybody has it
            import pandas as pd

        values = {column.name: list(map(column.value_of, self.rows)) for column in self.columns}
        return pd.DataFrame(values)

    def text(self) -> str:
        """The table as lines of text.

        Example:
            >>> columns = [Column("block", value=str, left=True), Column("letters", value=len)]
            >>> print(Table(columns, ["stem", "top"]).text())
            block  letters
            stem         4
            top          3
        """
        columns, rows = self._shown()
        cells = [list(map(_heading, columns))]
        cells += [[column.text_of(row) for column in columns] for row in rows]
        widths = [max(map(len, texts)) for texts in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                text.ljust(width) if column.left else text.rjust(width)
                for text, width, column in zip(texts, widths, columns, strict=True)
            ).rstrip()
            for texts in cells
        ]
        return "\n".join([*lines, *(["", self.caption] if self.caption else [])])

    def html(self, title: str = "") -> str:
        """The table as HTML, with bars below the numbers of columns that have them.

        Example:
            >>> ">stem<" in Table([Column("block", value=str)], ["stem"]).html()
            True
        """
        columns, rows = self._shown()
        heads = "".join(f'<th style="{_style(c)}">{escape(_heading(c))}</th>' for c in columns)
        body = "".join(self._html_row(row, columns) for row in rows)
        caption = ": ".join(filter(None, (title, self.caption)))
        return (
            '<table style="border-collapse:collapse;color:inherit">'
            f'<caption style="text-align:left;color:inherit">{escape(caption)}</caption>'
            f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _shown(self) -> tuple[list[Column], list[Any]]:
        columns = [column for column in self.columns if not column.hidden]
        return columns, [*self.rows, *([] if self.total is None else [self.total])]

    def _html_row(self, row: Any, columns: Sequence[Column]) -> str:
        cells = ""
        for column in columns:
            has_bar = column.full and row is not self.total
            bar = _bar(column.value_of(row) / column.full) if has_bar else ""
            cells += f'<td style="{_style(column)}">{escape(column.text_of(row))}{bar}</td>'
        style = "border-top:1px solid;" if row is self.total else ""
        if row is self.total or row in self.bold:
            style += "font-weight:bold"
        return f'<tr style="{style}">{cells}</tr>'


def _heading(column: Column) -> str:
    return column.heading or column.name


def _style(column: Column) -> str:
    return f"text-align:{'left' if column.left else 'right'};padding:2px 8px"


def _bar(share: float) -> str:
    """A bar below a number; none for a share of 0."""
    # This blue stands out on white and on black.
    style = f"width:{100 * share:.0f}%;height:3px;margin-left:auto;background:#4a8fd0"
    return f'<div style="{style}"></div>' if share else ""


@dataclass(frozen=True, repr=False)
class Rows(Generic[Row]):
    """The rows of a model, by name or index. They show themselves as a table in a notebook.

    Attributes:
        name: Name of the model.
        rows: The rows, in the order of computation.
    """

    name: str
    rows: tuple[Row, ...]
    _key: ClassVar[str] = "name"  # the attribute with a row's name
    _noun: ClassVar[str] = "block"  # what a row is, for error messages

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        """The rows, in the order of computation."""
        return iter(self.rows)

    def __getitem__(self, place: str | int) -> Row:
        """A row by its name or its index; negative indices count from the end.

        Raises:
            UnknownPlaceError: If there is no such row.
        """
        if isinstance(place, Integral) and -len(self) <= place < len(self):
            return self.rows[place]
        if not isinstance(place, str):
            raise self._no_such(place)
        names = [getattr(row, self._key) for row in self.rows]
        if place not in names:
            raise UnknownPlaceError(
                place,
                f"The model {self.name!r} has no {self._noun} {place!r}.",
                similar(place, names),
            )
        return self.rows[names.index(place)]

    def _no_such(self, place: object) -> UnknownPlaceError:
        return UnknownPlaceError(
            place,
            f"The model {self.name!r} has {len(self)} {self._noun}s, numbered 0 to "
            f"{len(self) - 1}. Received: {place!r}.",
        )

    @property
    def table(self) -> "pd.DataFrame":
        """All numbers as a DataFrame of pandas."""
        return self._table().frame()

    def _table(self) -> Table:
        raise NotImplementedError

    def __repr__(self) -> str:
        """The rows as a table of text."""
        return self._table().text()

    def _repr_html_(self) -> str:
        return self._table().html(self.name)
