"""EMT whose process kills the worker that asked for the label."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from ase.calculators.emt import EMT

__all__ = ["DeadlyEMT"]


class DeadlyEMT(EMT):
    """EMT that, for each file in the folder ``marks``, takes one away and kills the process that waits for its answer."""

    def __init__(self, marks: str) -> None:
        super().__init__()
        self.marks = Path(marks)

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ("positions",)) -> None:
        """Kill, if it is to, and compute."""
        for mark in sorted(self.marks.glob(f"{len(atoms)}-*")):
            mark.unlink()
            os.kill(os.getppid(), signal.SIGKILL)
        super().calculate(atoms, list(properties), list(system_changes))
