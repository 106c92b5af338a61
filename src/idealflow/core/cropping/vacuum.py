"""Empty space: seeing it from a centre, and keeping it open in a crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from idealflow.core.cropping.proposals import Box
from idealflow.core.cropping.surroundings import Surroundings, heights_of

__all__ = ["DEFAULT_VACUUM", "EmptySpace", "find_empty_space", "keep_vacuum"]

DEFAULT_VACUUM = 10.0
PROBE_SPACING = 0.8
LEAST_FRACTION = 0.01
LEAST_ONE_SIDED = 0.35

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EmptySpace:
    """Empty space inside the core sphere of a centre.

    Attributes
    ----------
    fraction : part of the sphere's volume that is empty
    normal : (3,) unit vector into it, or None where it has no clear side (bulk, or gas all around)
    """

    fraction: float
    normal: Floats | None


def find_empty_space(sur: Surroundings) -> EmptySpace:
    """Probe the sphere of the core, one point per 0.5 Å³, for places far from every atom."""
    steps = np.arange(-sur.cutoff, sur.cutoff + PROBE_SPACING, PROBE_SPACING)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(grid, axis=1)
    points = grid[(length <= sur.cutoff) & (length > 0.0)]
    empty = points[cKDTree(sur.vectors).query(points)[0] > sur.open_distance]
    fraction = len(empty) / len(points)
    if fraction < LEAST_FRACTION:
        return EmptySpace(fraction, None)
    units = empty / np.linalg.norm(empty, axis=1, keepdims=True)
    mean = units.mean(axis=0)
    if np.linalg.norm(mean) >= LEAST_ONE_SIDED:
        return EmptySpace(fraction, mean / np.linalg.norm(mean))
    values, vectors = np.linalg.eigh(units.T @ units / len(units))
    # a film seen from within is empty on two opposite sides: one direction stands out though the mean is nil
    if values[2] > 0.5:
        return EmptySpace(fraction, np.asarray(vectors[:, 2], dtype=np.float64))
    return EmptySpace(fraction, None)


def seam_gap(fractions: Floats, height: float) -> tuple[float, float]:
    """Empty thickness below the lowest and above the highest atom of a box along one axis, Å."""
    return float(fractions.min()) * height, (1.0 - float(fractions.max())) * height


def parent_gaps(box: Box, vectors: Floats, sur: Surroundings, axis: int) -> tuple[float, float]:
    """How far the frame is empty beyond the lowest and the highest atom of a box along one axis, Å.

    Looked for straight above and below the box; infinite where the surroundings hold nothing more.
    """
    height = heights_of(box.cell)[axis]
    mine = box.fractional(vectors)[:, axis]
    every = box.fractional(sur.vectors)
    others = [k for k in range(3) if k != axis]
    column = every[((every[:, others] >= 0.0) & (every[:, others] < 1.0)).all(axis=1), axis]
    lower, upper = column[column < mine.min() - 1e-9], column[column > mine.max() + 1e-9]
    below = (float(mine.min()) - float(lower.max())) * height if lower.size else np.inf
    above = (float(upper.min()) - float(mine.max())) * height if upper.size else np.inf
    return below, above


def keep_vacuum(box: Box, vectors: Floats, sur: Surroundings, vacuum: float) -> Box:
    """Widen every axis whose seam runs through empty space until the images no longer see each other.

    An axis is a vacuum axis if beyond its outermost atoms, on either side, the frame is empty for twice the distance
    that counts as open (a ball of that radius fits); the empty layer at its seam is brought to `vacuum`.

    Parameters
    ----------
    box : the box
    vectors : (n, 3) the atoms inside it, relative to the centre, Å
    sur : the centre's surroundings
    vacuum : thickness of empty space to reach, Å

    Returns
    -------
    Box
        The same box where there is no such axis.
    """
    wide = 2.0 * sur.open_distance
    for axis in range(3):
        if box.axes[axis] == "kept":
            continue
        gap_below, gap_above = parent_gaps(box, vectors, sur, axis)
        if max(gap_below, gap_above) > wide:
            below, above = seam_gap(box.fractional(vectors)[:, axis], heights_of(box.cell)[axis])
            more = max(0.0, vacuum - below - above)
            split = (0.0, more) if gap_above >= gap_below else (more, 0.0)
            box = box.stretched(axis, *split, kind="vacuum")
    return box
