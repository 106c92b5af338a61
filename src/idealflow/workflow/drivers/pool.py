"""Worker processes that run the jobs of a flow side by side.

Each worker is an executor of :mod:`concurrent.futures` with one process. An executor with several ends as a whole when one of
its processes dies, and would take the labels of the others with it; one that has a single process is replaced, and its job is
given to another. Processes come from a fork server that has imported torch and the stages once for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

from jobflow import Job, JobStore
from monty.json import MontyDecoder

from idealflow.errors import CampaignError
from idealflow.workflow.drivers.flow_jobs import Added
from idealflow.workflow.drivers.machine import Share
from idealflow.workflow.drivers.worker import Stopped, begin, carry_out, without_objects
from idealflow.workflow.jobs.progress import emit

__all__ = ["Pool"]

#: workers that may die at one job; more, and the job is what they die of
_MOST_DEATHS = 5

#: messages that are taken from one worker before another is listened to: more than its pipe holds
_MOST_MESSAGES = 10_000

#: seconds that a worker has to tidy up when it is told to end
_GRACE_S = 5.0


class Pool:
    """Workers that are started when they are first needed, and replaced when they die.

    Parameters
    ----------
    n_workers
        Processes at most.
    whole
        Cores and memory that jobs may take together. One that takes more runs alone.
    store
        The job store, which several processes must see.
    folder
        Working directory of the jobs.

    Examples
    --------
    Workers start with the first job, so a pool that gets none has none:

    >>> from maggma.stores import MemoryStore
    >>> with Pool(4, Share(4, 16.0), JobStore(MemoryStore()), ".") as pool:
    ...     pool.has_room(Share(2, 1.0)), pool.has_room(Share(64, 1.0))
    (True, True)
    """

    def __init__(self, n_workers: int, whole: Share, store: JobStore, folder: str) -> None:
        self._n_workers, self._whole = n_workers, whole
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["idealflow.workflow.drivers.worker"])
        self._begin = (dict(os.environ), without_objects(store), folder)
        self._workers: list[_Worker] = []
        self._woken, self._wake = os.pipe()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        """End all workers; those that are at a job are stopped."""
        try:
            for worker in self._workers:
                worker.stop()
            deadline = time.monotonic() + _GRACE_S
            for worker in self._workers:
                worker.end(deadline)
        finally:  # a second Ctrl-C does not wait
            for worker in self._workers:
                worker.kill()
            self._workers = []
            os.close(self._woken)
            os.close(self._wake)

    def has_room(self, share: Share) -> bool:
        """Tell whether a job that takes this share can start now."""
        busy = [worker.task.share for worker in self._workers if worker.task is not None]
        return not busy or (len(busy) < self._n_workers and sum(busy, share).within(self._whole))

    def start(self, job: Job, share: Share) -> None:
        """Give a job to a worker; there must be room for it."""
        self._give(_Task(job, share))

    def ended(self) -> Iterator[tuple[Job, Added | BaseException]]:
        """Wait until a job has ended, and yield every one that has: what it adds to its flow, or the error that it raised.

        What stages report meanwhile is passed on (:func:`~idealflow.workflow.jobs.progress.emit`).
        """
        found: list[tuple[Job, Added | BaseException]] = []
        while not found and any(worker.task is not None for worker in self._workers):
            readable = wait([self._woken, *(worker.events for worker in self._workers if worker.hears)])
            if self._woken in readable:
                os.read(self._woken, 4096)
            for worker in [*self._workers]:
                worker.hear()
                if worker.task is not None and worker.task.future.done():
                    found += self._outcome(worker)
        yield from found

    def _outcome(self, worker: _Worker) -> list[tuple[Job, Added | BaseException]]:
        """What has become of a worker's task; nothing if the worker died, and another has been given the task."""
        task, worker.task = worker.task, None
        assert task is not None  # noqa: S101  # the caller has looked
        error = task.future.exception()
        if error is None:
            detours, additions = MontyDecoder().decode(task.future.result())
            given = [tuple(flow for flow in flows if flow is not None) for flows in (detours, additions)]
            return [(task.job, Added(*given))]
        if not isinstance(error, BrokenProcessPool | Stopped):
            return [(task.job, error)]
        how = worker.bury()
        self._workers.remove(worker)
        task.deaths += 1
        if task.deaths < _MOST_DEATHS:
            self._give(task)
            return []
        message = (
            f"{task.deaths} workers died at the job {task.job.name}, the last {how}; if memory is short, lower `workers` or give "
            "label.memory_gb"
        )
        return [(task.job, CampaignError(message))]

    def _give(self, task: _Task) -> None:
        """Let an idle worker do the task, or a new one."""
        order = without_objects(task.job)
        while True:
            worker = next((worker for worker in self._workers if worker.task is None), None)
            if worker is None:
                worker = _Worker(self._context, self._begin)
                self._workers.append(worker)
            try:
                worker.do(task, order, partial(os.write, self._wake, b"."))
            except BrokenProcessPool:  # it died idle
                worker.bury()
                self._workers.remove(worker)
                continue
            return


class _Task:
    """A job that a worker is at."""

    def __init__(self, job: Job, share: Share) -> None:
        self.job, self.share, self.deaths = job, share, 0
        self.future: Future[str] = Future()


class _Worker:
    """One worker process, the executor that feeds it, and the connection on which it reports."""

    def __init__(self, context: Any, beginning: tuple[dict[str, str], str, str]) -> None:
        self.events: Connection
        self.events, self._sender = context.Pipe(duplex=False)
        self._executor = ProcessPoolExecutor(
            1, mp_context=context, initializer=begin, initargs=(self._sender, *beginning)
        )
        self._begun = False
        self._process: Any = None
        self.task: _Task | None = None
        self.hears = True

    def do(self, task: _Task, order: str, wake: Any) -> None:
        """Give the process a task; ``wake`` is called when it has ended. The first task starts the process."""
        first, self._begun = not self._begun, True
        task.future = self._executor.submit(carry_out, order)
        if first:
            self._sender.close()  # the process has its own
            self._process = self._introduced()
        self.task = task
        task.future.add_done_callback(lambda _: wake())

    def _introduced(self) -> Any:
        """The process, by the number that it sends first; None if it has died already."""
        try:
            number = self.events.recv()
        except (EOFError, OSError):
            return None
        return next((child for child in multiprocessing.active_children() if child.pid == number), None)

    def hear(self) -> None:
        """Pass on what the process has reported since; not more than it can have left when it has ended."""
        for _ in range(_MOST_MESSAGES):
            try:
                if not self.hears or not self.events.poll():
                    return
                emit(self.events.recv())
            except (EOFError, OSError):  # it ended, perhaps in the middle of a message
                self.hears = False

    def stop(self) -> None:
        """Let the process give up its job, if it is at one, and end."""
        if self._begun and self._process is None and self.events.poll(_GRACE_S):  # interrupted while it was started
            self._process = self._introduced()
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def end(self, deadline: float) -> None:
        """Wait until the process has ended, and end it by force if it takes longer."""
        if self._process is not None and not wait([self._process.sentinel], max(0.0, deadline - time.monotonic())):
            self.kill()
        self._executor.shutdown(wait=True)
        self.events.close()

    def bury(self) -> str:
        """Clear away what a process left that has died: engines that it had started; returns how it died."""
        self.kill()
        self._executor.shutdown(wait=True)
        self.hear()
        self.events.close()
        code = None if self._process is None else self._process.exitcode
        if code is None:
            return "while it was started, with the message above"
        return f"with exit status {code}" if code >= 0 else f"by {signal.Signals(-code).name}"

    def kill(self) -> None:
        """Kill the process and what it has started."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
