"""What holds for the package as a whole."""

import ast
from pathlib import Path

import cutwidgets as cw

PACKAGE = Path(cw.__file__).parent
# Each module may import those before it.
ORDER = (
    "errors pictures roles graph kerasgraph callgraph repeating regions skips opening chains "
    "assembly blocks flow diagram layerdiagram _anatomy places copies building reach refusals "
    "slicing removal surgery running changes proof macs receptive _costs literals code "
    "answers outcomes page panel __init__"
).split()


# Classes of results, whose functions have the examples.
PLAIN = ("Block", "Cost", "Costs", "Proof", "Stage")


def imports(module):
    tree = ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from [node.module] if node.module else [name.name for name in node.names]


def test_data_flows_one_way():
    assert sorted(ORDER) == sorted(path.stem for path in PACKAGE.glob("*.py"))
    for position, module in enumerate(ORDER):
        assert set(imports(module)) <= set(ORDER[:position]), module


def test_only_one_module_touches_the_private_graph():
    private = ("keras.src", "_nodes", "_keras_history", "_functional", "_inbound", "_outbound")
    for module in set(ORDER) - {"kerasgraph"}:
        source = (PACKAGE / f"{module}.py").read_text("utf-8")
        assert not [name for name in private if name in source], module


def test_the_core_imports_no_tensorflow():
    for module in ORDER:
        assert "import tensorflow" not in (PACKAGE / f"{module}.py").read_text("utf-8")


def test_public_names_are_complete():
    imported = [name for name in vars(cw) if not name.startswith("_")]
    modules = set(ORDER) | {"annotations"}
    assert sorted(cw.__all__) == sorted(set(imported) - modules)
    for name in cw.__all__:
        assert getattr(cw, name).__doc__, name
        assert ">>>" in getattr(cw, name).__doc__ or name in PLAIN, name


def test_all_errors_are_cut_errors():
    errors = [value for value in vars(cw).values() if isinstance(value, type)]
    errors = [error for error in errors if issubclass(error, Exception)]
    assert len(errors) == 4
    assert all(issubclass(error, cw.CutError) for error in errors)
