"""What a crop is cut from: every atom image around one centre, and the distances that the frame has there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from idealflow.core.cropping.binding import RIM, find_binding
from idealflow.core.cropping.density import local_density
from idealflow.core.cropping.emptiness import gas_is_thin
from idealflow.core.cropping.limits import ContactLimits, contact_limits
from idealflow.core.cropping.molecules import BODY, find_molecules
from idealflow.errors import InputError

__all__ = ["ContactLimits", "Surroundings", "contact_limits", "heights_of", "images_within", "survey"]

FACE_TOLERANCE = 1e-6

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


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
    composition : fraction of each atomic number that a crop should have: of the whole frame, or of what lies around the centre
    molecule : (n,) number of the molecule of each image, or ``BODY`` or ``INCOMPLETE``
    gas : (n,) bool; molecules and single atoms in the empty space beside a body, without contact to it
    anchor : (n,) int; of an atom adsorbed on a metal the nearest metal atom, -1 for all others
    judged : (n,) bool; the atoms that count in the composition of a crop

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
    gas: Bools
    anchor: Ints
    judged: Bools

    @property
    def adsorbed(self) -> Bools:
        """(n,) bool: atoms that a metal holds."""
        return np.asarray(self.anchor >= 0)

    @cached_property
    def solid(self) -> Bools:
        """(n,) bool: the atoms of bodies that are part of no molecule, and sit on none."""
        return np.asarray(~self.gas & ~self.adsorbed & (self.molecule == BODY))

    def solid_neighbours(self, reach: float) -> Ints:
        """How many atoms of :attr:`solid` each of them has within a distance, Å: (n,), 0 for all other atoms. Counted once."""
        if reach not in self._counted:
            vectors, counts = self.vectors[self.solid], np.zeros(len(self.vectors), dtype=np.int64)
            counts[self.solid] = cKDTree(vectors).query_ball_point(vectors, reach, return_length=True) - 1
            self._counted[reach] = counts
        return self._counted[reach]

    @cached_property
    def _counted(self) -> dict[float, Ints]:
        return {}

    def gas_alone(self) -> Surroundings:
        """The same without its bodies and what sits on them: what lies around a molecule far from all of them."""
        chosen = np.flatnonzero(self.gas)
        return replace(
            self,
            indices=self.indices[chosen],
            numbers=self.numbers[chosen],
            vectors=self.vectors[chosen],
            molecule=self.molecule[chosen],
            gas=np.zeros(len(chosen), dtype=bool),
            anchor=np.full(len(chosen), -1, dtype=np.int64),
            judged=np.ones(len(chosen), dtype=bool),
        )


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
    pbc = np.asarray(atoms.pbc, dtype=bool)
    rows = _rows_near(atoms.positions, centre, cell, pbc, radius)
    delta = atoms.positions[rows] - atoms.positions[centre]
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
                    indices.append(rows[found])
                    vectors.append(delta[found] + shift @ cell)
    index, vector = np.concatenate(indices), np.concatenate(vectors)
    distance = np.linalg.norm(vector, axis=1)
    distance[(index == centre) & (distance < 1e-9)] = -1.0
    near = np.flatnonzero(distance <= radius)
    order = near[np.lexsort((index[near], distance[near]))]
    return index[order].astype(np.int64), np.ascontiguousarray(vector[order])


def _rows_near(positions: Floats, centre: int, cell: Floats, pbc: Bools, radius: float) -> Ints:
    """Indices, in order, of the atoms of which an image may be within a radius: one look at all atoms, axis by axis."""
    inverse, heights = np.linalg.inv(cell), heights_of(cell)
    rows = np.arange(len(positions))
    for axis in np.argsort(-heights):
        apart = (positions if len(rows) == len(positions) else positions[rows]) @ inverse[:, axis]
        apart -= positions[centre] @ inverse[:, axis]
        if pbc[axis]:
            apart -= np.round(apart)
        # a little more than the radius: which atoms count is decided by their distance
        rows = rows[np.abs(apart) * heights[axis] <= radius + FACE_TOLERANCE * (1.0 + radius)]
    return rows


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
    # a little more is looked at: seen in part, a body at the rim would pass for a molecule
    indices, vectors = images_within(atoms, centre, radius + RIM)
    numbers = np.asarray(atoms.numbers, dtype=np.int64)[indices]
    binding = find_binding(numbers, vectors)
    seen = int(np.searchsorted(np.linalg.norm(vectors, axis=1), radius, side="right"))
    indices, numbers, vectors = indices[:seen], numbers[:seen], vectors[:seen]
    gas, anchor = binding.gas[:seen], np.where(binding.anchor[:seen] < seen, binding.anchor[:seen], -1)
    cell = np.asarray(atoms.cell.complete().array, dtype=float)
    periodic = np.asarray(atoms.pbc, dtype=bool)
    nearest, reach = spacing_of(numbers, vectors)
    if gas.any() and not gas.all():
        of_body = spacing_of(numbers[~gas], vectors[~gas])
        if gas_is_thin(vectors, gas, radius, of_body[1]):
            nearest, reach = of_body
        else:
            gas = np.zeros(seen, dtype=bool)
    else:
        gas = np.zeros(seen, dtype=bool)
    counts = np.bincount(atoms.numbers)
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
        matter=local_density(vectors[~gas], cutoff, radius, reach),
        open_distance=reach,
        limits=contact_limits(numbers, vectors, min_contact),
        composition={int(z): int(counts[z]) / len(atoms) for z in np.flatnonzero(counts)},
        molecule=find_molecules(numbers, vectors, radius),
        gas=gas,
        anchor=anchor,
        judged=np.ones(seen, dtype=bool),
    )


def spacing_of(numbers: Ints, vectors: Floats) -> tuple[float, float]:
    """Median distance to the nearest neighbour near the centre, and the distance that counts as open, Å.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    vectors : (n, 3) positions, nearest to the centre first, Å

    Examples
    --------
    >>> spacing_of(np.array([29, 29]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.55]]))
    (2.55, 3.4425)
    """
    if len(numbers) > 1:
        near = cKDTree(vectors).query(vectors[: max(2, len(vectors) // 4)], k=2)[0][:, 1]
        nearest = float(np.median(near))
    else:
        nearest = 2.0 * float(covalent_radii[numbers[0]])
    return nearest, open_distance(numbers, nearest)
