"""What a crop is cut from: every atom image around one centre, and the distances that the frame has there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from idealflow.core.cropping.density import local_density
from idealflow.core.cropping.molecules import find_molecules
from idealflow.errors import InputError

__all__ = ["ContactLimits", "Surroundings", "contact_limits", "heights_of", "images_within", "survey"]

COVALENT_FRACTION = 0.7
SEEN_FRACTION = 0.85
FACE_TOLERANCE = 1e-6

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ContactLimits:
    """Smallest distances allowed between atoms of a crop, per pair of species.

    Attributes
    ----------
    pairs
        ``{"Al-O": 1.45, ...}``, Å; the two symbols in alphabetical order. For other pairs the limit is 0.7 times the sum of the
        covalent radii.

    Examples
    --------
    >>> limits = ContactLimits({"Al-O": 1.45})
    >>> limits.of(8, 13), round(limits.of(8, 8), 3)
    (1.45, 0.924)
    """

    pairs: dict[str, float]

    def table(self, numbers: NDArray[np.integer]) -> tuple[Floats, Ints]:
        """Return the limits as a square matrix over the species in `numbers`, and each atom's row in it.

        Parameters
        ----------
        numbers
            (n,) atomic numbers.
        """
        species, rows = np.unique(numbers, return_inverse=True)
        matrix = np.array([[self.of(int(a), int(b)) for b in species] for a in species], dtype=float)
        return matrix, rows.astype(np.int64)

    def of(self, a: int, b: int) -> float:
        """Limit in Å for a pair of atomic numbers."""
        key = pair_key(a, b)
        return self.pairs.get(key, COVALENT_FRACTION * float(covalent_radii[a] + covalent_radii[b]))


def pair_key(a: int, b: int) -> str:
    """Name of a pair of species: the two symbols in alphabetical order."""
    return "-".join(sorted((chemical_symbols[a], chemical_symbols[b])))


@dataclass(frozen=True)
class Surroundings:
    """All atom images within ``radius`` of a centre, the centre first; :func:`survey` collects them.

    Attributes
    ----------
    indices : (n,) index in the frame of each image
    numbers : (n,) atomic numbers
    vectors : (n, 3) position relative to the centre, Å
    radius : how far was looked, Å
    cutoff : radius of the untouched core, Å
    frame_cell : (3, 3) rows are the frame's vectors, completed where the frame has none, Å
    kept : (3,) bool; where the frame is periodic and thinner than twice the cutoff, so that a crop keeps its vector
    periodic : (3,) bool; the frame's periodic directions
    nearest : median distance to the nearest neighbour, Å
    density : atoms per Å³ within the radius (empty space included)
    matter : atoms per Å³ close around the centre, None beside empty space
    open_distance : distance from the nearest atom at which a point counts as empty space, Å
    limits : smallest distances allowed in a crop
    composition : fraction of each atomic number in the whole frame
    molecule : (n,) number of the molecule of each image, or ``BODY`` or ``INCOMPLETE``

    Examples
    --------
    >>> from ase.build import bulk
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> len(sur.indices), sur.composition, sur.kept.tolist()
    (627, {29: 1.0}, [False, False, False])
    """

    indices: Ints
    numbers: Ints
    vectors: Floats
    radius: float
    cutoff: float
    frame_cell: Floats
    kept: Bools
    periodic: Bools
    nearest: float
    density: float
    matter: float | None
    open_distance: float
    limits: ContactLimits
    composition: dict[int, float]
    molecule: Ints


def heights_of(cell: Floats) -> Floats:
    """Perpendicular widths (3,) of a cell along its three axes, Å.

    Parameters
    ----------
    cell : (3, 3) rows, Å

    Examples
    --------
    >>> heights_of(np.array([[4.0, 0.0, 0.0], [3.0, 3.0, 0.0], [0.0, 0.0, 5.0]])).round(3).tolist()
    [2.828, 3.0, 5.0]
    """
    return np.asarray(1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0), dtype=np.float64)


def images_within(atoms: Atoms, centre: int, radius: float) -> tuple[Ints, Floats]:
    """Find every periodic image of every atom within `radius` of an atom.

    Parameters
    ----------
    atoms
        Any frame: any cell, mixed or absent periodicity, atoms inside the box or not.
    centre
        Index of the atom to look from.
    radius
        Å.

    Returns
    -------
    tuple
        Indices (n,), and positions relative to the centre (n, 3) in Å; the centre itself comes first, the others are sorted by
        distance.

    Examples
    --------
    >>> from ase.build import bulk
    >>> indices, vectors = images_within(bulk("Cu", cubic=True), centre=0, radius=2.6)
    >>> len(indices), indices[0], vectors[0].tolist()
    (13, np.int64(0), [0.0, 0.0, 0.0])
    """
    cell = np.asarray(atoms.cell.complete().array, dtype=float)
    delta = atoms.positions - atoms.positions[centre]
    pbc = np.asarray(atoms.pbc, dtype=bool)
    frac = delta @ np.linalg.inv(cell)
    whole = np.where(pbc, np.round(frac), 0.0)
    frac -= whole
    heights = heights_of(cell)
    reach = np.where(pbc, np.ceil(radius / heights + 0.5), 0).astype(int)
    slabs = [
        [(s, np.abs(frac[:, k] + s) * heights[k] <= radius) for s in range(-reach[k], reach[k] + 1)] for k in range(3)
    ]
    indices, vectors = [], []
    for s0, m0 in slabs[0]:
        for s1, m1 in slabs[1]:
            m01 = m0 & m1
            if not m01.any():
                continue
            for s2, m2 in slabs[2]:
                found = np.flatnonzero(m01 & m2)
                if found.size:
                    shift = np.array([s0, s1, s2], dtype=float) - whole[found]
                    indices.append(found)
                    vectors.append(delta[found] + shift @ cell)
    index, vector = np.concatenate(indices), np.concatenate(vectors)
    distance = np.linalg.norm(vector, axis=1)
    distance[(index == centre) & (distance < 1e-9)] = -1.0
    near = np.flatnonzero(distance <= radius)
    order = near[np.lexsort((index[near], distance[near]))]
    return index[order].astype(np.int64), np.ascontiguousarray(vector[order])


def contact_limits(numbers: Ints, vectors: Floats, min_contact: float | None) -> ContactLimits:
    """Derive the smallest allowed distances from those that the frame has.

    For a pair of species the limit is 0.85 times the smallest distance found, or 0.7 times the sum of the covalent radii if that
    is more, but at most 0.95 times the distance found: what the frame has is physical. In ionic crystals ions of one sign never
    come as near as their covalent radii would allow, so the radii alone would be too small a limit.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    vectors : (n, 3) positions, Å
    min_contact : one limit for all pairs instead, Å, or None

    Examples
    --------
    >>> copper = contact_limits(np.array([29, 29]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.5]]), min_contact=None)
    >>> round(copper.pairs["Cu-Cu"], 3)
    2.125
    """
    species = np.unique(numbers)
    if min_contact is not None:
        return ContactLimits({pair_key(int(a), int(b)): float(min_contact) for a in species for b in species})
    reach = 2.4 * float(covalent_radii[species].max())
    pairs = cKDTree(vectors).query_pairs(reach, output_type="ndarray")
    seen: dict[str, float] = {}
    if len(pairs):
        distance = np.linalg.norm(vectors[pairs[:, 0]] - vectors[pairs[:, 1]], axis=1)
        left, right = numbers[pairs].min(axis=1), numbers[pairs].max(axis=1)
        for a, b in {(int(x), int(y)) for x, y in np.unique(np.stack([left, right], axis=1), axis=0)}:
            seen[pair_key(a, b)] = float(distance[(left == a) & (right == b)].min())
    limits = {}
    for x in species:
        for y in species:
            key = pair_key(int(x), int(y))
            bonded = COVALENT_FRACTION * float(covalent_radii[x] + covalent_radii[y])
            nearest = seen.get(key, reach)
            limits[key] = min(0.95 * nearest, max(bonded, SEEN_FRACTION * nearest))
    return ContactLimits(limits)


def open_distance(numbers: Ints, nearest: float) -> float:
    """Distance from the nearest atom at which a point counts as empty space, Å.

    1.35 nearest-neighbour distances, at least the largest covalent radius plus 2 Å: more than the middle of a vacancy has (one
    nearest-neighbour distance), and the middle of a hole in an open structure.
    """
    return max(1.35 * nearest, float(covalent_radii[np.unique(numbers)].max()) + 2.0)


def survey(atoms: Atoms, centre: int, cutoff: float, radius: float, min_contact: float | None = None) -> Surroundings:
    """Collect what a crop search needs to know about the surroundings of one atom.

    Parameters
    ----------
    atoms
        The frame.
    centre
        Index of the atom.
    cutoff
        Å; radius of the core, SOAP's true cutoff.
    radius
        Å; how far to look.
    min_contact
        Å; one contact limit for all pairs instead of the derived ones.

    Raises
    ------
    InputError
        If the centre is no atom of the frame, or positions or cell are not finite.

    Examples
    --------
    >>> from ase.build import bulk
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=7, cutoff=4.0, radius=12.0)
    >>> sur.indices[0], round(sur.nearest, 2), round(sur.matter, 4)
    (np.int64(7), 2.55, 0.085)
    """
    if not 0 <= centre < len(atoms):
        raise InputError(f"centre must be an index of the frame's {len(atoms)} atoms, got {centre}")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise InputError("positions and cell of a frame must be finite numbers; this frame holds NaN or infinity")
    indices, vectors = images_within(atoms, centre, radius)
    numbers = np.asarray(atoms.numbers, dtype=np.int64)[indices]
    cell = np.asarray(atoms.cell.complete().array, dtype=float)
    periodic = np.asarray(atoms.pbc, dtype=bool)
    if len(indices) > 1:
        near = cKDTree(vectors).query(vectors[: max(2, len(vectors) // 4)], k=2)[0][:, 1]
        nearest = float(np.median(near))
    else:
        nearest = 2.0 * float(covalent_radii[numbers[0]])
    species, counts = np.unique(atoms.numbers, return_counts=True)
    reach = open_distance(numbers, nearest)
    return Surroundings(
        indices=indices,
        numbers=numbers,
        vectors=vectors,
        radius=radius,
        cutoff=cutoff,
        frame_cell=cell,
        kept=periodic & (heights_of(cell) < 2.0 * cutoff + FACE_TOLERANCE),
        periodic=periodic,
        nearest=nearest,
        density=len(indices) / (4.0 / 3.0 * np.pi * radius**3),
        matter=local_density(vectors, cutoff, radius, reach),
        open_distance=reach,
        limits=contact_limits(numbers, vectors, min_contact),
        composition={int(z): int(c) / len(atoms) for z, c in zip(species, counts, strict=True)},
        molecule=find_molecules(numbers, vectors, radius),
    )
