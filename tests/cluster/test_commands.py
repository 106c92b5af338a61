"""Ordinary commands on a submitted campaign, and what happens when its pieces get lost."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jobflow
import pytest
from fireworks import FWorker
from fireworks.core.rocket_launcher import launch_rocket
from jobflow.managers.fireworks import flow_to_workflow
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect

from idealflow import Campaign
from idealflow.errors import CampaignError, InputError
from idealflow.workflow import IdealMaker
from idealflow.workflow.drivers.fireworks import pause_campaign, submit_campaign
from idealflow.workflow.drivers.recovery import Recovered, recover_campaign
from support import tiny
from workbench.cluster import Cluster


class Rockets:
    """One worker in this process, and the commands of the program."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.launchpad = cluster, cluster.launchpad()
        self.campaign = Campaign(cluster.job_store(), "tiny")

    def maker(self, **changes: Any) -> IdealMaker:
        return tiny.maker(self.cluster.folder, **changes)

    def submit(self, *notes: str, **changes: Any) -> str:
        return submit_campaign(self.maker(**changes), tiny.frame(), self.cluster.launchpad_file, notes)

    def pause(self) -> str:
        return pause_campaign("tiny", self.cluster.launchpad_file)

    def run(self, until: Callable[[], bool] = lambda: False, most: int = 400) -> int:
        """Launch rockets until there is nothing to launch, or ``until()``; how many."""
        for number in range(most):
            if until() or not launch_rocket(self.launchpad, FWorker(), strm_lvl="ERROR"):
                return number
        raise AssertionError(f"the campaign is not done after {most} rockets")

    def ready(self, stage: str) -> list[int]:
        """Ids of fireworks of a stage that could be launched."""
        return sorted(self.launchpad.get_fw_ids({"spec.stage": stage, "state": "READY"}))

    def lose(self, fw_id: int) -> None:
        """A worker takes a firework and is never heard of again."""
        self.launchpad.checkout_fw(FWorker(), str(self.cluster.folder), fw_id=fw_id)
        lost = self.launchpad.detect_lostruns(expiration_secs=-1, fizzle=True)
        assert lost[1] == [fw_id]

    def states(self) -> set[str]:
        return set(self.launchpad.fireworks.distinct("state"))

    def check_ended_as(self, other: Any) -> None:
        """The campaign ended as another did, and no label stands twice."""
        state = self.campaign.state()
        assert state is not None
        assert (state.status, state.round) == ("finished", other.state.round)
        assert state.learner.force_field.sha256 == other.state.learner.force_field.sha256
        requests = [doc.request_key for doc in self.campaign.substructures()]
        assert len(requests) == len(set(requests))

    def round(self) -> int:
        state = self.campaign.state()
        return -1 if state is None else state.round


@pytest.fixture
def rockets(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rockets:
    """A cluster whose only worker is this process."""
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", cluster.job_store())
    monkeypatch.chdir(tmp_path)
    return Rockets(cluster)


def test_pause_resume_change_extend(rockets: Rockets, finished: Any) -> None:
    assert "start it with" in rockets.submit()
    rockets.run(until=lambda: rockets.round() == 2)
    assert "already, round 2 tiny: fireworks" in rockets.submit()
    with pytest.raises(CampaignError, match=r"Its settings are not these: stop it .* with `idealflow pause tiny`"):
        rockets.submit(threshold=50.0)

    assert "pauses when the round under way has ended" in rockets.pause()
    rockets.run()
    state = rockets.campaign.state()
    assert state is not None
    assert (state.round, state.status) == (3, "paused")
    assert "idealflow submit" in state.reason

    rockets.submit()  # as it was: the rest is what an undisturbed campaign does
    rockets.run()
    state = rockets.campaign.state()
    assert state is not None
    assert (state.status, state.round) == ("finished", finished.state.round)
    assert state.learner.force_field.sha256 == finished.state.learner.force_field.sha256
    assert rockets.states() == {"COMPLETED"}

    rockets.submit()  # nothing is left to do
    assert rockets.run() == 1
    with pytest.raises(InputError, match="seed = 1, now 2"):
        rockets.submit(seed=2)

    longer = {"segment": {"schedule": [*tiny.schedule(20, 40), {"kind": "hold", "temperature": 2000, "steps": 10}]}}
    other = {"calculator": tiny.EMT, "reference": "EMT anew (stands in for DFT)"}
    rockets.submit(threshold=1e9, label={"labeller": other}, **longer)
    rockets.run()
    after, evaluation = rockets.campaign.state(), rockets.campaign.evaluation()
    assert after is not None
    assert evaluation is not None
    assert (after.status, after.walkers[0].step, after.threshold) == ("finished", 70, 1e9)
    assert after.label_method == evaluation.method != state.label_method
    assert after.n_substructures == state.n_substructures


def test_another_method_goes_the_way_of_the_local_driver(rockets: Rockets, tmp_path: Path) -> None:
    """Labels made anew, changes and notes recorded: as a campaign in a folder does it."""
    hot: dict[str, Any] = {"bootstrap": {"n_structures": 6}, "evaluation": {"n_frames": 0}}
    first, longer = (
        tiny.schedule(0, 30)[1:],
        [*tiny.schedule(0, 30)[1:], {"kind": "hold", "temperature": 2000, "steps": 5}],
    )
    labeller = {
        "calculator": "ase.calculators.lj.LennardJones",
        "kwargs": {"sigma": 2.27, "epsilon": 0.167, "rc": 6.0},
        "reference": "Lennard-Jones (stands in for DFT)",
    }
    anew = hot | {"label": {"labeller": labeller, "other_method": "relabel"}, "segment": {"schedule": longer}}
    tiny.run(tmp_path / "alone", **hot, segment={"schedule": first})
    alone, _ = tiny.run(tmp_path / "alone", **anew)

    rockets.submit("cu.xyz has 2 frames; the last, 1, is taken", **hot, segment={"schedule": first})
    rockets.run()
    with pytest.raises(InputError, match=r"label\.other_method: keep"):
        rockets.submit(**anew | {"label": {"labeller": labeller}})
    rockets.submit(**anew)
    rockets.run()
    state = rockets.campaign.state()
    assert state is not None
    assert (state.status, state.walkers[0].step) == ("finished", 35)
    assert state.notes == ["cu.xyz has 2 frames; the last, 1, is taken"]
    assert len(rockets.campaign.relabellings()) == 1
    assert state.learner.force_field.sha256 == alone.learner.force_field.sha256
    recorded = [(entry.round, entry.key, entry.after) for entry in state.changes if entry.key != "launchpad"]
    assert recorded == [(entry.round, entry.key, entry.after) for entry in alone.changes]


def test_a_campaign_added_from_python_is_the_same(rockets: Rockets, finished: Any) -> None:
    maker = replace(rockets.maker(), continuation="launchpad", launchpad=str(rockets.cluster.launchpad_file))
    rockets.launchpad.add_wf(flow_to_workflow(maker.make(tiny.frame())))
    rockets.run()
    state = rockets.campaign.state()
    assert state is not None
    assert state.status == "finished"
    assert state.learner.force_field.sha256 == finished.state.learner.force_field.sha256
    assert "start it with" in rockets.submit()
    assert rockets.run() == 1
    assert rockets.campaign.state() == state


def test_a_worker_of_another_launchpad_says_so(rockets: Rockets, server: str) -> None:
    other = rockets.cluster.write("other.yaml", {"host": server, "name": "nothing_here", "uri_mode": True})
    maker = replace(rockets.maker(), continuation="launchpad", launchpad=str(other))
    rockets.launchpad.add_wf(flow_to_workflow(maker.make(tiny.frame())))
    rockets.run()
    (launch,) = rockets.launchpad.launches.find({"state": "FIZZLED"})
    assert "nothing_here" in str(launch["action"]) and "does not hold campaign tiny" in str(launch["action"])  # noqa: PT018


def test_a_lost_label_does_not_stop_the_campaign_and_is_learned_when_it_comes(rockets: Rockets) -> None:
    rockets.submit()
    rockets.run(until=lambda: bool(rockets.ready("label")))
    assert rockets.ready("label")
    lost = rockets.ready("label")[0]
    rockets.lose(lost)
    started = rockets.round()
    rockets.run(until=lambda: rockets.round() >= started + 2)
    state = rockets.campaign.state()
    assert state is not None
    assert [entry[0] for entry in state.lost_labels] == [started]

    rockets.launchpad.rerun_fw(lost)
    before = len(rockets.campaign.updates())
    versions = {doc.round: doc.version_after for doc in rockets.campaign.updates()}
    rockets.run()
    state = rockets.campaign.state()
    assert state is not None
    assert (state.status, state.lost_labels) == ("finished", [])
    assert rockets.states() == {"COMPLETED"}
    updates = rockets.campaign.updates()
    assert {doc.round: doc.version_after for doc in updates[:before]} == versions  # history is not replayed
    late = [doc for doc in rockets.campaign.substructures() if doc.round == started and doc.state == "accepted"]
    learned = [key for doc in updates for key in doc.learned]
    assert {doc.request_key for doc in late} <= set(learned)
    assert len(learned) == len(set(learned))
    assert state.n_substructures == len(learned)


def test_recover_mends_what_a_killed_worker_left_in_the_queue(
    rockets: Rockets, monkeypatch: pytest.MonkeyPatch, finished: Any
) -> None:
    file, launchpad = rockets.cluster.launchpad_file, rockets.launchpad
    rockets.submit()
    rockets.run(until=lambda: bool(rockets.ready("screen")))
    (screen,) = rockets.ready("screen")
    nothing = recover_campaign("tiny", file, lost_after_s=0)
    assert str(nothing).startswith("0 lost, 0 fizzled and 0 undone")

    # killed between its reservation and its launch
    launchpad.fireworks.update_one({"fw_id": screen}, {"$set": {"state": "RESERVED"}})
    assert rockets.run() == 0
    assert recover_campaign("tiny", file).reserved == 0  # it may be at it
    assert recover_campaign("tiny", file, lost_after_s=0) == Recovered(0, 1, 0, 0, 0, 0)

    # killed between what it wrote of a job and of its workflow
    launch_rocket(launchpad, FWorker(), strm_lvl="ERROR")
    launchpad.workflows.update_one({"nodes": screen}, {"$set": {f"fw_states.{screen}": "RUNNING"}})
    assert recover_campaign("tiny", file, lost_after_s=0) == Recovered(0, 0, 0, 1, 0, 0)

    # the same, and its child was not told
    child = launchpad.get_fw_ids({"spec.stage": "dispatch", "state": "READY"})[0]
    launchpad.fireworks.update_one({"fw_id": child}, {"$set": {"state": "WAITING"}})
    launchpad.workflows.update_one({"nodes": child}, {"$set": {f"fw_states.{child}": "WAITING"}})
    assert rockets.run() == 0
    assert recover_campaign("tiny", file, lost_after_s=0) == Recovered(0, 0, 0, 1, 0, 0)

    # killed between the jobs it added and their workflow
    stray = launchpad.fireworks.find_one({"fw_id": screen}, {"_id": 0}) | {"fw_id": 10**6, "state": "WAITING"}
    launchpad.fireworks.insert_one(stray)
    assert recover_campaign("tiny", file, lost_after_s=0) == Recovered(0, 0, 1, 0, 0, 0)

    # the same, but the server was still storing the workflow when the strays were looked for: they are none
    document = launchpad.fireworks.find_one({"fw_id": screen}, {"_id": 0}) | {"fw_id": 10**6, "state": "PAUSED"}
    workflow = launchpad.workflows.find_one({"nodes": screen})
    for moment, owner in (("sleep", time), ("delete_one", Collection)):
        launchpad.fireworks.replace_one({"fw_id": 10**6}, document, upsert=True)
        launchpad.workflows.update_one({"nodes": screen}, {"$set": {"nodes": workflow["nodes"]}})
        original = getattr(owner, moment)

        def late(*given: Any, original: Any = original) -> Any:
            result = None if original is time.sleep else original(*given)
            states = {"fw_states.1000000": "PAUSED", "links.1000000": []}
            launchpad.workflows.update_one({"nodes": screen}, {"$addToSet": {"nodes": 10**6}, "$set": states})
            return result

        with monkeypatch.context() as patch:
            patch.setattr(owner, moment, late)
            assert recover_campaign("tiny", file, lost_after_s=0).stray == 0
        assert launchpad.fireworks.find_one({"fw_id": 10**6}, {"_id": 0}) == document
    # killed while it submitted: some jobs of the workflow are not there yet, and it is left to who submits again
    launchpad.fireworks.delete_one({"fw_id": 10**6})
    states = {"fw_states.1000000": "WAITING", f"links.{screen}": [10**6], "links.1000000": []}
    launchpad.workflows.update_one({"nodes": screen}, {"$set": states})
    assert recover_campaign("tiny", file, lost_after_s=0) == Recovered(0, 0, 0, 0, 0, 0)
    launchpad.workflows.replace_one({"nodes": screen}, workflow)

    # killed at work
    rockets.run(until=lambda: bool(rockets.ready("label")))
    launchpad.checkout_fw(FWorker(), str(rockets.cluster.folder), fw_id=rockets.ready("label")[0])
    assert recover_campaign("tiny", file, lost_after_s=-1).lost == 1

    rockets.run()
    state = rockets.campaign.state()
    assert state is not None
    assert (state.status, state.lost_labels) == ("finished", [])
    assert state.learner.force_field.sha256 == finished.state.learner.force_field.sha256
    with pytest.raises(InputError, match="holds no campaign 'other'"):
        recover_campaign("other", file)


@pytest.mark.parametrize("stuck", [False, True], ids=["at once", "when it is stuck"])
def test_recover_mends_what_a_job_declared_lost_as_it_ended_left_in_the_queue(
    stuck: bool, rockets: Rockets, capsys: pytest.CaptureFixture[str], finished: Any
) -> None:
    launchpad = rockets.launchpad
    rockets.submit()
    rockets.run(until=lambda: bool(rockets.ready("crop")))
    (dispatch,) = launchpad.get_fw_ids({"spec.stage": "dispatch", "state": "COMPLETED"}, sort=[("fw_id", -1)], limit=1)
    (segment,) = launchpad.get_fw_ids({"spec.stage": "segment", "state": "COMPLETED"}, sort=[("fw_id", -1)], limit=1)
    (launch,) = launchpad.fireworks.find_one({"fw_id": segment})["launches"]
    # what launchpad.detect_lostruns does of a launch that it found RUNNING, whatever has become of it since
    launchpad.mark_fizzled(launch)
    launchpad.rerun_fw(segment)
    assert launchpad.fireworks.find_one({"fw_id": dispatch})["state"] == "WAITING"
    if stuck:
        launch_rocket(launchpad, FWorker(), fw_id=segment, strm_lvl="ERROR")
        assert launchpad.get_fw_ids({"state": "FIZZLED"}) == [segment]
        assert "Detour option only works" in capsys.readouterr().err
    recovered = recover_campaign("tiny", rockets.cluster.launchpad_file)
    assert (recovered.undone, recovered.fizzled) == (2, stuck)  # screen and dispatch
    rockets.run()
    rockets.check_ended_as(finished)
    assert recover_campaign("tiny", rockets.cluster.launchpad_file) == Recovered(0, 0, 0, 0, 0, 0)


# the files that a segment was writing are closed when it is forgotten
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("stage", ["segment", "update"])
def test_a_full_disk_fizzles_the_job_and_recover_goes_on(
    stage: str, rockets: Rockets, monkeypatch: pytest.MonkeyPatch, finished: Any
) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    rockets.submit()
    rockets.run(until=lambda: rockets.round() >= 1 and bool(rockets.ready(stage)))
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_space)
        launch_rocket(rockets.launchpad, FWorker(), strm_lvl="CRITICAL")
    (fizzled,) = rockets.launchpad.launches.find({"state": "FIZZLED"})
    assert "No space left on device" in str(fizzled["action"])
    assert rockets.run() == 0
    assert recover_campaign("tiny", rockets.cluster.launchpad_file) == Recovered(0, 0, 0, 0, 1, 0)
    rockets.run()
    rockets.check_ended_as(finished)


def test_a_submission_that_broke_off_is_completed_and_never_doubled(
    rockets: Rockets, monkeypatch: pytest.MonkeyPatch, finished: Any
) -> None:
    rockets.submit()
    # round 0 ends, and the worker dies while it submits round 1: its workflow is there, its fireworks in part
    rockets.run(until=lambda: bool(rockets.ready("state")))
    from pymongo.collection import Collection

    real, calls = Collection.update_one, []

    def breaking(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        if self.name == "fireworks" and "fw_id" in query and kwargs.get("upsert"):
            calls.append(query)
            if len(calls) == 3:
                raise AutoReconnect("the connection is gone")
        return real(self, query, *args, **kwargs)

    monkeypatch.setattr(Collection, "update_one", breaking)
    launch_rocket(rockets.launchpad, FWorker(), strm_lvl="CRITICAL")
    monkeypatch.setattr(Collection, "update_one", real)
    assert len(calls) == 3
    (state_fw,) = rockets.launchpad.get_fw_ids({"spec.stage": "state", "state": "FIZZLED"})
    assert rockets.run() == 0  # no worker can start what is there in part
    rockets.launchpad.rerun_fw(state_fw)
    rockets.run()
    state = rockets.campaign.state()
    assert state is not None
    assert (state.status, state.round) == ("finished", finished.state.round)
    assert state.learner.force_field.sha256 == finished.state.learner.force_field.sha256
    keys = [entry["metadata"]["submission"] for entry in rockets.launchpad.workflows.find({})]
    assert len(keys) == len(set(keys)) == state.round + 1
    ids = [entry["fw_id"] for entry in rockets.launchpad.fireworks.find({}, {"fw_id": 1})]
    assert len(ids) == len(set(ids))
