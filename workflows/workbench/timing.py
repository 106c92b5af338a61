"""Times of a piece of work, and their ratios, on a machine where others work too."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, s."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time that one call took of this process, s."""
    started = time.process_time()
    work()
    return time.process_time() - started


def fastest(work: Callable[[], object], n_calls: int) -> float:
    """Wall time of the fastest of so many calls, s: the one that others disturbed least."""
    return min(seconds(work) for _ in range(n_calls))


def compared(theirs: Callable[[], object], ours: Callable[[], object], repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """CPU times of both, (repeats,) each, in s, taken in turns; ours ran once before, to compile."""
    ours()
    pairs = np.array([(cpu_seconds(theirs), cpu_seconds(ours)) for _ in range(repeats)])
    return pairs[:, 0], pairs[:, 1]


def spread(ratios: np.ndarray) -> list[float]:
    """Median, lowest and highest of some ratios."""
    return [float(np.median(ratios)), float(ratios.min()), float(ratios.max())]


def ratio_text(ratios: np.ndarray, *, width: int = 6, digits: int = 1) -> str:
    """Median of some ratios, then the lowest and the highest in brackets."""
    return f"{np.median(ratios):{width}.{digits}f} ({ratios.min():.{digits}f} to {ratios.max():.{digits}f})"
