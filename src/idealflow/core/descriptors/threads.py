"""Blocks of work in several threads, with results in order."""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numba

__all__ = ["in_order", "launch_threads"]

Task = TypeVar("Task")
Result = TypeVar("Result")


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


def in_order(work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    """Apply ``work`` to each task; results come in the order of the tasks, whatever the number of threads.

    There are as many threads as numba is set to use (``numba.set_num_threads``, ``NUMBA_NUM_THREADS``). They run at the same
    time, because compiled kernels and BLAS release the interpreter. At most two results per thread wait to be taken.

    Examples
    --------
    >>> list(in_order(lambda number: number**2, [3, 1, 2]))
    [9, 1, 4]
    """
    launch_threads()
    n_threads = min(numba.get_num_threads(), len(tasks))
    if n_threads <= 1:
        yield from map(work, tasks)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        waiting: deque[Future[Result]] = deque()
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
