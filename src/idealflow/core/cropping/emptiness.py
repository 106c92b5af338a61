"""Where nothing stands: points on a grid in a sphere, and which of them are far from every atom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["empty_points", "gas_is_thin", "points_in_sphere"]

WIDE_SPACING = 1.6
#: gas is thin if at least this part of the space that the bodies leave is far from every molecule, too; in a liquid none is
LEAST_FREE = 0.02

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def points_in_sphere(radius: float, spacing: float) -> Floats:
    """Points (n, 3) of a cubic grid in a sphere around the origin, which is left out, Å.

    Examples
    --------
    >>> len(points_in_sphere(1.0, 1.0))
    6
    """
    steps = np.arange(-radius, radius + spacing, spacing)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(grid, axis=1)
    return np.asarray(grid[(length <= radius) & (length > 0.0)])


def empty_points(points: Floats, vectors: Floats, reach: float) -> Bools:
    """Tell which points (n, 3) are farther than ``reach`` from every atom of ``vectors`` (m, 3), Å.

    Examples
    --------
    >>> empty_points(np.array([[0.0, 0.0, 3.0], [0.0, 0.0, 5.0]]), np.zeros((1, 3)), reach=4.0).tolist()
    [False, True]
    """
    if len(vectors) == 0:
        return np.ones(len(points), dtype=bool)
    return np.asarray(cKDTree(vectors).query(points, distance_upper_bound=1.01 * reach)[0] > reach)


def gas_is_thin(vectors: Floats, gas: Bools, radius: float, reach: float) -> bool:
    """Tell whether molecules float in empty space, as a gas does, or fill it, as a liquid does.

    Parameters
    ----------
    vectors : (n, 3) atoms relative to the centre, Å
    gas : (n,) bool; atoms that touch no body
    radius : how far to look, Å
    reach : distance from the nearest atom beyond which a point counts as empty, Å

    Examples
    --------
    >>> atoms = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    >>> gas_is_thin(atoms, np.array([False, True]), radius=8.0, reach=3.5)
    True
    """
    points = points_in_sphere(radius, WIDE_SPACING)
    open_ = points[empty_points(points, vectors[~gas], reach)]
    return len(open_) > 0 and float(empty_points(open_, vectors[gas], reach).mean()) >= LEAST_FREE
