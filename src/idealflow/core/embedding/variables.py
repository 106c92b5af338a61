"""The moving part of a crop as a vector of numbers: displacements of the shell, changes of the free cell components."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.crop import Crop

__all__ = ["ShellVariables", "free_cell_components"]

CELL_WEIGHT = 3.0

Floats = NDArray[np.float64]


class ShellVariables:
    """Map between a vector of variables and the geometry of a crop; the zero vector is the crop itself.

    Variables are the displacements of the shell atoms (Å) and, if the cell moves, the change of each free component of the
    cell times a weight that makes its step comparable to one atom's.

    Parameters
    ----------
    crop
        The crop; core atoms stand still in Cartesian space.
    cell
        Whether the free components of the cell move too.
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
        """Gradient in the variables from those in positions (n, 3) and in the cell at fixed positions (3, 3)."""
        return np.concatenate([by_position[self._moving].ravel(), self._basis @ by_cell.ravel() / CELL_WEIGHT])


def free_cell_components(crop: Crop) -> Floats:
    """Orthonormal directions (m, 9) in which the cell may change.

    Kept and vacuum vectors stand still, and free vectors do not lean into empty space (they stay perpendicular to
    what they were along a vacuum vector).
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
