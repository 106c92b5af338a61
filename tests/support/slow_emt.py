"""EMT that takes its time and writes down what it computes: who computes twice, or one after the other, is found out."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

from ase.calculators.emt import EMT

__all__ = ["SlowEMT"]


class SlowEMT(EMT):
    """EMT that waits before each computation, and writes a line for it into the file that ``SLOW_LABELS`` names.

    It waits until the file ``SLOW_LABELS``.seen exists, at most ``pause_s`` or, for every second one, half of that, so
    that those that began together do not end together.
    """

    def __init__(self, pause_s: float, spared: int) -> None:
        super().__init__()
        self.pause_s, self.spared = pause_s, spared

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ("positions",)) -> None:
        """Note (in one write), wait unless the cell is one of the bootstrap's, and compute."""
        log = Path(os.environ["SLOW_LABELS"])
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, (hashlib.sha256(atoms.positions.tobytes()).hexdigest() + "\n").encode())
        os.close(descriptor)
        if len(atoms) > self.spared:
            begun = len(log.read_text().split())
            end = time.monotonic() + self.pause_s / (1 + begun % 2)
            while not log.with_suffix(".seen").exists() and time.monotonic() < end:
                time.sleep(0.05)
        super().calculate(atoms, list(properties), list(system_changes))
