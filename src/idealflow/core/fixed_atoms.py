"""Fixed atoms and directions: ASE's constraints as one array, and back."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian, FixCom, FixedLine, FixedPlane, FixScaled
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import InputError

__all__ = ["constraints_of", "fixed_directions", "set_fixed"]

Bools = NDArray[np.bool_]

_ALIGNED = 1e-8


def fixed_directions(atoms: Atoms) -> Bools:
    """In which Cartesian directions each atom is fixed by all constraints together, (n, 3) bool.

    Raises
    ------
    InputError
        If a constraint does something else than fix atoms, or fixes them in a direction that is not x, y or z.

    Examples
    --------
    >>> fixed_directions(Atoms("Cu", constraint=FixCartesian(0, mask=(False, False, True)))).tolist()
    [[False, False, True]]
    """
    fixed = np.zeros((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if type(constraint) is FixCom:  # samplers decide themselves whether the centre of mass rests
            continue
        if isinstance(constraint, FixAtoms):
            fixed[constraint.index] = True
        elif isinstance(constraint, FixCartesian):
            fixed[constraint.index] |= constraint.mask
        elif isinstance(constraint, FixScaled | FixedLine | FixedPlane):
            fixed[constraint.index] |= _cartesian(constraint, atoms)
        else:
            raise InputError(
                f"dynamics keeps fixed atoms only, got a {type(constraint).__name__} constraint; remove it or use "
                "FixAtoms or FixCartesian"
            )
    return fixed


def _cartesian(constraint: FixScaled | FixedLine | FixedPlane, atoms: Atoms) -> Bools:
    """The Cartesian directions that a constraint fixes, (3,) bool."""
    if isinstance(constraint, FixScaled):
        free = np.asarray(atoms.cell)[~constraint.mask]
    elif isinstance(constraint, FixedLine):
        free = np.atleast_2d(constraint.dir)
    else:
        free = np.linalg.svd(np.atleast_2d(constraint.dir))[2][1:]
    onto = free.T @ np.linalg.pinv(free.T)  # projector onto the directions in which the atoms may move
    moves = onto.diagonal() > 0.5
    if np.abs(onto - np.diag(moves.astype(float))).max() > _ALIGNED:
        raise InputError(
            f"atom {int(constraint.index[0])} is fixed by {type(constraint).__name__} along a direction that is not x, y or z "
            "(a vector of a skewed cell); only whole atoms and Cartesian directions can be kept: fix or free it, or turn the cell"
        )
    return np.asarray(~moves, dtype=np.bool_)


def set_fixed(atoms: Atoms, fixed: ArrayLike) -> None:
    """Replace the constraints of ``atoms``, in place.

    Parameters
    ----------
    atoms
        The structure.
    fixed : (n, 3) or (n,) bool
        Fixed Cartesian directions of each atom, or fixed atoms.

    Examples
    --------
    >>> pair = Atoms("Cu2")
    >>> set_fixed(pair, [True, False])
    >>> pair.constraints[0].index.tolist()
    [0]
    """
    atoms.set_constraint(constraints_of(fixed))


def constraints_of(fixed: ArrayLike) -> list[FixAtoms | FixCartesian]:
    """ASE's constraints that fix atoms or directions, those of whole atoms first.

    Parameters
    ----------
    fixed : (n, 3) or (n,) bool
        Fixed Cartesian directions of each atom, or fixed atoms.

    Examples
    --------
    >>> [type(one).__name__ for one in constraints_of([[True, True, True], [False, False, True]])]
    ['FixAtoms', 'FixCartesian']
    """
    mask = np.asarray(fixed, dtype=bool)
    if not mask.any():
        return []
    if mask.ndim == 1:
        mask = np.repeat(mask[:, None], 3, axis=1)
    whole = mask.all(axis=1)
    constraints: list[FixAtoms | FixCartesian] = [FixAtoms(mask=whole)] if whole.any() else []
    code = mask @ np.array([1, 2, 4])
    for pattern in range(1, 7):
        rows = np.flatnonzero(code == pattern)
        if rows.size:
            constraints.append(FixCartesian(rows, mask=[bool(pattern & bit) for bit in (1, 2, 4)]))
    return constraints
