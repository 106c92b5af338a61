"""What dynamics cannot start from."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from idealflow.core.fixed_atoms import fixed_directions
from idealflow.core.structure import moments_of, totals_of
from idealflow.errors import InputError

__all__ = ["check_atoms"]


def check_atoms(atoms: Atoms) -> None:
    """Refuse a structure that dynamics cannot start from.

    Raises
    ------
    InputError
        If there are no atoms, a number is not finite, a mass is not positive, a periodic cell is flat, or a constraint does
        anything but fix atoms in Cartesian directions.

    Examples
    --------
    >>> check_atoms(Atoms())
    Traceback (most recent call last):
    idealflow.errors.InputError: dynamics needs at least one atom, got none; give a structure with atoms
    """
    if len(atoms) == 0:
        raise InputError("dynamics needs at least one atom, got none; give a structure with atoms")
    for name in ("positions", "momenta"):
        array = atoms.arrays.get(name)
        if array is not None and not np.isfinite(array).all():
            first = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
            raise InputError(f"{name} must be finite, got {array[first]} for atom {first}; repair the structure")
    masses = atoms.get_masses()
    if not (np.isfinite(masses).all() and (masses > 0.0).all()):
        raise InputError(f"masses must be positive, got {masses.min()} u as the smallest; set them with set_masses")
    cell = np.asarray(atoms.cell)
    if not np.isfinite(cell).all():
        raise InputError(f"the cell must be finite, got {cell.tolist()}; repair the structure")
    if atoms.pbc.any():
        # complete() replaces zero vectors of open directions, so what is flat now is flat in periodic ones
        lengths = np.linalg.norm(cell, axis=1)
        volume = abs(np.linalg.det(np.asarray(atoms.cell.complete())))
        if (lengths[atoms.pbc] <= 0.0).any() or volume <= 1e-8:
            raise InputError(
                f"a periodic cell must span a volume, got vectors {cell.tolist()} with pbc {atoms.pbc.tolist()}; "
                "set the cell, or pbc=False"
            )
    fixed_directions(atoms)
    moments_of(atoms)
    totals_of(atoms)
