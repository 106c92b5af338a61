"""Whether a structure that comes back is the one that was asked for, and in which order its atoms are."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from idealflow.errors import InputError
from idealflow.labelling import in_a_box

__all__ = ["order_of"]

_TOLERANCE = 1e-4  # Å; programs write coordinates with 5 decimals and more


def order_of(returned: Atoms, asked: Atoms) -> NDArray[np.intp]:
    """Find for each atom asked for its index in the structure that came back, (n,).

    Programs sort atoms by species, wrap them into the cell, and put structures that are not periodic into a box. What may not
    change are species, cell and positions, all to 1e-4 Å.

    Parameters
    ----------
    returned
        The structure as another program wrote it.
    asked
        The structure as it was asked for.

    Raises
    ------
    InputError
        Tells what has changed.

    Examples
    --------
    >>> from ase.build import bulk
    >>> asked = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    >>> returned = asked[[7, 6, 5, 4, 3, 2, 1, 0]]
    >>> returned.positions += asked.cell[0]  # another image of every atom
    >>> order_of(returned, asked).tolist()
    [7, 6, 5, 4, 3, 2, 1, 0]
    >>> returned.positions[0] += 0.01
    >>> order_of(returned, asked)
    Traceback (most recent call last):
    idealflow.errors.InputError: atom 7 (Cl) has moved by 0.0173 Å; label the positions as they were written
    """
    if sorted(returned.numbers) != sorted(asked.numbers):
        raise InputError(f"it is {returned.get_chemical_formula()}, asked for was {asked.get_chemical_formula()}")
    problems = []
    for known in (asked, in_a_box(asked)):
        try:
            return _matched(returned, known)
        except InputError as problem:
            problems.append(problem)
    raise problems[0] if asked.pbc.all() or not returned.pbc.all() else problems[1]


def _matched(returned: Atoms, known: Atoms) -> NDArray[np.intp]:
    """The order against one way to write the structure; InputError."""
    if known.cell.rank < 3:  # no cell to wrap into: positions as they are
        inverse = np.zeros((3, 3))
    else:
        if returned.cell.rank < 3 or not np.allclose(returned.cell, known.cell, rtol=0.0, atol=_TOLERANCE):
            raise InputError(
                f"its cell is {_shown(returned.cell.array)} Å, asked for was {_shown(known.cell.array)} Å; label the cell as it "
                "was written, neither turned nor strained"
            )
        inverse = np.linalg.inv(known.cell.array)
    order = np.arange(len(known))
    if np.array_equal(returned.numbers, known.numbers):
        moved = _distances(returned.positions, known, inverse)
        if moved.max() <= _TOLERANCE:
            return order
    order = np.full(len(known), -1)
    for number in np.unique(known.numbers):
        mine, theirs = np.flatnonzero(known.numbers == number), np.flatnonzero(returned.numbers == number)
        order[mine] = theirs[_nearest(returned.positions[theirs], known.positions[mine], known, inverse)]
    moved = _distances(returned.positions[order], known, inverse)
    worst = int(np.argmax(moved))
    if moved[worst] > _TOLERANCE:
        raise InputError(
            f"atom {worst} ({known.symbols[worst]}) has moved by {moved[worst]:.3g} Å; label the positions as they were written"
        )
    if len(set(order.tolist())) < len(order):
        raise InputError("two atoms came back in one place; label the positions as they were written")
    return order


def _distances(positions: NDArray[np.float64], known: Atoms, inverse: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each position is from that of the atom of the same number, (n,), Å, over the boundaries that there are."""
    apart = positions - known.positions
    images = np.where(known.pbc, np.round(apart @ inverse), 0.0)
    return np.asarray(np.linalg.norm(apart - images @ known.cell.array, axis=1))


def _nearest(
    positions: NDArray[np.float64], wanted: NDArray[np.float64], known: Atoms, inverse: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Index in ``positions`` of the one nearest to each wanted one."""
    if not known.pbc.all():
        return np.asarray(cKDTree(positions).query(wanted)[1])
    # in fractions of the cell, moved off its faces, where rounding would part what is one place
    there, here = ((values @ inverse + 1e-7) % 1.0 for values in (positions, wanted))
    return np.asarray(cKDTree(there % 1.0, boxsize=1.0).query(here % 1.0)[1])


def _shown(cell: NDArray[np.float64]) -> str:
    return str(np.round(cell, 4).tolist())
