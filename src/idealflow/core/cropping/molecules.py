"""Molecules in a frame: a crop takes one whole or not at all, and hydrogen may cap the covalent bonds it cuts.

A molecule is a finite set of nonmetal atoms joined by covalent bonds. Two atoms count as bonded up to three tenths of the way
from the sum of their covalent radii to that of their van der Waals radii (1.15 Å for H2, whose bond is 0.74 Å at rest and
reaches 1.1 Å at 1200 K), so that a hot molecule stays one. Metals and ionic solids have none. A covalent network or a polymer of
more than 60 atoms is a body, not a molecule, and may be cut.
"""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.data.vdw_alvarez import vdw_radii
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from idealflow.core.cropping.parts import connected_parts

__all__ = ["BODY", "INCOMPLETE", "NONMETALS", "bond_limit", "covalent_bonds", "find_molecules"]

#: BODY: not part of a molecule. INCOMPLETE: its molecule extends past the search radius, so that it cannot be taken whole
BODY, INCOMPLETE = -1, -2
NONMETALS = np.array(
    [atomic_numbers[symbol] for symbol in ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "I")]
)
#: how far from the covalent to the van der Waals distance two atoms still count as bonded; below one half, since hydrogen
#: bonds lie near the middle (water: 1.85 Å)
BOND_REACH = 0.3
MOST_ATOMS = 60
#: Å; of an element without one, and more than any: bounds how far pairs are looked for
_VDW = np.where(np.isfinite(vdw_radii), vdw_radii, 2.5)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def bond_limit(a: NDArray[np.integer], b: NDArray[np.integer], reach: float = BOND_REACH) -> Floats:
    """Distance below which two atoms count as bonded, Å, between the sums of their covalent and of their van der Waals radii.

    Parameters
    ----------
    a, b : (n,) atomic numbers
    reach : 0 for the sum of the covalent radii (Cordero), 1 for that of the van der Waals radii (Alvarez)

    Examples
    --------
    >>> bond_limit(np.array([1, 6]), np.array([1, 1])).round(3).tolist()
    [1.154, 1.64]
    """
    bonded = covalent_radii[a] + covalent_radii[b]
    return np.asarray(bonded + reach * np.maximum(0.0, _VDW[a] + _VDW[b] - bonded), dtype=np.float64)


def covalent_bonds(numbers: Ints, vectors: Floats) -> Ints:
    """Pairs (m, 2) of bonded nonmetal atoms among points in open space.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    vectors : (n, 3) positions, Å

    Examples
    --------
    >>> from ase.build import molecule
    >>> water = molecule("H2O")
    >>> covalent_bonds(water.numbers, water.positions).tolist()
    [[0, 1], [0, 2]]
    """
    mine = np.flatnonzero(np.isin(numbers, NONMETALS))
    if len(mine) < 2:
        return np.empty((0, 2), dtype=np.int64)
    reach = float(bond_limit(numbers[mine], numbers[mine]).max())
    pairs = mine[cKDTree(vectors[mine]).query_pairs(reach, output_type="ndarray")]
    distance = np.linalg.norm(vectors[pairs[:, 0]] - vectors[pairs[:, 1]], axis=1)
    return np.asarray(pairs[distance < bond_limit(numbers[pairs[:, 0]], numbers[pairs[:, 1]])], dtype=np.int64)


def find_molecules(numbers: Ints, vectors: Floats, radius: float) -> Ints:
    """Find the molecule that each atom image belongs to.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    vectors : (n, 3) positions relative to the centre, Å
    radius : radius within which these images are all there are, Å

    Returns
    -------
    (n,) int array
        Number of the molecule; ``BODY`` for atoms of none, ``INCOMPLETE`` for a molecule that extends past the radius.

    Examples
    --------
    Two water molecules, seen whole and seen in part:

    >>> from ase.build import molecule
    >>> pair = molecule("H2O")
    >>> pair += molecule("H2O")
    >>> pair.positions[3:] += [0.0, 0.0, 3.0]
    >>> find_molecules(pair.numbers, pair.positions, radius=8.0).tolist()
    [0, 0, 0, 1, 1, 1]
    >>> find_molecules(pair.numbers, pair.positions, radius=3.5).tolist()
    [0, 0, 0, -2, -2, -2]
    """
    molecule = np.full(len(numbers), BODY, dtype=np.int64)
    bonds = covalent_bonds(numbers, vectors)
    if len(bonds) == 0:
        return molecule
    unit = connected_parts(len(numbers), bonds[:, 0], bonds[:, 1])
    size = np.bincount(unit)
    rim = np.isin(numbers, NONMETALS) & (np.linalg.norm(vectors, axis=1) > radius - bond_limit(numbers, numbers))
    cut = np.zeros(len(size), dtype=bool)
    cut[unit[rim]] = True
    some = ((size[unit] >= 2) | cut[unit]) & (size[unit] <= MOST_ATOMS)
    molecule[some] = np.where(cut[unit[some]], INCOMPLETE, unit[some])
    return molecule
