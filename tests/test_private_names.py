"""Private names stay where they belong: ours in the module that defines them, those of other packages in one file a package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

from fireworks import LaunchPad
from maggma.stores import MongoStore
from pymongo import MongoClient

from idealflow.provenance.maggma_internals import mongo_collection

ROOT = Path(__file__).parents[1]
SOURCES = {file: ast.parse(file.read_text()) for file in sorted((ROOT / "src" / "idealflow").rglob("*.py"))}
SCRIPTS = {file: ast.parse(file.read_text()) for file in sorted((ROOT / "workflows").rglob("*.py"))}
#: the only files that may use a private name of the package they are called after
INTERNALS = {"fireworks_internals.py", "maggma_internals.py"}
#: what the standard library documents despite the underscore
DOCUMENTED = {"_asdict", "_fields", "_replace"}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def defined(tree: ast.Module) -> set[str]:
    """Names of functions, classes, variables and attributes that a file defines."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def attributes(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Line, name and whether it is looked up on the object itself, of private attributes, those named in a string included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            # super() is the object itself too
            yield node.lineno, node.attr, ast.unparse(node.value) in {"self", "cls", "super()"}
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "setattr", "hasattr", "delattr"}:
            name = node.args[1]
            if isinstance(name, ast.Constant) and private(name.value):
                yield node.lineno, name.value, ast.unparse(node.args[0]) in {"self", "cls"}


def places(found: Iterator[tuple[Path, int, str]]) -> list[str]:
    return [f"{file.relative_to(ROOT)}:{line} {name}" for file, line, name in found]


def test_no_module_imports_a_private_name():
    assert not places(
        (file, node.lineno, f"{node.module}.{alias.name}")
        for file, tree in (SOURCES | SCRIPTS).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if any(private(part) for part in [*(node.module or "").split("."), alias.name])
    )


def test_private_attributes_are_used_where_they_are_defined():
    ours = set().union(*map(defined, SOURCES.values()))
    assert not places(
        (file, line, name)
        for file, tree in SOURCES.items()
        if file.name not in INTERNALS
        for line, name, on_itself in attributes(tree)
        if name not in (ours if on_itself else defined(tree))  # a class may use what its base defines in another file
    )


def test_scripts_use_no_private_names_of_others():
    assert not places(
        (file, line, name)
        for file, tree in SCRIPTS.items()
        for line, name, _ in attributes(tree)
        if name not in defined(tree)
    )


def test_each_file_of_internals_is_the_only_one_of_its_package_and_in_use():
    names = [file.name for file in SOURCES if file.name.endswith("_internals.py")]
    assert sorted(names) == sorted(INTERNALS)
    assert all(any(attributes(tree)) for file, tree in SOURCES.items() if file.name in INTERNALS)


def test_fireworks_has_the_private_name_that_recovery_needs():
    assert list(signature(LaunchPad._refresh_wf).parameters) == ["self", "fw_id"]


def test_maggma_has_the_private_name_that_indexes_need():
    with MongoClient(connect=False) as client:
        collection = client["database"]["outputs"]
        assert mongo_collection(MongoStore.from_collection(collection)) is collection
