"""Cut Keras models between their blocks.

`anatomy` finds the blocks, `cut` and `split` give plain Keras models, `check` verifies them, and
`CutPanel` does all of it with two clicks in a notebook.
"""

from typing import Any

import lazy_loader

from .extras import needs_backend

# The names are in `__init__.pyi`, where type checkers find them, and are imported when they are
# used: the help of the command line needs no Keras, and a cut in a script no widgets.
_public_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # slower to import than all of this

        return version("cutwidgets")
    with needs_backend():
        return _public_name(name)
