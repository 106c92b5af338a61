"""What a structure carries, and one way to write it down.

A structure is species, positions, cell and periodicity. Beside these it may carry

- masses, u, where they are not those of the natural elements (isotopes);
- directions in which atoms are fixed (selective dynamics, ``FixAtoms``, ``FixCartesian``);
- initial magnetic moments, μB, one per atom;
- a total charge, e, and a spin multiplicity 2S + 1, of the whole (``charge`` and ``spin`` in ``atoms.info``).

Files of frames, MD states, stored documents, crops and shards write it as the arrays of :func:`to_arrays`. What a structure
does not carry has no array, so that a plain structure is written as it was before there were any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian, FixCom, FixedLine, FixedPlane, FixScaled
from ase.data import atomic_masses
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import InputError

__all__ = [
    "constraints_of",
    "fixed_directions",
    "from_arrays",
    "inherit_moments",
    "moments_of",
    "of_the_label",
    "repeated_totals",
    "set_fixed",
    "set_label",
    "to_arrays",
    "totals_of",
]

Bools = NDArray[np.bool_]

_ALIGNED = 1e-8


def to_arrays(atoms: Atoms) -> dict[str, NDArray[Any]]:
    """Write a structure as named arrays; inverse of :func:`from_arrays`.

    Returns
    -------
    dict
        ``numbers`` (n,), ``positions`` (n, 3) Å, ``cell`` (3, 3) Å, ``pbc`` (3,); and where the structure carries them
        ``masses`` (n,) u, ``fixed`` (n, 3) bool, ``moments`` (n,) μB, ``charge`` () e, ``spin`` () 2S + 1.

    Raises
    ------
    InputError
        If a constraint, a moment, the charge or the spin cannot be kept.
    """
    arrays: dict[str, NDArray[Any]] = {
        "numbers": atoms.numbers,
        "positions": atoms.positions,
        "cell": np.asarray(atoms.cell),
        "pbc": atoms.pbc,
    }
    masses = atoms.arrays.get("masses")
    if masses is not None and not np.array_equal(masses, atomic_masses[atoms.numbers]):
        arrays["masses"] = np.asarray(masses, dtype=np.float64)
    fixed = fixed_directions(atoms)
    if fixed.any():
        arrays["fixed"] = fixed
    if (moments := moments_of(atoms)) is not None:
        arrays["moments"] = moments
    return arrays | {name: np.asarray(value) for name, value in totals_of(atoms).items()}


def from_arrays(arrays: Mapping[str, ArrayLike | None]) -> Atoms:
    """Build the ``Atoms`` that :func:`to_arrays` wrote; names that are missing or None are not carried, others ignored."""
    atoms = Atoms(**{name: arrays[name] for name in ("numbers", "positions", "cell", "pbc")})
    if arrays.get("masses") is not None:
        atoms.set_masses(np.asarray(arrays["masses"], dtype=np.float64))
    if arrays.get("moments") is not None:
        atoms.set_initial_magnetic_moments(np.asarray(arrays["moments"], dtype=np.float64))
    for name in ("charge", "spin"):
        if arrays.get(name) is not None:
            atoms.info[name] = float(np.asarray(arrays[name]))
    if arrays.get("fixed") is not None:
        set_fixed(atoms, np.asarray(arrays["fixed"], dtype=bool))
    return atoms


def moments_of(atoms: Atoms) -> NDArray[np.float64] | None:
    """Initial magnetic moments (n,), μB, or None where the structure has none; zeros that were set are moments.

    Raises
    ------
    InputError
        If they are not one finite number per atom.
    """
    given = atoms.arrays.get("initial_magmoms")
    if given is None:
        return None
    if given.ndim != 1:
        raise InputError(
            f"magnetic moments must be one number per atom, μB, got shape {given.shape}; moments that are not collinear "
            "cannot be carried"
        )
    moments = np.asarray(given, dtype=np.float64)
    if not np.isfinite(moments).all():
        first = int(np.flatnonzero(~np.isfinite(moments))[0])
        raise InputError(
            f"magnetic moments must be finite, atom {first} has {moments[first]}; give every atom one, or none"
        )
    return moments


def totals_of(atoms: Atoms) -> dict[str, float]:
    """Charge (e) and spin multiplicity of the whole as far as it carries them: a neutral singlet carries neither.

    Raises
    ------
    InputError
        If the charge is no finite number, or the multiplicity no whole number of at least 1 (0 counts as not given).
    """
    totals = {}
    for name in ("charge", "spin"):
        value = atoms.info.get(name)
        if value is None:
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or (name == "spin" and (number < 0 or number != round(number))):
            rule = "a finite number, e" if name == "charge" else "the multiplicity 2S + 1, a whole number"
            raise InputError(f"`{name}` of a structure must be {rule}, got {value!r}; correct or remove it")
        if number != 0.0 and not (name == "spin" and number == 1.0):
            totals[name] = number
    return totals


def repeated_totals(totals: Mapping[str, float], copies: int) -> dict[str, float]:
    """Charge and spin multiplicity of several copies: charges add up, and so do unpaired electrons (as moments do)."""
    out = dict(totals)
    if "charge" in out:
        out["charge"] *= copies
    if "spin" in out:
        out["spin"] = (out["spin"] - 1.0) * copies + 1.0
    return out


def of_the_label(atoms: Atoms) -> Atoms:
    """Copy of what a label depends on: species, positions, cell, periodicity, moments, charge and spin.

    Masses and fixed atoms are of the dynamics: forces of a label are those on every atom.
    """
    arrays = to_arrays(_without_constraints(atoms))
    arrays.pop("masses", None)
    return from_arrays(arrays)


def _without_constraints(atoms: Atoms) -> Atoms:
    if not atoms.constraints:
        return atoms
    free = atoms.copy()
    free.set_constraint()
    return free


def inherit_moments(atoms: Atoms, parent: Atoms, indices: ArrayLike) -> None:
    """Give each atom the moment of its parent atom, in place; atoms without one (index -1) get 0."""
    moments = moments_of(parent)
    if moments is None:
        return
    rows = np.asarray(indices, dtype=np.int64)
    atoms.set_initial_magnetic_moments(np.where(rows >= 0, moments[rows], 0.0))


def fixed_directions(atoms: Atoms) -> Bools:
    """(n, 3) bool: in which Cartesian directions each atom is fixed, from all constraints together.

    Raises
    ------
    InputError
        If a constraint does not fix atoms, or fixes them in a direction that is not Cartesian.
    """
    fixed = np.zeros((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if type(constraint) is FixCom:  # the rest of the centre of mass is the samplers' own affair
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
    """(3,) bool: the Cartesian directions that a constraint fixes."""
    if isinstance(constraint, FixScaled):
        free = np.asarray(atoms.cell)[~constraint.mask]
    elif isinstance(constraint, FixedLine):
        free = np.atleast_2d(constraint.dir)
    else:
        free = np.linalg.svd(np.atleast_2d(constraint.dir))[2][1:]
    onto = free.T @ np.linalg.pinv(free.T)  # projector onto the directions that are left
    moves = onto.diagonal() > 0.5
    if np.abs(onto - np.diag(moves.astype(float))).max() > _ALIGNED:
        raise InputError(
            f"atom {int(constraint.index[0])} is fixed by {type(constraint).__name__} along a direction that is not x, y or z "
            "(a vector of a skewed cell); only whole atoms and Cartesian directions can be kept: fix or free it, or turn the cell"
        )
    return np.asarray(~moves, dtype=np.bool_)


def set_fixed(atoms: Atoms, fixed: ArrayLike) -> None:
    """Replace the constraints of ``atoms`` by fixed directions, (n, 3) bool, or fixed atoms, (n,) bool."""
    atoms.set_constraint(constraints_of(fixed))


def constraints_of(fixed: ArrayLike) -> list[FixAtoms | FixCartesian]:
    """ASE's constraints for fixed directions, (n, 3) bool, or fixed atoms, (n,) bool; whole atoms first."""
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


def set_label(atoms: Atoms, energy: float, forces: ArrayLike, stress: ArrayLike | None = None) -> Atoms:
    """Attach a label to ``atoms``, which are returned.

    Parameters
    ----------
    energy
        eV.
    forces
        (n_atoms, 3), eV/Å.
    stress
        (6,) in Voigt's order, eV/Å³, ASE's sign; None where there is none.
    """
    results: dict[str, Any] = {"energy": float(energy), "forces": np.asarray(forces, dtype=np.float64)}
    if stress is not None:
        results["stress"] = np.asarray(stress, dtype=np.float64)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
