"""First-principles engines, where they are installed; where they have to be, their absence is a failure."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest


def absent(engine: str, remedy: str) -> None:
    """Skip without an engine, unless IDEALFLOW_REQUIRE_<engine> is set."""
    told = f"{engine} is not installed; {remedy}"
    if os.environ.get(f"IDEALFLOW_REQUIRE_{engine}"):
        pytest.fail(told)
    pytest.skip(told)


@pytest.fixture(scope="session")
def gpaw() -> None:
    """GPAW (`make test` builds and requires it)."""
    if importlib.util.find_spec("gpaw") is None:
        absent("GPAW", "`make gpaw` builds it")


@pytest.fixture(scope="session")
def cp2k() -> str:
    """CP2K's program."""
    found = next((name for name in ("cp2k.psmp", "cp2k.ssmp", "cp2k") if shutil.which(name)), None)
    if found is None:
        absent("CP2K", "Debian and Ubuntu have the package cp2k")
    return str(found)


@pytest.fixture(scope="session")
def abinit() -> str:
    """ABINIT's program, with abipy, which atomate2's makers for it need."""
    if shutil.which("abinit") is None:
        absent("ABINIT", "Debian and Ubuntu have the package abinit")
    if importlib.util.find_spec("abipy") is None:
        absent("ABINIT", "its makers in atomate2 need abipy: `make test-dft` installs it")
    return "abinit"
