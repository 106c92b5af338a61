"""The jobs of one flow: which of them can start, what each adds when it has ended, and which came before which."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from jobflow import Flow, Job

__all__ = ["Added", "FlowJob", "FlowJobs"]


@dataclass(frozen=True)
class Added:
    """Flows that a job adds, as jobflow's Response has them.

    Attributes
    ----------
    detours
        Flows for which the jobs that follow the job have to wait.
    additions
        Flows for which nothing waits.

    Examples
    --------
    >>> Added().detours
    ()
    """

    detours: tuple[Flow, ...] = ()
    additions: tuple[Flow, ...] = ()


@dataclass(eq=False)
class FlowJob:
    """A job in a flow.

    Attributes
    ----------
    job
        The job.
    place
        Its place in the order in which one process would run the flow: places are sorted as tuples.
    parents
        uuids of jobs of the same flow that have to be done first.
    host
        The job whose detour it belongs to; None for none.
    status
        ``waiting`` to be started, ``running``, or ``ended``; it is done when its detours are done, too.
    open_jobs
        Jobs of its detours that are not done.

    Examples
    --------
    See :class:`FlowJobs`, which makes them.

    >>> FlowJob.__match_args__[:2]
    ('job', 'place')
    """

    job: Job
    place: tuple[int, ...]
    parents: frozenset[str]
    host: FlowJob | None = None
    status: Literal["waiting", "running", "ended"] = "waiting"
    open_jobs: int = 0

    @property
    def stage(self) -> str:
        """The stage's name, as its job's metadata has it; empty for a job of another kind."""
        return str(self.job.metadata.get("stage", ""))

    @property
    def done(self) -> bool:
        """Whether the job and its detours have ended."""
        return self.status == "ended" and self.open_jobs == 0


class FlowJobs:
    """The jobs of one flow and of what they add to it.

    Parameters
    ----------
    flow
        A jobflow Flow whose references stay within it, or lead to stored outputs. Its jobs are in the order in which one process
        would run them.

    Examples
    --------
    >>> from jobflow import job
    >>> @job
    ... def add(a, b):
    ...     return a + b
    >>> one, other = add(1, 2), add(3, 4)
    >>> total = add(one.output, other.output)
    >>> jobs = FlowJobs(Flow([one, other, total]))
    >>> first, second = jobs.startable()
    >>> jobs.ended(first, Added())
    >>> jobs.ended(second, Added(detours=(Flow([add(5, 6)]),)))
    >>> [found.job is total for found in jobs.startable()]  # it waits for the detour
    [False]
    """

    def __init__(self, flow: Flow) -> None:
        self._jobs: list[FlowJob] = []
        self._done: set[str] = set()
        self._add(flow, (), None)

    def __iter__(self) -> Iterator[FlowJob]:
        """Go through all jobs that are known so far, in the order of their places."""
        return iter(self._jobs)

    @property
    def done(self) -> bool:
        """Whether every job is done."""
        return all(found.done for found in self._jobs)

    def startable(self) -> list[FlowJob]:
        """Return the jobs that wait for no other, in the order of their places."""
        return [found for found in self._jobs if found.status == "waiting" and found.parents <= self._done]

    def ended(self, job: FlowJob, added: Added) -> None:
        """Take in that a job has ended, and the flows that it adds."""
        job.status = "ended"
        for number, flow in enumerate(added.detours):
            self._add(flow, (*job.place, number), job)
        for number, flow in enumerate(added.additions, start=len(added.detours)):
            self._add(flow, (*job.place, number), None)
        self._settle(job)

    def waits_for(self, job: FlowJob, stages: Collection[str], *, of_its_flow: bool) -> bool:
        """Tell whether a job of one of these stages that one process would have run earlier has not ended.

        ``of_its_flow`` looks at the jobs of the same flow alone, else at all that are known.
        """
        flow = job.place[:-1] if of_its_flow else ()
        return any(
            other.stage in stages and other.status != "ended"
            for other in self._jobs
            if other.place < job.place and other.place[: len(flow)] == flow
        )

    def _add(self, flow: Flow, place: tuple[int, ...], host: FlowJob | None) -> None:
        jobs = list(_in_order(flow))
        own = {job.uuid for job in jobs}
        for number, job in enumerate(jobs):
            self._jobs.append(FlowJob(job, (*place, number), frozenset(own.intersection(job.input_uuids)), host))
            if host is not None:
                host.open_jobs += 1
        self._jobs.sort(key=lambda found: found.place)

    def _settle(self, job: FlowJob) -> None:
        """Take in that a job may be done now, and with it the one whose detour it was."""
        if not job.done:
            return
        self._done.add(job.job.uuid)
        if job.host is not None:
            job.host.open_jobs -= 1
            self._settle(job.host)


def _in_order(flow: Flow) -> Iterator[Job]:
    """Every job of a flow and of the flows in it, in the order in which they were given."""
    for entry in flow.jobs:
        if isinstance(entry, Flow):
            yield from _in_order(entry)
        else:
            yield entry
