"""The modules of the page: that they join to one script, and that their own tests pass."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cutwidgets.panel import page

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "cutwidgets" / "panel" / "static"
MODULES = {path.name: path.read_text("utf-8") for path in sorted(STATIC.glob("*.js"))}

# Declarations at the beginning of a line are those of the module itself.
TOP_LEVEL = re.compile(r"^(?:export )?(?:async )?(?:function\*?|const|let|var|class) (\w+)", re.M)
SEVERAL = re.compile(r"^(?:export )?(?:const|let|var) ([\[{].*?[\]}]) =", re.M)
LONGEST = 60  # lines of a function


def names(source):
    """The names that a module defines for all that it is joined with."""
    several = " ".join(SEVERAL.findall(source))
    return TOP_LEVEL.findall(source) + re.findall(r"\w+", several)


def imports(source):
    """The modules that a module imports, by their file names."""
    return re.findall(r'^import\b[^;]*?"\./([^"]+)";', source, re.M)


def functions(source):
    """First line, name and number of lines of each function; a brace closes at the indent."""
    lines = source.splitlines()
    begin = re.compile(r"^( *)(?:export )?(?:default )?(?:async )?(?:function\*? )?(\w+)\(.*\{$")
    for first, line in enumerate(lines):
        match = begin.match(line)
        if not match or match[2] in ("if", "for", "while", "switch", "catch"):
            continue
        close = re.compile(rf"^{match[1]}\}}")
        after = (k for k in range(first + 1, len(lines)) if close.match(lines[k]))
        yield first + 1, match[2], next(after) - first + 1


def test_a_name_belongs_to_one_module():
    owners = {}
    for module, source in MODULES.items():
        for name in names(source):
            owners.setdefault(name, []).append(module)
    assert {name: where for name, where in owners.items() if len(where) > 1} == {}


def test_names_are_found():
    source = (
        "export const A = 1;\nfunction b() {\n  const c = 1;\n}\nexport async function d() {}\n"
    )
    assert names(source + "const { e, f } = g;\nclass H {}\n") == ["A", "b", "d", "H", "e", "f"]


def test_the_script_is_all_modules_without_their_imports_and_exports():
    assert re.findall(r"^ *(?:import|export)\b.*", page.SCRIPT, re.M) == ["export default widget;"]
    assert sorted(names(page.SCRIPT)) == sorted(n for text in MODULES.values() for n in names(text))


def test_every_module_is_reached_from_the_widget():
    reached, waiting = set(), ["widget.js"]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += imports(MODULES[module])
    assert reached == set(MODULES)


def test_a_module_imports_only_what_another_exports():
    for module, source in MODULES.items():
        pattern = r'^import \{([^}]*)\} from "\./([^"]+)";'
        for wanted, other in re.findall(pattern, source, re.M):
            exported = set(
                re.findall(r"^export (?:async )?(?:function|const|let) (\w+)", MODULES[other], re.M)
            )
            exported.update(
                *(
                    re.findall(r"\w+", x)
                    for x in re.findall(r"^export \{(.*?)\}", MODULES[other], re.M)
                )
            )
            assert set(re.findall(r"\w+", wanted)) <= exported, (module, other)


@pytest.mark.parametrize(
    "tool",
    [
        ["lint"],
        ["check", "--no-remote", str(STATIC / "widget.js")],
        ["test", "--no-remote", "tests/page"],
    ],
    ids=lambda tool: tool[0],
)
def test_deno_finds_no_fault(tool):
    deno = shutil.which("deno")
    if deno is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs Deno, of the dependency group dev")
        pytest.skip("Deno is not installed")
    quiet = os.environ | {"DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    done = subprocess.run([deno, *tool], cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if tool[0] == "test":
        assert re.search(r"ok \| [1-9]\d* passed", done.stdout), done.stdout


@pytest.mark.parametrize("module", MODULES)
def test_a_function_has_at_most_sixty_lines(module):
    lengths = list(functions(MODULES[module]))
    for first, name, length in lengths:
        # What only holds other functions, as a view does, is measured by these.
        is_leaf = not any(first < other < first + length for other, _, _ in lengths)
        assert not is_leaf or length <= LONGEST, f"{module}:{first} {name} has {length} lines"
