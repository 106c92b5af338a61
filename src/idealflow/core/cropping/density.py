"""How dense the frame is around a centre, if no empty space is near."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["local_density"]

WIDTH = 0.75  # cutoffs
PROBE_SPACING = 1.5  # Å
MOST_EMPTY = 0.01

Floats = NDArray[np.float64]


def local_density(vectors: Floats, cutoff: float, radius: float, reach: float) -> float | None:
    """Atoms per Å³ around a centre: an average weighted with a Gaussian as wide as 0.75 cutoffs.

    The Gaussian is wide enough to smooth out the shells of neighbours in a crystal. None if more than 1 % of the weighted
    volume is empty: beside a surface a density does not say how large a cell should be.

    Parameters
    ----------
    vectors : (n, 3) atoms relative to the centre, Å
    cutoff : radius of the core, Å
    radius : how far `vectors` reach, Å
    reach : distance from the nearest atom beyond which a point counts as empty, Å

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import images_within
    >>> crystal = bulk("Cu", cubic=True)
    >>> _, vectors = images_within(crystal, 0, 15.0)
    >>> bool(abs(local_density(vectors, 5.0, 15.0, 3.5) / (4 / crystal.get_volume()) - 1.0) < 0.001)
    True
    >>> local_density(vectors[vectors[:, 2] <= 0.0], 5.0, 15.0, 3.5) is None
    True
    """
    radius = min(radius, 4.0 * WIDTH * cutoff)
    variance = (WIDTH * cutoff) ** 2

    def weights(points: Floats) -> Floats:
        square = np.einsum("ij,ij->i", points, points)
        return np.where(square <= radius**2, np.exp(-square / (2.0 * variance)), 0.0)

    steps = np.arange(-radius, radius + PROBE_SPACING, PROBE_SPACING)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    volume = weights(grid)
    inhabited = cKDTree(vectors).query(grid, distance_upper_bound=reach)[0] <= reach
    if volume[~inhabited].sum() > MOST_EMPTY * volume.sum():
        return None
    return float(weights(vectors).sum() / (volume.sum() * PROBE_SPACING**3))
