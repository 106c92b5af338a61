"""Empty space: finding it around a centre, and keeping it in a crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.contacts import Selection
from idealflow.core.cropping.emptiness import empty_points, points_in_sphere
from idealflow.core.cropping.proposals import Box
from idealflow.core.cropping.surroundings import Surroundings

__all__ = ["DEFAULT_VACUUM", "EmptySpace", "bodies", "find_empty_space", "keep_vacuum", "seam_gap"]

DEFAULT_VACUUM = 10.0
PROBE_SPACING = 0.8
LEAST_FRACTION = 0.01
LEAST_ONE_SIDED = 0.35

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EmptySpace:
    """Empty space inside the core's sphere.

    Attributes
    ----------
    fraction : part of the sphere's volume that is empty
    normal : (3,) unit vector into the empty space, or None if it lies on no side in particular (bulk, or gas all around)
    afloat : whether everything in the sphere is gas: the centre floats, and no body is near

    Examples
    --------
    >>> EmptySpace(fraction=0.0, normal=None).normal is None
    True
    """

    fraction: float
    normal: Floats | None
    afloat: bool = False


def find_empty_space(sur: Surroundings) -> EmptySpace:
    """Look for places far from every body in the core's sphere, at one point per 0.5 Å³; gas leaves a place empty.

    Parameters
    ----------
    sur
        The centre's surroundings.

    Examples
    --------
    An atom of the upper face of a slab looks up into the vacuum:

    >>> from ase.build import fcc111
    >>> from idealflow.core.cropping.surroundings import survey
    >>> slab = fcc111("Cu", (4, 4, 6), vacuum=10.0, periodic=True)
    >>> top = int(slab.positions[:, 2].argmax())
    >>> space = find_empty_space(survey(slab, top, cutoff=4.5, radius=12.0))
    >>> bool(space.fraction > 0.01 and space.normal[2] > 0.99)
    True
    """
    core = np.linalg.norm(sur.vectors, axis=1) <= sur.cutoff
    afloat = bool(sur.gas[core].all())
    points = points_in_sphere(sur.cutoff, PROBE_SPACING)
    empty = points[empty_points(points, sur.vectors if afloat else sur.vectors[~sur.gas], sur.open_distance)]
    fraction = len(empty) / len(points)
    if afloat or fraction < LEAST_FRACTION:
        return EmptySpace(fraction, None, afloat)
    units = empty / np.linalg.norm(empty, axis=1, keepdims=True)
    mean = units.mean(axis=0)
    if np.linalg.norm(mean) >= LEAST_ONE_SIDED:
        return EmptySpace(fraction, mean / np.linalg.norm(mean))
    values, vectors = np.linalg.eigh(units.T @ units / len(units))
    # inside a film there is empty space on two opposite sides: their mean is zero, but one direction stands out
    if values[2] > 0.5:
        return EmptySpace(fraction, np.asarray(vectors[:, 2], dtype=np.float64))
    return EmptySpace(fraction, None)


def seam_gap(fractions: Floats, height: float) -> tuple[float, float]:
    """Thickness of the empty layers below the lowest and above the highest atom of a box along one axis, Å.

    Parameters
    ----------
    fractions : (n,) coordinates of the atoms along the axis, in units of its edge
    height : perpendicular width of the box along it, Å

    Examples
    --------
    >>> seam_gap(np.array([0.25, 0.5]), height=8.0)
    (2.0, 4.0)
    """
    return float(fractions.min()) * height, (1.0 - float(fractions.max())) * height


def parent_gaps(mine: Floats, every: Floats, height: float, axis: int) -> tuple[float, float]:
    """How far the frame is empty of bodies beyond the lowest and the highest atom of a selection along one axis, Å.

    Only atoms straight above and below the box count; infinite if the surroundings have none there.

    Parameters
    ----------
    mine, every : (n, 3), (m, 3)
        Bodies of the selection and of the surroundings, in units of the box's edges.
    height
        Width of the box along the axis, Å.
    axis
        Which.

    Examples
    --------
    >>> mine, every = np.full((1, 3), 0.5), np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 0.25], [0.5, 1.5, 0.75]])
    >>> parent_gaps(mine, every, height=8.0, axis=2)
    (2.0, inf)
    """
    mine = mine[:, axis]
    one, two = (every[:, k] for k in range(3) if k != axis)
    column = every[(one >= 0.0) & (one < 1.0) & (two >= 0.0) & (two < 1.0), axis]
    lower, upper = column[column < mine.min() - 1e-9], column[column > mine.max() + 1e-9]
    below = (float(mine.min()) - float(lower.max())) * height if lower.size else np.inf
    above = (float(upper.min()) - float(mine.max())) * height if upper.size else np.inf
    return below, above


def bodies(sel: Selection, sur: Surroundings) -> NDArray[np.bool_]:
    """(n,) bool: the atoms of a selection that are no gas, and those of the core, whatever they are.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=6.0)
    >>> bool(bodies(Selection(np.arange(5), sur.vectors[:5], np.ones(5, dtype=bool)), sur).all())
    True
    """
    return np.asarray(~sur.gas[sel.images] | sel.core)


def keep_vacuum(box: Box, sel: Selection, sur: Surroundings, vacuum: float) -> Box:
    """Widen every axis whose boundary runs through empty space until the images no longer see each other.

    An axis is a vacuum axis if the frame is empty beyond its outermost atoms, on one side at least, over twice the distance that
    counts as open (a ball of that radius fits). The empty layer at its boundary is brought to the thickness ``vacuum``. Gas in it
    is overlooked: a surface in gas is a surface.

    Parameters
    ----------
    box : the box
    sel : the atoms inside it
    sur : the centre's surroundings
    vacuum : thickness of empty space to reach, Å

    Returns
    -------
    Box
        The same box if there is no such axis.

    Examples
    --------
    >>> from ase.build import fcc111
    >>> from idealflow.core.cropping.contacts import select
    >>> from idealflow.core.cropping.surroundings import survey
    >>> slab = fcc111("Cu", (4, 4, 6), vacuum=10.0, periodic=True)
    >>> top = int(slab.positions[:, 2].argmax())
    >>> sur = survey(slab, top, cutoff=4.5, radius=12.0)
    >>> box = Box(np.eye(3) * 9.5, np.full(3, -4.75), ("periodic",) * 3, "cartesian")
    >>> wider = keep_vacuum(box, select(sur, box), sur, vacuum=10.0)
    >>> wider.axes, bool(wider.cell[2, 2] > 14.0)
    (('periodic', 'periodic', 'vacuum'), True)
    """
    wide = 2.0 * sur.open_distance
    own, bodily = sel.vectors[bodies(sel, sur)], sur.vectors[~sur.gas]
    mine, every = box.fractional(own), box.fractional(bodily)
    for axis in range(3):
        if box.axes[axis] == "kept":
            continue
        gap_below, gap_above = parent_gaps(mine, every, box.heights[axis], axis)
        if max(gap_below, gap_above) > wide:
            below, above = seam_gap(mine[:, axis], box.heights[axis])
            more = max(0.0, vacuum - below - above)
            split = (0.0, more) if gap_above >= gap_below else (more, 0.0)
            box = box.stretched(axis, *split, name="vacuum")
            mine, every = box.fractional(own), box.fractional(bodily)
    return box
