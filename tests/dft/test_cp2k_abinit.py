"""CP2K and ABINIT through atomate2's own makers: units, signs and order of sites against their own energies.

The crystals are nonsense, small and far from equilibrium: what is tested is the way from an engine's files to a label.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from jobflow import JobStore, run_locally

from idealflow.errors import LabelError
from idealflow.labelling import Label, label_from_document
from idealflow.schemas import LabelledDoc, StageContext
from idealflow.storage import ArtifactStore, SQLiteStore
from idealflow.testing import check_labeller
from idealflow.workflow import LabelMaker, StaticLabeller
from idealflow.workflow.frames.encode import to_stored

pytestmark = [
    pytest.mark.dft,
    # what the makers' own libraries warn of when they are imported and used
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    # abipy swallows what its YAML reader raises, a warning made an error too, and then does not know ABINIT's warning
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]

CELL = 3.0 * np.array([[1.0, 0.06, 0.14], [0.0, 0.95, -0.10], [0.0, 0.0, 1.04]])  # sheared: no two components alike


def labelled_by(labeller: StaticLabeller, tmp_path: Path) -> Callable[[Atoms], Label]:
    """A function for the kit: every label in a folder of its own."""
    numbers = iter(range(1000))

    def label(atoms: Atoms) -> Label:
        directory = tmp_path / f"{next(numbers)}"
        directory.mkdir()
        return labeller.label(atoms, directory)[0]

    return label


def stored_label(doc: LabelledDoc, atoms: Atoms, tmp_path: Path) -> Label:
    """The label that the engine's own document gives when it is read back from the store, as a plain dictionary."""
    assert doc.document is not None
    return label_from_document(json.loads(ArtifactStore(tmp_path / "artifacts").get(doc.document).read_text()), atoms)


def document_of(labeller: StaticLabeller, atoms: Atoms, tmp_path: Path) -> LabelledDoc:
    """The document of LabelMaker's job, run by jobflow."""
    store = JobStore(SQLiteStore(str(tmp_path / "store.sqlite")))
    store.connect()
    context = StageContext(
        campaign="engines", round=0, seed=0, artifacts=str(tmp_path / "artifacts"), work=str(tmp_path / "work")
    )
    job = LabelMaker(labeller=labeller).make(context, to_stored(atoms), request="one", origin="bootstrap")
    output = run_locally(job, store=store, log=False, raise_immediately=True)[job.uuid][1].output
    return LabelledDoc.model_validate(output)


# -- CP2K -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cp2k_data(cp2k_shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Basis sets and potentials as pymatgen reads them; `pmg config --cp2k` does it for a user."""
    from pymatgen.cli.pmg_config import setup_cp2k_data

    few = tmp_path_factory.mktemp("cp2k")
    for name in ("GTH_BASIS_SETS", "BASIS_MOLOPT", "GTH_POTENTIALS"):
        (few / name).write_text((cp2k_shipped / name).read_text())
    setup_cp2k_data([str(few), str(few / "pymatgen")])
    return few / "pymatgen"


@pytest.fixture
def cp2k_labeller(cp2k: str, cp2k_data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StaticLabeller]:
    """CP2K, PBE, hydrogen and helium."""
    from atomate2.cp2k.jobs.core import StaticMaker
    from atomate2.cp2k.sets.core import StaticSetGenerator
    from pymatgen.core import SETTINGS

    monkeypatch.delenv(
        "CP2K_DATA_DIR", raising=False
    )  # the program's own name for its folder; pymatgen takes it for its own
    monkeypatch.setitem(SETTINGS, "PMG_CP2K_DATA_DIR", str(cp2k_data))
    monkeypatch.setenv("DEFAULT_CP2K_FUNCTIONAL", "PBE")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def make(**changes: Any) -> StaticLabeller:
        settings = {
            "basis_and_potential": {
                "H": {"basis": "SZV-GTH-q1", "potential": "GTH-PBE-q1", "aux_basis": None},
                "He": {"basis": "SZV-MOLOPT-SR-GTH", "potential": "GTH-PBE-q2", "aux_basis": None},
            },
            "xc_functionals": "PBE", "cutoff": 400, "rel_cutoff": 40,
            "eps_scf": 1e-6, "eps_default": 1e-10, "eps_pgf_orb": 1e-7,
            "print_mo": False, "print_mo_cubes": False, "print_v_hartree": False, "print_e_density": False,
            "print_pdos": False, "print_dos": False, "print_ldos": False, "print_hartree_potential": False,
            "print_bandstructure": False,
        } | changes  # fmt: skip
        generator = StaticSetGenerator(user_input_settings=settings, user_kpoints_settings=None)
        # custodian's monitors read CP2K's output while it is written, and fail on half a table
        maker = StaticMaker(input_set_generator=generator, run_cp2k_kwargs={"cp2k_cmd": cp2k, "handlers": ()})
        return StaticLabeller(maker, reference="CP2K PBE")

    return make


def hydrogen_and_helium() -> Atoms:
    """Three sites, which CP2K's input sorts by electronegativity: the order is put to the proof."""
    places = [[0, 0, 0], [0.55, 0.48, 0.40], [0.22, 0.10, 0.06]]
    return Atoms("HHeH", scaled_positions=places, cell=CELL, pbc=True)


def test_cp2k_forces_and_all_stresses_are_derivatives_of_its_energy(
    cp2k_labeller: Callable[..., StaticLabeller], tmp_path: Path
) -> None:
    atoms = hydrogen_and_helium()
    done = check_labeller(
        labelled_by(cp2k_labeller(), tmp_path), atoms,
        displacement=0.02, strain=0.004, n_directions=1,
        force_tolerance=0.01,  # measured 0.003: the energy moves with the atoms against the grid of 400 Ry
        stress_tolerance=2e-4,  # measured 2e-5: Gaussians strain with the cell, so there is no Pulay stress of a basis
    )  # fmt: skip
    assert done.n_labels == 16
    assert done.order_error < 1e-6


def test_cp2k_through_the_label_maker(cp2k_labeller: Callable[..., StaticLabeller], tmp_path: Path) -> None:
    labeller = cp2k_labeller()
    doc = document_of(labeller, hydrogen_and_helium(), tmp_path)
    assert (doc.state, doc.method) == ("accepted", "CP2K PBE")
    assert doc.core_seconds > 0
    (tmp_path / "again").mkdir()
    direct = labeller.label(hydrogen_and_helium(), tmp_path / "again")[0]
    for again in (direct, stored_label(doc, hydrogen_and_helium(), tmp_path)):
        assert doc.energy == pytest.approx(again.energy, abs=1e-8)
        assert np.allclose(doc.forces, again.forces, atol=1e-6)
        assert np.allclose(doc.stress, again.stress, atol=1e-6)


def test_cp2k_that_does_not_converge_is_a_failed_label(
    cp2k_labeller: Callable[..., StaticLabeller], tmp_path: Path
) -> None:
    with pytest.raises(LabelError, match=r"StaticMaker failed|CP2K did not"):
        cp2k_labeller(max_scf=1, outer_max_scf=1).label(hydrogen_and_helium(), tmp_path)


# -- ABINIT ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def abinit_labeller(
    abinit: str, abinit_potentials: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., StaticLabeller]:
    """ABINIT, PBE, hydrogen and aluminium, potentials of PseudoDojo."""
    from atomate2.abinit.jobs.core import StaticMaker
    from atomate2.abinit.sets.core import StaticSetGenerator

    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def make(**changes: Any) -> StaticLabeller:
        settings = {
            "ecut": 15.0,
            # smears the kinetic energy at the cutoff, so that plane waves enter smoothly as the cell strains: the stress is
            # then the derivative of the energy at this low cutoff, too
            "ecutsm": 0.5,
            "chksymtnons": 0, "nsym": 1, "kptopt": 1, "ngkpt": [1, 1, 1], "nshiftk": 1, "shiftk": [[0, 0, 0]],
            "toldfe": None, "tolvrs": 1e-12, "nstep": 60, "prtwf": 0, "prtden": 0,
        } | changes  # fmt: skip
        generator = StaticSetGenerator(
            pseudos=[str(abinit_potentials / "H.psp8"), str(abinit_potentials / "Al.psp8")],
            factory_kwargs={"ecut": settings["ecut"], "spin_mode": "unpolarized", "smearing": "nosmearing", "nband": 3},
            user_abinit_settings=settings,
        )
        maker = StaticMaker(input_set_generator=generator, run_abinit_kwargs={"abinit_cmd": abinit})
        return StaticLabeller(maker, reference="ABINIT PBE")

    return make


def hydrogen_and_aluminium() -> Atoms:
    return Atoms("HAl", scaled_positions=[[0.52, 0.45, 0.42], [0, 0, 0]], cell=CELL, pbc=True)


def test_abinit_forces_and_all_stresses_are_derivatives_of_its_energy(
    abinit_labeller: Callable[..., StaticLabeller], tmp_path: Path
) -> None:
    done = check_labeller(
        labelled_by(abinit_labeller(), tmp_path), hydrogen_and_aluminium(),
        displacement=0.02, strain=0.002, n_directions=1,
        force_tolerance=0.005,  # measured 1e-4
        stress_tolerance=1e-3,  # measured 3e-4 of 0.77 on the diagonal, 2e-5 in the shears
    )  # fmt: skip
    assert done.n_labels == 16
    assert np.abs(done.stress_errors[3:]).max() < 1e-4
    assert done.order_error < 1e-6


def test_abinit_through_the_label_maker(abinit_labeller: Callable[..., StaticLabeller], tmp_path: Path) -> None:
    labeller = abinit_labeller()
    doc = document_of(labeller, hydrogen_and_aluminium(), tmp_path)
    assert (doc.state, doc.method) == ("accepted", "ABINIT PBE")
    assert doc.core_seconds > 0
    (tmp_path / "again").mkdir()
    direct = labeller.label(hydrogen_and_aluminium(), tmp_path / "again")[0]
    for again in (direct, stored_label(doc, hydrogen_and_aluminium(), tmp_path)):
        assert doc.energy == pytest.approx(again.energy, abs=1e-8)
        assert np.allclose(doc.forces, again.forces, atol=1e-6)
        assert np.allclose(doc.stress, again.stress, atol=1e-6)


def test_abinit_that_does_not_converge_is_a_failed_label(
    abinit_labeller: Callable[..., StaticLabeller], tmp_path: Path
) -> None:
    with pytest.raises(LabelError, match="ABINIT did not finish or converge"):
        abinit_labeller(nstep=2).label(hydrogen_and_aluminium(), tmp_path)
