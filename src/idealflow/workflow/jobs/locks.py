"""One process at a time on one job, where several may pick it up after a false alarm about a lost run."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from idealflow.errors import CampaignError

__all__ = ["hold", "let_go"]

_held: list[FileLock] = []


def hold(folder: Path, uuid: str, stored: Callable[[], bool]) -> None:
    """Wait until no other process is at this job, then hold it for this one.

    The lock outlives the job's body: jobflow stores the output after it, and whoever waits must find it there. It is let go
    when this process takes up its next job, or ends, however it ends. A worker without a next job keeps it, so whoever waits
    goes on without it once ``stored()`` says that the output is there.

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
    """End the hold of this process, if there is one."""
    while _held:
        lock = _held.pop()
        # whoever opened the file before it vanished finds the stored output; whoever comes later makes a new file
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
