"""Labelled structures as training data, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.errors import InputError

__all__ = ["Targets", "absolute_errors", "check_dataset", "targets_of"]


@dataclass(frozen=True)
class Targets:
    """Label of one structure.

    Attributes
    ----------
    energy
        eV.
    forces : (n_atoms, 3), eV/Å
    stress : (6,), eV/Å³, or None
    force_weight : (n_atoms,)
        Weight of each atom's force in the loss.
    """

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None
    force_weight: NDArray[np.float64]


def targets_of(atoms: Atoms) -> Targets:
    """The label that a structure's calculator holds.

    Raises
    ------
    InputError
        If energy or forces are missing, or anything is not finite.
    """
    results = atoms.calc.results if atoms.calc is not None else {}
    for name in ("energy", "forces"):
        if results.get(name) is None:
            raise InputError(
                f"a labelled structure needs energy and forces, {atoms.get_chemical_formula()} has no {name}; attach a "
                "SinglePointCalculator"
            )
    stress = results.get("stress")
    weight = atoms.arrays.get("force_weight", np.ones(len(atoms)))
    found = Targets(
        float(results["energy"]),
        np.asarray(results["forces"], dtype=float),
        None if stress is None else np.asarray(stress, dtype=float),
        np.asarray(weight, dtype=float),
    )
    finite = np.isfinite(found.energy) and np.isfinite(found.forces).all()
    if not (finite and (found.stress is None or np.isfinite(found.stress).all())):
        raise InputError(f"labels must be finite, that of {atoms.get_chemical_formula()} is not; label it again")
    return found


def check_dataset(dataset: Sequence[Atoms], species: Sequence[str]) -> list[Targets]:
    """Targets of all structures.

    Raises
    ------
    InputError
        For an empty dataset, a bad label, or a species the force field does not know.
    """
    if len(dataset) == 0:
        raise InputError("a force field cannot learn from an empty dataset; give labelled structures")
    for atoms in dataset:
        unknown = sorted(set(atoms.get_chemical_symbols()) - set(species))
        if unknown:
            raise InputError(
                f"species {', '.join(unknown)} not among the force field's {', '.join(species)}; make the force field with "
                "every species the campaign will meet"
            )
    return [targets_of(atoms) for atoms in dataset]


def absolute_errors(calculator: Any, dataset: Sequence[Atoms], species: Sequence[str]) -> NDArray[np.float64]:
    """Errors of an ASE calculator on every structure.

    Returns
    -------
    (n, 3)
        |energy error| per atom in eV, mean |force error| over components in eV/Å, mean |stress error| in eV/Å³ (NaN where
        the label has no stress or the structure no volume).

    Raises
    ------
    InputError
        As :func:`check_dataset`.
    """
    out = np.full((len(dataset), 3), np.nan)
    for row, atoms, target in zip(out, dataset, check_dataset(dataset, species), strict=True):
        frame = atoms.copy()
        frame.calc = calculator
        forces = frame.get_forces()
        row[0] = abs(frame.get_potential_energy() - target.energy) / len(frame)
        row[1] = np.abs(forces - target.forces).mean()
        if target.stress is not None and frame.cell.rank == 3:
            row[2] = np.abs(frame.get_stress() - target.stress).mean()
    return out
