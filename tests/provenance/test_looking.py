"""A campaign on disk as one looks at it: opened read-only, wherever its files are; trajectory, model, calibration."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import jobflow
import numpy as np
import pytest
from ase import Atoms

from idealflow import Campaign
from idealflow.core import Trajectory
from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields import load_force_field
from idealflow.provenance import CampaignFolder, WalkerTrajectory
from idealflow.schemas import ModelUpdateDoc
from idealflow.storage import ArtifactStore
from support import tiny


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its content and time."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def copied(finished: Any, tmp_path: Path) -> Path:
    """A copy of the finished campaign, as it lies when no process has it open; the original stays where it was."""
    return tiny.copied(finished.folder, tmp_path / "copy")


def test_what_is_opened_by_folder_is_what_was_run_and_nothing_is_written(copied: Path, finished: Any) -> None:
    before = contents(copied)
    assert not [name for name in before if name.endswith(("-wal", "-shm"))]
    campaign = Campaign.open(copied)
    assert campaign.name == "tiny"
    assert campaign.state() == finished.state
    assert campaign.substructures() == finished.campaign.substructures()
    assert [len(frame) for frame in campaign.dataset()] == [len(frame) for frame in finished.campaign.dataset()]
    assert len(campaign.trajectory()) > 0
    assert campaign.lineage(campaign.substructures()[0].uuid).version_after is not None
    assert contents(copied) == before
    assert campaign.artifacts.url == str(copied / "artifacts")


def test_a_campaign_goes_to_other_processes_and_is_copied(finished: Any) -> None:
    campaign = Campaign.open(finished.folder)
    state = campaign.state()
    for other in (pickle.loads(pickle.dumps(campaign)), copy.deepcopy(campaign)):  # noqa: S301  # our own
        assert other.state() == state


def test_a_campaign_in_a_store_is_opened_by_name(finished: Any, tmp_path: Path) -> None:
    campaign = Campaign.open("tiny", store=finished.campaign.store)
    assert campaign.state() == finished.state
    assert len(campaign.trajectory()) == len(Campaign.open(finished.folder).trajectory())
    with pytest.raises(InputError, match="no campaign named 'other'"):
        Campaign.open("other", store=finished.campaign.store)
    with pytest.raises(InputError, match="holds no campaign"):
        Campaign.open(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_name_alone_is_looked_up_in_the_store_of_the_site(
    finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", finished.campaign.store)
    assert Campaign.open("tiny").state() == finished.state
    with pytest.raises(InputError, match=r"nobody holds no campaign, and jobflow's JOB_STORE has none named 'nobody'"):
        Campaign.open("nobody")
    shutil.copytree(finished.folder, tmp_path / "tiny")
    assert Campaign.open("tiny").folder is not None  # a folder of that name comes first
    assert Campaign.open(str(finished.folder)).folder is not None


def test_the_trajectory_is_the_segments_frames_in_order_of_step(finished: Any) -> None:
    campaign, artifacts = Campaign.open(finished.folder), ArtifactStore(finished.folder / "artifacts")
    stored: dict[int, Atoms] = {}
    for segment in finished.campaign.segments(walker=0):
        if segment.trajectory is not None:
            stored |= {frame.info["step"]: frame for frame in Trajectory(artifacts.get(segment.trajectory))}
    log = campaign.log().set_index("step")
    steps = []
    for atoms in campaign.trajectory(walker=0):
        step = atoms.info["step"]
        steps.append(step)
        assert np.array_equal(atoms.positions, stored[step].positions)
        assert np.array_equal(atoms.get_masses(), stored[step].get_masses())
        assert atoms.info["time_fs"] == 2.0 * step
        assert atoms.info["temperature"] == log.loc[step, "temperature"]
        # the centre of mass rests: three degrees of freedom fewer than ASE counts
        assert atoms.get_temperature() * 107 / 106 == pytest.approx(atoms.info["temperature"], rel=1e-9)
    assert steps == sorted(stored) == list(range(0, 61, 5))
    assert campaign.trajectory()[-1].info["step"] == 60
    assert [atoms.info["step"] for atoms in campaign.trajectory()[1:3]] == [5, 10]
    with pytest.raises(InputError, match="1 walkers, counted from 0, got 1"):
        campaign.trajectory(walker=1)


def test_a_step_that_was_run_again_appears_once_as_it_was_run_last(finished: Any) -> None:
    files = [
        ArtifactStore(finished.state.artifacts).get(doc.trajectory)
        for doc in finished.campaign.segments()
        if doc.trajectory
    ]
    longest = max(files, key=lambda path: len(Trajectory(path)))
    other = next(path for path in files if path != longest)
    track = WalkerTrajectory([longest, other, longest])
    assert [atoms.info["step"] for atoms in track] == sorted(
        {*Trajectory(longest).steps().tolist(), *Trajectory(other).steps().tolist()}
    )
    assert len(WalkerTrajectory([])) == 0


def test_fixed_atoms_come_back_as_constraints(tmp_path: Path) -> None:
    segment = {"fixed_atoms": [0, 7], "schedule": tiny.schedule(10, 0)}
    _, campaign = tiny.run(tmp_path, learn=False, evaluation={"n_frames": 0}, segment=segment)
    first, *_, last = campaign.trajectory()
    assert last.constraints[0].index.tolist() == [0, 7]
    assert np.array_equal(first.positions[[0, 7]], last.positions[[0, 7]])
    assert not last.get_velocities()[[0, 7]].any()
    assert last.get_velocities().any()


def test_the_model_is_the_last_one(finished: Any) -> None:
    atoms = tiny.frame()
    atoms.rattle(0.05, seed=3)
    forces = []
    stored = load_force_field(ArtifactStore(finished.state.artifacts).get(finished.state.learner.force_field))
    for model in (Campaign.open(finished.folder).model(), stored):
        atoms.calc = model.calculator()
        forces.append(atoms.get_forces())
    assert np.array_equal(*forces)
    with pytest.raises(InputError, match="no model yet"):
        Campaign(finished.campaign.store, "other").model()


def without_errors(campaign: Campaign) -> list[dict[str, Any]]:
    """The updates as an earlier version stored them."""
    return [doc.model_dump(exclude={"centre_force_errors"}) for doc in campaign.updates()]


def test_calibration_has_the_error_of_the_model_that_asked_stored_or_computed(copied: Path, finished: Any) -> None:
    campaign = Campaign.open(copied)
    table, docs = campaign.calibration(), campaign.substructures(state="accepted")
    assert table["request_key"].tolist() == [doc.request_key for doc in docs]
    versions = {0: finished.state.first_learner} | {doc.learner.version: doc.learner for doc in campaign.updates()}
    for row, doc in zip(table.to_dict("records"), docs, strict=True):
        screen = campaign.lineage(doc.uuid).screen
        assert row["ratio"] == doc.uncertainty / screen.threshold > 1
        assert (row["walker"], row["step"], row["atom"], row["species"]) == (
            doc.walker,
            doc.step,
            doc.atom,
            doc.species,
        )
        model = load_force_field(campaign.fetch(versions[doc.model_version].force_field))
        structure = doc.structure
        cell = Atoms(
            structure.numbers,
            structure.positions,
            cell=structure.cell,
            pbc=structure.pbc,
            calculator=model.calculator(),
        )
        expected = np.linalg.norm(cell.get_forces()[doc.centre] - np.array(doc.forces[doc.centre]))
        assert row["force_error"] == pytest.approx(expected, rel=1e-12)
    # a campaign of an earlier version stored no errors: its documents are still read, and the errors computed
    store = tiny.sqlite(copied)
    for entry in list(store.docs_store.query({"output.kind": "update"})):
        entry["output"].pop("centre_force_errors")
        store.docs_store.update(entry, key=["uuid", "index"])
    store.docs_store.close()
    older = Campaign.open(copied)
    assert [ModelUpdateDoc.model_validate(doc) for doc in without_errors(campaign)] == older.updates()
    assert all(doc.centre_force_errors == [] for doc in older.updates())
    assert older.calibration(recompute=False).empty
    again = older.calibration()
    np.testing.assert_allclose(again["force_error"], table["force_error"], rtol=1e-12)
    assert again.drop(columns="force_error").equals(table.drop(columns="force_error"))


def test_a_campaign_without_labels_has_an_empty_calibration(finished: Any) -> None:
    assert Campaign(finished.campaign.store, "other").calibration().empty
    assert Campaign(finished.campaign.store, "other").labels_by_method() == {}


def test_labels_are_counted_by_method(copied: Path, finished: Any) -> None:
    n = len(finished.campaign.dataset())
    assert finished.campaign.labels_by_method() == {tiny.REFERENCE: n}
    store = tiny.sqlite(copied)
    with contextlib.closing(store.docs_store):
        changed = finished.campaign.substructures(state="accepted")[:2]
        for doc in changed:
            entry = store.docs_store.query_one({"uuid": doc.uuid})
            entry["output"]["method"] = "another"
            store.docs_store.update(entry, key=["uuid", "index"])
        for entry in list(store.docs_store.query({"output.origin": "evaluation"})):
            entry["output"]["method"] = "of the evaluation"
            store.docs_store.update(entry, key=["uuid", "index"])
    assert Campaign.open(copied).labels_by_method() == {tiny.REFERENCE: n - 2, "another": 2}


def test_artifacts_are_found_where_the_state_says_and_in_a_folder_that_was_moved(copied: Path, finished: Any) -> None:
    state = finished.state
    folder = CampaignFolder(copied)
    assert folder.root(None) == folder.root(state) == str(copied / "artifacts")  # its own before the original's
    shutil.move(copied / "artifacts", copied / "files")
    assert folder.root(state) == str(finished.folder / "artifacts")
    lost = state.model_copy(update={"artifacts": "/no/longer/there/files"})
    assert folder.root(lost) == str(copied / "files")
    lost = state.model_copy(update={"artifacts": "/no/longer/there"})
    assert folder.root(lost) == "/no/longer/there"
    bucket = state.model_copy(update={"artifacts": "s3://bucket/prefix"})
    assert folder.root(bucket) == "s3://bucket/prefix"


def test_a_missing_model_file_is_named(copied: Path, finished: Any) -> None:
    file = copied / "artifacts" / finished.state.learner.force_field.path
    file.unlink()
    with pytest.raises(ArtifactError, match=file.name):
        Campaign.open(copied).model()


def test_the_summary_says_how_uncertainty_and_error_go_together(finished: Any) -> None:
    from idealflow.report import summarise, summary_text

    summary = summarise(finished.campaign)
    calibration, table = summary["calibration"], finished.campaign.calibration()
    assert calibration["n"] == len(table) == sum(entry["n"] for entry in calibration["bins"])
    for entry in calibration["bins"]:
        inside = table[(table["ratio"] >= entry["from"]) & (table["ratio"] < (entry["to"] or np.inf))]
        assert len(inside) == entry["n"]
        assert entry["force_error_meV_per_A"] == pytest.approx(1e3 * inside["force_error"].mean())
    json.dumps(summary, allow_nan=False)
    text = summary_text(summary)
    assert f"force error at {len(table)} labelled centres: rank correlation" in text
    assert f"labels by {tiny.REFERENCE}: " in text
    warned = summary | {"calibration": calibration | {"warning": "they do not go together"}}
    assert "warning: they do not go together" in summary_text(warned)
    mixed = summary_text(summary | {"labels_by_method": {"A": 5, "B": 2}})
    assert "labels by 2 methods (5 by A, 2 by B): " in mixed
    assert {"calibration", "labels_by_method"}.isdisjoint(summarise(finished.campaign, whole=False))
