"""Labelled structures as training data: reading and checking labels, and errors of a calculator against them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.errors import InputError

__all__ = ["Prediction", "Targets", "absolute_errors", "check_dataset", "errors_of_predictions", "targets_of"]

Float = NDArray[np.float64]

#: energy of a structure, eV, its forces (n_atoms, 3), eV/Å, and its stress (6,), eV/Å³, None if it has no volume
Prediction = tuple[float, Float, Float | None]


@dataclass(frozen=True)
class Targets:
    """Label of one structure, as training reads it.

    Attributes
    ----------
    energy
        Energy of the whole structure, eV.
    forces : (n_atoms, 3), eV/Å
    stress : (6,), eV/Å³, or None
        In ASE's sign and Voigt order.
    force_weight : (n_atoms,)
        Weight of each atom's force in the loss; 0 leaves the force out.

    Examples
    --------
    Returned by :func:`targets_of`, which shows one.

    >>> Targets(energy=-3.5, forces=np.zeros((1, 3)), stress=None, force_weight=np.ones(1)).stress is None
    True
    """

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None
    force_weight: NDArray[np.float64]


def targets_of(atoms: Atoms) -> Targets:
    """Read the label that a structure's calculator holds, and the weights in its array ``force_weight`` (default: ones).

    Raises
    ------
    InputError
        If energy or forces are missing, or a value is not finite.

    Examples
    --------
    >>> from idealflow.core.structure import set_label
    >>> labelled = set_label(Atoms("Cu2"), energy=-7.0, forces=np.zeros((2, 3)))
    >>> labelled.set_array("force_weight", np.array([1.0, 0.0]))
    >>> target = targets_of(labelled)
    >>> target.energy, target.force_weight.tolist()
    (-7.0, [1.0, 0.0])
    >>> targets_of(Atoms("Cu2"))
    Traceback (most recent call last):
    idealflow.errors.InputError: a labelled structure needs energy and forces, Cu2 has no energy; attach a SinglePointCalculator
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
    """Read the labels of all structures, and refuse a dataset that a force field of these species can not learn from.

    Returns
    -------
    list of Targets
        In the order of the dataset.

    Raises
    ------
    InputError
        For an empty dataset, a bad label (see :func:`targets_of`), or a species that is not among ``species``.

    Examples
    --------
    >>> from idealflow.core.structure import set_label
    >>> dataset = [set_label(Atoms("Cu"), energy=-3.5, forces=np.zeros((1, 3)))]
    >>> [target.energy for target in check_dataset(dataset, ["Cu"])]
    [-3.5]
    >>> check_dataset([], ["Cu"])
    Traceback (most recent call last):
    idealflow.errors.InputError: a force field cannot learn from an empty dataset; give labelled structures
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
    """Absolute errors of an ASE calculator on labelled structures.

    Parameters
    ----------
    calculator
        ASE calculator of energy and forces, and of stress where labels have it.
    dataset
        Labelled structures; they are not changed.
    species
        Chemical symbols that may occur in them.

    Returns
    -------
    (n, 3)
        Absolute error of the energy per atom, eV; mean absolute error of the force components, eV/Å; mean absolute error of the
        stress components, eV/Å³ (NaN if the label has no stress or the structure no volume).

    Raises
    ------
    InputError
        As :func:`check_dataset`.

    Examples
    --------
    With a label of zeros the errors are what EMT predicts, here for two copper atoms 2.5 Å apart:

    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.structure import set_label
    >>> dimer = set_label(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]]), energy=0.0, forces=np.zeros((2, 3)))
    >>> absolute_errors(EMT(), [dimer], ["Cu"]).round(2).tolist()  # eV/atom, eV/Å, eV/Å³
    [[1.88, 0.91, nan]]
    """
    targets = check_dataset(dataset, species)

    def predicted() -> Iterable[Prediction]:
        for atoms, target in zip(dataset, targets, strict=True):
            frame = atoms.copy()
            frame.calc = calculator
            forces = frame.get_forces()
            stress = frame.get_stress() if target.stress is not None and frame.cell.rank == 3 else None
            yield float(frame.get_potential_energy()), forces, stress

    return errors_of_predictions(predicted(), targets)


def errors_of_predictions(predictions: Iterable[Prediction], targets: Sequence[Targets]) -> Float:
    """Absolute errors of predictions, which a model may have computed many structures at once.

    Parameters
    ----------
    predictions
        Energy, forces and stress of each structure.
    targets
        Their labels, as :func:`check_dataset` reads them.

    Returns
    -------
    (n, 3)
        As of :func:`absolute_errors`.

    Examples
    --------
    >>> label = Targets(energy=-7.0, forces=np.zeros((2, 3)), stress=None, force_weight=np.ones(2))
    >>> errors_of_predictions([(-6.9, np.full((2, 3), 0.2), None)], [label]).round(3).tolist()
    [[0.05, 0.2, nan]]
    """
    out = np.full((len(targets), 3), np.nan)
    for row, (energy, forces, stress), target in zip(out, predictions, targets, strict=True):
        row[0] = abs(energy - target.energy) / len(forces)
        row[1] = np.abs(forces - target.forces).mean()
        if target.stress is not None and stress is not None:
            row[2] = np.abs(stress - target.stress).mean()
    return out
