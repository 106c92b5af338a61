"""Tests use what others may use: no name of the package that begins with an underscore."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if "fixtures" not in path.parts)


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_defined(tree: ast.AST) -> Iterator[str]:
    """Private functions, classes, variables and attributes that a module makes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and private(node.name):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and private(node.id):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and private(node.attr):
            yield node.attr


def names_used(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Private names that a test imports, reads of an object that is not its own, or patches by a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "idealflow":
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from ((node.lineno, part) for part in parts if private(part))
        elif isinstance(node, ast.Attribute) and private(node.attr):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own:
                yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
            "setattr",
            "getattr",
            "delattr",
        ):
            texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            yield from ((node.lineno, part) for text in texts for part in text.split(".") if private(part))


def ours() -> set[str]:
    return {name for path in (ROOT / "src").rglob("*.py") for name in names_defined(ast.parse(path.read_text()))}


def test_no_test_reaches_into_the_package() -> None:
    known = ours()
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in TESTS
        for line, name in names_used(ast.parse(path.read_text()))
        if name in known
    ]
    assert found == [], "use public behaviour, or make the name public in its module if it is a unit of its own"


def test_the_scan_sees_every_way_in() -> None:
    code = """
from idealflow.core.known import _hidden
model._known.moments
monkeypatch.setattr("idealflow.core.torch_engine._BUDGET", {})
setattr(model, "_other", 1)
self._own
"""
    assert [name for _, name in sorted(names_used(ast.parse(code)))] == ["_hidden", "_known", "_BUDGET", "_other"]
    assert {"_own", "_f", "_C", "_V"} == set(
        names_defined(ast.parse("_V = 1\ndef _f(): self._own = 2\nclass _C: pass"))
    )
    assert len(ours()) > 50
