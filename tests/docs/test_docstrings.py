"""Every public object has an example in its docstring, and the examples run."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import isroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from idealflow.core.registry import UNCERTAINTIES
from idealflow.forcefields.registry import FORCE_FIELDS

SOURCE = Path(__file__).parents[2] / "src"
FILES = sorted(file for file in (SOURCE / "idealflow").rglob("*.py") if file.name != "__main__.py")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def name_of(file: Path) -> str:
    """Name under which the module in a file is imported."""
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def examples_in(module: ModuleType) -> list[doctest.DocTest]:
    """Docstrings of a module, its classes, functions and methods that hold examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = finder.find(module)
    for name in () if hasattr(module, "__path__") else getattr(module, "__all__", ()):
        thing = getattr(module, name)
        if isinstance(thing, type) and thing.__module__ == module.__name__.rpartition(".")[0]:
            # documents name the package that offers them, not the file; doctest would take them for imported
            found += finder.find(thing, name, module=False, globs=vars(module).copy())
    return [each for each in found if each.examples]


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Classes and functions a module offers, each under the module that defines it."""
    for name in getattr(module, "__all__", ()):
        thing = getattr(module, name)
        if callable(thing) and hasattr(thing, "__doc__") and getattr(thing, "__module__", "").startswith("idealflow"):
            yield f"{thing.__module__}.{thing.__name__}", thing


def has_example(thing: Any) -> bool:
    """Whether the docstring of a class or function, or of a method of the class, holds an example."""
    docs = [thing.__doc__]
    if isinstance(thing, type):
        # not the default of a field: the docstring of int holds an example, too
        members = [member for member in vars(thing).values() if isinstance(member, property) or isroutine(member)]
        docs += [member.__doc__ for member in members]
    return any(isinstance(doc, str) and ">>> " in doc for doc in docs)


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    """What examples register is forgotten after them."""
    kept = [(plugins.registered, plugins.registered.copy()) for plugins in (FORCE_FIELDS, UNCERTAINTIES)]
    yield
    for registered, before in kept:
        registered.clear()
        registered.update(before)


@pytest.mark.parametrize("file", [file for file in FILES if ">>> " in file.read_text()], ids=name_of)
def test_examples_run(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # examples may write files
    examples, said = examples_in(import_module(name_of(file))), []
    for example in examples:
        doctest.DocTestRunner(optionflags=FLAGS).run(example, out=said.append)
    assert not said, "".join(said)
    # an example that doctest does not find, for instance behind a decorator, would never run
    written = len(re.findall(r"^\s*>>> ", file.read_text(), re.MULTILINE))
    assert sum(len(example.examples) for example in examples) == written


def test_every_public_object_has_an_example() -> None:
    names = [name_of(file) for file in FILES]
    offered = {
        full_name: thing
        for name in names
        if not any(part.startswith("_") for part in name.split("."))
        for full_name, thing in public(import_module(name))
    }
    assert sorted(name for name, thing in offered.items() if not has_example(thing)) == []
