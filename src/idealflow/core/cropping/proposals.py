"""Candidate cells: where the six faces of a crop may lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.lattice import Translations, lattice_edges
from idealflow.core.cropping.surroundings import FACE_TOLERANCE, Surroundings, heights_of

__all__ = ["Box", "aligned_box", "face_normals", "lattice_box", "propose"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A parallelepiped around the centre: the cell of a candidate, and where it lies.

    Attributes
    ----------
    cell : (3, 3) rows are its edges, Å; right-handed
    origin : (3,) its corner relative to the centre, Å
    axes : for each edge "periodic", "kept" (the frame's own vector) or "vacuum"
    cell_kind : how it was made: "cartesian", "parent", "lattice", "interface", "surface", "cluster", "vacuum" or "whole"

    Examples
    --------
    >>> box = Box(np.eye(3) * 10.0, np.full(3, -5.0), ("periodic",) * 3, "cartesian")
    >>> box.fractional(np.zeros(3)).tolist()
    [0.5, 0.5, 0.5]
    >>> box.stretched(2, below=1.0, above=3.0, name="vacuum").cell.diagonal().tolist()
    [10.0, 10.0, 14.0]
    """

    cell: Floats
    origin: Floats
    axes: tuple[str, str, str]
    cell_kind: str

    @cached_property
    def inverse(self) -> Floats:
        """Inverse (3, 3) of the cell, 1/Å."""
        return np.asarray(np.linalg.inv(self.cell), dtype=np.float64)

    @cached_property
    def heights(self) -> Floats:
        """Perpendicular widths (3,) along the three axes, Å."""
        return np.asarray(1.0 / np.linalg.norm(self.inverse, axis=0), dtype=np.float64)

    def fractional(self, vectors: Floats) -> Floats:
        """Coordinates of points (n, 3) in units of the edges; inside means 0 <= f < 1."""
        return np.asarray((vectors - self.origin) @ self.inverse, dtype=np.float64)

    def stretched(self, axis: int, below: float, above: float, name: str | None = None) -> Box:
        """Push the two faces of one axis outward by perpendicular distances in Å; ``name`` is what the axis is called then."""
        height = self.heights[axis]
        cell = self.cell.copy()
        cell[axis] *= (height + below + above) / height
        axes = list(self.axes)
        axes[axis] = name or axes[axis]
        origin = self.origin - self.cell[axis] * (below / height)
        return replace(self, cell=cell, origin=origin, axes=(axes[0], axes[1], axes[2]))

    def corners(self) -> Floats:
        """(8, 3) corners relative to the centre, Å."""
        grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
        return np.asarray(self.origin + grid @ self.cell, dtype=np.float64)


def face_normals(cell: Floats) -> Floats:
    """Unit normals (3, 3) of the faces of a cell (3, 3); each has a positive component along its edge.

    Examples
    --------
    >>> (face_normals(np.array([[2.0, 0, 0], [1, 2, 0], [0, 0, 2]]))[1] + 0.0).tolist()
    [0.0, 1.0, 0.0]
    """
    inverse = np.linalg.inv(cell).T
    return np.asarray(inverse / np.linalg.norm(inverse, axis=1, keepdims=True), dtype=np.float64)


def right_handed(edges: Floats) -> Floats:
    """Order the edges so that their determinant is positive, without changing the box."""
    return edges if np.linalg.det(edges) > 0 else np.ascontiguousarray(edges[[1, 0, 2]])


def with_kept(directions: Floats, sur: Surroundings) -> tuple[Floats, tuple[bool, ...]]:
    """Put each frame vector that has to be kept in the place of the direction that is most parallel to it.

    Parameters
    ----------
    directions : (3, 3) rows, any length
    sur : the centre's surroundings

    Returns
    -------
    tuple
        Rows with kept vectors at full length and the others as unit vectors, and which rows are kept.
    """
    rows = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    kept = [False, False, False]
    for axis in np.flatnonzero(sur.kept):
        vector = sur.frame_cell[axis]
        overlap = np.where(kept, -1.0, np.abs(rows @ vector))
        best = int(np.argmax(overlap))
        rows[best] = vector
        kept[best] = True
    return rows, tuple(kept)


def aligned_box(
    sur: Surroundings, directions: Floats, cell_kind: str, widths: tuple[float, float], rng: np.random.Generator
) -> Box | None:
    """Draw a hexahedron along given directions, each of its six faces on its own.

    Every face that is not kept stands at least the cutoff from the centre, so that the core lies inside.

    Parameters
    ----------
    sur : the centre's surroundings
    directions : (3, 3) rows, any length
    cell_kind : how the box is called
    widths : smallest and largest perpendicular width, Å
    rng : source of random numbers

    Returns
    -------
    Box or None
        None if directions nearly coincide after kept vectors have taken their places.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> box = aligned_box(sur, np.eye(3), "cartesian", (8.0, 11.0), np.random.default_rng(0))
    >>> bool((box.cell.diagonal() >= 8.0).all() and (box.origin <= -4.0).all())
    True
    """
    rows, kept = with_kept(directions, sur)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    if abs(np.linalg.det(units)) < 0.3:
        return None
    order = [0, 1, 2] if np.linalg.det(units) > 0 else [1, 0, 2]
    rows, kept = rows[order], tuple(kept[k] for k in order)
    cosines = np.einsum("ij,ij->i", face_normals(rows), rows)
    spare = max(0.0, 0.5 * (widths[1] - 2.0 * sur.cutoff))
    least = max(0.0, 0.5 * (widths[0] - 2.0 * sur.cutoff))
    low = sur.cutoff + FACE_TOLERANCE + rng.uniform(least, spare, 3)
    high = sur.cutoff + FACE_TOLERANCE + rng.uniform(least, spare, 3)
    below = np.empty(3)
    edges = np.empty((3, 3))
    for k in range(3):
        if kept[k]:
            edges[k], below[k] = rows[k], rng.uniform() * cosines[k]
        else:
            edges[k], below[k] = rows[k] * (low[k] + high[k]) / cosines[k], low[k]
    return Box(edges, corner(edges, below), axis_names(kept), cell_kind)


def corner(edges: Floats, below: Floats) -> Floats:
    """Corner (3,) of a box, relative to the centre, whose lower faces stand at perpendicular distances ``below`` (3,), Å."""
    return np.asarray(-(below / heights_of(edges)) @ edges, dtype=np.float64)


def axis_names(kept: tuple[bool, ...]) -> tuple[str, str, str]:
    """Names of the three axes of a new box: "kept" or "periodic"."""
    names = ["kept" if k else "periodic" for k in kept]
    return names[0], names[1], names[2]


def lattice_box(
    sur: Surroundings, edges: Floats, kept: tuple[bool, ...], cell_kind: str, rng: np.random.Generator
) -> Box:
    """Place a cell of given edges around the core; the width it has to spare is split at random between the two sides.

    Parameters
    ----------
    sur : the centre's surroundings
    edges : (3, 3) rows, Å
    kept : (3,) which of them are the frame's own vectors
    cell_kind : how the box is called
    rng : source of random numbers

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> box = lattice_box(sur, np.eye(3) * 10.83, (False, False, False), "lattice", np.random.default_rng(0))
    >>> bool((box.origin <= -4.0).all() and (box.origin + 10.83 >= 4.0).all())
    True
    """
    heights = heights_of(edges)
    spare = heights - 2.0 * sur.cutoff
    below = sur.cutoff + rng.uniform(size=3) * np.maximum(spare, 0.0)
    below = np.where(kept, rng.uniform(size=3) * heights, below)
    return Box(edges, corner(edges, below), axis_names(kept), cell_kind)


def random_rotation_about(axis: Floats, rng: np.random.Generator) -> Floats:
    """Three perpendicular unit rows (3, 3): the last along ``axis``, the others at a random angle around it."""
    normal = axis / np.linalg.norm(axis)
    helper = np.eye(3)[int(np.argmin(np.abs(normal)))]
    first = np.cross(normal, helper)
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    turned = np.cos(angle) * first + np.sin(angle) * second
    return np.stack([turned, np.cross(normal, turned), normal])


def propose(
    sur: Surroundings,
    translations: Translations,
    n_candidates: int,
    widths: tuple[float, float],
    rng: np.random.Generator,
    normal: Floats | None = None,
) -> Iterator[Box]:
    """Draw candidate cells: a fifth along Cartesian axes, a fifth along the frame's cell, the rest lattice-aligned.

    Where the core looks into empty space (`normal` given), half of the axis-aligned ones stand on the local surface
    normal, and the lattice-aligned ones are built from translations within the surface and the normal.

    Parameters
    ----------
    sur : the centre's surroundings
    translations : vectors that map the surroundings onto themselves
    n_candidates : how many boxes to draw
    widths : smallest and largest perpendicular width, Å
    rng : source of random numbers; the same state gives the same boxes
    normal : (3,) unit vector into empty space, or None

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> from idealflow.core.cropping.lattice import find_translations
    >>> found = find_translations(sur, shortest=7.8, longest=13.0)
    >>> boxes = list(propose(sur, found, 10, (8.0, 11.0), np.random.default_rng(0)))
    >>> len(boxes), boxes[0].cell_kind
    (10, 'lattice')
    """
    n_axis = max(1, n_candidates // 5)
    n_lattice = n_candidates - 2 * n_axis
    lattice = list(lattice_edges(sur, translations, n_lattice, widths, rng, normal))
    for edges, kept in lattice:
        yield lattice_box(sur, edges, kept, "lattice", rng)
    for count in range(n_candidates - len(lattice)):
        if normal is not None and count % 2:
            directions, cell_kind = random_rotation_about(normal, rng), "surface"
        elif count % 4 < 2:
            directions, cell_kind = np.eye(3), "cartesian"
        else:
            directions, cell_kind = sur.frame_cell, "parent"
        box = aligned_box(sur, directions, cell_kind, widths, rng)
        if box is not None:
            yield box
