"""Blocks of work in several threads, with results in order."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Generic, TypeVar

import numba

__all__ = ["in_order", "launch_threads"]

Task = TypeVar("Task")
Result = TypeVar("Result")

_here = threading.local()


@functools.cache
def launch_threads() -> None:
    """Start numba's threads, once. With OpenMP this would change torch's number of threads too, so that is set back.

    Examples
    --------
    >>> launch_threads()
    """
    torch = sys.modules.get("torch")
    kept = None if torch is None else torch.get_num_threads()
    numba.get_num_threads()
    if torch is not None:
        torch.set_num_threads(kept)


@functools.cache
def _helpers(n_threads: int) -> ThreadPoolExecutor:
    """Threads that are kept between calls."""
    return ThreadPoolExecutor(n_threads)


os.register_at_fork(after_in_child=_helpers.cache_clear)  # a forked process has none of its parent's threads


def in_order(work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    """Apply ``work`` to each task; results come in the order of the tasks, whatever the number of threads.

    There are as many threads as numba is set to use (``numba.set_num_threads``, ``NUMBA_NUM_THREADS``), the calling one among
    them. They run at the same time, because compiled kernels and BLAS release the interpreter. At most two results per thread
    wait to be taken. Work that calls this again does so in its own thread.

    Examples
    --------
    >>> list(in_order(lambda number: number**2, [3, 1, 2]))
    [9, 1, 4]
    """
    launch_threads()
    n_threads = min(numba.get_num_threads(), len(tasks))
    if n_threads <= 1 or getattr(_here, "working", False):
        yield from map(work, tasks)
        return
    shared = _Shared(work, tasks, 2 * n_threads)
    helpers = [_helpers(n_threads - 1).submit(shared.help) for _ in range(n_threads - 1)]
    try:
        yield from shared.results()
    finally:
        shared.stop()
        wait([helper for helper in helpers if not helper.cancel()])


class _Shared(Generic[Task, Result]):
    """Tasks that several threads take one after the other, and their results.

    One hand-over for each thread and call, not for each task: waking a thread takes some 30 µs, a hundredth of a task.

    Parameters
    ----------
    work, tasks
        As for :func:`in_order`.
    most
        How many tasks may be begun whose results nobody has taken.
    """

    def __init__(self, work: Callable[[Task], Result], tasks: Sequence[Task], most: int) -> None:
        self._work, self._tasks, self._most = work, tasks, most
        self._begun = self._taken = 0
        self._done: dict[int, tuple[Result | None, BaseException | None]] = {}
        self._changed = threading.Condition(threading.Lock())

    def stop(self) -> None:
        """Let nobody begin another task."""
        with self._changed:
            self._begun = len(self._tasks)
            self._changed.notify_all()

    def help(self) -> None:
        """Do tasks until all are begun."""
        while (number := self._next(patient=True)) is not None:
            self._do(number, BaseException)

    def results(self) -> Iterator[Result]:
        """Results in order; tasks are done in between, as long as the next result is not there."""
        for number in range(len(self._tasks)):
            while number not in self._done:
                own = self._next(patient=False)
                if own is not None:
                    self._do(own, Exception)
                    continue
                with self._changed:  # another thread is at it
                    while number not in self._done:
                        self._changed.wait()
            with self._changed:
                result, error = self._done.pop(number)
                self._taken += 1
                self._changed.notify_all()
            if error is not None:
                raise error
            yield result  # type: ignore[misc]  # there is one where there is no error

    def _next(self, *, patient: bool) -> int | None:
        """Begin a task: its number; None if there is none to begin (now, unless ``patient``)."""
        with self._changed:
            while self._begun < len(self._tasks):
                if self._begun - self._taken < self._most:
                    self._begun += 1
                    return self._begun - 1
                if not patient:
                    return None
                self._changed.wait()
        return None

    def _do(self, number: int, caught: type[BaseException]) -> None:
        """Do a task; an error is kept for its turn, if it is one of those to be ``caught``."""
        _here.working = True
        try:
            found: tuple[Result | None, BaseException | None] = self._work(self._tasks[number]), None
        except caught as error:
            found = None, error
        finally:
            _here.working = False
        with self._changed:
            self._done[number] = found
            self._changed.notify_all()
