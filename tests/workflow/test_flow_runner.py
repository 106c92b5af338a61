"""What starts when: labels of one geometry, budgets, errors. The pool is one that runs jobs here, last come first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from jobflow import Flow, Job, JobStore

from idealflow import AseLabeller, LabelMaker
from idealflow.provenance import Campaign
from idealflow.schemas import StageContext
from idealflow.workflow.drivers.budget import LabelBudget
from idealflow.workflow.drivers.flow_jobs import Added, FlowJobs
from idealflow.workflow.drivers.machine import Share
from idealflow.workflow.drivers.run_flow import FlowRunner
from idealflow.workflow.frames.encode import to_stored
from idealflow.workflow.jobs.progress import Progress, listening
from idealflow.workflow.jobs.stage import named
from support import pool_jobs, tiny


class LastFirst:
    """A pool with room for three jobs, which runs the last one started first."""

    def __init__(self, store: JobStore) -> None:
        self.store, self.jobs, self.most, self.shares = store, [], 0, []

    def has_room(self, share: Share) -> bool:  # noqa: ARG002  # the pool's signature
        return len(self.jobs) < 3

    def start(self, job: Job, share: Share) -> None:
        self.jobs.append(job)
        self.shares.append(share)
        self.most = max(self.most, len(self.jobs))

    def ended(self) -> Iterator[tuple[Job, Added | BaseException]]:
        job = self.jobs.pop()
        try:
            job.run(store=self.store)
            yield job, Added()
        except Exception as error:  # noqa: BLE001  # a job may raise any
            yield job, error


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return tiny.sqlite(tmp_path)


def labels(folder: Path, *a: float, **settings: Any) -> list[Job]:
    """Label jobs of copper cells of these lattice constants."""
    maker = LabelMaker(AseLabeller(tiny.EMT), **settings)
    context = StageContext(
        campaign="tiny", round=0, seed=1, artifacts=str(folder / "artifacts"), work=str(folder / "work")
    )
    cells = [to_stored(bulk("Cu", a=each, cubic=True)) for each in a]
    return [
        named(maker.make(context, cell, request=f"tiny/bootstrap/{i:06d}"), context, "bootstrap-label", i)
        for i, cell in enumerate(cells)
    ]


def test_of_labels_of_one_geometry_the_first_is_computed_and_the_others_take_it(
    store: JobStore, tmp_path: Path
) -> None:
    jobs, pool = labels(tmp_path, 3.6, 3.6, 3.7, 3.6, cores=2, memory_gb=4.0), LastFirst(store)
    assert FlowRunner(store, str(tmp_path), pool).run(Flow(jobs))
    docs = [store.query_one({"uuid": job.uuid})["output"] for job in jobs]
    assert [doc["reused_from"] for doc in docs] == [None, jobs[0].uuid, None, jobs[0].uuid]
    assert pool.most == 2  # two geometries at once, never one twice
    assert set(pool.shares) == {Share(2, 4.0)}


def test_a_label_waits_for_what_comes_before_it_in_its_frame_or_everywhere() -> None:
    def of_stage(name: str) -> Job:
        made = pool_jobs.number()
        made.update_metadata({"stage": name}, dynamic=False)
        return made

    first, second = of_stage("dispatch"), of_stage("dispatch")
    jobs = FlowJobs(Flow([first, second]))
    one, other = jobs
    jobs.ended(one, Added(detours=(Flow([of_stage("relax"), of_stage("label")]),)))
    jobs.ended(other, Added(detours=(Flow([of_stage("relax"), of_stage("label")]),)))
    relax, _, its_relax, its_label = [found for found in jobs if found.stage in ("relax", "label")]
    assert jobs.waits_for(its_label, ["relax"], of_its_flow=True)
    jobs.ended(its_relax, Added())
    assert not jobs.waits_for(its_label, ["relax"], of_its_flow=True)
    assert jobs.waits_for(its_label, ["dispatch", "relax"], of_its_flow=False)
    jobs.ended(relax, Added())
    # the first walker's label has not ended, and with it its dispatch is not done; the second's need not wait for that
    assert not one.done
    assert not jobs.waits_for(its_label, ["dispatch", "relax"], of_its_flow=False)


def test_no_label_starts_when_the_budget_is_used_up_and_a_larger_one_goes_on(store: JobStore, tmp_path: Path) -> None:
    lattice = (3.5, 3.55, 3.6, 3.65, 3.7, 3.75)
    used = LabelBudget(Campaign(store, "tiny"), 1e-12, 0)
    assert not used.spent
    assert not FlowRunner(store, str(tmp_path), LastFirst(store), used).run(Flow(labels(tmp_path, *lattice)))
    # three had been started when the first ended, and were finished
    assert store.count({"output.state": "accepted"}) == 3
    assert "labels have taken" in used.told()
    assert used.spent
    alone = LabelBudget(Campaign(store, "tiny"), 1e-12, 0)
    assert not FlowRunner(store, str(tmp_path), None, alone).run(Flow(labels(tmp_path, *lattice)))
    assert store.count({"output.state": "accepted"}) == 3
    large = LabelBudget(Campaign(store, "tiny"), 1.0, 0)
    assert FlowRunner(store, str(tmp_path), None, large).run(Flow(labels(tmp_path, *lattice)))
    assert store.count({"output.state": "accepted"}) == 6
    assert not large.spent


def test_after_an_error_nothing_starts_and_what_runs_is_finished(store: JobStore, tmp_path: Path) -> None:
    jobs = [pool_jobs.number(1), pool_jobs.number(2), pool_jobs.fail("disk"), pool_jobs.number(3)]
    with pytest.raises(OSError, match="No space left"):
        FlowRunner(store, str(tmp_path), LastFirst(store)).run(Flow(jobs))
    assert [store.count({"uuid": job.uuid}) for job in jobs] == [1, 1, 0, 0]


def test_what_is_under_way_is_told_before_a_label_counts_as_ended(tmp_path: Path) -> None:
    events: list[Progress] = []
    with listening(events.append):
        tiny.run(tmp_path, max_rounds=2, segment={"schedule": tiny.schedule(20, 20)})
    told = [event for event in events if event.stage in ("jobs", "labels")]
    labels = [i for i, event in enumerate(told) if event.stage == "labels"]
    assert labels
    assert all(told[i - 1].running == {} for i in labels)
    under_way = [event.running for event in told if event.running]
    assert {stage for running in under_way for stage in running} >= {
        "bootstrap-label",
        "bootstrap-fit",
        "segment",
        "update",
    }
    assert all(n == 1 for running in under_way for n in running.values())  # one process does one job at a time
