"""A worker that is killed, with SIGKILL, while it is at a stage of its choice: `rlaunch` with a bomb.

``DOOM`` holds ``stage:seconds``: that long after the first job of that stage begins (``submit``: after the first change that
the adding of the next round's workflow makes to the queue), the process kills itself. ``DOOM_LOG`` gets one line a bomb, and
one a step of molecular dynamics.
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
from pymongo import monitoring

from idealflow.workflow.drivers import fireworks as launchpad
from idealflow.workflow.jobs.progress import Progress, listening


def note(*words: Any) -> None:
    """Append a line in one write."""
    if "DOOM_LOG" not in os.environ:
        return
    descriptor = os.open(os.environ["DOOM_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, (" ".join(map(str, (os.getpid(), time.time(), *words))) + "\n").encode())
    os.close(descriptor)


def step(event: Progress) -> None:
    """Write an MD step down."""
    if event.stage == "segment" and event.step is not None:
        note("step", event.walker, event.step)


class Bomb(monitoring.CommandListener):
    """What kills this process; it looks at the commands to the server while a workflow is added.

    Parameters
    ----------
    stage
        Which stage is struck.
    seconds
        How long after its beginning.
    """

    def __init__(self, stage: str, seconds: float) -> None:
        self.stage, self.seconds = stage, seconds
        self.lit = self.submitting = False
        self.fw_id = 0  # of the job under way

    def light(self) -> None:
        """Start the timer, once."""
        if self.lit:
            return
        self.lit = True
        note("bomb", self.stage, self.fw_id)
        timer = threading.Timer(self.seconds, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Light it with the first change of the queue."""
        if self.submitting and event.command_name in {"insert", "update", "findAndModify"}:
            self.light()

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to do."""


def main() -> None:
    """Run the worker."""
    stage, _, seconds = os.environ.get("DOOM", "").partition(":")
    bomb = Bomb(stage, float(seconds or 0.0))
    monitoring.register(bomb)
    run_task, submit = manager.JobFiretask.run_task, launchpad.submit_action

    def doomed_task(task: Any, spec: dict[str, Any]) -> Any:
        bomb.fw_id = task.fw_id
        if spec.get("stage") == stage:
            bomb.light()
        return run_task(task, spec)

    def doomed_submission(*args: Any, **settings: Any) -> Any:
        bomb.submitting = stage == "submit"
        try:
            return submit(*args, **settings)
        finally:
            bomb.submitting = False

    manager.JobFiretask.run_task = doomed_task
    launchpad.submit_action = doomed_submission
    with listening(step):
        rlaunch()


if __name__ == "__main__":
    sys.argv[0] = "rlaunch"
    main()
