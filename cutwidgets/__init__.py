"""Cut Keras models between their blocks.

`anatomy` finds the blocks, `cut` and `split` give plain Keras models, `check` verifies them, and
`CutPanel` does all of it with two clicks in a notebook.
"""

import lazy_loader

# The names are in `__init__.pyi`, where type checkers find them, and are imported when they are
# used: the help of the command line needs no Keras, and a cut in a script no widgets.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
