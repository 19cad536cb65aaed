"""A lesion study, against building each lesion anew."""

from functools import partial
from statistics import median

from measure import Part, Row, Times, timed

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.progress import reporting_to


def study(repeats: int, rebuilt: int = 4) -> Row:
    """All lesions, compiling included, against as many times what a few rebuilt ones take."""
    model = lab.residual_network((18, 18, 18))
    x, y = lab.digits().test
    names = [block.name for block in cw.anatomy(model) if block.shortcut]
    blocks = names[:: len(names) // rebuilt][:rebuilt]

    def rebuild(name: str) -> float:
        output = cw.remove(model, name)(x, training=False)
        return float((output.numpy().argmax(-1) != y).mean())

    rebuild(names[1])
    ours, peer = [], []
    for _ in range(repeats):
        peer.append(median(timed(rebuild, name) for name in blocks) * len(names))
        with reporting_to(lambda *_: None):  # no bar
            ours.append(timed(lab.lesions, model, x, y))
    return Times(ours, peer).row(
        f"lesions of {len(names)} blocks, {len(x)} digits",
        1 / 3,
        f"remove and model(x), {rebuilt} measured, for all",
    )


def parts(quick: bool) -> dict[str, Part]:
    """What this topic measures."""
    return {"lesions": partial(study, 1 if quick else 2)}
