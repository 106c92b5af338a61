"""The time that one label may take: custodian's own handler counts from the start of the program instead."""

from __future__ import annotations

import datetime as dt

from custodian.vasp.handlers import WalltimeHandler

from idealflow.workflow.jobs.identity import StableName

__all__ = ["LabelTimeHandler"]


class LabelTimeHandler(StableName, WalltimeHandler):
    """Asks VASP to stop between electronic steps as the time of its own label runs out.

    Custodian's handler counts from the moment the first of its kind was made in the process, which is right for a queue's
    limit. A campaign makes its handlers once and labels for days: :meth:`restart` begins anew for every label.

    Parameters
    ----------
    wall_time
        Time of one label, s.
    buffer_time
        VASP is asked to stop when less than this is left, s.
    """

    def __init__(self, wall_time: float, buffer_time: float = 300) -> None:
        super().__init__(wall_time=wall_time, buffer_time=buffer_time, electronic_step_stop=True)
        self.restart()

    def restart(self) -> None:
        """Count from now."""
        self.start_time = self.prev_check_time = dt.datetime.now()  # noqa: DTZ005  # custodian compares with naive times
