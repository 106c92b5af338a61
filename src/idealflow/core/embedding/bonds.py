"""What stays together while a shell is relaxed: the atoms of a molecule, and an adsorbate and its metal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.binding import HOLD_REACH, MOST_ADSORBED, bound_pairs, metallic
from idealflow.core.cropping.contacts import close_pairs
from idealflow.core.cropping.molecules import MOST_ATOMS, NONMETALS, bond_limit
from idealflow.core.cropping.parts import connected_parts

__all__ = ["Bonds", "find_bonds"]

#: a length within a molecule (bonds, and distances across one atom) changes at most by this part of itself
STIFF = 0.05
#: the metal atom that holds an adsorbate best goes at most this many times as far away as it was
HELD = 1.08

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Bonds:
    """Pairs of atoms with the range of their distance.

    Attributes
    ----------
    i, j : (m,) atoms, each pair once
    shift : (m, 3) image of j, in cell vectors
    least, most : (m,) range of the distance, Å

    Examples
    --------
    >>> one = Bonds(np.array([0]), np.array([1]), np.zeros((1, 3)), np.array([0.7]), np.array([0.8]))
    >>> one.distances(np.array([[0.0, 0, 0], [0, 0, 0.75]]), np.eye(3) * 9.0)[0].tolist()
    [0.75]
    """

    i: Ints
    j: Ints
    shift: Floats
    least: Floats
    most: Floats

    def only(self, chosen: NDArray[np.bool_]) -> Bonds:
        """The chosen pairs (m,) alone."""
        return Bonds(self.i[chosen], self.j[chosen], self.shift[chosen], self.least[chosen], self.most[chosen])

    def distances(self, positions: Floats, cell: Floats) -> tuple[Floats, Floats]:
        """Lengths (m,) of the pairs and vectors (m, 3) from i to j, Å."""
        vector = positions[self.j] + self.shift @ cell - positions[self.i]
        return np.linalg.norm(vector, axis=1), vector


def find_bonds(numbers: NDArray[np.integer], positions: Floats, cell: Floats) -> Bonds:
    """Find what belongs together in a crop, a fully periodic cell.

    A molecule (:mod:`idealflow.core.cropping.molecules`) keeps the lengths of its bonds and the distances across one of its atoms
    within 5 %, so that it moves as a rigid body, or nearly. An atom adsorbed on a metal keeps the nearest metal atom within 1.08
    times its distance. Networks and layers are left free.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    positions : (n, 3) Å
    cell : (3, 3) rows, Å

    Examples
    --------
    Of a water molecule two bonds and the distance of its hydrogen atoms:

    >>> from ase.build import molecule
    >>> water = molecule("H2O", vacuum=5.0)
    >>> found = find_bonds(water.numbers, water.positions, water.cell.array)
    >>> list(zip(found.i.tolist(), found.j.tolist())), found.most.round(3).tolist()
    ([(0, 1), (0, 2), (1, 2)], [1.017, 1.017, 1.603])
    """
    z = numbers.astype(np.int64)
    nonmetal = np.isin(z, NONMETALS)
    if not nonmetal.any():
        return _none()
    species = np.unique(z)
    reach = float(bond_limit(species, species, HOLD_REACH).max())
    i, j, shift, vector = close_pairs(positions, cell, reach)
    distance = np.linalg.norm(vector, axis=1)
    touch = bound_pairs(z, i, j, distance)
    i, j, shift, distance = i[touch], j[touch], shift[touch], distance[touch]
    covalent = nonmetal[i] & nonmetal[j]
    part = connected_parts(len(numbers), i[covalent], j[covalent])
    size = np.bincount(part)[part]
    rows: dict[tuple[int, int, int, int, int], tuple[float, float]] = {}

    def add(a: int, b: int, image: tuple[int, int, int], least: float, most: float) -> None:
        key = (a, b, *image) if a < b else (b, a, *(-k for k in image))
        rows[key[0], key[1], key[2], key[3], key[4]] = (least, most)

    neighbours: dict[int, list[tuple[int, tuple[int, int, int]]]] = {}
    for one in np.flatnonzero(covalent & (size[i] <= MOST_ATOMS) & (i != j)):
        a, b, image = int(i[one]), int(j[one]), _image(shift[one])
        neighbours.setdefault(a, []).append((b, image))
        add(a, b, image, (1.0 - STIFF) * float(distance[one]), (1.0 + STIFF) * float(distance[one]))
    for around in neighbours.values():
        for k, (a, image_a) in enumerate(around):
            for b, image_b in around[:k]:
                image = (image_b[0] - image_a[0], image_b[1] - image_a[1], image_b[2] - image_a[2])
                length = float(np.linalg.norm(positions[b] + np.array(image) @ cell - positions[a]))
                if a != b:
                    add(a, b, image, (1.0 - STIFF) * length, (1.0 + STIFF) * length)
    holds = metallic(z, i, j)
    held = np.flatnonzero(nonmetal[i] & holds[j] & (size[i] <= MOST_ADSORBED))
    best = held[np.lexsort((distance[held], i[held]))]
    for one in best[np.unique(i[best], return_index=True)[1]]:
        add(int(i[one]), int(j[one]), _image(shift[one]), 0.0, HELD * float(distance[one]))
    if not rows:
        return _none()
    keys, ranges = np.array(sorted(rows), dtype=np.int64), np.array([rows[key] for key in sorted(rows)])
    return Bonds(keys[:, 0], keys[:, 1], keys[:, 2:].astype(float), ranges[:, 0], ranges[:, 1])


def _image(shift: Ints) -> tuple[int, int, int]:
    return int(shift[0]), int(shift[1]), int(shift[2])


def _none() -> Bonds:
    nothing = np.empty(0, dtype=np.int64)
    return Bonds(nothing, nothing, np.empty((0, 3)), np.empty(0), np.empty(0))
