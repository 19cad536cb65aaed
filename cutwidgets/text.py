"""Numbers and shapes, written for people."""


def number_text(number: float, unit: str = "") -> str:
    """A number in three digits, with a prefix of the SI, and of a unit if it has one.

    Example:
        >>> [number_text(number) for number in (0, 320, 9472, 999_999, 3857973248)]
        ['0', '320', '9.47 k', '1 M', '3.86 G']
        >>> number_text(401408, "B"), number_text(12, "MACs"), number_text(2.0**90)
        ('401 kB', '12 MACs', '1.24e+27')
    """
    if number >= 1e18:
        return f"{number:.3g} {unit}".rstrip()
    scaled, prefixes = float(f"{number:.3g}"), iter("kMGTP")
    prefix = ""
    while scaled >= 1000:
        scaled, prefix = scaled / 1000, next(prefixes)
    return f"{scaled:.3g} {prefix}{unit}".rstrip()


def percent_text(share: float) -> str:
    """A share in percent, with one decimal.

    Example:
        >>> percent_text(0.931), percent_text(0)
        ('93.1 %', '0.0 %')
    """
    return f"{100 * share:.1f} %"


def shape_text(shape: tuple[int | None, ...], scale: float = 1) -> str:
    """A shape without its batch axis, as people write it.

    Args:
        shape: A shape with the batch axis.
        scale: How many times lower the resolution is than at the model's input, for lengths that
            are not fixed.

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
