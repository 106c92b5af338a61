"""Jobs for pools of workers: they die, fail, and start engines of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from jobflow import Flow, Response, job

from idealflow.workflow.jobs.progress import Progress, emit

__all__ = ["adds", "die", "fail", "hang", "mpi", "number"]


@job
def number(value: int = 1) -> int:
    """A number."""
    return value


@job
def die(times: int, folder: str) -> int:
    """Kill its own process, so often in all; the number of times."""
    for n in range(times):
        mark = Path(folder) / f"died-{n}"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return times


class UnreadableError(Exception):
    """An exception that cannot be pickled."""

    def __init__(self, what: str, more: str) -> None:
        super().__init__(what)
        self.lock = threading.Lock()
        self.more = more


@job
def fail(kind: str) -> None:
    """Fail with an error of a kind."""
    if kind == "disk":
        raise OSError(28, "No space left on device", "store.sqlite")
    raise UnreadableError("spoilt", "more")


@job
def adds(value: int) -> Response:
    """Add jobs: one that its children wait for, one that nobody does."""
    return Response(output=value, detour=Flow([number(value + 1)]), addition=Flow([number(value + 2)]))


@job
def mpi(n: int) -> list[str]:
    """Run a command that starts n processes side by side, as mpiexec does; what each printed."""
    ranks = " ".join(f"(echo rank {rank}) & " for rank in range(n))
    done = subprocess.run(["sh", "-c", f"{ranks} wait"], capture_output=True, text=True, check=True)
    return sorted(done.stdout.split("\n"))[1:]


@job
def hang(sign: str) -> None:
    """Open a pipe, for itself and an engine that it starts, and hang: the pipe ends when neither lives.

    The engine is what a shell starts in the background, which only a signal to the whole process group ends.
    """
    descriptor = os.open(sign, os.O_WRONLY)
    with subprocess.Popen(["sh", "-c", "sleep 3600 & wait"], pass_fds=(descriptor,)):
        os.write(descriptor, b"!")
        emit(Progress("label", message="begun"))
        time.sleep(3600)
