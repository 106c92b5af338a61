"""Conformance kit for labellers: units, signs and order of atoms, by comparing forces and stress with slopes of the energy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.errors import InputError
from idealflow.labelling.label import Label

__all__ = ["LabellerCheck", "check_labeller"]

_COMPONENTS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_NAMES = ("xx", "yy", "zz", "yz", "xz", "xy")


class Labels(Protocol):
    """Labeller as far as the check needs one: it returns a label, and the engine's own document if it has one."""

    def label(self, atoms: Atoms, directory: Path) -> tuple[Label, bytes | None]:
        """Label ``atoms`` with the files in ``directory``, which is empty."""


@dataclass(frozen=True)
class LabellerCheck:
    """What :func:`check_labeller` measured.

    Parameters
    ----------
    force_errors
        (n_directions,), difference between the force along each random direction and the slope of the energy, eV/Å.
    stress_errors
        (6,), difference between each stress component and the slope of the energy with strain, eV/Å³; None without stress.
    order_error
        Largest difference of forces after the atoms were reordered and moved by lattice vectors, eV/Å.
    n_labels
        Labels computed.

    Examples
    --------
    Returned by :func:`check_labeller`, which shows one.

    >>> import numpy as np
    >>> LabellerCheck(np.zeros(3), None, 0.0, 8).n_labels
    8
    """

    force_errors: NDArray[np.float64]
    stress_errors: NDArray[np.float64] | None
    order_error: float
    n_labels: int


def check_labeller(
    label: Callable[[Atoms], Label] | Labels,
    atoms: Atoms,
    *,
    displacement: float = 0.005,
    strain: float = 0.001,
    force_tolerance: float = 0.02,
    stress_tolerance: float = 0.001,
    n_directions: int = 3,
    seed: int = 0,
) -> LabellerCheck:
    """Check a labeller against finite differences of its own energy. It needs no other code to compare with.

    Parameters
    ----------
    label
        A labeller, such as :class:`~idealflow.AseLabeller` or :class:`~idealflow.StaticLabeller`; or a function of a structure
        that returns its :class:`~idealflow.labelling.Label`.
    atoms
        A structure out of equilibrium. To prove the order of shear components its cell must be sheared, or rattled
        enough, that they differ.
    displacement
        Step of the central difference of forces, Å (norm over all atoms of the direction).
    strain
        Strain of the central difference of stress, without unit.
    force_tolerance, stress_tolerance
        Largest accepted differences, eV/Å and eV/Å³; widen them for an engine whose energies are noisy.
    n_directions
        Random directions in which forces are checked. Each costs two labels; the stress costs twelve.
    seed
        Seed of the random directions and of the random order.

    Returns
    -------
    LabellerCheck
        The differences found.

    Raises
    ------
    AssertionError
        When forces or stress are not the energy's derivatives, the order of atoms is not kept, the atoms passed
        were changed, or labels are not Label objects; the message names the likely mistake.
    InputError
        When the check would prove nothing with `atoms`, since forces or shear components are too small or too similar.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller
    >>> from idealflow.testing import check_labeller
    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.set_cell(atoms.cell.array @ [[1, 0.12, -0.04], [0, 1, 0.07], [0, 0, 1]], scale_atoms=True)
    >>> atoms.rattle(0.05, seed=0)
    >>> check_labeller(AseLabeller("ase.calculators.emt.EMT"), atoms).n_labels
    20
    """
    rng = np.random.default_rng(seed)
    calls = 0

    def labelled(structure: Atoms) -> Label:
        nonlocal calls
        calls += 1
        sent = structure.copy()
        result = label(sent) if callable(label) else _in_a_folder(label, sent)
        if not isinstance(result, Label):
            raise AssertionError(f"a labeller returns a Label, got {type(result).__name__}")
        if result.n_atoms != len(structure):
            raise AssertionError(f"label has {result.n_atoms} forces for {len(structure)} atoms")
        if not (np.array_equal(sent.positions, structure.positions) and np.array_equal(sent.cell, structure.cell)):
            raise AssertionError("the labeller changed the atoms it was given")
        return result

    first = labelled(atoms)
    force_errors = np.array([_force_error(labelled, atoms, first, rng, displacement) for _ in range(n_directions)])
    if np.abs(force_errors).max() > force_tolerance:
        raise AssertionError(
            f"forces differ from the slope of the energy by {np.abs(force_errors).max():.3g} eV/Å "
            f"(accepted {force_tolerance}): wrong unit, sign or order of atoms"
        )
    if np.abs(first.forces).max() < 5 * force_tolerance:
        raise InputError(
            f"forces of the structure (at most {np.abs(first.forces).max():.3g} eV/Å) must exceed five times the tolerance "
            f"{force_tolerance}; rattle it"
        )
    stress_errors = None
    if first.stress is not None:
        stress_errors = _stress_errors(labelled, atoms, first.stress, strain, stress_tolerance)
    order_error = _order_error(labelled, atoms, first, rng)
    if order_error > force_tolerance:
        raise AssertionError(
            f"forces differ by {order_error:.3g} eV/Å after reordering and wrapping: they are not in the order of the atoms"
        )
    return LabellerCheck(force_errors, stress_errors, order_error, calls)


def _in_a_folder(labeller: Labels, atoms: Atoms) -> Label:
    """Label a structure with a labeller that needs an empty folder for its files."""
    with TemporaryDirectory() as folder:
        return labeller.label(atoms, Path(folder))[0]


def _force_error(
    labelled: Callable[[Atoms], Label], atoms: Atoms, first: Label, rng: np.random.Generator, step: float
) -> float:
    direction = rng.normal(size=(len(atoms), 3))
    direction /= np.linalg.norm(direction)
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step * direction
        energies.append(labelled(moved).energy)
    slope = (energies[0] - energies[1]) / (2 * step)
    return float((first.forces * direction).sum() + slope)


def _stress_errors(
    labelled: Callable[[Atoms], Label], atoms: Atoms, stress: NDArray[np.float64], step: float, tolerance: float
) -> NDArray[np.float64]:
    shear = np.sort(stress[3:])
    if np.diff(shear).min() < 5 * tolerance or np.abs(shear).min() < 5 * tolerance:
        raise InputError(
            f"shear stresses {stress[3:].round(5).tolist()} eV/Å³ must differ from each other and from zero by five times "
            f"the tolerance {tolerance} to prove their order; shear the cell by a few per cent"
        )
    found = []
    for a, b in _COMPONENTS:
        energies = []
        for sign in (1, -1):
            deformation = np.eye(3)
            deformation[a, b] += sign * step / 2  # both halves on the diagonal; symmetric shear otherwise
            deformation[b, a] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
            energies.append(labelled(strained).energy)
        found.append((energies[0] - energies[1]) / (2 * step) / atoms.get_volume())
    slopes = np.array(found)
    errors: NDArray[np.float64] = stress - slopes
    if np.abs(errors).max() > tolerance:
        values = ", ".join(f"{n} {s:.5f} ({w:.5f})" for n, s, w in zip(_NAMES, stress, slopes, strict=True))
        raise AssertionError(
            f"stress differs from the slope of the energy by {np.abs(errors).max():.3g} eV/Å³ (accepted {tolerance}): "
            f"wrong unit, sign or order; found (expected): {values}"
        )
    return errors


def _order_error(labelled: Callable[[Atoms], Label], atoms: Atoms, first: Label, rng: np.random.Generator) -> float:
    order = rng.permutation(len(atoms))
    shuffled = atoms[order]
    shifts = rng.integers(-1, 2, size=(len(atoms), 3)) * atoms.pbc
    shuffled.positions += shifts @ atoms.cell.array
    return float(np.abs(labelled(shuffled).forces - first.forces[order]).max())
