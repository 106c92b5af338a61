"""Structures as plane-wave engines take them: periodic in three directions, right-handed, with vacuum in open directions."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.structure import of_the_label

__all__ = ["VACUUM", "in_a_box", "right_handed"]

#: empty space on each side of the atoms in directions that are not periodic, Å
VACUUM = 10.0

Floats = NDArray[np.float64]


def in_a_box(atoms: Atoms, vacuum: float = VACUUM) -> Atoms:
    """A copy in a right-handed cell that is periodic in all three directions, as plane-wave engines take structures.

    Each open (not periodic) direction gets a cell vector at right angles to all others. It is long enough for `vacuum` on both
    sides of the atoms, which are moved to its middle; a vector that was longer keeps its length. Atoms are translated, never
    turned, so the forces are those of `atoms`. The copy has what a label depends on (moments, charge, spin) and nothing else.

    Parameters
    ----------
    atoms
        Any periodicity; a cell is not needed.
    vacuum
        Empty space on each side in open directions, Å.

    Returns
    -------
    Atoms
        In the same order. Atoms that are periodic in all directions keep their positions to the bit.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from idealflow.labelling import in_a_box
    >>> boxed = in_a_box(molecule("H2"), vacuum=5.0)
    >>> boxed.pbc.tolist(), boxed.cell.lengths().round(2).tolist()  # Å; the molecule is 0.74 Å long
    ([True, True, True], [10.0, 10.0, 10.74])
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
    """Unit vector (3,) at right angles to `others` and closest to `vector`; any such one if `vector` lies in their plane."""
    basis = np.linalg.qr(np.array(others).T)[0] if others else np.zeros((3, 0))
    for start in (vector, *np.eye(3)):
        rest = start - basis @ (basis.T @ start)
        rest -= basis @ (basis.T @ rest)  # once more, against rounding
        if np.linalg.norm(rest) > 1e-6 * max(1.0, float(np.linalg.norm(start))):
            return np.asarray(rest / np.linalg.norm(rest), dtype=np.float64)
    raise ValueError(f"three vectors leave no direction: {others}")  # never: at most two are given


def right_handed(cell: Floats) -> Floats:
    """The same lattice with a positive triple product: if it is negative, all three vectors are reversed.

    No atom moves and nothing turns, so energy, forces and stress stay. It is needed since VASP, LAMMPS and ABINIT refuse a
    left-handed cell, and pymatgen's POSCAR would mirror the structure.

    Parameters
    ----------
    cell
        (3, 3), vectors as rows, Å.

    Examples
    --------
    >>> import numpy as np
    >>> right_handed(np.diag([3.0, 3.0, -3.0])).tolist()
    [[-3.0, -0.0, -0.0], [-0.0, -3.0, -0.0], [-0.0, -0.0, 3.0]]
    """
    return -cell if np.linalg.det(cell) < 0.0 else cell
