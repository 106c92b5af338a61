"""Who belongs to whom: gas that floats free of every body, and adsorbates with the metal atom that holds them.

A crop of a surface in gas has to know both. Gas in the empty space beside a body leaves it empty: the cell keeps its vacuum. An
atom that sits on a metal goes with it: a cell that holds the one and not the other shows a molecule that the frame does not have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from idealflow.core.cropping.molecules import MOST_ATOMS, NONMETALS, bond_limit
from idealflow.core.cropping.parts import connected_parts

__all__ = ["Binding", "bound_pairs", "find_binding", "metallic"]

#: atoms beyond the search radius that tell a piece of a body at its rim from a molecule, Å
RIM = 4.0
#: up to so many atoms of any element are vapour, not a body
MOST_VAPOUR = 4
#: larger sets of nonmetal atoms on a metal are a layer or a solid of their own
MOST_ADSORBED = 12
#: nonmetal neighbours that an atom of a metallic element has at most, on average; in oxides there are two to six
MOST_LIGHT = 1.5
#: how far from the covalent to the van der Waals distance a metal still holds an atom (Ir-H: 2.48 Å, Ir-N: 2.90 Å)
HOLD_REACH = 0.4

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Binding:
    """What holds each atom.

    Attributes
    ----------
    gas : (n,) bool; molecules and single atoms that touch no body
    anchor : (n,) int; for an atom adsorbed on a metal the nearest metal atom, for all others -1

    Examples
    --------
    >>> Binding(gas=np.array([False, False]), anchor=np.array([-1, 0])).adsorbed.tolist()
    [False, True]
    """

    gas: Bools
    anchor: Ints

    @property
    def adsorbed(self) -> Bools:
        """(n,) bool: atoms that a metal holds."""
        return np.asarray(self.anchor >= 0)


def metallic(numbers: Ints, i: Ints, j: Ints) -> Bools:
    """Tell which atoms are of an element that has few bonds to nonmetals, and more to metals.

    So the aluminium of a particle with oxygen on it is metallic, that of an oxide is not: its oxygen is no adsorbate.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    i, j : (m,) pairs of touching atoms, each in one order only

    Examples
    --------
    >>> metallic(np.array([13, 13, 8]), np.array([0, 1]), np.array([1, 2])).tolist()
    [True, True, False]
    """
    nonmetal = np.isin(numbers, NONMETALS)
    first, second = np.concatenate([i, j]), np.concatenate([j, i])
    species = int(numbers.max()) + 1
    count = np.maximum(np.bincount(numbers, minlength=species), 1)
    light = np.bincount(numbers[first], nonmetal[second], minlength=species) / count
    heavy = np.bincount(numbers[first], ~nonmetal[second], minlength=species) / count
    found = (light <= MOST_LIGHT) & (heavy >= light) & (heavy > 0.0)
    return np.asarray(~nonmetal & found[numbers])


def bound_pairs(numbers: Ints, i: Ints, j: Ints, distance: Floats) -> Bools:
    """Tell which pairs (m,) touch: nonmetals by a covalent bond, pairs with a metal in them by its wider hold.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    i, j : (m,) the atoms of each pair
    distance : (m,) Å

    Examples
    --------
    Two hydrogen atoms 1.1 Å apart, and hydrogen 2.4 Å from iridium:

    >>> bound_pairs(np.array([1, 1, 77]), np.array([0, 1]), np.array([1, 2]), np.array([1.1, 2.4])).tolist()
    [True, True]
    """
    nonmetal = np.isin(numbers, NONMETALS)
    covalent = nonmetal[i] & nonmetal[j]
    limit = np.where(covalent, bond_limit(numbers[i], numbers[j]), bond_limit(numbers[i], numbers[j], HOLD_REACH))
    return np.asarray(distance < limit)


def find_binding(numbers: Ints, vectors: Floats) -> Binding:
    """Find gas and adsorbates among points in open space.

    Gas is a set of touching atoms with nothing else in reach: nonmetals, at most 60 of them, or at most four atoms of any kind.
    An adsorbate is a set of at most twelve bonded nonmetal atoms on a metallic element (:func:`metallic`).

    Parameters
    ----------
    numbers : (n,) atomic numbers
    vectors : (n, 3) positions, Å

    Examples
    --------
    A hydrogen molecule above a copper slab with an oxygen atom on it:

    >>> from ase.build import add_adsorbate, fcc111, molecule
    >>> slab = fcc111("Cu", (3, 3, 3))
    >>> add_adsorbate(slab, "O", 1.2, "fcc")
    >>> add_adsorbate(slab, molecule("H2"), 4.5, "ontop")
    >>> found = find_binding(slab.numbers, slab.positions)
    >>> found.gas[-3:].tolist(), bool(found.gas[:-2].any()), found.adsorbed[-3:].tolist()
    ([False, True, True], False, [True, False, False])
    """
    n = len(numbers)
    nothing = Binding(np.zeros(n, dtype=bool), np.full(n, -1, dtype=np.int64))
    if n < 2:
        return nothing
    reach = float(bond_limit(np.unique(numbers), np.unique(numbers), HOLD_REACH).max())
    pairs = cKDTree(vectors).query_pairs(reach, output_type="ndarray").astype(np.int64)
    distance = np.linalg.norm(vectors[pairs[:, 0]] - vectors[pairs[:, 1]], axis=1)
    touch = bound_pairs(numbers, pairs[:, 0], pairs[:, 1], distance)
    i, j, distance = pairs[touch, 0], pairs[touch, 1], distance[touch]
    nonmetal = np.isin(numbers, NONMETALS)
    unit = connected_parts(n, i, j)
    size, metals = np.bincount(unit), np.bincount(unit, ~nonmetal)
    free = (size <= MOST_VAPOUR) | ((metals == 0) & (size <= MOST_ATOMS))
    anchor = nothing.anchor
    if nonmetal.any() and not nonmetal.all():
        both = nonmetal[i] & nonmetal[j]
        layer = connected_parts(n, i[both], j[both])
        small = np.bincount(layer)[layer] <= MOST_ADSORBED
        holds = metallic(numbers, i, j)
        a, b = np.concatenate([i, j]), np.concatenate([j, i])
        length = np.concatenate([distance, distance])
        held = nonmetal[a] & small[a] & holds[b] & ~free[unit[a]]
        a, b, length = a[held], b[held], length[held]
        order = np.lexsort((b, length))[::-1]  # the nearest is written last
        anchor[a[order]] = b[order]
    return Binding(np.asarray(free[unit]), anchor)
