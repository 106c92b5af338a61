"""Polycrystals: randomly turned grains in the Voronoi cells of random points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import Voronoi, cKDTree
from scipy.spatial.transform import Rotation

from idealflow.errors import InputError
from idealflow.structures.crystals import crystal as make_crystal
from idealflow.structures.given import three, whole

__all__ = ["polycrystal"]

_CHUNK = 500_000  # lattice points that are assigned to grains at a time


def polycrystal(
    element: str,
    crystal: str | None = None,
    *,
    box: float | Sequence[float],
    n_grains: int,
    a: float | None = None,
    c: float | None = None,
    closest: float = 0.75,
    seed: int = 0,
) -> Atoms:
    """Fill a periodic box with randomly turned grains.

    Grains are the Voronoi cells of random points. Each is filled with a crystal that a random rotation has turned and a random
    vector has shifted. Of two atoms that are too close across a boundary the one of the later grain is left out. Boundaries are
    not relaxed. Time and memory are proportional to the number of atoms.

    Parameters
    ----------
    element, crystal, a, c
        As for :func:`~idealflow.structures.crystal`. Compounds lose their stoichiometry at boundaries.
    box
        Edges of the box, Å; one number for a cube.
    n_grains
        How many grains.
    closest
        Smallest distance of two atoms, as a fraction of the crystal's nearest distance.
    seed
        Of points, rotations and shifts.

    Returns
    -------
    Atoms
        Periodic; the tag of an atom is the number of its grain.

    Raises
    ------
    InputError
        For impossible values, or grains smaller than a few atoms.

    Examples
    --------
    >>> lithium = polycrystal("Li", "bcc", a=3.5, box=30.0, n_grains=3)
    >>> len(lithium) < 2 * (30.0 / 3.5) ** 3, sorted(set(lithium.get_tags().tolist()))
    (True, [0, 1, 2])
    """
    edges, count = np.array(three("box", box)), whole("n_grains", n_grains)
    if not 0 < closest < 1:
        raise InputError(f"closest must lie between 0 and 1, as a fraction of the nearest distance, got {closest!r}")
    cell = make_crystal(element, crystal, a=a, c=c)
    nearest = _nearest_distance(cell)
    if edges.prod() / count < 10 * cell.get_volume() / len(cell):
        raise InputError(
            f"{count} grains in {edges.prod():.0f} Å³ have room for fewer than 10 atoms each; lower n_grains or enlarge box"
        )
    rng = np.random.default_rng(whole("seed", seed, 0))
    points = rng.random((count, 3)) * edges
    tree = cKDTree(points, boxsize=edges)
    positions, numbers, grains = [], [], []
    for grain, radius in enumerate(_radii(points, edges)):
        turn = Rotation.random(random_state=rng).as_matrix()
        shift = rng.random(3) @ cell.cell.array
        for found, kinds in _filled(cell, turn, shift, radius):
            inside = np.mod(found + points[grain], edges)
            own = tree.query(inside)[1] == grain
            # images of one and the same place are farther from the point than half the box: only the nearest counts
            near = _nearest_image(found, edges)
            positions.append(inside[own & near])
            numbers.append(kinds[own & near])
            grains.append(np.full(int((own & near).sum()), grain))
    atoms = Atoms(np.concatenate(numbers), np.concatenate(positions), cell=edges, pbc=True, tags=np.concatenate(grains))
    return _thinned(atoms, closest * nearest, edges)


def _nearest_distance(cell: Atoms) -> float:
    wide = cell.repeat(3)
    distances = np.linalg.norm(wide.positions - wide.positions[len(wide) // 2], axis=1)
    return float(np.sort(distances)[1])


def _radii(points: NDArray[np.float64], edges: NDArray[np.float64]) -> list[float]:
    """Distance of each point to the farthest corner of its periodic Voronoi cell, Å."""
    shifts = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    shifts = shifts[np.argsort(np.abs(shifts).sum(axis=1), kind="stable")]  # the box itself first
    images = (points[None] + (shifts * edges)[:, None]).reshape(-1, 3)
    diagram = Voronoi(images)
    half = float(np.linalg.norm(edges)) / 2.0  # no place is farther from the nearest image of a single point
    radii = []
    for i in range(len(points)):
        corners = diagram.regions[diagram.point_region[i]]
        far = half if -1 in corners else float(np.linalg.norm(diagram.vertices[corners] - points[i], axis=1).max())
        radii.append(min(far, half) + 1e-6)
    return radii


def _filled(cell: Atoms, turn: NDArray[np.float64], shift: NDArray[np.float64], radius: float):  # type: ignore[no-untyped-def]  # a generator of pairs of arrays
    """Vectors and atomic numbers of the turned and shifted crystal within a radius of the origin, in parts."""
    reach = np.ceil(radius * np.linalg.norm(cell.cell.reciprocal(), axis=1)).astype(int) + 1
    layers = np.arange(-reach[0], reach[0] + 1)
    plane = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach[1:]], indexing="ij"), axis=-1).reshape(-1, 2)
    per = max(1, _CHUNK // (len(plane) * len(cell)))
    for start in range(0, len(layers), per):
        some = layers[start : start + per]
        cells = np.column_stack([np.repeat(some, len(plane)), np.tile(plane, (len(some), 1))])
        vectors = (cells @ cell.cell.array)[:, None] + cell.positions[None] + shift
        vectors = vectors.reshape(-1, 3)
        within = np.einsum("ij,ij->i", vectors, vectors) <= radius**2
        yield vectors[within] @ turn.T, np.tile(cell.numbers, len(cells))[within]


def _nearest_image(vectors: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which vectors from a point are those to the nearest image of their ends."""
    return np.asarray(((vectors >= -edges / 2.0) & (vectors < edges / 2.0)).all(axis=1))


def _thinned(atoms: Atoms, least: float, edges: NDArray[np.float64]) -> Atoms:
    """Leave out the later of two atoms that are closer than ``least``, unless its partner is left out already."""
    inside = np.mod(atoms.positions, edges)
    inside[inside >= edges] = 0.0  # a value just below 0 is rounded up to the edge
    pairs = cKDTree(inside, boxsize=edges).query_pairs(least, output_type="ndarray")
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    gone = np.zeros(len(atoms), dtype=bool)
    for i, j in pairs.tolist():
        if not gone[i]:
            gone[j] = True
    return atoms[~gone]
