"""Labellers that fail as engines do, chosen by the order in which cells are met, which is the same on every machine."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.emt import EMT

__all__ = ["Flawed", "Never", "Switched"]


class Flawed(EMT):
    """EMT to which the n-th new cell does the n-th of ``fates``, over and over; cells up to ``spared`` atoms are well.

    Fates are ``ok``, ``raises``, ``nan`` and ``hangs``. The file ``log`` remembers the cells, one a line, so that a cell
    meets its fate again however often it is computed and whichever process computes it.
    """

    def __init__(self, fates: list[str], log: str, spared: int = 32) -> None:
        super().__init__()
        self.fates = fates
        self.log = Path(log)
        self.spared = spared

    def fate(self, atoms: Any) -> str:
        """What happens to these atoms; noted before it happens."""
        if len(atoms) <= self.spared:
            return "ok"
        cell = hashlib.sha256(np.ascontiguousarray(atoms.positions).tobytes()).hexdigest()  # a name, no choice
        seen = self.log.read_text().split() if self.log.exists() else []
        if cell not in seen:
            seen.append(cell)
            self.log.write_text("\n".join(seen))
        return self.fates[seen.index(cell) % len(self.fates)]

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ("positions",)) -> None:
        """Fail if it is this cell's turn."""
        fate = self.fate(atoms)
        if fate == "raises":
            raise RuntimeError("the electronic minimisation did not converge")
        if fate == "hangs":
            time.sleep(3600)
        super().calculate(atoms, list(properties), list(system_changes))
        if fate == "nan":
            self.results["forces"][0, 0] = np.nan


class Never(EMT):
    """Labels small cells only; every substructure fails."""

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ("positions",)) -> None:
        """Fail for more than 32 atoms."""
        if len(atoms) > 32:
            raise MemoryError("not enough memory for the plane waves")
        super().calculate(atoms, list(properties), list(system_changes))


class Switched(EMT):
    """Labels nothing until the file ``switch`` is there."""

    def __init__(self, switch: str) -> None:
        super().__init__()
        self.switch = Path(switch)

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ("positions",)) -> None:
        """Fail without the file."""
        if not self.switch.exists():
            raise RuntimeError("no licence")
        super().calculate(atoms, list(properties), list(system_changes))
