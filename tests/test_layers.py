"""The packages of mssts depend on each other downwards only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mssts"
LAYERS = (
    {"core"},
    {"config"},
    {"ytvis"},
    {"ops"},
    {"data"},
    {"models"},
    {"losses"},
    {"training", "inference", "evaluation"},
    {"study"},
    {"report"},
    {"__init__", "cli"},
    {"__main__"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """Dotted name of a module below mssts."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names below mssts that a tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mssts":
            below = node.module.removeprefix("mssts").lstrip(".")
            yield from ([below] if below else [alias.name for alias in node.names])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_downwards(path):
    own = name_of(path).split(".")[0]
    for imported in imports(ast.parse(path.read_text())):
        other = imported.split(".")[0]
        assert other == own or LEVEL[other] < LEVEL[own], f"{name_of(path)} imports {imported}"


def test_modules_import_each_other_in_no_circle():
    graph = {name_of(path).removesuffix(".__init__"): set() for path in MODULES}
    for path in MODULES:
        own = name_of(path).removesuffix(".__init__")
        graph[own] = {name for name in imports(ast.parse(path.read_text())) if name in graph and name != own}
    finished: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in finished:
            for other in graph[name]:
                visit(other, (*above, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", [path for path in MODULES if path.name not in ("cli.py", "__init__.py")], ids=name_of)
def test_only_slow_libraries_are_imported_inside_functions(path):
    """The command line imports stages when they run, and `study.parts` registered parts when a study names some."""
    tree = ast.parse(path.read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    inside = {
        node for function in functions for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)
    }
    libraries = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0] for node in inside
    }
    allowed = {"mssts"} if name_of(path) == "study.parts" else {"mlflow", "transformers", "typst"}
    assert libraries <= allowed, f"{name_of(path)} imports {libraries} inside a function"


@pytest.mark.parametrize(
    "module",
    [
        "cli",
        "config",
        "study.resolve",
        "study.paths",
        "study.matrix",
        "data.datasets",
        "evaluation.evaluate",
        "ytvis.annotations",
    ],
)
def test_the_module_imports_no_torch(module):
    code = f"import sys, mssts.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
