"""Structures in the form that plane-wave engines take: periodic in three directions, right-handed, vacuum where it is open."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.structure import of_the_label

__all__ = ["VACUUM", "in_a_box", "right_handed"]

#: Å of empty space on each side of the atoms, in directions that are not periodic
VACUUM = 10.0

Floats = NDArray[np.float64]


def in_a_box(atoms: Atoms, vacuum: float = VACUUM) -> Atoms:
    """Copy of what a label depends on, in a right-handed cell that is periodic in all three directions.

    A direction that is not periodic becomes one at right angles to those that are (and to the other open ones), long enough for
    `vacuum` on each side of the atoms, which stand in its middle; a longer vector of the structure's own keeps its length.
    Atoms are translated, never turned: forces are those of `atoms`.

    Parameters
    ----------
    atoms
        Any periodicity; without a cell as well.
    vacuum
        Å.

    Returns
    -------
    Atoms
        In the same order. Fully periodic atoms keep their positions to the bit.
    """
    boxed = of_the_label(atoms)
    cell = np.array(atoms.cell.complete(), dtype=np.float64)
    positions = boxed.positions.copy()
    done = [cell[axis] for axis in np.flatnonzero(atoms.pbc)]
    for axis in np.flatnonzero(~atoms.pbc):
        direction = _open_direction(cell[axis], done)
        along = positions @ direction
        length = max(abs(float(cell[axis] @ direction)), float(np.ptp(along)) + 2.0 * vacuum)
        cell[axis] = length * direction
        positions += (length / 2.0 - (along.max() + along.min()) / 2.0) * direction
        done.append(cell[axis])
    boxed.set_cell(right_handed(cell))
    boxed.set_positions(positions)
    boxed.pbc = True
    return boxed


def _open_direction(vector: Floats, others: list[Floats]) -> Floats:
    """Unit vector at right angles to `others`, near `vector`; any such one where `vector` lies among them."""
    basis = np.linalg.qr(np.array(others).T)[0] if others else np.zeros((3, 0))
    for start in (vector, *np.eye(3)):
        rest = start - basis @ (basis.T @ start)
        rest -= basis @ (basis.T @ rest)  # once more, against rounding
        if np.linalg.norm(rest) > 1e-6 * max(1.0, float(np.linalg.norm(start))):
            return np.asarray(rest / np.linalg.norm(rest), dtype=np.float64)
    raise ValueError(f"three vectors leave no direction: {others}")  # never: at most two are given


def right_handed(cell: Floats) -> Floats:
    """The same lattice with vectors of positive triple product: a left-handed set is reversed, all three vectors at once.

    No atom moves and nothing turns, so energy, forces and stress are those of the cell that was given. (VASP, LAMMPS and
    ABINIT take no left-handed cell; pymatgen's POSCAR would mirror the structure.)
    """
    return -cell if np.linalg.det(cell) < 0.0 else cell
