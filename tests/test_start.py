"""What a command imports: looking at a campaign waits for none of the packages that compute one."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from idealflow.provenance import sample_campaign

STORED = Path(__file__).parent / "fixtures" / "version-0.1.0" / "finished.tar.xz"
COMPUTING = {"torch", "numba", "jobflow", "maggma", "atomate2", "pymatgen", "fireworks", "monty"}
DRAWING = {"pandas", "matplotlib"}
FILTERS = {"mongomock_ng", "pymongo"}
NUMBERS = {"numpy", "scipy", "ase", "pydantic", "fsspec", "bson"}

#: runs a command in this process and prints what it has imported
_RUN = """
import json, sys
sys.path.insert(0, sys.argv.pop(1))
{statement}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})), file=sys.stderr)
"""
_PROGRAM = """
from idealflow.cli import main
try:
    assert main(sys.argv[1:]) == 0
except SystemExit as end:  # argparse's own, after its help
    assert end.code == 0
"""


def imported(statement: str, *arguments: str) -> set[str]:
    """Packages that a fresh interpreter has imported after a statement."""
    source = str(Path(find_spec("idealflow").origin).parents[1])
    command = [sys.executable, "-c", _RUN.format(statement=statement), source, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


_FORCES = """
from ase.build import bulk
from idealflow.forcefields import get_force_field
force_field = get_force_field("m3gnet-small", species=["Cu"])
force_field.network.seen.fill_(True)
for pairs_at_once in (None, 100):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = force_field.calculator(pairs_at_once)
    atoms.get_forces()
"""


@pytest.fixture(scope="module")
def former(tmp_path_factory):
    """A finished campaign as version 0.1.0 left it."""
    folder = tmp_path_factory.mktemp("campaigns")
    with tarfile.open(STORED) as stored:
        stored.extractall(folder, filter="data")
    return folder / "finished"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished campaign of today."""
    return sample_campaign(tmp_path_factory.mktemp("campaigns") / "sample").folder.path


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [("import idealflow", ()), (_PROGRAM, ("--help",)), (_PROGRAM, ("init", "cu-melt"))],
    ids=["import", "help", "init"],
)
def test_what_needs_no_campaign_imports_nothing_heavy(statement, arguments):
    assert not imported(statement, *arguments) & (COMPUTING | DRAWING | FILTERS | NUMBERS)


def test_forces_by_message_passing_wait_for_no_algebra_and_no_compiler():
    assert not imported(_FORCES) & {"sympy", "matgl", "lightning", "torch_geometric", "e3nn", "jobflow", "pymatgen"}


@pytest.mark.parametrize("option", [(), ("--json",)], ids=["text", "json"])
def test_status_reads_a_folder_with_sqlite_alone(finished, option):
    assert not imported(_PROGRAM, "status", str(finished), *option) & (COMPUTING | DRAWING | FILTERS | {"scipy"})


def test_status_of_a_former_campaign_filters_its_documents_but_computes_nothing(former):
    found = imported(_PROGRAM, "status", str(former))
    assert not found & (COMPUTING | DRAWING)
    assert found & FILTERS, "keys of version 0.1.0 decide no longer: this test says nothing"


def test_export_needs_labels_and_no_model(finished, tmp_path):
    found = imported(_PROGRAM, "export", str(finished), str(tmp_path / "set.extxyz"))
    assert not found & (COMPUTING | DRAWING)


def test_the_page_needs_what_draws_it(finished):
    found = imported("import idealflow.report.page")
    assert found >= DRAWING
    assert not found & (COMPUTING - {"numba"})


@pytest.mark.parametrize("name", ["core", "workflow", "storage", "report"])
def test_names_imported_late_are_all_there(name):
    package = import_module(f"idealflow.{name}")
    assert set(package.__all__) <= set(dir(package))
    for public in package.__all__:
        assert getattr(package, public) is not None
        assert f"{package.__name__}.{public}" not in sys.modules, (
            f"{public} is a module too, which would take its place"
        )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018  # looked up, not used


def test_functions_of_the_analysis_stay_functions_when_modules_of_their_names_are_imported():
    package = import_module("idealflow.analysis")
    for file in Path(package.__file__).parent.glob("[!_]*.py"):
        import_module(f"idealflow.analysis.{file.stem}")
    assert [name for name in package.__all__ if isinstance(getattr(package, name), ModuleType)] == []
