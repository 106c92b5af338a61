"""Coordination numbers and bond counts by cutoff distance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from idealflow.errors import InputError

__all__ = ["bond_counts", "coordination_numbers"]


def coordination_numbers(atoms: Atoms, cutoff: float) -> NDArray[np.int64]:
    """Count each atom's neighbours within a distance; periodic images count.

    Parameters
    ----------
    atoms
        One frame.
    cutoff
        Å.

    Returns
    -------
    (n_atoms,) int array

    Raises
    ------
    InputError
        If the cutoff is not positive.

    Examples
    --------
    >>> from ase.build import bulk
    >>> coordination_numbers(bulk("Cu", a=3.6), cutoff=3.0)
    array([12])
    """
    from idealflow.core.descriptors.neighbours import neighbour_pairs  # with numba, which takes a second to import

    if not cutoff > 0.0:
        raise InputError(f"`cutoff` must be positive, got {cutoff} Å")
    offsets, _, _, _ = neighbour_pairs(atoms.positions, np.asarray(atoms.cell), atoms.pbc, cutoff)
    return np.diff(offsets)


def bond_counts(atoms: Atoms, cutoffs: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], int]:
    """Count the bonds of each kind in a frame.

    Parameters
    ----------
    atoms
        One frame.
    cutoffs
        Largest bond length, Å, by pair of symbols, ``{("N", "H"): 1.3}``; the order within a pair does not matter.

    Returns
    -------
    dict
        Number of bonds by pair, keyed as given; every bond counts once, bonds across the boundary too.

    Raises
    ------
    InputError
        If a cutoff is not positive, or a symbol is no element.

    Examples
    --------
    >>> from ase.build import molecule
    >>> bond_counts(molecule("H2O"), {("O", "H"): 1.2, ("H", "H"): 1.2})
    {('O', 'H'): 2, ('H', 'H'): 0}
    """
    from idealflow.core.descriptors.neighbours import neighbour_pairs  # with numba, which takes a second to import

    if not cutoffs or not all(value > 0.0 for value in cutoffs.values()):
        raise InputError(f"`cutoffs` must hold positive distances in Å by pair of symbols, got {dict(cutoffs)}")
    unknown = sorted({symbol for pair in cutoffs for symbol in pair if symbol not in atomic_numbers})
    if unknown:
        raise InputError(f"unknown element {unknown[0]!r} in `cutoffs`; use chemical symbols")
    offsets, j, _, vec = neighbour_pairs(
        atoms.positions, np.asarray(atoms.cell), atoms.pbc, float(max(cutoffs.values()))
    )
    i = np.repeat(np.arange(len(atoms)), np.diff(offsets))
    squared = (vec**2).sum(axis=1)
    counts = {}
    for (one, two), cutoff in cutoffs.items():
        a, b = atomic_numbers[one], atomic_numbers[two]
        inside = (atoms.numbers[i] == a) & (atoms.numbers[j] == b) & (squared < cutoff**2)
        # pairs come in both directions: a–b once from each end
        counts[one, two] = int(inside.sum()) // (2 if a == b else 1)
    return counts
