"""A lock per job: several processes may start the same job after a false alarm about a lost run, and only one may do it."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from idealflow.errors import CampaignError

__all__ = ["hold", "let_go"]

_held: list[FileLock] = []


def hold(folder: Path, uuid: str, stored: Callable[[], bool]) -> None:
    """Wait until no other process works on this job, then lock it for this process.

    The lock is kept after the job's body has ended, because jobflow stores the output only then and a waiting process must find
    it. It is released when this process starts its next job, or ends in any way. A worker without a next job keeps it; a
    process that waits therefore goes on without the lock as soon as ``stored()`` says that the output is there.

    Raises
    ------
    CampaignError
        If the folder's file system cannot lock files.
    """
    let_go()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{uuid}.lock")
    try:
        while True:
            try:
                lock.acquire(timeout=2.0, poll_interval=0.2)
                break
            except Timeout:
                if stored():
                    return
    except (NotImplementedError, OSError) as error:
        raise CampaignError(
            f"files in {folder} cannot be locked ({error}); set `work` (or IDEALFLOW_WORK) to a folder on a local disk"
        ) from error
    _held.append(lock)


@atexit.register
def let_go() -> None:
    """Release the lock that this process holds, if there is one."""
    while _held:
        lock = _held.pop()
        # unlink before release: a process that waits on the old file finds the stored output, a newcomer creates a new lock
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
