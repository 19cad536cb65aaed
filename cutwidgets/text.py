"""Numbers and rows as a person reads them, in text and in HTML."""

from collections.abc import Sequence


def count_text(count: int) -> str:
    """A number of parameters in three or four letters.

    Example:
        >>> [count_text(count) for count in (0, 320, 9472, 280_064, 999_999, 102_764_544)]
        ['0', '320', '9.5 k', '280 k', '1.0 M', '103 M']
    """
    value, unit = float(count), ""
    for larger in ("k", "M", "G"):
        if value < 999.5:
            break
        value, unit = value / 1000, f" {larger}"
    return f"{value:.1f}{unit}" if unit and value < 9.95 else f"{value:.0f}{unit}"


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


def shape_text(shape: tuple[int | None, ...], scale: float = 1) -> str:
    """A shape as people write it, without the batch axis.

    Args:
        shape: A shape with the batch axis.
        scale: By how much the resolution is smaller than at the model's input, to say something
            where the lengths are not fixed.

    Example:
        >>> shape_text((None, 28, 28, 512)), shape_text((None, None, None, 512), scale=8)
        ('28×28×512', 'H/8×W/8×512')
    """
    letters = iter({4: "HW", 5: "DHW", 3: "L"}.get(len(shape), ""))
    ratio = "" if scale == 1 else f"/{scale:g}" if scale > 1 else f"·{1 / scale:g}"
    lengths = []
    for length in shape[1:]:
        letter = next(letters, "?") if length is None else ""
        lengths.append(f"{letter}{ratio}" if letter and letter != "?" else letter or str(length))
    return "×".join(lengths) or "scalar"
