"""Candidate cells: where the six faces of a crop may lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.lattice import Translations, lattice_edges
from idealflow.core.cropping.surroundings import FACE_TOLERANCE, Surroundings, heights_of

__all__ = ["Box", "aligned_box", "face_normals", "lattice_box", "propose"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A parallelepiped around the centre of a crop.

    Attributes
    ----------
    cell : (3, 3) rows are its edges, Å; right-handed
    origin : (3,) its corner relative to the centre, Å
    axes : per edge "periodic", "kept" (the frame's own vector) or "vacuum"
    kind : "cartesian", "parent", "lattice" or "surface"
    """

    cell: Floats
    origin: Floats
    axes: tuple[str, str, str]
    kind: str

    def fractional(self, vectors: Floats) -> Floats:
        """Coordinates of points (n, 3) in units of the edges; inside means 0 <= f < 1."""
        return np.asarray((vectors - self.origin) @ np.linalg.inv(self.cell), dtype=np.float64)

    def stretched(self, axis: int, below: float, above: float, kind: str | None = None) -> Box:
        """Push the two faces of one axis outward by perpendicular distances in Å; `kind` renames the axis."""
        height = heights_of(self.cell)[axis]
        cell = self.cell.copy()
        cell[axis] *= (height + below + above) / height
        axes = list(self.axes)
        axes[axis] = kind or axes[axis]
        origin = self.origin - self.cell[axis] * (below / height)
        return replace(self, cell=cell, origin=origin, axes=(axes[0], axes[1], axes[2]))

    def corners(self) -> Floats:
        """(8, 3) corners relative to the centre, Å."""
        grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
        return np.asarray(self.origin + grid @ self.cell, dtype=np.float64)


def face_normals(cell: Floats) -> Floats:
    """Unit normals (3, 3) of the faces, each pointing along its edge."""
    inverse = np.linalg.inv(cell).T
    return np.asarray(inverse / np.linalg.norm(inverse, axis=1, keepdims=True), dtype=np.float64)


def right_handed(edges: Floats) -> Floats:
    """Order the edges so that their determinant is positive, without changing the box."""
    return edges if np.linalg.det(edges) > 0 else np.ascontiguousarray(edges[[1, 0, 2]])


def with_kept(directions: Floats, sur: Surroundings) -> tuple[Floats, tuple[bool, ...]]:
    """Replace, for each direction the frame keeps, the most parallel free direction by the frame's own vector.

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
    sur: Surroundings, directions: Floats, kind: str, widths: tuple[float, float], rng: np.random.Generator
) -> Box | None:
    """Draw a hexahedron along given directions with six independently drawn faces.

    Every face that is not kept stands at least the cutoff from the centre, so that the core lies inside.

    Parameters
    ----------
    sur : the centre's surroundings
    directions : (3, 3) rows, any length
    kind : name of the candidate
    widths : smallest and largest perpendicular width, Å
    rng : generator

    Returns
    -------
    Box or None
        None if the directions nearly coincide once the kept vectors are in.
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
    return Box(edges, corner(edges, below), axis_names(kept), kind)


def corner(edges: Floats, below: Floats) -> Floats:
    """Corner (3,) of a box whose lower faces stand at perpendicular distances `below` (3,) from the centre, Å."""
    return np.asarray(-(below / heights_of(edges)) @ edges, dtype=np.float64)


def axis_names(kept: tuple[bool, ...]) -> tuple[str, str, str]:
    """Name the three axes of a fresh box."""
    names = ["kept" if k else "periodic" for k in kept]
    return names[0], names[1], names[2]


def lattice_box(sur: Surroundings, edges: Floats, kept: tuple[bool, ...], kind: str, rng: np.random.Generator) -> Box:
    """Place a cell of given edges around the core, the spare width split at random between its two sides."""
    heights = heights_of(edges)
    spare = heights - 2.0 * sur.cutoff
    below = sur.cutoff + rng.uniform(size=3) * np.maximum(spare, 0.0)
    below = np.where(kept, rng.uniform(size=3) * heights, below)
    return Box(edges, corner(edges, below), axis_names(kept), kind)


def random_rotation_about(axis: Floats, rng: np.random.Generator) -> Floats:
    """Three perpendicular unit rows, the last along `axis`, the others at a random angle around it."""
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
    rng : generator; the same state gives the same boxes
    normal : (3,) unit vector into empty space, or None
    """
    n_axis = max(1, n_candidates // 5)
    n_lattice = n_candidates - 2 * n_axis
    lattice = list(lattice_edges(sur, translations, n_lattice, widths, rng, normal))
    for edges, kept in lattice:
        yield lattice_box(sur, edges, kept, "lattice", rng)
    for count in range(n_candidates - len(lattice)):
        if normal is not None and count % 2:
            directions, kind = random_rotation_about(normal, rng), "surface"
        elif count % 4 < 2:
            directions, kind = np.eye(3), "cartesian"
        else:
            directions, kind = sur.frame_cell, "parent"
        box = aligned_box(sur, directions, kind, widths, rng)
        if box is not None:
            yield box
