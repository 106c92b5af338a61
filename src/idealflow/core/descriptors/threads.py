"""Blocks of work in several threads, with results in order."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

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


def _mark() -> None:
    """Say that this thread is one of a pool."""
    _here.in_pool = True


@functools.cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    """Threads that wait for work between calls: starting them took a fiftieth of a step of 4 000 atoms."""
    return ThreadPoolExecutor(n_threads, initializer=_mark)


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has none of its parent's threads


def in_order(work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    """Apply ``work`` to each task; results come in the order of the tasks, whatever the number of threads.

    There are as many threads as numba is set to use (``numba.set_num_threads``, ``NUMBA_NUM_THREADS``). They run at the same
    time, because compiled kernels and BLAS release the interpreter. At most two results per thread wait to be taken. Work that
    calls this again does so in its own thread.

    Examples
    --------
    >>> list(in_order(lambda number: number**2, [3, 1, 2]))
    [9, 1, 4]
    """
    launch_threads()
    n_threads = min(numba.get_num_threads(), len(tasks))
    if n_threads <= 1 or getattr(_here, "in_pool", False):
        yield from map(work, tasks)
        return
    pool, waiting = _pool(n_threads), deque[Future[Result]]()
    try:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) > 2 * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        wait(waiting)
