"""Cores and memory that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from idealflow.settings import Settings

__all__ = ["Share", "cores_at_hand", "default_workers", "labels_side_by_side", "memory_at_hand_gb", "whole_share"]

_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Share:
    """Cores and memory (GB) that a job takes, or that there are.

    Examples
    --------
    >>> Share(4, 16.0) + Share(1, 2.0)
    Share(cores=5, memory_gb=18.0)
    """

    cores: int
    memory_gb: float = 0.0

    def __add__(self, other: Share) -> Share:
        return Share(self.cores + other.cores, self.memory_gb + other.memory_gb)

    def within(self, whole: Share) -> bool:
        """Tell whether another has room for it.

        Examples
        --------
        >>> Share(4, 16.0).within(Share(8, 8.0))
        False
        """
        return self.cores <= whole.cores and self.memory_gb <= whole.memory_gb


def default_workers() -> int:
    """Return how many workers fill the cores at hand with the site's number of threads each; at least one.

    Examples
    --------
    >>> default_workers() >= 1
    True
    """
    return max(1, cores_at_hand() // Settings().threads)


def whole_share(workers: int) -> Share:
    """Cores and memory that workers share: those at hand, and never fewer cores than their threads.

    Examples
    --------
    >>> whole_share(4).cores >= 4
    True
    """
    return Share(max(cores_at_hand(), workers * Settings().threads), memory_at_hand_gb())


def labels_side_by_side(workers: int, label: Share) -> int:
    """Return how many labels, each of which takes a share, run at the same time.

    Examples
    --------
    >>> labels_side_by_side(4, Share(1)), labels_side_by_side(4, Share(1_000_000))
    (4, 1)
    """
    whole, n = whole_share(workers), 1
    while n < workers and Share(label.cores * (n + 1), label.memory_gb * (n + 1)).within(whole):
        n += 1
    return n


def cores_at_hand() -> int:
    """Return the cores that this process may use: those of the setting ``IDEALFLOW_CORES``, else of its affinity and quota.

    Examples
    --------
    >>> cores_at_hand() >= 1
    True
    """
    given = Settings().cores
    if given is not None:
        return given
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for line in _of_the_groups("cpu.max"):  # microseconds of cores per period, or `max`
        quota, _, period = line.partition(" ")
        if quota != "max":
            cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    return cores


def memory_at_hand_gb() -> float:
    """Return the memory, GB, of this machine or of the control group that this process is in.

    The setting ``IDEALFLOW_MEMORY_GB`` takes its place.

    Examples
    --------
    >>> memory_at_hand_gb() > 0.1
    True
    """
    given = Settings().memory_gb
    if given is not None:
        return given
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [int(line) for line in _of_the_groups("memory.max") if line != "max"]
    return min([memory, *limits]) / 1e9


def _of_the_groups(name: str) -> Iterator[str]:
    """Values of a limit for this process's control group and all that it is in (Linux, cgroup v2); none elsewhere."""
    membership = Path("/proc/self/cgroup")
    groups = membership.read_text().splitlines() if membership.exists() else []
    own = next((line[3:] for line in groups if line.startswith("0::")), "/")
    group = _GROUPS / own.lstrip("/")
    for folder in [group, *group.parents]:
        if folder.is_relative_to(_GROUPS) and (folder / name).is_file():
            yield (folder / name).read_text().strip()
