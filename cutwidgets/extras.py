"""Libraries that `pip install cutwidgets` leaves out: those of the extras, and Keras's backends."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from .errors import CutwidgetsError

_BACKENDS = ("tensorflow", "jax", "torch")


class MissingExtraError(CutwidgetsError, ImportError):
    """A library of one of the extras, or Keras's backend, is not installed."""


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
        library = str(error.name).partition(".")[0]
        raise MissingExtraError(
            f"{purpose} needs {library}, which is not installed. "
            f'Run: pip install "cutwidgets[{extra}]"'
        ) from error


@contextmanager
def needs_backend() -> Iterator[None]:
    """Around imports of Keras: replace the error for a missing backend by one that says what to do.

    Raises:
        MissingExtraError: If Keras is configured for a backend that is not installed.

    Example:
        >>> with needs_backend():
        ...     import keras
    """
    try:
        yield
    except ModuleNotFoundError as error:
        backend = str(error.name).partition(".")[0]
        if backend not in _BACKENDS:
            raise
        message = f"Keras is configured for the backend {backend!r}, which is not installed."
        installed = [name for name in _BACKENDS if name != backend and find_spec(name)]
        if installed:
            message += f" Set KERAS_BACKEND={installed[0]} before you start Python, or install it:"
        else:
            message += " No other backend is installed either. Install it:"
        package = '"cutwidgets[tensorflow]"' if backend == "tensorflow" else backend
        raise MissingExtraError(f"{message} pip install {package}") from error
