"""The layer names of the ResNet50 in Keras 2.2 and before, which people learned by heart.

Its activations and additions had no names of their own: Keras numbered them over all models of a
session.
"""

import re
from collections.abc import Iterable

_BLOCKS_OF_RESNET50 = tuple(
    f"conv{stage}_block{number}"
    for stage, blocks in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True)
    for number in range(1, blocks + 1)
)

_ACTIVATIONS = (
    "conv1_relu",
    *(f"{block}_{name}" for block in _BLOCKS_OF_RESNET50 for name in ("1_relu", "2_relu", "out")),
)

_ADDITIONS = tuple(f"{block}_add" for block in _BLOCKS_OF_RESNET50)

_BRANCHES = {"1": "0", "2a": "1", "2b": "2", "2c": "3"}

_OTHERS = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn", "fc1000": "predictions"}


def modern_name(old: str, layers: Iterable[str]) -> str | None:
    """The current name of a layer of the old ResNet50.

    Args:
        old: A name such as `"res3a_branch2a"`, `"bn3a_branch2a"` or `"activation_89"`; the numbers
            start at 1, and each model has 49 activations and 16 additions.
        layers: Names of the model's layers.

    Returns:
        The name, or `None` if the model is no ResNet50 or has no such layer.

    Example:
        >>> import keras
        >>> layers = [layer.name for layer in keras.applications.ResNet50(weights=None).layers]
        >>> modern_name("activation_89", layers)
        'conv4_block6_out'
    """
    layers = set(layers)
    # ResNet50V2 has similar names, but no such additions, and ResNet101 has more blocks.
    if "conv4_block7_out" in layers or not layers & set(_ADDITIONS):
        return None
    name = _OTHERS.get(old)
    if match := re.fullmatch(r"(res|bn)([2-5])([a-f])_branch(1|2[abc])", old):
        kind, stage, letter, branch = match.groups()
        suffix = "conv" if kind == "res" else "bn"
        name = f"conv{stage}_block{ord(letter) - ord('a') + 1}_{_BRANCHES[branch]}_{suffix}"
    elif match := re.fullmatch(r"(activation|add)_([1-9]\d*)", old):
        names = _ACTIVATIONS if match[1] == "activation" else _ADDITIONS
        name = names[(int(match[2]) - 1) % len(names)]
    return name if name in layers else None
