"""A small alloy in a cell without right angles, on which networks are compared with other implementations."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk


def alloy() -> Atoms:
    """Rattled and strained copper with some aluminium, periodic in all directions, which is all that matgl can."""
    atoms = bulk("Cu", a=3.8, cubic=True) * (2, 1, 1)
    atoms.symbols[[1, 5]] = "Al"
    atoms.rattle(0.15, seed=2)
    strain = 0.03 * np.random.default_rng(0).normal(size=(3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms
