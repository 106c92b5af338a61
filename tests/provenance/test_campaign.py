"""Queries and lineage on a finished campaign; labels recomputed independently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT

from idealflow import Campaign
from idealflow.core import UncertaintyModel
from idealflow.core.dynamics import Trajectory
from idealflow.errors import InputError
from idealflow.provenance import INDEXED_FIELDS, ensure_indexes
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.encode import load_frame, to_atoms
from support import tiny


def test_filters_select_what_they_say(finished: Any) -> None:
    campaign = finished.campaign
    everything = campaign.substructures()
    assert [doc.request_key for doc in everything] == sorted(doc.request_key for doc in everything)
    middle = float(np.median([doc.uncertainty for doc in everything]))
    version = everything[-1].model_version
    step = everything[0].step
    for filters, keep in (
        ({"state": "accepted"}, lambda doc: doc.state == "accepted"),
        ({"state": "failed"}, lambda doc: doc.state == "failed"),
        ({"uncertainty": {"$gt": middle}}, lambda doc: doc.uncertainty > middle),
        ({"model_version": version}, lambda doc: doc.model_version == version),
        ({"step": step, "species": "Cu"}, lambda doc: doc.step == step),
        ({"species": "Al"}, lambda _: False),
        ({"uuid": everything[0].uuid}, lambda doc: doc.uuid == everything[0].uuid),
        ({"atom": {"$in": [everything[0].atom, -1]}}, lambda doc: doc.atom == everything[0].atom),
    ):
        assert campaign.substructures(**filters) == [doc for doc in everything if keep(doc)], filters
    assert 0 < len(campaign.substructures(uncertainty={"$gt": middle})) < len(everything)


def test_a_filter_that_is_no_field_is_refused(finished: Any) -> None:
    with pytest.raises(InputError, match="SubstructureDoc has no field 'specie'; it has"):
        finished.campaign.substructures(specie="Cu")
    with pytest.raises(InputError, match="has no substructure nowhere"):
        finished.campaign.lineage("nowhere")


def test_another_campaign_in_the_same_store_sees_nothing(finished: Any) -> None:
    other = Campaign(finished.campaign.store, "other")
    assert other.state() is None
    assert other.substructures() == other.segments() == other.labels() == other.dataset() == []
    assert (other.bootstrap(), other.evaluation()) == (None, None)
    assert other.table().empty
    assert other.log().empty


def test_every_substructure_has_a_whole_and_consistent_lineage(finished: Any) -> None:
    campaign, artifacts = finished.campaign, ArtifactStore(finished.state.artifacts)
    updates = campaign.updates()
    for doc in campaign.substructures():
        line = campaign.lineage(doc.uuid)
        assert line.substructure == doc
        where = (doc.round, doc.walker, doc.step)
        for part in (line.screen, line.crop, line.relaxation):
            assert (part.round, part.walker, part.step) == where
            assert part.model_version == doc.model_version == line.version_before
        assert (line.segment.round, line.segment.walker, line.segment.frame_step) == where
        assert line.segment.uuid == line.screen.segment_uuid == line.crop.segment_uuid == doc.segment_uuid
        assert line.crop.screen_uuid == line.relaxation.screen_uuid == doc.screen_uuid
        assert line.relaxation.crop_uuid == doc.crop_uuid
        assert (line.crop.atom, line.relaxation.atom, line.relaxation.attempt) == (doc.atom, doc.atom, doc.attempt)
        centre = next(entry for entry in line.screen.centres if entry.atom == doc.atom)
        assert centre.uncertainty == line.crop.centre_uncertainty == doc.uncertainty > line.screen.threshold
        assert line.relaxation.structure == doc.structure
        # the crop's parents are the frame's atoms, and its core lies in the frame as it was
        frame, cell = load_frame(artifacts, line.segment.frame), to_atoms(doc.structure)
        assert cell.numbers.tolist() == frame.numbers[doc.parent_indices].tolist()
        assert doc.parent_indices[doc.centre] == doc.atom
        core = np.asarray(doc.core)
        np.testing.assert_allclose(
            cell.get_distances(doc.centre, core, mic=True),
            frame.get_distances(doc.atom, np.asarray(doc.parent_indices)[core], mic=True),
            atol=1e-9,
        )
        # what became of it
        assert line.update is not None
        assert doc.request_key in line.update.learned
        assert line.version_after == line.update.version_after == line.version_before + 1
        assert line.replayed_in == sorted(
            update.version_after for update in updates if doc.request_key in update.replayed
        )
        assert all(version > line.version_after for version in line.replayed_in)
        assert doc.shell_uncertainty == line.relaxation.uncertainty_after
        assert line.relaxation.uncertainty_after <= line.relaxation.uncertainty_before
    assert any(campaign.lineage(doc.uuid).replayed_in for doc in campaign.substructures())


def test_recorded_uncertainties_are_the_asking_models(finished: Any) -> None:
    campaign, artifacts = finished.campaign, ArtifactStore(finished.state.artifacts)
    versions = {finished.state.first_learner.version: finished.state.first_learner}
    versions |= {update.learner.version: update.learner for update in campaign.updates()}
    for doc in campaign.substructures():
        asked = UncertaintyModel.load(artifacts.get(versions[doc.model_version].uncertainty))
        frame = load_frame(artifacts, campaign.lineage(doc.uuid).segment.frame)
        assert asked(frame)[doc.atom] == pytest.approx(doc.uncertainty, rel=1e-9)
        # and its environment in the substructure scores the same, since the core is untouched
        assert asked(to_atoms(doc.structure))[doc.centre] == pytest.approx(doc.uncertainty, rel=1e-5)


def test_labels_equal_an_independent_computation(finished: Any) -> None:
    campaign = finished.campaign
    docs = [*campaign.labels(), *campaign.substructures()]
    assert {doc.origin for doc in docs} == {"bootstrap", "evaluation", "substructure"}
    for doc in docs:
        atoms = to_atoms(doc.structure)
        atoms.calc = EMT()
        assert doc.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(doc.forces, atoms.get_forces(), atol=1e-9)
        np.testing.assert_allclose(doc.stress, atoms.get_stress(), atol=1e-12)
        assert doc.method == tiny.REFERENCE


def test_the_dataset_is_what_was_learned(finished: Any) -> None:
    campaign = finished.campaign
    dataset = campaign.dataset()
    keys = [atoms.info["request_key"] for atoms in dataset]
    learned = [key for update in campaign.updates() for key in update.learned]
    assert sorted(keys) == sorted([doc.request_key for doc in campaign.labels(origin="bootstrap")] + learned)
    assert all(atoms.info["origin"] != "evaluation" for atoms in dataset)
    assert len(campaign.dataset(bootstrap=False)) == len(learned)
    docs = {doc.request_key: doc for doc in [*campaign.labels(), *campaign.substructures()]}
    for atoms in dataset:
        doc = docs[atoms.info["request_key"]]
        assert atoms.get_potential_energy() == doc.energy
        assert atoms.get_forces().tolist() == doc.forces
        assert atoms.get_stress().tolist() == doc.stress
        assert atoms.positions.tolist() == doc.structure.positions


def test_the_table_has_a_row_a_substructure(finished: Any) -> None:
    table, docs = finished.campaign.table(), finished.campaign.substructures()
    assert len(table) == len(docs)
    assert table["uuid"].is_unique
    for row, doc in zip(table.to_dict("records"), docs, strict=True):
        for name in ("uuid", "step", "atom", "state", "uncertainty", "shell_uncertainty", "model_version", "seconds"):
            assert row[name] == getattr(doc, name)


def test_the_trajectory_joins_up_and_ends_where_the_walker_stands(finished: Any) -> None:
    campaign, artifacts = finished.campaign, ArtifactStore(finished.state.artifacts)
    frames: dict[int, Atoms] = {}
    for segment in campaign.segments():
        if segment.trajectory is not None:
            frames |= {int(atoms.info["step"]): atoms for atoms in Trajectory(artifacts.get(segment.trajectory))}
    assert sorted(frames) == list(range(0, 61, 5))
    last = load_frame(artifacts, finished.state.walkers[0].md_state)
    np.testing.assert_allclose(frames[60].positions, last.positions, atol=1e-4)  # stored in single precision


def test_seconds_of_a_round_are_those_of_its_stages(finished: Any) -> None:
    campaign = finished.campaign
    number = campaign.substructures()[0].round
    stages = [*campaign.segments(round=number), *campaign.screens(round=number), *campaign.updates(round=number)]
    lines = [campaign.lineage(doc.uuid) for doc in campaign.substructures(round=number)]
    total = sum(doc.seconds for doc in stages)
    total += sum(line.crop.seconds + line.relaxation.seconds + line.substructure.seconds for line in lines)
    assert campaign.round_seconds(number) == pytest.approx(total)


def test_queries_of_a_round_use_an_index(tmp_path: Path) -> None:
    store = tiny.sqlite(tmp_path)
    ensure_indexes(store)  # a second time changes nothing
    import sqlite3

    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        indexed = " ".join(
            row[0] or "" for row in connection.execute("select sql from sqlite_master where type='index'")
        )
    for name in INDEXED_FIELDS:
        assert name in indexed, name
