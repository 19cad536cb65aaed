"""Numbers and rows as a person reads them, in text and in HTML."""

from collections.abc import Sequence


def readable(number: int) -> str:
    """A number in three digits, with a unit of the SI.

    Example:
        >>> readable(3857973248), readable(999_999), readable(12), readable(0)
        ('3.86 G', '1 M', '12 ', '0 ')
    """
    scaled, units = float(number), iter(["", "k", "M", "G", "T", "P", "E"])
    unit = next(units)
    while float(f"{scaled:.3g}") >= 1000:
        scaled, unit = scaled / 1000, next(units, unit)
    return f"{float(f'{scaled:.3g}'):g} {unit}"


def text_table(table: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows of cells as lines of text, the first columns flush left.

    Example:
        >>> print(text_table([("block", "MACs"), ("stem", "12")]))
        block  MACs
        stem     12
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    aligned = [
        [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        for cells in table
    ]
    return "\n".join("  ".join(cells).rstrip() for cells in aligned)


SIDES = ("text-align:left;padding:2px 8px", "text-align:right;padding:2px 8px")


def bar(share: float) -> str:
    """A bar to stand beneath a number in a table of HTML; none for a share of 0."""
    # This blue can be told from white and from black.
    style = f"width:{100 * share:.0f}%;height:3px;margin-left:auto;background:#4a8fd0"
    return f'<div style="{style}"></div>' if share else ""
