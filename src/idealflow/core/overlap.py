"""Atoms that stand on, or impossibly near, one another: what no engine and no force field survives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from idealflow.core.descriptors.neighbours import neighbour_pairs

__all__ = ["LEAST_DISTANCE", "Overlap", "find_overlap"]

#: smallest distance of two atoms, as a fraction of the sum of their covalent radii
LEAST_DISTANCE = 0.5


class Overlap(NamedTuple):
    """Two atoms that are too close.

    Attributes
    ----------
    i, j
        Their indices, ``i <= j``; equal where an atom meets its own periodic image.
    distance, least
        Å: how far apart they are, and how far they have to be.
    """

    i: int
    j: int
    distance: float
    least: float

    def described(self, atoms: Atoms) -> str:
        """Return the finding in words, for an error message."""
        names = atoms.get_chemical_symbols()
        who = (
            f"atom {self.i} ({names[self.i]}) and its periodic image are"
            if self.i == self.j
            else f"atoms {self.i} ({names[self.i]}) and {self.j} ({names[self.j]}) are"
        )
        return f"{who} {self.distance:.3f} Å apart; at least half the sum of their covalent radii, {self.least:.3f} Å, is needed"


def find_overlap(atoms: Atoms) -> Overlap | None:
    """Return the two atoms that are most too close, periodic images included; None if all keep their distance.

    Atoms are too close below half the sum of their covalent radii. Takes time and memory in proportion to the number of atoms.

    Examples
    --------
    >>> from ase import Atoms
    >>> find_overlap(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])) is None
    True
    >>> find_overlap(Atoms("Cu2", [[0, 0, 0], [0, 0, 0.5]])).distance
    0.5
    """
    radii = covalent_radii[atoms.numbers]
    reach = 2.0 * LEAST_DISTANCE * float(radii.max(initial=0.0))
    if len(atoms) == 0 or reach == 0.0:
        return None
    if (
        twins := _on_one_place(atoms)
    ) is not None:  # a broken file may have all atoms on one place: as many pairs as N²
        least = LEAST_DISTANCE * float(radii[twins[0]] + radii[twins[1]])
        return Overlap(*twins, 0.0, least)
    offsets, j, _, vector = neighbour_pairs(atoms.positions, np.asarray(atoms.cell), atoms.pbc, reach)
    i = np.repeat(np.arange(len(atoms)), np.diff(offsets))
    least = LEAST_DISTANCE * (radii[i] + radii[j])
    distance = np.linalg.norm(vector, axis=1)
    close = np.flatnonzero((distance < least) & (i <= j))
    if close.size == 0:
        return None
    worst = close[np.lexsort((j[close], i[close], distance[close] / least[close]))[0]]
    return Overlap(int(i[worst]), int(j[worst]), float(distance[worst]), float(least[worst]))


def _on_one_place(atoms: Atoms) -> tuple[int, int] | None:
    """Return the first two atoms whose positions are equal to the last bit."""
    order = np.lexsort(atoms.positions.T)
    same = (np.diff(atoms.positions[order], axis=0) == 0.0).all(axis=1)
    if not same.any():
        return None
    at = int(np.argmax(same))
    i, j = sorted((int(order[at]), int(order[at + 1])))
    return i, j
