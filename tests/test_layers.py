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
    {"core", "backbones"},
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


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.AST]:
    """Parsed source of every module, by dotted name."""
    return {name_of(path): ast.parse(path.read_text()) for path in MODULES}


def test_imports_point_downwards(trees):
    upwards = [
        f"{name} imports {imported}"
        for name, tree in trees.items()
        for imported in imports(tree)
        if (own := name.split(".")[0]) != (other := imported.split(".")[0]) and LEVEL[own] <= LEVEL[other]
    ]
    assert not upwards


def test_modules_import_each_other_in_no_circle(trees):
    modules = {name.removesuffix(".__init__"): tree for name, tree in trees.items()}
    graph = {own: {name for name in imports(tree) if name in modules and name != own} for own, tree in modules.items()}
    finished: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in finished:
            for other in graph[name]:
                visit(other, (*above, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


def test_only_slow_libraries_are_imported_inside_functions(trees):
    """The command line imports stages when they run, and `study.parts` registered parts when a study names some."""
    found = {(name, library) for name, tree in trees.items() for library in imported_inside_functions(tree)}
    allowed = {("study.parts", "mssts")} | {
        (name, slow) for name in trees for slow in ("mlflow", "transformers", "typst")
    }
    assert {pair for pair in found - allowed if pair[0] not in ("cli", "__init__")} == set()


def imported_inside_functions(tree: ast.AST) -> set[str]:
    """Top-level names of the packages that the functions of a module import."""
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    inside = [node for function in functions for node in ast.walk(function)]
    names = [node.module or "" for node in inside if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in inside if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[0] for name in names}


def test_what_the_workflow_and_jobs_without_a_network_import_includes_no_torch():
    modules = ["cli", "config", "data.datasets", "evaluation.evaluate", "study.matrix", "study.paths", "study.resolve"]
    modules += ["study.mlflow_mirror", "ytvis.annotations"]
    code = f"import sys, {', '.join(f'mssts.{module}' for module in modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
