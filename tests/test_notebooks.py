"""Each notebook runs from top to bottom, without an error and without outputs in the repository."""

import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
# What the outputs of a lesson must hold: the widget and its texts, or the findings of its studies.
OUTPUTS = {
    "01-cut-a-resnet": ("bypasses", "accuracy 0.", "CutPanel of"),
    "02-why-shortcuts": ("for each layer", "through 0 to 54", "% of the gradient comes through"),
    "03-lesions": (
        "plain_18, error",
        "without blocks drawn at random",
        "swapped",
        "interactive(children=(IntSlider",
        "CutPanel of",
    ),
    "04-what-a-block-knows": (
        "Control: residual_18_untrained",
        "negative gradient of the loss",
        "its own tail",
        "rank correlation",
        "linear classifier",
        "chosen on training examples",
        "CKA",
        "effective ∝ formula",
    ),
    "05-your-own-model": (
        "CutPanel of",
        "my_model, error",
        "largest difference after loading: 0.0",
        "keras.models.load_model('my_model.keras')",
        "part = keras.Model(",
    ),
    "06-slices-at-work": ("s for an epoch", "Features of 400 examples", "times as fast"),
    "07-stitching-and-pruning": (
        "residual_18 continued by residual_6",
        "Control: residual_18_untrained",
        "the stitch: (1, 1, 64, 64)",
        "chosen by lesion",
        "untrained: residual_18_untrained",
    ),
    "08-compare-and-change": (
        "have the same structure",
        "those of 'stem' … 'stage2_block6' are equal",
        "none are equal",
        "resnet101 has 17 blocks more in conv4",
        "untrained adapters change nothing: True",
    ),
}
# Numbers in the outputs that the words of a lesson rest upon, with their limits.
NUMBERS = {
    "02-why-shortcuts": (
        (r"residual_54, 24 epochs, test error: ([\d.]+)%", 0, 4),
        (r"normalised, 18 blocks: × ([\d.]+)", 1.1, 1.3),
        (r"normalised, 54 blocks: × ([\d.]+)", 1.1, 1.3),
        (r"18 blocks, 8 × 8 pixels: ([\d.e-]+)×", 0, 0.01),
        (r"18 blocks, 32 × 32 pixels: ([\d.e-]+)×", 0.05, 1),
        (r"residual_54: a path .* the gradient through (\d+\.\d)", 5, 16),
        (r"residual_54_untrained: a path .* the gradient through (\d+\.\d)", 18, 27),
    ),
    "03-lesions": (
        (r"residual_54, error: .* without one block ([\d.]+) %", 0, 4),
        (r"residual_54, error: .* stage1_block1: ([\d.]+) %", 40, 90),
        (r"plain_18, error: .* without one block ([\d.]+) %", 75, 95),
        (r"at random 1: .* 2: ([\d.]+) %", 3, 20),
        (r"at random 1: .* 10: ([\d.]+) %", 55, 88),
        (r"random order within the stages: ([\d.]+)", 0.66, 0.7),
        (r"swapped 1: ([\d.]+) %", 3, 25),
        (r"swapped 1: .* 30: ([\d.]+) %", 75, 91),
    ),
    "04-what-a-block-knows": (
        (r"residual_18: the cosine .* and ([-\d.]+) over the 6 of the last", 0.12, 0.4),
        (r"residual_18_untrained: the cosine .* and ([-\d.]+) over the 6", -0.05, 0.05),
        (r"residual_18, error: its own tail has ([\d.]+) % on", 8, 40),
        (r"of the lesions with the ratio: ([\d.]+)", 0.5, 1),
        (r"in the UNTRAINED network: +([\d.]+)", 0.4, 1),
        (r"residual_12: effective ∝ formula \^ ([\d.]+)", 0.4, 0.63),
        (r"plain_12: effective ∝ formula \^ ([\d.]+)", 0.5, 0.8),
    ),
    "05-your-own-model": (
        (r"against the output of .*: ([\d.e-]+)", 0, 1e-4),
        (r"my_model, error: .*stage1_block1: ([\d.]+) %", 10, 60),
    ),
    "08-compare-and-change": (
        (r"lying: ([\d.]+) % wrong", 80, 95),
        (r"fine-tuned, lying digits: ([\d.]+) % wrong", 1, 12),
        (r"stage3 moved: lying ([\d.]+)", 0.3, 0.6),
        (r"stage3 moved: .* upright \(control\) ([\d.]+)", 0.6, 1.1),
        (r"stage1 as before: lying ([\d.]+) %", 8, 60),
        (r"stage3 as before: lying ([\d.]+) %", 20, 80),
        (r"stage3 as before: .* upright \(control\) ([\d.]+) %", 0, 8),
        (r"stem as before: lying ([\d.]+) %", 1, 12),
        (r"outputs differ from 'stage3_block1' on \(([\d.]+) %\)", 20, 150),
        (r"\nsilu: ([\d.]+) % wrong", 25, 60),
        (r"silu, new statistics: ([\d.]+) % wrong", 3, 12),
        (r"relu, new statistics: ([\d.]+) % wrong", 0, 3),
        (r"trainable: .* weights, ([\d.]+)%", 1, 2),
        (r"adapted, lying digits: ([\d.]+) % wrong", 1, 18),
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path):
    import nbformat  # takes seconds
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    # Two minutes on an idle machine, and the machines of tests are not idle.
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    told = [
        output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs
    ]
    for words in OUTPUTS[path.stem]:
        assert words in "".join(told)
    for pattern, low, high in NUMBERS.get(path.stem, ()):
        (number, *_) = re.findall(pattern, "\n".join(told))
        assert low <= float(number) <= high, (pattern, number)
    if "CutPanel of" in OUTPUTS[path.stem]:
        kind = "application/vnd.jupyter.widget-view+json"
        assert any(kind in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_without_outputs(path):
    import nbformat

    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == list(OUTPUTS)
