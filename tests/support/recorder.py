"""EMT that writes down the initial moments it is given (stands in for a spin-polarised code)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ase.calculators.emt import EMT


class Recorder(EMT):
    """EMT with a diary: one JSON line of moments a label."""

    def __init__(self, record: str) -> None:
        super().__init__()
        self.record = Path(record)

    def calculate(self, atoms: Any = None, *args: Any, **kwargs: Any) -> None:
        """Write down, then compute."""
        with self.record.open("a") as diary:
            diary.write(json.dumps(atoms.get_initial_magnetic_moments().tolist()) + "\n")
        super().calculate(atoms, *args, **kwargs)
