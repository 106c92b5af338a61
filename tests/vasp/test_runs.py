"""VASP's path for real, without VASP: emulated binary, custodian, emmet's TaskDoc, label, campaign."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from monty.json import MontyDecoder, MontyEncoder

from idealflow.errors import InputError, LabelError
from idealflow.labelling import label_from_document
from idealflow.testing import check_labeller
from idealflow.workflow.labellers import labeller_from_settings, static_labeller
from idealflow.workflow.labellers.vasp import VaspLabeller, vasp_static
from idealflow.workflow.labellers.vasp.limits import LabelTimeHandler
from support import tiny
from support.emulated_maker import emulated
from support.emulated_vasp import OFFSET, Run, outcar

# pymatgen, emmet and custodian warn of the POTCARs that are not there and of tags that the emulation leaves out
pytestmark = [
    pytest.mark.filterwarnings("ignore::Warning:pymatgen"),
    pytest.mark.filterwarnings("ignore::pymatgen.io.vasp.outputs.UnconvergedVASPWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:emmet"),
    pytest.mark.filterwarnings("ignore::UserWarning:custodian"),
    pytest.mark.filterwarnings('ignore:Field name "schema":UserWarning'),
    pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning"),
]

SHEAR = np.array([[1.0, 0.04, 0.09], [0.0, 0.98, -0.05], [0.0, 0.0, 1.01]])
REFERENCE = "EMT through an emulated VASP (stands in for DFT)"


def alloy() -> Atoms:
    """Four atoms of two elements in an order that VASP's POSCAR does not keep, sheared, one outside the cell."""
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[[1, 3]] = "Au"
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ SHEAR, scale_atoms=True)
    atoms.positions[0] += atoms.cell[0]
    return atoms


def labelled(atoms: Atoms, folder: Path, **settings: Any) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    return static_labeller(emulated(**settings), REFERENCE).label(atoms, folder)


def test_taskdoc_gives_the_calculators_label_as_object_and_as_dictionary(emulation: Any, tmp_path: Path) -> None:
    atoms = alloy()
    reference = atoms.copy()
    reference.calc = EMT()
    label, whole = labelled(atoms, tmp_path)
    stored = json.loads(whole)
    assert stored["@class"] == "TaskDoc"
    for found in (
        label,
        label_from_document(stored, atoms),
        label_from_document(MontyDecoder().process_decoded(stored), atoms),
    ):
        assert found.energy == pytest.approx(reference.get_potential_energy() + OFFSET * 4, abs=1e-8)
        assert found.forces == pytest.approx(reference.get_forces(), abs=1e-8)
        assert found.stress == pytest.approx(reference.get_stress(), abs=1e-8)
    assert label.method == REFERENCE
    assert label.core_seconds == 4 * 2.5  # cores and elapsed time of its OUTCAR
    assert label.n_valence_electrons == 2 * 11 + 2


def test_left_handed_and_open_structures_are_labelled_in_their_own_frame(emulation: Any, tmp_path: Path) -> None:
    left, film = alloy(), alloy()
    left.set_cell(left.cell.array[[1, 0, 2]])
    assert np.linalg.det(left.cell) < 0
    film.pbc = [True, True, False]
    for name, atoms in (("left", left), ("film", film)):
        label, _ = labelled(atoms, tmp_path / name)
        atoms.calc = EMT()
        assert label.energy == pytest.approx(atoms.get_potential_energy() + OFFSET * 4, abs=1e-7)
        assert label.forces == pytest.approx(atoms.get_forces(), abs=1e-7)
        assert label.stress is None if name == "film" else label.stress == pytest.approx(atoms.get_stress(), abs=1e-7)


def test_labels_of_real_taskdocs_are_derivatives_of_their_energy(emulation: Any, tmp_path: Path) -> None:
    numbers = iter(range(100))
    done = check_labeller(
        lambda atoms: labelled(atoms, tmp_path / str(next(numbers)))[0],
        alloy(),
        displacement=0.002,
        stress_tolerance=1e-4,
        n_directions=1,
    )
    assert np.abs(done.force_errors).max() < 1e-4
    assert np.abs(done.stress_errors).max() < 1e-5
    assert done.order_error < 1e-7


DAY = 86400.0  # s: custodian asks for a stop when less than three electronic steps are left, at once where one takes half of it
CAUSES = {
    "unconverged": "custodian met 5× Unconverged",
    "truncated": "Validation failed: VasprunXMLValidator$",
    "crashed": "there is no vasprun.xml; its last error output: forrtl: severe .174.: SIGSEGV",
    "killed": "VasprunXMLValidator; there is no vasprun.xml$",
    "slow": "Job was not successful .*custodian met .*Walltime reached",
    "k_points": "VASP ran with other k points than asked for: 10×10×10 Gamma, not 9×9×9 Gamma",
}


@pytest.mark.parametrize("fate", CAUSES)
def test_every_failure_ends_as_a_label_error_with_its_cause(fate: str, emulation: Any, tmp_path: Path) -> None:
    emulation(fate)
    with pytest.raises(LabelError, match=CAUSES[fate]):
        labelled(bulk("Cu", cubic=True), tmp_path, wall_time_s=DAY)


def test_a_tag_that_custodian_changed_is_found(emulation: Any, tmp_path: Path) -> None:
    from idealflow.workflow.labellers.vasp.labeller import check_inputs

    atoms = bulk("Cu", cubic=True)
    maker = emulated()
    _, whole = labelled(atoms, tmp_path)
    document = MontyDecoder().process_decoded(json.loads(whole))
    structure = document.structure
    check_inputs(document, maker.input_set_generator, structure)
    with pytest.raises(LabelError, match=r"VASP ran with SIGMA = 0\.2, not 0\.1 as asked for"):
        check_inputs(document, emulated(incar={"SIGMA": 0.1}).input_set_generator, structure)


def test_the_time_of_a_label_begins_with_the_label(tmp_path: Path) -> None:
    """Custodian's own handler counts from the moment it is made: an hour into a campaign it would end every label."""
    labeller = static_labeller(emulated(wall_time_s=3000), REFERENCE)
    (handler,) = [each for each in labeller.maker.run_vasp_kwargs["handlers"] if isinstance(each, LabelTimeHandler)]
    atoms = bulk("Cu", cubic=True)
    run = Run(atoms, {"NELM": "150"}, [1, 1, 1], "Gamma", -1.0, np.zeros((4, 3)), np.zeros((3, 3)), steps=8)
    (tmp_path / "OUTCAR").write_text(outcar(run))
    handler.start_time -= dt.timedelta(hours=1)
    assert handler.check(str(tmp_path))
    fresh = MontyDecoder().decode(MontyEncoder().encode(labeller)).maker_of_a_label()
    for maker in (labeller.maker_of_a_label(), fresh):
        (new,) = [each for each in maker.run_vasp_kwargs["handlers"] if isinstance(each, LabelTimeHandler)]
        assert not new.check(str(tmp_path))
        assert (new.wall_time, new.buffer_time, new.electronic_step_stop) == (3000, 300, True)
    assert handler.check(str(tmp_path))  # the labeller's own is not touched


def campaign_settings(**fields: Any) -> dict[str, Any]:
    return {"label": {"labeller": {"maker": "support.emulated_maker.emulated", "reference": REFERENCE, **fields}}}


def test_a_campaign_goes_on_through_every_failure(emulation: Any, tmp_path: Path) -> None:
    """Each of the six fates once, a good label after each: recorded with its cause, and the next best crop stands in."""
    emulation(*(turn for fate in CAUSES for turn in (fate, "ok")), spared=32)
    settings = campaign_settings(kwargs={"wall_time_s": DAY})
    state, campaign = tiny.run(
        tmp_path, **settings, n_attempts=2, screen={"max_centres": 1}, evaluation={"n_frames": 0}, threshold=8.0
    )
    assert state.status == "finished"
    docs = campaign.substructures()
    failed = [doc for doc in docs if doc.state == "failed"]
    told = CAUSES | {"unconverged": r"\d× Unconverged", "k_points": "VASP ran with other k points than asked for: "}
    for cause in told.values():
        assert any(re.search(cause, doc.cause) for doc in failed), (cause, [doc.cause for doc in failed])
    assert len(failed) == len(CAUSES)
    stood_in = {(doc.walker, doc.step, doc.atom) for doc in docs if doc.state == "accepted" and doc.attempt == 1}
    for doc in failed:
        assert (doc.walker, doc.step, doc.atom) in stood_in or len(campaign.lineage(doc.uuid).crop.chosen) == 1
    assert len(stood_in) > len(CAUSES) / 2
    assert state.n_failed_labels == len(failed)
    assert state.failure_causes == dict(Counter(doc.cause for doc in failed))
    assert all(doc.core_seconds > 0 and doc.n_electrons == 29 * doc.n_atoms for doc in docs)


def test_a_systematic_failure_stops_the_campaign_with_its_causes_counted(emulation: Any, tmp_path: Path) -> None:
    emulation(*["truncated", "k_points"] * 20, spared=32)
    state, campaign = tiny.run(tmp_path, **campaign_settings(), max_failed_labels=3, n_attempts=2)
    assert state.status == "failed"
    causes = Counter(doc.cause for doc in campaign.substructures())
    assert state.failure_causes == dict(causes)
    assert sum(causes.values()) == state.n_failed_labels > 3
    assert len(causes) > 1
    for cause, count in causes.items():
        assert f"{count}× {cause}" in state.reason


# -- what is missing on this machine ------------------------------------------------------------------------------


def test_missing_program_and_potcars_are_one_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pymatgen.io.vasp.inputs as potcars

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(potcars.SETTINGS, "PMG_VASP_PSP_DIR", None)
    labeller = labeller_from_settings(vasp_static(vasp_cmd="srun vasp_std"))
    assert isinstance(labeller, VaspLabeller)
    with pytest.raises(InputError) as told:
        labeller.label(bulk("Li", cubic=True), tmp_path)
    message = str(told.value)
    assert "`srun` of the command `srun vasp_std` is not on PATH; set ATOMATE2_VASP_CMD" in message
    assert "the PBE_54 POTCARs of Li_sv are not found" in message
    assert "set PMG_VASP_PSP_DIR in ~/.config/.pmgrc.yaml" in message
    assert "\n" not in message


def test_a_launcher_without_vasp_and_an_absent_potcar_are_named(
    emulation: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import pymatgen.io.vasp.inputs as potcars

    monkeypatch.setitem(potcars.SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path))
    with pytest.raises(
        InputError, match=r"`vasp_ncl` of the command `env -i vasp_ncl`.*POTCARs of Cu, O are not found"
    ):
        static_labeller(vasp_static(vasp_cmd="env -i vasp_ncl")).check_site(["Cu", "O"])


def test_a_campaign_without_vasp_is_refused_before_any_compute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert shutil.which("vasp_std") is None
    with pytest.raises(InputError, match="VASP cannot label on this machine"):
        tiny.run(tmp_path, label={"labeller": {"maker": "idealflow.vasp_static"}})
    assert {path.name for path in tmp_path.iterdir()} <= {"store.sqlite", "store.sqlite-wal", "store.sqlite-shm"}
