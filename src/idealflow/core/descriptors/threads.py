"""Blocks of work in threads, their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numba

__all__ = ["in_order"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_order(work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    """Results of ``work`` on each task, in the order of the tasks whatever the number of threads.

    As many threads as numba is set to use (``numba.set_num_threads``, ``NUMBA_NUM_THREADS``); compiled kernels and BLAS
    release the interpreter, so threads run at once. Only a few results per thread wait at a time.
    """
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
