"""Checks of structures before anything is computed: what no stage could work on, or would misread, is refused."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from idealflow.core.fixed_atoms import fixed_directions
from idealflow.core.overlap import find_overlap
from idealflow.core.structure import moments_of, totals_of
from idealflow.errors import InputError

__all__ = ["check_occupancies", "check_overlap", "check_structure"]

_WHOLE = 1e-3  # an occupancy may differ from 1 by so much


def check_structure(atoms: Atoms) -> None:
    """Refuse structures that no stage could work on.

    Raises
    ------
    InputError
        For no atoms, positions that are not finite, unknown species, a flat cell along a periodic direction, sites that are
        not one whole atom, atoms closer than half the sum of their covalent radii, or a constraint, a moment, a charge or a
        spin that can not be kept.

    Examples
    --------
    >>> from ase.build import bulk
    >>> crystal = bulk("Cu", cubic=True)
    >>> check_structure(crystal)
    >>> crystal.positions[2, 0] = np.nan
    >>> check_structure(crystal)
    Traceback (most recent call last):
    idealflow.errors.InputError: positions must be finite, atom 2 is at [nan, 0.0, 1.805]
    """
    if len(atoms) == 0:
        raise InputError("the structure has no atoms")
    bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
    if bad.size:
        raise InputError(f"positions must be finite, atom {bad[0]} is at {atoms.positions[bad[0]].tolist()}")
    if (atoms.numbers < 1).any():
        raise InputError(f"atom {int(np.argmin(atoms.numbers))} has no known species (atomic number 0)")
    cell = np.asarray(atoms.cell)
    if not np.isfinite(cell).all():
        raise InputError(f"the cell must be finite, got {cell.tolist()}")
    if atoms.pbc.any():
        flat = (np.linalg.norm(cell, axis=1) == 0.0) & atoms.pbc
        if flat.any() or abs(np.linalg.det(atoms.cell.complete())) < 1e-6:
            raise InputError(f"a periodic structure needs a cell with a volume, got {cell.tolist()}")
    fixed_directions(atoms)
    moments_of(atoms)
    totals_of(atoms)
    check_occupancies(atoms)
    check_overlap(atoms)


def check_overlap(atoms: Atoms) -> None:
    """Refuse two atoms at the same place, or closer than half the sum of their covalent radii.

    Raises
    ------
    InputError
        Names both atoms and their distance.

    Examples
    --------
    >>> check_overlap(Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 0.5]]))
    Traceback (most recent call last):
    idealflow.errors.InputError: atoms 0 (Cu) and 1 (Cu) are 0.500 Å apart; at least half the sum of their covalent radii, ...
    """
    if (overlap := find_overlap(atoms)) is not None:
        raise InputError(f"{overlap.described(atoms)}; remove one or move them apart")


def check_occupancies(atoms: Atoms) -> None:
    """Refuse sites that are not one whole atom: alloys on one site and partly empty sites, as ASE reads them from CIF and PDB.

    Raises
    ------
    InputError
        Names the first such site.

    Examples
    --------
    >>> from ase.build import bulk
    >>> alloy = bulk("Cu", cubic=True)
    >>> alloy.info["occupancy"] = {"0": {"Cu": 0.5, "Ni": 0.5}}
    >>> check_occupancies(alloy)
    Traceback (most recent call last):
    idealflow.errors.InputError: site 0 at [0.0, 0.0, 0.0] is occupied by Cu0.5 Ni0.5; a site must be one whole atom: ...
    """
    noted = atoms.info.get("occupancy")
    kinds = atoms.arrays.get("spacegroup_kinds", np.arange(len(atoms)))
    for kind, shares in noted.items() if isinstance(noted, Mapping) else ():
        if len(shares) == 1 and abs(next(iter(shares.values())) - 1.0) <= _WHOLE:
            continue
        rows = np.flatnonzero(kinds == int(kind))
        where = f"{kind} at {np.round(atoms.positions[rows[0]], 3).tolist()}" if rows.size else str(kind)
        raise InputError(_partial(where, " ".join(f"{symbol}{share:g}" for symbol, share in shares.items())))
    column = atoms.arrays.get("occupancy")
    if column is not None and column.any():  # zeros throughout mean that nobody filled the column in
        partial = np.flatnonzero(np.abs(column - 1.0) > _WHOLE)
        if partial.size:
            i = int(partial[0])
            raise InputError(
                _partial(f"{i} at {np.round(atoms.positions[i], 3).tolist()}", f"{atoms.symbols[i]}{column[i]:g}")
            )


def _partial(where: str, what: str) -> str:
    return f"site {where} is occupied by {what}; a site must be one whole atom: order the structure first"
