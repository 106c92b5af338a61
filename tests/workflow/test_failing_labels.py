"""Labels that fail: every failure is recorded with its cause, tried again on the next crop, then quarantined."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from ase import Atoms

from idealflow.core import UncertaintyModel
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.encode import load_frame
from support import tiny


def labeller(calculator: str, limit: float = 120.0, **kwargs: Any) -> dict[str, Any]:
    return {
        "labeller": {"calculator": calculator, "kwargs": kwargs, "time_limit_s": limit, "reference": tiny.REFERENCE}
    }


def flawed(folder: Path, *fates: str, limit: float = 120.0) -> dict[str, Any]:
    """Substructures meet these fates in turn, over and over."""
    return labeller("support.failing_calculators.Flawed", limit, fates=fates, log=str(folder / "cells.txt"))


def check_records(campaign: Any, state: Any, n_attempts: int) -> None:
    """What must hold of any campaign with failed labels."""
    docs = campaign.substructures()
    centres = defaultdict(list)
    for doc in docs:
        centres[doc.walker, doc.step, doc.atom].append(doc)
        assert (doc.energy is None) == (doc.state == "failed") == (doc.cause is not None)
    expected_quarantine = []
    for tries in centres.values():
        assert [doc.attempt for doc in tries] == list(range(len(tries)))
        assert all(doc.state == "failed" for doc in tries[:-1])  # a success ends the attempts
        if tries[-1].state == "failed":
            crop = campaign.lineage(tries[-1].uuid).crop
            assert len(tries) == max(1, min(n_attempts, len(crop.chosen)))
            expected_quarantine.append(tries[-1].request_key)
    quarantined = [key for update in campaign.updates() for key in update.quarantined]
    assert sorted(quarantined) == sorted(expected_quarantine)
    failed = [doc.request_key for doc in docs if doc.state == "failed"]
    assert sorted(key for update in campaign.updates() for key in update.failed) == sorted(failed)
    assert sum(count for update in campaign.updates() for count in update.causes.values()) == len(failed)
    evaluation = campaign.evaluation()
    assert state.n_failed_labels == len(failed) + (len(evaluation.failed) if evaluation else 0)
    assert state.n_quarantined == len(quarantined)
    assert state.n_substructures == len(docs) - len(failed)


def test_a_third_of_the_cells_fails(tmp_path: Path) -> None:
    state, campaign = tiny.run(tmp_path, label=flawed(tmp_path, "raises", "ok", "ok"))
    assert state.status == "finished"
    check_records(campaign, state, n_attempts=3)
    failed = campaign.substructures(state="failed")
    assert failed
    # two centres a frame at most, so the next cells are well: a second crop stood in wherever there was one
    for doc in failed:
        crop = campaign.lineage(doc.uuid).crop
        again = campaign.substructures(state="accepted", walker=doc.walker, step=doc.step, atom=doc.atom)
        assert [other.attempt for other in again] == ([doc.attempt + 1] if len(crop.chosen) > 1 else [])
    assert {doc.cause for doc in failed} == {
        f"{tiny.REFERENCE}: RuntimeError: the electronic minimisation did not converge"
    }


def test_nan_and_hanging_labels(tmp_path: Path) -> None:
    # most labels fail: on purpose. The first centre's two crops meet the first two fates
    fates = ["nan", "hangs", "ok", "nan", "ok", "nan", "nan", "ok", "nan", "nan"]
    label = flawed(tmp_path, *fates, limit=5.0)
    state, campaign = tiny.run(tmp_path, label=label, n_attempts=2, max_failed_fraction=None)
    assert state.status == "finished"
    check_records(campaign, state, n_attempts=2)
    assert state.n_quarantined
    causes = {doc.cause for doc in campaign.substructures(state="failed")}
    assert any("exceeded its time limit of 5 s" in cause for cause in causes), causes
    assert any("NaN" in cause or "finite" in cause for cause in causes), causes


def test_a_labeller_that_always_fails_quarantines_and_finishes(tmp_path: Path) -> None:
    """Quarantined centres cover like learned ones, in the distribution only: nothing is learned from them."""
    state, campaign = tiny.run(tmp_path, label=labeller("support.failing_calculators.Never"), n_attempts=1)
    assert state.status == "finished"
    check_records(campaign, state, n_attempts=1)
    assert state.n_substructures == 0
    assert {update.decision for update in campaign.updates()} == {"nothing_new"}
    assert state.learner.force_field == state.first_learner.force_field
    assert state.learner.version == sum(bool(update.quarantined) for update in campaign.updates()) > 0
    artifacts = ArtifactStore(state.artifacts)
    first, last = (
        UncertaintyModel.load(artifacts.get(entry.uncertainty)) for entry in (state.first_learner, state.learner)
    )
    doc = campaign.substructures()[0]
    frame: Atoms = load_frame(artifacts, campaign.lineage(doc.uuid).segment.frame)
    assert not first.covered(frame, state.threshold)[doc.atom]
    assert last.covered(frame, state.threshold)[doc.atom]
    last = last.copy()
    last.forget_quarantined()
    assert not last.covered(frame, state.threshold)[doc.atom]
    assert last.n_samples == first.n_samples
    assert campaign.evaluation().failed  # whole frames cannot be labelled either, and say why
    assert campaign.evaluation().t_entire_s is None


def test_a_labeller_that_fails_systematically_stops_the_campaign(tmp_path: Path) -> None:
    never = labeller("support.failing_calculators.Never")
    state, campaign = tiny.run(tmp_path, label=never, n_attempts=1, max_failed_labels=2)
    assert state.status == "failed"
    assert state.n_failed_labels == len(campaign.substructures(state="failed")) > 2
    assert "more than max_failed_labels = 2 allows" in state.reason
    assert "MemoryError: not enough memory for the plane waves" in state.reason
    again, _ = tiny.run(tmp_path, label=never, n_attempts=1, max_failed_labels=2)
    assert again == state  # nothing was done
    assert len(campaign.substructures(state="failed")) == state.n_failed_labels


def test_another_labeller_lifts_the_quarantine(tmp_path: Path) -> None:
    never = labeller("support.failing_calculators.Never")
    short = {"schedule": tiny.schedule(20, 20)}
    state, campaign = tiny.run(tmp_path, label=never, n_attempts=1, segment=short, evaluation={"n_frames": 0})
    assert (state.status, state.n_substructures) == ("finished", 0)
    longer = {"schedule": [*tiny.schedule(20, 20), {"kind": "hold", "temperature": 2000, "steps": 20}]}
    label = tiny.settings()["label"] | {"other_method": "keep"}
    state, _ = tiny.run(tmp_path, segment=longer, label=label, evaluation={"n_frames": 0})
    assert state.status == "finished"
    assert state.n_substructures > 0
    lifted = UncertaintyModel.load(ArtifactStore(state.artifacts).get(state.learner.uncertainty))
    before = lifted.copy()
    lifted.forget_quarantined()
    assert lifted.n_covered == before.n_covered  # nothing quarantined is left
    assert {doc.method for doc in campaign.substructures(state="accepted")} == {tiny.REFERENCE}
