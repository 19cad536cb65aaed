"""Libraries that only some uses need, and that `pip install cutwidgets` therefore leaves out."""

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import CutwidgetsError


class MissingExtraError(CutwidgetsError, ImportError):
    """A library of one of the extras is not installed."""


@contextmanager
def needs(extra: str, purpose: str) -> Iterator[None]:
    """Around imports: replace the error for a missing library by one that says how to install it.

    Args:
        extra: The extra of `pyproject.toml` that brings the library.
        purpose: What needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: If a library that is imported in the block is not installed.

    Example:
        >>> with needs("lab", "A plot"):
        ...     import no_such_library
        Traceback (most recent call last):
        cutwidgets.extras.MissingExtraError: A plot needs no_such_library, which is not installed.
        Run: pip install "cutwidgets[lab]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{purpose} needs {error.name}, which is not installed. "
            f'Run: pip install "cutwidgets[{extra}]"'
        ) from error
