"""What the frame carries, through a whole campaign: its dynamics, its crops, its labels, its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian

from idealflow import Campaign, LabelMaker
from idealflow.core.dynamics import Trajectory
from idealflow.core.fixed_atoms import fixed_directions
from idealflow.errors import InputError, LabelError
from idealflow.labelling import geometry_key
from idealflow.schemas import StageContext
from idealflow.storage import ArtifactStore
from idealflow.workflow.campaign.checks import check_campaign
from idealflow.workflow.frames.build import build_structure
from idealflow.workflow.frames.encode import load_frame, to_atoms, to_stored
from idealflow.workflow.labellers import labeller_from_settings
from idealflow.workflow.stages import label as label_stage
from support import tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore:cd is deprecated:FutureWarning"),
    pytest.mark.filterwarnings('ignore:Field name "schema":UserWarning'),
    pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning"),
]

MAKER = {"maker": "atomate2.ase.jobs.EmtRelaxMaker", "kwargs": {"steps": 0, "relax_cell": False}}


def alternating(atoms: Atoms) -> Atoms:
    """With moments of ±1.5 μB by layers along z."""
    atoms.set_initial_magnetic_moments(np.where(np.rint(atoms.positions[:, 2] / 1.81) % 2 == 0, 1.5, -1.5))
    return atoms


class Run(NamedTuple):
    frame: Atoms
    campaign: Campaign
    artifacts: ArtifactStore
    recorded: list[list[float]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The tiny campaign on heavy, antiferromagnetic copper with a frozen layer, one atom free along x and z only."""
    folder = tmp_path_factory.mktemp("carried")
    frame = alternating(tiny.frame())
    frame.set_masses(np.linspace(63.0, 65.0, len(frame)))
    frame.set_constraint([FixAtoms(mask=frame.positions[:, 2] < 1.0), FixCartesian([60], [False, True, False])])
    seed = to_stored(alternating(bulk("Cu", "fcc", 3.62, cubic=True).repeat(2))).model_dump()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        labeller = {"calculator": "support.recorder.Recorder", "kwargs": {"record": str(folder / "record.txt")}}
        _, campaign = tiny.run(
            folder,
            atoms=frame,
            bootstrap={"seeds": [seed]},
            segment={"fixed_atoms": [70]},
            label={"labeller": labeller},
        )
    recorded = [json.loads(line) for line in (folder / "record.txt").read_text().splitlines()]
    return Run(frame, campaign, ArtifactStore(str(folder / "artifacts")), recorded)


def test_fixed_atoms_of_structure_and_config_stand_still_and_masses_count(run: Run) -> None:
    fixed = fixed_directions(run.frame)
    fixed[70] = True
    frames = [
        atoms
        for segment in run.campaign.segments()
        if segment.trajectory is not None
        for atoms in Trajectory(run.artifacts.get(segment.trajectory))
    ]
    assert len(frames) > 3
    for atoms in frames:
        assert np.array_equal(atoms.positions[fixed], run.frame.positions[fixed])
        assert np.array_equal(fixed_directions(atoms), fixed)
        assert np.array_equal(atoms.get_masses(), run.frame.get_masses())
    assert (frames[-1].positions[~fixed] != run.frame.positions[~fixed]).all()
    end = load_frame(run.artifacts, [*run.campaign.segments()][-1].end_state)
    assert np.array_equal(fixed_directions(end), fixed)
    assert np.array_equal(end.get_initial_magnetic_moments(), run.frame.get_initial_magnetic_moments())


def test_every_label_is_given_the_moments_of_its_atoms_and_stores_them(run: Run) -> None:
    assert {moment for row in run.recorded for moment in row} == {1.5, -1.5}
    moments = run.frame.get_initial_magnetic_moments()
    substructures = run.campaign.substructures(state="accepted")
    assert substructures
    for doc in substructures:
        assert doc.structure is not None
        assert doc.structure.moments == moments[doc.parent_indices].tolist()
        assert doc.structure.moments in run.recorded
    dataset = run.campaign.dataset()
    origins = {atoms.info["origin"] for atoms in dataset}
    assert {"bootstrap", "substructure"} <= origins
    for atoms in dataset:
        assert set(atoms.get_initial_magnetic_moments()) == {1.5, -1.5}
        assert not atoms.constraints


def test_frozen_atoms_count_in_labels_and_errors(run: Run) -> None:
    """Forces of a label are those on every atom; a frozen one's would else be nought and taught so."""
    evaluation = run.campaign.evaluation()
    assert evaluation is not None
    assert evaluation.frames
    layer = run.frame.positions[:, 2] < 1.0
    query = {"output.kind": "label", "output.origin": "evaluation"}
    for entry in run.campaign.store.query(query, properties=["output"], load=True):
        output = entry["output"]
        assert not {"fixed", "masses"} & set(output["structure"])
        assert np.abs(np.array(output["forces"])[layer]).max() > 0.01


def test_a_maker_gives_open_structures_the_calculators_label(tmp_path: Path) -> None:
    """A film as thick as its cell, and a molecule without one (Cu(100), CO; values of ASE's EMT)."""
    from ase.build import fcc100, molecule

    film = fcc100("Cu", (2, 2, 4), a=3.6)
    film.set_cell([*film.cell[:2], [0.0, 0.0, 7.2]])
    film.rattle(0.03, seed=1)
    carbon_monoxide = molecule("CO")
    labeller = labeller_from_settings(MAKER)
    for name, atoms, energy, force in (("film", film, 3.6854, 0.407), ("co", carbon_monoxide, 0.786, None)):
        (tmp_path / name).mkdir()
        label, _ = labeller.label(atoms, tmp_path / name)
        direct = atoms.copy()
        direct.calc = EMT()
        assert label.energy == pytest.approx(energy, abs=5e-4)
        assert label.energy == pytest.approx(direct.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(label.forces, direct.get_forces(), atol=1e-6)
        assert label.stress is None
        if force is not None:
            assert np.abs(label.forces).max() == pytest.approx(force, abs=5e-4)


def test_a_maker_labels_left_handed_cells_in_their_own_frame(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True) * 2
    atoms.rattle(0.1, seed=2)
    strain = np.eye(3) + np.array([[0, 0.1, 0], [0, 0, 0.2], [0.05, 0, 0]])
    atoms.set_cell((atoms.cell.array @ strain)[[1, 0, 2]], scale_atoms=True)
    assert np.linalg.det(atoms.cell) < 0
    label, _ = labeller_from_settings(MAKER).label(atoms, tmp_path)
    direct = atoms.copy()
    direct.calc = EMT()
    assert label.energy == pytest.approx(direct.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(label.forces, direct.get_forces(), atol=1e-6)
    np.testing.assert_allclose(label.stress, direct.get_stress(), atol=1e-6)


def test_a_maker_refuses_what_is_not_finite(tmp_path: Path) -> None:
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, np.inf]])
    with pytest.raises(LabelError, match="positions or cell are not finite"):
        labeller_from_settings(MAKER).label(atoms, tmp_path)


def test_a_part_of_a_charged_frame_is_refused_and_a_whole_one_is_not(tmp_path: Path) -> None:
    frame = tiny.frame()
    frame.info.update(charge=-1.0)
    changes: list[tuple[dict[str, Any], bool]] = [
        ({}, False),
        ({"embedding": "vacuum", "crop": {"max_atoms": 200}}, False),
        ({"embedding": "frame"}, True),
        ({"crop": {"max_atoms": 107}}, True),
        ({"learn": False}, True),
    ]
    for change, accepted in changes:
        maker = tiny.maker(tmp_path, **change)
        if accepted:
            check_campaign(maker, frame)
            continue
        with pytest.raises(
            InputError, match="the structure has charge = -1, of which a part cut out of it has no known share"
        ):
            check_campaign(maker, frame)


def test_a_stored_label_of_an_open_structure_is_used_without_its_stress(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = {"state": "accepted", "energy": 1.0, "forces": [[0.0] * 3], "stress": [0.1] * 6, "reused_from": "earlier"}
    monkeypatch.setattr(label_stage, "stored_label", lambda *_: known)
    context = StageContext(campaign="c", round=0, seed=0, artifacts=str(tmp_path), work=str(tmp_path))
    for pbc, stress in (([True, True, True], [0.1] * 6), ([True, True, False], None)):
        atoms = Atoms("Cu", [[0, 0, 0]], cell=np.eye(3) * 4, pbc=pbc)
        found = LabelMaker({"calculator": tiny.EMT}).labelled(context, to_stored(atoms), None)
        assert (found["energy"], found["stress"]) == (1.0, stress)


def test_stored_labels_of_plain_structures_are_found_whatever_could_be_carried() -> None:
    """The key of a document of 0.1.0 is the key of what is built today."""
    old = {"numbers": [29], "positions": [[0.0, 0.0, 0.0]], "cell": np.eye(3).tolist(), "pbc": [True] * 3}
    science = LabelMaker({"calculator": tiny.EMT}).science
    before = geometry_key(Atoms("Cu", [[0, 0, 0]], cell=np.eye(3), pbc=True), {"labeller": science})
    new = build_structure(Atoms("Cu", [[0, 0, 0]], cell=np.eye(3) * 3, pbc=True, tags=[3]))
    new.set_cell(np.eye(3))
    assert geometry_key(to_atoms(to_stored(new)), {"labeller": science}) == before
    assert to_stored(new).model_dump() == old
