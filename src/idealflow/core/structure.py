"""What a structure carries besides atoms in a cell, and the one way in which it is written.

A structure is species, positions, cell and periodicity. Beside these it may carry

- masses, u, where they are not those of the natural elements (isotopes);
- directions in which atoms are fixed (selective dynamics, ``FixAtoms``, ``FixCartesian``);
- initial magnetic moments, μB, one per atom;
- a total charge, e, and a spin multiplicity 2S + 1, of the whole (``charge`` and ``spin`` in ``atoms.info``).

Files of frames, MD states, stored documents, crops and shards write it as the arrays of :func:`to_arrays`. What a structure
does not carry has no array, so a plain structure is written as in earlier versions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_masses
from numpy.typing import ArrayLike, NDArray

from idealflow.core.fixed_atoms import fixed_directions, set_fixed
from idealflow.errors import InputError

__all__ = [
    "from_arrays",
    "inherit_moments",
    "moments_of",
    "of_the_label",
    "repeated_totals",
    "set_label",
    "to_arrays",
    "totals_of",
]


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

    Examples
    --------
    >>> sorted(to_arrays(Atoms("Fe", magmoms=[2.2], info={"charge": 1})))
    ['cell', 'charge', 'moments', 'numbers', 'pbc', 'positions']
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
    """Build the ``Atoms`` that :func:`to_arrays` wrote.

    Parameters
    ----------
    arrays
        ``numbers``, ``positions``, ``cell`` and ``pbc``; the other names of :func:`to_arrays` may be missing or None. Names
        that it does not know are ignored.

    Examples
    --------
    >>> from ase.constraints import FixAtoms
    >>> fixed = from_arrays(to_arrays(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]], constraint=FixAtoms([1]))))
    >>> fixed_directions(fixed).tolist()
    [[False, False, False], [True, True, True]]
    """
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
    """Initial magnetic moments (n,), μB, or None if none were set; zeros that were set are moments.

    Raises
    ------
    InputError
        If they are not one finite number per atom.

    Examples
    --------
    >>> moments_of(Atoms("Fe2", magmoms=[2.2, 0.0])).tolist(), moments_of(Atoms("Fe2")) is None
    ([2.2, 0.0], True)
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
    """Charge (e) and spin multiplicity 2S + 1 of a structure, if it carries them: a neutral singlet carries neither.

    Raises
    ------
    InputError
        If the charge is no finite number, or the multiplicity no whole number of at least 1 (0 counts as not given).

    Examples
    --------
    >>> totals_of(Atoms("O2", info={"charge": 0, "spin": 3}))
    {'spin': 3.0}
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
    """Charge and spin multiplicity of several copies of a structure together: charges and unpaired electrons add up.

    Parameters
    ----------
    totals
        Those of one, as :func:`totals_of` returns them.
    copies
        How many.

    Examples
    --------
    Two oxygen molecules, each a triplet, have four unpaired electrons:

    >>> repeated_totals({"spin": 3.0}, copies=2)
    {'spin': 5.0}
    """
    out = dict(totals)
    if "charge" in out:
        out["charge"] *= copies
    if "spin" in out:
        out["spin"] = (out["spin"] - 1.0) * copies + 1.0
    return out


def of_the_label(atoms: Atoms) -> Atoms:
    """Copy what a label depends on: species, positions, cell, periodicity, moments, charge and spin.

    Masses and constraints matter to dynamics alone: the forces of a label are those on all atoms, fixed or not.

    Examples
    --------
    >>> from ase.constraints import FixAtoms
    >>> of_the_label(Atoms("Cu", constraint=FixAtoms([0]))).constraints
    []
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
    """Give each atom the magnetic moment of its parent, in place. Nothing happens if the parent structure has no moments.

    Parameters
    ----------
    atoms
        The structure that gets moments.
    parent
        The structure that has them.
    indices : (n,)
        Index in ``parent`` of each atom's parent; -1 for none, which gives the moment 0.

    Examples
    --------
    >>> piece = Atoms("FeH")
    >>> inherit_moments(piece, Atoms("Fe3", magmoms=[2.0, 2.1, 2.2]), [1, -1])
    >>> moments_of(piece).tolist()
    [2.1, 0.0]
    """
    moments = moments_of(parent)
    if moments is None:
        return
    rows = np.asarray(indices, dtype=np.int64)
    atoms.set_initial_magnetic_moments(np.where(rows >= 0, moments[rows], 0.0))


def set_label(atoms: Atoms, energy: float, forces: ArrayLike, stress: ArrayLike | None = None) -> Atoms:
    """Attach a label to ``atoms``, in place, and return them.

    Parameters
    ----------
    atoms
        The structure.
    energy
        eV.
    forces
        (n_atoms, 3), eV/Å.
    stress
        (6,) in Voigt's order, eV/Å³, ASE's sign; None if there is none.

    Examples
    --------
    >>> labelled = set_label(Atoms("Cu"), energy=-3.5, forces=[[0.0, 0.0, 0.1]])
    >>> labelled.get_potential_energy()
    -3.5
    """
    results: dict[str, Any] = {"energy": float(energy), "forces": np.asarray(forces, dtype=np.float64)}
    if stress is not None:
        results["stress"] = np.asarray(stress, dtype=np.float64)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
