"""Runs that are killed between a stage's document and the state, and taken up again with other settings: nothing is mixed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from jobflow import run_locally

from idealflow import Campaign
from idealflow.errors import LabelError
from idealflow.workflow.campaign import ideal
from idealflow.workflow.campaign.opening import initial_state
from idealflow.workflow.campaign.state import next_action
from idealflow.workflow.drivers.local import evaluate_campaign
from idealflow.workflow.labellers import AseLabeller
from idealflow.workflow.stages import evaluation, update
from support import tiny
from support.other_method import HOT, NAME, by_lennard_jones, ledger_of


@contextmanager
def killed_in(where: Any, name: str) -> Iterator[None]:
    """The run is killed as it calls a function: what the jobs before it gave is stored, and nothing after it."""

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, killed)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_a_first_model_is_of_the_labels_that_are_asked_for_now(tmp_path: Path) -> None:
    """Killed after the fit, before the state: the labeller is another one, and so is the model."""
    with killed_in(ideal, "after_bootstrap"):
        tiny.run(tmp_path / "a", **HOT)
    state, campaign = tiny.run(tmp_path / "a", max_rounds=1, **HOT, label=by_lennard_jones())
    alone, _ = tiny.run(tmp_path / "b", max_rounds=1, **HOT, label=by_lennard_jones())
    assert {doc.method for doc in campaign.labels()} == {NAME}
    assert state.learner.force_field.sha256 == alone.learner.force_field.sha256
    assert state.threshold == alone.threshold


def test_a_first_model_that_was_stored_is_taken_as_it_is(tmp_path: Path) -> None:
    with killed_in(ideal, "after_bootstrap"):
        tiny.run(tmp_path, **HOT)
    before = Campaign(tiny.sqlite(tmp_path), "tiny").bootstrap()
    with killed_in(ideal, "after_bootstrap"):
        tiny.run(tmp_path, **HOT)
    assert Campaign(tiny.sqlite(tmp_path), "tiny").bootstrap().seconds == before.seconds


def test_a_first_model_stays_when_its_job_is_run_again_after_the_campaign_went_on(tmp_path: Path) -> None:
    """As a queue does when one of the labels before it, which was lost, is run again."""
    tiny.run(tmp_path, max_rounds=1, **HOT)
    store = tiny.sqlite(tmp_path)
    before = Campaign(store, "tiny").bootstrap()
    changed = tiny.maker(tmp_path, **HOT | {"bootstrap": HOT["bootstrap"] | {"fit_steps": 30}})
    opening = initial_state(changed, tiny.frame())
    run_locally(changed.flow(opening, next_action(opening), None), store=store, root_dir=tmp_path, log=False)
    assert Campaign(store, "tiny").bootstrap() == before


@pytest.mark.parametrize("second", [by_lennard_jones("relabel"), by_lennard_jones("relabel", epsilon=0.2)])
def test_labels_are_sorted_out_as_the_settings_say_now(folder: Path, second: dict[str, Any]) -> None:
    """Killed after labels were sorted out, before the state."""
    other = shutil.copytree(folder, folder.with_name("other"))
    first = by_lennard_jones("leave_out" if second == by_lennard_jones("relabel") else "relabel")
    with killed_in(ideal, "after_relabel"):
        tiny.run(folder, label=first, max_rounds=1, **HOT)
    state, campaign = tiny.run(folder, label=second, max_rounds=1, **HOT)
    alone, _ = tiny.run(other, label=second, max_rounds=1, **HOT)
    assert [doc.choice for doc in campaign.relabellings()] == ["relabel"]
    assert ledger_of(state).keys == ledger_of(alone).keys
    assert state.learner.force_field.sha256 == alone.learner.force_field.sha256


def test_a_round_learns_no_labels_of_a_method_that_is_left_out(folder: Path) -> None:
    """Killed before the update: of the labels that are there, one is asked for again by the new method, one is not."""
    first, second = by_lennard_jones("leave_out"), by_lennard_jones("leave_out", epsilon=0.2)
    tiny.run(folder, label=first, max_rounds=1, **HOT)  # the first model's labels are left out, from now on
    with killed_in(update, "collect"):
        tiny.run(folder, label=first, threshold=2.0, **HOT)
    stored = Campaign(tiny.sqlite(folder), "tiny")
    number = stored.state().round
    before = stored.substructures(round=number, state="accepted")
    assert len(before) == 2
    state, campaign = tiny.run(folder, label=second, screen={"max_centres": 1}, max_rounds=1, threshold=2.0, **HOT)
    (done,) = campaign.updates(round=number)
    assert state.round == number + 1
    assert len(done.accepted) == 1
    (new,) = campaign.substructures(request_key=done.accepted[0])
    assert new.labeller_key not in {doc.labeller_key for doc in before}
    assert ledger_of(state).keys == done.learned


def test_relabelling_that_was_given_up_does_not_replace_labels_in_the_dataset(folder: Path) -> None:
    before = {
        atoms.info["request_key"]: atoms.info["method"] for atoms in Campaign(tiny.sqlite(folder), "tiny").dataset()
    }
    with killed_in(ideal, "after_relabel"):
        tiny.run(folder, label=by_lennard_jones("relabel"), max_rounds=1, **HOT)
    _, campaign = tiny.run(folder, max_rounds=1, **HOT)
    after = {atoms.info["request_key"]: atoms.info["method"] for atoms in campaign.dataset()}
    assert before.items() <= after.items()
    assert set(after.values()) == {tiny.REFERENCE}
    assert campaign.labels_by_method() == {tiny.REFERENCE: len(after)}


# evaluations


@pytest.fixture(scope="module")
def run_through(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a campaign at its last frame, whose evaluation is all that is left; read only."""
    folder = tmp_path_factory.mktemp("through")
    tiny.run(folder, **PLAIN, evaluation={"n_frames": 0})
    return folder


PLAIN: dict[str, Any] = {
    "segment": {"schedule": tiny.schedule(20, 0), "segment_steps": 10, "check_interval": 5},
    "bootstrap": {"n_structures": 6},
    "learn": False,
}


def label_with(**changes: Any) -> dict[str, Any]:
    return {"labeller": tiny.settings()["label"]["labeller"] | changes}


def test_labels_of_an_interrupted_evaluation_count_under_another_time_limit(run_through: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run_through, tmp_path / "copy")
    with killed_in(evaluation, "_Parity"):
        tiny.run(folder, **PLAIN, evaluation={"n_frames": 2}, label=label_with(time_limit_s=50))
    state, campaign = tiny.run(folder, **PLAIN, evaluation={"n_frames": 2}, label=label_with(time_limit_s=60))
    assert state.evaluated
    assert campaign.evaluation().failed == {}
    assert len(campaign.evaluation().frames) == 2


def test_a_frame_that_failed_once_is_compared_when_its_label_is_there(run_through: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run_through, tmp_path / "copy")
    frames = {"n_frames": 2}

    def fails(self: AseLabeller, atoms: Atoms, directory: Path) -> Any:

        raise LabelError("no license")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AseLabeller, "label", fails)
        _, campaign = tiny.run(folder, **PLAIN, evaluation=frames)
    assert len(campaign.evaluation().failed) == 2
    made = tiny.maker(folder, **PLAIN, evaluation=frames)
    doc = evaluate_campaign(made, tiny.sqlite(folder), str(folder / "artifacts"), n_frames=2, root_dir=folder)
    assert (doc.failed, len(doc.frames)) == ({}, 2)


def test_an_evaluation_asked_for_again_in_one_round_has_the_frames_that_came_since(tmp_path: Path) -> None:
    plain = PLAIN | {"segment": PLAIN["segment"] | {"schedule": tiny.schedule(40, 0)}}
    tiny.run(tmp_path, **plain, max_rounds=2, evaluation={"n_frames": 0})
    made, artifacts = tiny.maker(tmp_path, **plain), str(tmp_path / "artifacts")
    first = evaluate_campaign(made, tiny.sqlite(tmp_path), artifacts, n_frames=1, root_dir=tmp_path)
    with killed_in(ideal, "after_round"):
        tiny.run(tmp_path, **plain, evaluation={"n_frames": 0})
    second = evaluate_campaign(made, tiny.sqlite(tmp_path), artifacts, n_frames=1, root_dir=tmp_path)
    assert first.round == second.round
    assert first.frames[0].step < second.frames[0].step
