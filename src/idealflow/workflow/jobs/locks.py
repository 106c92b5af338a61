"""A lock for each job: after a false alarm about a lost run several processes may start the same job, and only one may do it."""

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

    jobflow stores a job's output after its body has ended, and a waiting process must find it. So the lock is kept until this
    process starts its next job, or ends in any way. A worker that gets no next job keeps it for long: a process that waits goes
    on without the lock as soon as ``stored()`` says that the output is there.

    Parameters
    ----------
    folder
        Where the lock's file lies; it must be on a file system that all processes see.
    uuid
        The job's.
    stored
        Tells whether the job's output is stored.

    Raises
    ------
    CampaignError
        If the folder's file system can not lock files.

    Examples
    --------
    >>> hold(Path("work"), "b2fb7ee4", stored=lambda: False)
    >>> Path("work/b2fb7ee4.lock").exists()
    True
    >>> let_go()
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
    """Release the lock that this process holds, if there is one; also done when the process ends.

    Examples
    --------
    >>> hold(Path("work"), "b2fb7ee4", stored=lambda: False)
    >>> let_go()
    >>> Path("work/b2fb7ee4.lock").exists()
    False
    """
    while _held:
        lock = _held.pop()
        # unlink before release: processes that wait for the old file find the stored output, later ones create a new lock
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
