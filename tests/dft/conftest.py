"""First-principles engines, where they are installed; where they have to be, their absence is a failure."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest


def absent(engine: str, remedy: str, what: str = "") -> None:
    """Skip without an engine, or something of it, unless IDEALFLOW_REQUIRE_<engine> is set."""
    told = f"{what or engine} is not installed; {remedy}"
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


def folder(engine: str, what: str, variable: str, usual: str) -> Path:
    """Where data of an engine lie: the variable's folder or the usual one."""
    place = Path(os.environ.get(variable) or usual)
    if not place.is_dir():
        absent(engine, f"there is no folder {place}; set {variable}", what)
    return place


@pytest.fixture(scope="session")
def cp2k_shipped(cp2k: str) -> Path:
    """The basis sets and potentials that CP2K comes with."""
    return folder("CP2K", "CP2K's data", "IDEALFLOW_CP2K_DATA", "/usr/share/cp2k")


@pytest.fixture(scope="session")
def abinit_potentials(abinit: str) -> Path:
    """PseudoDojo's PBE potentials for ABINIT."""
    usual = "/usr/share/abinit/psp/Pseudodojo_nc_sr_04_pbe_standard_psp8"
    return folder("ABINIT", "the set of potentials", "IDEALFLOW_ABINIT_PSEUDOS", usual)
