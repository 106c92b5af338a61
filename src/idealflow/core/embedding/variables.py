"""What moves in a crop as one vector of numbers: displacements of shell atoms and changes of the free cell components."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.crop import Crop

__all__ = ["ShellVariables", "free_cell_components"]

CELL_WEIGHT = 3.0

Floats = NDArray[np.float64]


class ShellVariables:
    """Map between a vector of variables and the geometry of a crop; the zero vector is the crop itself.

    Variables are the displacements of the shell atoms (Å) and, if the cell moves, the change of each of its free components
    (Å) times a weight of 3, with which a step in the cell is comparable to that of an atom.

    Parameters
    ----------
    crop
        The crop; core atoms stand still in Cartesian space.
    cell
        Whether the free components of the cell move too.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel, crop_search
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = bulk("Cu", cubic=True) * 4
    >>> frame.rattle(0.1, seed=2)
    >>> crop = crop_search(u, frame, 99, n_candidates=5, max_atoms=150)[0]
    >>> variables = ShellVariables(crop, cell=False)
    >>> len(variables) == 3 * crop.shell.sum()
    np.True_
    >>> positions, cell = variables.geometry(np.zeros(len(variables)))
    >>> bool((positions == crop.atoms.positions).all())
    True
    """

    def __init__(self, crop: Crop, cell: bool) -> None:
        self._moving = np.flatnonzero(crop.shell)
        self._positions = crop.atoms.positions.copy()
        self._cell = np.asarray(crop.atoms.cell.array, dtype=float).copy()
        self._basis = free_cell_components(crop) if cell else np.zeros((0, 9))

    def __len__(self) -> int:
        return 3 * len(self._moving) + len(self._basis)

    def geometry(self, x: Floats) -> tuple[Floats, Floats]:
        """Positions (n, 3) and cell (3, 3) at a point, Å."""
        n = 3 * len(self._moving)
        positions = self._positions.copy()
        positions[self._moving] += x[:n].reshape(-1, 3)
        cell = self._cell + (x[n:] / CELL_WEIGHT @ self._basis).reshape(3, 3)
        return positions, cell

    def gradient(self, by_position: Floats, by_cell: Floats) -> Floats:
        """Gradient in the variables, from the gradients in positions (n, 3) and in the cell at fixed positions (3, 3), per Å."""
        return np.concatenate([by_position[self._moving].ravel(), self._basis @ by_cell.ravel() / CELL_WEIGHT])


def free_cell_components(crop: Crop) -> Floats:
    """Orthonormal directions (m, 9) in which the cell, as nine numbers, may change.

    Kept and vacuum vectors stand still. Periodic vectors change only perpendicular to the vacuum vectors: a slab does not
    tilt into its empty space.

    Parameters
    ----------
    crop
        The crop; ``crop.axes`` says which vectors are periodic.

    Examples
    --------
    A ball in vacuum has none, a cell that is periodic in three directions has nine:

    >>> from ase.build import bulk
    >>> from idealflow.core import crop_search, vacuum_crop
    >>> class Known:
    ...     cutoff = 3.0
    ...     def __call__(self, atoms, indices=None):
    ...         return np.ones(len(atoms) if indices is None else len(indices))
    >>> frame = bulk("Cu", cubic=True) * 4
    >>> free_cell_components(vacuum_crop(Known(), frame, 0)).shape
    (0, 9)
    >>> free_cell_components(crop_search(Known(), frame, 0, n_candidates=5, max_atoms=150)[0]).shape
    (9, 9)
    """
    names = crop.axes
    cell = np.asarray(crop.atoms.cell.array, dtype=float)
    empty = [cell[k] for k in range(3) if names[k] == "vacuum"]
    basis = np.eye(3)
    if empty:
        q = np.linalg.qr(np.array(empty).T)[0]
        values, vectors = np.linalg.eigh(np.eye(3) - q @ q.T)
        basis = vectors[:, values > 0.5].T
    rows = []
    for k in range(3):
        if names[k] == "periodic":
            for vector in basis:
                one = np.zeros((3, 3))
                one[k] = vector
                rows.append(one.ravel())
    return np.array(rows).reshape(-1, 9)
