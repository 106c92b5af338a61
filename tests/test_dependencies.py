"""What is imported is declared in pyproject.toml, and what the base installation declares is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = packages_distributions()
#: distributions that are not installed beside the tests, of packages with another name
NAMED_OTHERWISE = {"mace": "mace-torch"}


def normalised(name: str) -> str:
    """Name of a distribution as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    """Distributions of the base installation and of extras, those that an extra takes from another included."""
    requirements, found = [*PROJECT["dependencies"]], set()
    for extra in extras:
        requirements += PROJECT["optional-dependencies"][extra]
    for requirement in requirements:
        name, taken = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", requirement).groups()
        found |= declared(*taken.split(",")) if name == PROJECT["name"] else {normalised(name)}
    return found


def imported(folder: str) -> dict[str, str]:
    """Top-level packages imported below a folder of the repository, also inside functions, with a file that imports each.

    Not those of the standard library, and no scripts that lie in the folder themselves. Tests with packages that
    `make test-matgl`, `test-sevennet`, `test-chgnet` and `test-mace` install in environments of their own are left out, and what
    stores a reference of MatterSim.
    """
    left_out = (
        {"_build", "matgl", "with_sevennet", "with_chgnet", "with_mace", "with_mattersim"}
        if folder != "src"
        else {"_build"}
    )
    files = sorted(file for file in (ROOT / folder).rglob("*.py") if not left_out & set(file.parts))
    own = {"idealflow", "support", *(entry.stem for entry in (ROOT / "workflows").iterdir()), *sys.stdlib_module_names}
    if folder != "src":
        own |= {file.stem for file in files}
    found: dict[str, str] = {}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.append(node.module)
            found |= {name.split(".")[0]: str(file.relative_to(ROOT)) for name in names}
    return {name: file for name, file in found.items() if name not in own}


def distributions_of(package: str) -> set[str]:
    """Distributions that bring a package; where it is not installed, the one of its own name."""
    return {normalised(name) for name in DISTRIBUTIONS.get(package, [NAMED_OTHERWISE.get(package, package)])}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("src", ("s3", "tsne", "watch", "chgnet", "mace")), ("tests", ("dev",)), ("docs", ("docs",))],
)
def test_what_is_imported_is_declared(folder, extras):
    allowed = declared(*extras)
    lacking = {name: file for name, file in imported(folder).items() if not distributions_of(name) & allowed}
    assert lacking == {}


def test_what_the_base_installation_declares_is_imported():
    used = set().union(*(distributions_of(name) for name in imported("src")))
    assert declared() - used == set()


def test_former_names_of_extras_are_accepted():
    assert PROJECT["optional-dependencies"]["fireworks"] == PROJECT["optional-dependencies"]["oracle"] == []
