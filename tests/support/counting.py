"""EMT that writes a line for every structure it computes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ase.calculators.emt import EMT

__all__ = ["CountedEMT"]


class CountedEMT(EMT):
    """EMT whose ``log`` gets a hash of the positions at every computation."""

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log = Path(log)

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ("positions",)) -> None:
        """Note, then compute."""
        with self.log.open("a") as file:
            file.write(hashlib.sha256(atoms.positions.tobytes()).hexdigest() + "\n")
        super().calculate(atoms, list(properties), list(system_changes))
