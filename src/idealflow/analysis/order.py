"""How far the elements of an alloy are in order."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

from idealflow.errors import InputError

__all__ = ["short_range_order"]


def short_range_order(atoms: Atoms, first: str, second: str, r_max: float) -> float:
    """Warren and Cowley's parameter α = 1 − p / c of an alloy.

    p is the share of ``second`` among the neighbours of ``first``, c its share of all atoms (Cowley, Phys. Rev. 77, 669, 1950).
    α is 0 where elements are distributed at random, negative where unlike atoms seek each other, positive where like ones do. For
    the nearest neighbours of an alloy XY on the sites of fcc it is −1/3 in L1_0.

    Parameters
    ----------
    atoms
        One frame.
    first, second
        Chemical symbols.
    r_max
        Distance up to which atoms are neighbours, Å.

    Raises
    ------
    InputError
        If there is no atom of an element, or ``first`` has no neighbours.

    Examples
    --------
    >>> from idealflow.structures import crystal
    >>> round(short_range_order(crystal("CuAu", "L1_0", a=3.9), "Cu", "Au", r_max=3.2), 6)
    -0.333333
    """
    for symbol in (first, second):
        if atomic_numbers.get(symbol) not in atoms.numbers:
            raise InputError(f"there is no {symbol!r} among the atoms, which are {atoms.get_chemical_formula()}")
    i, j = neighbor_list("ij", atoms, r_max)
    around = j[atoms.numbers[i] == atomic_numbers[first]]
    if len(around) == 0:
        raise InputError(f"no atom of {first} has a neighbour within r_max = {r_max} Å; give a larger one")
    number = atomic_numbers[second]
    return float(1.0 - np.mean(atoms.numbers[around] == number) / np.mean(atoms.numbers == number))
