"""Atoms that stand on one another, or impossibly near: no engine and no force field can compute such a structure."""

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
        How far apart they are, and how far they have to be, Å.

    Examples
    --------
    >>> from ase import Atoms
    >>> Overlap(0, 1, distance=0.5, least=1.32).described(Atoms("Cu2"))
    'atoms 0 (Cu) and 1 (Cu) are 0.500 Å apart; at least half the sum of their covalent radii, 1.320 Å, is needed'
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
    """Find the two atoms that are worst too close, periodic images included; None if there are none.

    Two atoms are too close if they are nearer than half the sum of their covalent radii; the worst pair has the smallest ratio of
    the two. Time and memory are proportional to the number of atoms.

    Parameters
    ----------
    atoms
        Any cell and periodicity.

    Raises
    ------
    InputError
        If positions or cell are not finite, or a periodic cell is flat.

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
    # a broken file may have all N atoms on one place, which would make N² pairs
    if (twins := _on_one_place(atoms)) is not None:
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
