"""What holds for the package as a whole."""

import ast
from pathlib import Path

import cutwidgets as cw
from cutwidgets.lab import Result

PACKAGE = Path(cw.__file__).parent
# Each module may import those before it.
CORE = (
    "errors files loading pictures tables roles graph kerasgraph callgraph repeating "
    "sideeffects regions skips "
    "opening chains assembly blocks flow diagram layerdiagram _anatomy places likeness states "
    "copies building reach refusals slicing removal surgery running changes proof macs receptive "
    "crossing _costs literals code"
).split()
LAB = (
    "progress results backend subjects gates backprop teaching deleting ratios pathways probing "
    "comparing exiting fields __init__"
).split()
DATA = (
    "hashing layerstate identity examples folders datasets extracting featurefiles storing "
    "rayengine _features"
).split()
PANEL = "answers outcomes background experiments page panel __init__ exitcodes command_line".split()
ORDER = [*CORE, *(f"lab/{module}" for module in LAB), *DATA, *PANEL]


# Classes of results, whose functions have the examples.
PLAIN = ("Block", "Cost", "Costs", "Digits", "Features", "Proof", "Stage")


def imports(module):
    """Modules of the package that a module imports."""
    folder = module.rpartition("/")[0]
    file = PACKAGE / f"{module}.py{'i' if module == '__init__' else ''}"
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            inside = f"{folder}/" if folder and node.level == 1 else ""
            for name in [node.module] if node.module else [name.name for name in node.names]:
                path = inside + name.replace(".", "/")
                yield f"{path}/__init__" if name == "lab" else path


def test_data_flows_one_way():
    files = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    assert sorted(ORDER) == sorted(path.as_posix() for path in files)
    for position, module in enumerate(ORDER):
        assert set(imports(module)) <= set(ORDER[:position]), module


def test_only_one_module_touches_the_private_graph():
    private = ("keras.src", "_nodes", "_keras_history", "_functional", "_inbound", "_outbound")
    for module in set(ORDER) - {"kerasgraph"}:
        source = (PACKAGE / f"{module}.py").read_text("utf-8")
        assert not [name for name in private if name in source], module


def test_the_core_imports_no_tensorflow():
    for module in set(ORDER) - {"lab/backend"}:
        assert "import tensorflow" not in (PACKAGE / f"{module}.py").read_text("utf-8")


def test_public_names_are_complete():
    for package, stub in ((cw, "__init__.pyi"), (cw.lab, "lab/__init__.py")):
        names = (
            node.names
            for node in ast.walk(ast.parse((PACKAGE / stub).read_text("utf-8")))
            if isinstance(node, ast.ImportFrom)
        )
        assert sorted(package.__all__) == sorted(name.name for same in names for name in same)
        for name in set(package.__all__) - {"lab"}:
            text = getattr(package, name).__doc__
            # Results are made by functions, and these have the examples.
            assert ">>>" in text or name in PLAIN or issubclass(getattr(package, name), Result)


def test_all_errors_are_cut_errors():
    errors = [value for value in map(cw.__getattr__, cw.__all__) if isinstance(value, type)]
    errors = [error for error in errors if issubclass(error, Exception)]
    assert len(errors) == 4
    assert all(issubclass(error, cw.CutError) for error in errors)
