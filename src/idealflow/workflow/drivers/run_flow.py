"""Run a flow here or by workers: what starts when, so that results are those of one process and nothing is done twice."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable

from jobflow import Flow, JobStore
from jobflow.core.job import Response
from jobflow.core.reference import find_and_resolve_references

from idealflow.schemas import RelaxationDoc
from idealflow.settings import Settings
from idealflow.workflow.campaign.queues import PARTS
from idealflow.workflow.drivers.budget import LabelBudget
from idealflow.workflow.drivers.flow_jobs import Added, FlowJob, FlowJobs
from idealflow.workflow.drivers.machine import Share
from idealflow.workflow.drivers.pool import Pool
from idealflow.workflow.jobs.locks import let_go
from idealflow.workflow.jobs.progress import Progress, emit
from idealflow.workflow.stages.label import LabelMaker

__all__ = ["FlowRunner"]

_LABELS = frozenset(PARTS["label"])

#: jobs of no weight, which this process runs itself: they add jobs, or commit what others have made
_HERE = frozenset({"dispatch", "settle", "gather", "evaluate", "evaluation-asked", "relabel", "state"})

#: what comes before a label: of its frame, and of the frames of other walkers
_OF_A_FRAME = ("crop", "relax")
_OF_A_WALKER = ("segment", "screen", "dispatch", *_OF_A_FRAME)


class FlowRunner:
    """Runs the jobs of flows, in this process or side by side in a pool.

    The outputs are the same either way. What a job computes follows from its arguments; jobs that wait for others get their
    outputs in the order in which the flow names them; and of labels of one geometry the one that comes first in that order is
    computed, and the others find it in the store.

    Parameters
    ----------
    store
        A connected job store.
    folder
        Working directory of the jobs.
    pool
        Workers; None: this process runs every job itself.
    budget
        Core-hours beyond which no label is started; None: no limit.

    Examples
    --------
    >>> from jobflow import job
    >>> from maggma.stores import MemoryStore
    >>> @job
    ... def add(a, b):
    ...     return a + b
    >>> one = add(1, 2)
    >>> two = add(one.output, 3)
    >>> store = JobStore(MemoryStore())
    >>> store.connect()
    >>> FlowRunner(store, ".").run(Flow([one, two]))
    True
    >>> store.get_output(two.uuid)
    6
    """

    def __init__(
        self, store: JobStore, folder: str, pool: Pool | None = None, budget: LabelBudget | None = None
    ) -> None:
        self._store, self._folder, self._pool, self._budget = store, folder, pool, budget
        self._jobs: FlowJobs  # of the flow that is run
        self._running: dict[str, FlowJob] = {}
        self._told_running: dict[str, int] = {}
        self._claims: dict[str, str] = {}  # geometry that is being labelled → uuid of the job

    def run(self, flow: Flow) -> bool:
        """Run a flow to its end; False if the budget has been used up before, so that labels are left to be made.

        Raises
        ------
        Exception
            The first error that a job raises. Jobs that are under way then are waited for, and no other starts.
        """
        self._jobs, self._claims = FlowJobs(flow), {}
        error: BaseException | None = None
        while True:
            if error is None:
                try:
                    self._start_all()
                except Exception as raised:
                    if not self._running:
                        raise
                    error = self._told(raised)
            if self._pool is None or not self._running:
                break
            self._tell_running(self._running.values())
            for job, outcome in self._pool.ended():
                if isinstance(outcome, Added):
                    self._take(self._running.pop(job.uuid), outcome)
                else:
                    self._running.pop(job.uuid)
                    error = error or self._told(outcome)
        if error is not None:
            raise error
        if not self._jobs.done and not self._spent():
            waiting = next(found for found in self._jobs if not found.done)
            raise RuntimeError(f"{waiting.job.name} waits for a job that never ran")
        return self._jobs.done

    def _told(self, error: BaseException) -> BaseException:
        """The error, which the user is told of now, as others are waited for."""
        if self._running:
            emit(Progress("driver", message=f"{error}; jobs under way are waited for: {len(self._running)}"))
        return error

    def _start_all(self) -> None:
        """Start every job that may start; those of no weight end at once, and others may start then."""
        again = True
        while again:
            again = False
            for found in self._jobs.startable():
                if found.stage in _LABELS and self._spent():
                    continue
                if self._pool is None or found.stage in _HERE:
                    self._run_here(found)
                    again = True
                    break
                share = _share_of(found)
                if self._pool.has_room(share) and self._may_start(found):
                    found.status = "running"
                    self._running[found.job.uuid] = found
                    self._pool.start(found.job, share)

    def _run_here(self, found: FlowJob) -> None:
        if found.stage not in _HERE:
            self._tell_running([found])
        with contextlib.chdir(self._folder):
            response: Response = found.job.run(store=self._store)
        let_go()
        detours = [flow for flow in (response.replace, response.detour) if flow is not None]
        self._take(found, Added(tuple(detours), () if response.addition is None else (response.addition,)))

    def _take(self, found: FlowJob, added: Added) -> None:
        self._jobs.ended(found, added)
        self._claims = {key: uuid for key, uuid in self._claims.items() if uuid != found.job.uuid}
        if found.stage in _LABELS:
            if self._budget is not None:
                self._budget.look()
            self._tell_running(self._running.values())  # without it, before it counts as ended
            labels = [job for job in self._jobs if job.stage in _LABELS]
            n_ended = sum(job.status == "ended" for job in labels)
            emit(Progress("labels", done=n_ended, total=len(labels)))

    def _tell_running(self, running: Iterable[FlowJob]) -> None:
        """Report what is under way, if that is not what was reported last."""
        now = dict(Counter(job.stage for job in running))
        if now != self._told_running:
            self._told_running = now
            emit(Progress("jobs", running=now))

    def _spent(self) -> bool:
        return self._budget is not None and self._budget.spent

    def _may_start(self, found: FlowJob) -> bool:
        """Whether a job can start beside those that are running: of labels, whether none of the same geometry comes first."""
        if found.stage not in _LABELS:
            return True
        _, subject, *_ = find_and_resolve_references(found.job.function_args, self._store)
        key, subject = found.job.maker.claim(subject)
        if isinstance(subject, RelaxationDoc):
            # frames of several walkers are alike at step 0 alone, where all begin
            begins = subject.step == 0
            stages = _OF_A_WALKER if begins else _OF_A_FRAME
            if self._jobs.waits_for(found, stages, of_its_flow=not begins):
                return False
        if key is None:
            return True
        return bool(self._claims.setdefault(key, found.job.uuid) == found.job.uuid)


def _share_of(found: FlowJob) -> Share:
    """Cores and memory that a job takes: a label what its Maker says, any other the site's threads."""
    maker = found.job.maker
    if isinstance(maker, LabelMaker):
        return Share(maker.n_cores, maker.memory_gb or 0.0)
    return Share(Settings().threads)
