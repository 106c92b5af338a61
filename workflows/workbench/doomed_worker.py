"""A worker that is killed, with SIGKILL, while it is at a stage of its choice: `rlaunch` with a bomb.

``DOOM`` holds ``stage:seconds``: that long after the first job of that stage begins (``submit``: the adding of the next
round's workflow), the process kills itself. ``DOOM_LOG`` gets one line a bomb, and one a step of molecular dynamics.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

from fireworks.scripts.rlaunch_run import rlaunch
from jobflow.managers import fireworks as manager

from idealflow.workflow.drivers import fireworks as launchpad
from idealflow.workflow.jobs.progress import Progress, listening


def note(*words: Any) -> None:
    """Append a line in one write."""
    if "DOOM_LOG" not in os.environ:
        return
    descriptor = os.open(os.environ["DOOM_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, (" ".join(map(str, (os.getpid(), time.time(), *words))) + "\n").encode())
    os.close(descriptor)


def light(stage: str, seconds: float, fw_id: int) -> None:
    """Start the bomb's timer."""
    note("bomb", stage, fw_id)
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


def step(event: Progress) -> None:
    """Write an MD step down."""
    if event.stage == "segment" and event.step is not None:
        note("step", event.walker, event.step)


def main() -> None:
    """Run the worker."""
    stage, _, seconds = os.environ.get("DOOM", "").partition(":")
    run_task, add_once, lit = manager.JobFiretask.run_task, launchpad._add_once, []
    current: list[int] = []

    def doomed_task(task: Any, spec: dict[str, Any]) -> Any:
        current[:] = [task.fw_id]
        if spec.get("stage") == stage and not lit:
            lit.append(stage)
            light(stage, float(seconds), task.fw_id)
        return run_task(task, spec)

    def doomed_submission(*args: Any) -> bool:
        if stage == "submit" and not lit:
            lit.append(stage)
            light(stage, float(seconds), current[0])
        return add_once(*args)

    manager.JobFiretask.run_task = doomed_task
    launchpad._add_once = doomed_submission
    with listening(step):
        rlaunch()


if __name__ == "__main__":
    sys.argv[0] = "rlaunch"
    main()
