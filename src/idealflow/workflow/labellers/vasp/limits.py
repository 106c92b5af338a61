"""The time limit of one label. Custodian's own handler would count from the start of the program, which labels for days."""

from __future__ import annotations

import datetime as dt

from custodian.vasp.handlers import WalltimeHandler

from idealflow.workflow.jobs.identity import StableName

__all__ = ["LabelTimeHandler"]


class LabelTimeHandler(StableName, WalltimeHandler):
    """Asks VASP to stop between two electronic steps when the time of one label runs out.

    Custodian's own handler counts from the moment at which the first one of the process was made, as a queue's limit does.
    This one starts to count again with :meth:`restart`, for every label.

    Parameters
    ----------
    wall_time
        Time that one label may take, s.
    buffer_time
        VASP is asked to stop when less than this is left, s.

    Examples
    --------
    >>> from idealflow.workflow.labellers.vasp.limits import LabelTimeHandler
    >>> handler = LabelTimeHandler(wall_time=7200)
    >>> handler.wall_time, handler.buffer_time  # s
    (7200, 300)
    """

    def __init__(self, wall_time: float, buffer_time: float = 300) -> None:
        super().__init__(wall_time=wall_time, buffer_time=buffer_time, electronic_step_stop=True)
        self.restart()

    def restart(self) -> None:
        """Count the time from now on."""
        self.start_time = self.prev_check_time = dt.datetime.now()  # noqa: DTZ005  # custodian compares with naive times
