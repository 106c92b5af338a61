"""Labellers that fail as engines do, chosen by the geometry alone so that every run fails alike."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np
from ase.calculators.emt import EMT

__all__ = ["Flawed", "Never"]


def lot(atoms: Any) -> float:
    """A number in [0, 1) drawn from the geometry."""
    digest = hashlib.sha256(np.ascontiguousarray(atoms.positions).tobytes()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class Flawed(EMT):
    """EMT that raises, returns NaN or hangs for given fractions of all cells, none of those up to ``spared`` atoms."""

    def __init__(self, raising: float = 0.0, nan: float = 0.0, hanging: float = 0.0, spared: int = 32) -> None:
        super().__init__()
        self.bounds = np.cumsum([raising, nan, hanging])
        self.spared = spared

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ("positions",)) -> None:
        """Fail if the geometry's lot says so."""
        fate = 3 if len(atoms) <= self.spared else int(np.searchsorted(self.bounds, lot(atoms), side="right"))
        if fate == 0:
            raise RuntimeError("the electronic minimisation did not converge")
        if fate == 2:
            time.sleep(3600)
        super().calculate(atoms, list(properties), list(system_changes))
        if fate == 1:
            self.results["forces"][0, 0] = np.nan


class Never(EMT):
    """Labels small cells only; every substructure fails."""

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ("positions",)) -> None:
        """Fail for more than 32 atoms."""
        if len(atoms) > 32:
            raise MemoryError("not enough memory for the plane waves")
        super().calculate(atoms, list(properties), list(system_changes))
