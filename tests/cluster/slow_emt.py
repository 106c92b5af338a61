"""EMT that takes its time and writes down what it computes: who computes twice, or one after the other, is found out."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

from ase.calculators.emt import EMT

__all__ = ["SlowEMT"]


class SlowEMT(EMT):
    """EMT with a pause before each computation, and a line for it in the file that ``SLOW_LABELS`` names."""

    def __init__(self, pause_s: float, spared: int) -> None:
        super().__init__()
        self.pause_s, self.spared = pause_s, spared

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ("positions",)) -> None:
        """Note (in one write), wait unless the cell is one of the bootstrap's, and compute."""
        descriptor = os.open(os.environ["SLOW_LABELS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, (hashlib.sha256(atoms.positions.tobytes()).hexdigest() + "\n").encode())
        os.close(descriptor)
        if len(atoms) > self.spared:
            time.sleep(self.pause_s)
        super().calculate(atoms, list(properties), list(system_changes))
