"""What holds for the package as a whole."""

import ast
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import cutwidgets as cw
from cutwidgets.lab import Result

PACKAGE = Path(cw.__file__).parent
# The floors of the package, from the ground up. A room is a folder or a module at the top. Rooms
# import those of lower floors alone, not their neighbours.
FLOORS = [
    {"errors"},
    {"extras"},
    {"text", "files", "progress"},
    {"loading", "tables"},
    {"graph"},
    {"blocks"},
    {"drawing"},
    {"structure"},
    {"inference"},
    {"surgery", "analysis", "extraction"},
    {"lab"},
    {"comparison"},
    {"panel", "exit_codes"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(
    path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py")
)
INSIDE = [module for module in MODULES if module != "__init__"]

# Classes of results, whose functions have the examples.
PLAIN = ("Block", "Cost", "Costs", "Digits", "Features", "Check", "Comparison", "Stage")


def imports(module):
    """Modules of the package that a module imports, as paths without an ending."""
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = module.split("/")[: -node.level]
            path = "/".join(folder + (node.module.split(".") if node.module else []))
            for name in node.names:
                inner = f"{path}/{name.name}".lstrip("/")
                yield (
                    inner if inner in MODULES else path if path in MODULES else f"{inner}/__init__"
                )


def test_data_flows_one_way():
    assert {module.split("/")[0] for module in INSIDE} == set(FLOOR)
    for module in INSIDE:
        room = module.split("/")[0]
        for imported in imports(module):
            other = imported.split("/")[0]
            assert other == room or FLOOR[other] < FLOOR[room], f"{module} imports {imported}"


def test_blocks_are_found_without_keras():
    modules = [module.replace("/", ".") for module in INSIDE if module.startswith("blocks/")]
    script = f"""
import importlib, sys
for module in {modules}:
    importlib.import_module(f"cutwidgets.{{module}}")
print([name for name in ("keras", "tensorflow", "jax", "torch") if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "[]\n"


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter({module: set(imports(module)) for module in INSIDE}).prepare()


def test_no_folder_is_named_after_a_public_function():
    assert not set(FLOOR) & (set(cw.__all__) - {"lab"})


def test_only_one_module_touches_the_private_graph():
    private = ("keras.src", "_nodes", "_keras_history", "_functional", "_inbound", "_outbound")
    for module in set(MODULES) - {"graph/keras_internals"}:
        source = (PACKAGE / f"{module}.py").read_text("utf-8")
        assert not [name for name in private if name in source], module


def test_the_core_imports_no_tensorflow():
    for module in set(MODULES) - {"inference/backend"}:
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


def test_all_errors_have_one_base():
    errors = [value for value in map(cw.__getattr__, cw.__all__) if isinstance(value, type)]
    errors = [error for error in errors if issubclass(error, Exception)]
    assert len(errors) == 5
    assert all(issubclass(error, cw.CutwidgetsError) for error in errors)


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert cw.__version__ == project["version"]
    assert "__version__" not in vars(cw)  # it is read when it is asked for
