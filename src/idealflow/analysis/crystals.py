"""The lattice of a crystal at rest, by any calculator: a learned force field, or the reference that it learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ase import Atoms

from idealflow.errors import InputError

__all__ = ["CrystalAtRest", "relax_crystal"]


@dataclass(frozen=True, eq=False)
class CrystalAtRest:
    """A crystal whose atoms and cell are at rest.

    Attributes
    ----------
    atoms
        Its cell, without a calculator.
    lengths : (3,) Å
        Lengths of the cell vectors of the cell that was given.
    angles : (3,) degrees
        Between b and c, a and c, a and b.
    volume
        Å³ per atom.
    energy
        eV per atom.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> found = relax_crystal(bulk("Cu", a=3.5, cubic=True), EMT())
    >>> round(found.lengths[0], 2), round(found.volume, 2)
    (3.59, 11.57)
    """

    atoms: Atoms
    lengths: tuple[float, float, float]
    angles: tuple[float, float, float]
    volume: float
    energy: float


def relax_crystal(crystal: Atoms, calculator: Any, *, max_force: float = 1e-3, max_steps: int = 500) -> CrystalAtRest:
    """Move atoms and cell of a crystal to rest, at no pressure.

    Parameters
    ----------
    crystal
        A cell periodic in three directions, near its minimum; it is not changed.
    calculator
        ASE calculator with stress.
    max_force
        Largest force on an atom, and on the cell as :class:`ase.filters.FrechetCellFilter` counts it, eV/Å.
    max_steps
        Steps of BFGS.

    Raises
    ------
    InputError
        If the cell is not periodic in three directions, or not at rest after so many steps.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> relax_crystal(bulk("Cu", a=3.5), EMT(), max_steps=1)
    Traceback (most recent call last):
    idealflow.errors.InputError: Cu is not at rest after 1 steps; begin nearer to its minimum, or raise max_steps
    """
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    if not (crystal.pbc.all() and crystal.cell.rank == 3):
        raise InputError(f"a crystal must be periodic in three directions, got pbc {crystal.pbc.tolist()}")
    moved = Atoms(crystal.numbers, positions=crystal.positions, cell=crystal.cell, pbc=True)
    moved.calc = calculator
    with BFGS(FrechetCellFilter(moved), logfile=None) as optimizer:
        at_rest = optimizer.run(fmax=max_force, steps=max_steps)
    energy = float(moved.get_potential_energy())
    moved.calc = None
    if not at_rest:
        raise InputError(
            f"{crystal.get_chemical_formula()} is not at rest after {max_steps} steps; begin nearer to its minimum, or raise "
            "max_steps"
        )
    lengths, angles = moved.cell.lengths().tolist(), moved.cell.angles().tolist()
    return CrystalAtRest(
        moved, tuple(lengths), tuple(angles), float(moved.get_volume()) / len(moved), energy / len(moved)
    )
