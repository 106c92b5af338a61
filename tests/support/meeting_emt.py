"""EMT whose labels wait for each other: labels that should run side by side do, however slow the machine is."""

from __future__ import annotations

import hashlib
import os
import time
from itertools import accumulate
from pathlib import Path
from typing import Any

from ase.calculators.emt import EMT

__all__ = ["MeetingEMT"]


class MeetingEMT(EMT):
    """EMT that writes a line for each computation into the file that ``LABEL_LOG`` names, and then waits for its group.

    Parameters
    ----------
    n_free
        Computations, the first ones, that wait for nothing.
    groups
        How many of the next ones, in their order, wait for each other: of [1, 2] the second and the third go on once both have
        begun. They also wait for the file ``LABEL_LOG``.go.
    patience_s
        How long they wait.

    Raises
    ------
    TimeoutError
        If the others of a group do not come.
    """

    def __init__(self, n_free: int, groups: list[int], patience_s: float) -> None:
        super().__init__()
        self.n_free, self.groups, self.patience_s = n_free, groups, patience_s

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ("positions",)) -> None:
        """Note (in one write), wait for the others, and compute."""
        log = Path(os.environ["LABEL_LOG"])
        mine = hashlib.sha256(atoms.positions.tobytes()).hexdigest()
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, (mine + "\n").encode())
        os.close(descriptor)
        place = log.read_text().split().index(mine)
        if place >= self.n_free:
            enough = next(end for end in accumulate(self.groups, initial=self.n_free) if end > place)
            end = time.monotonic() + self.patience_s
            while len(log.read_text().split()) < enough or not log.with_suffix(".go").exists():
                if time.monotonic() > end:
                    raise TimeoutError(f"computation {place} waited {self.patience_s} s for {enough} to begin")
                time.sleep(0.05)
        super().calculate(atoms, list(properties), list(system_changes))
