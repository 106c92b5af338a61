"""A pretrained force field as the start of learning: weights to begin from, structures that hold it, and how far it has moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from idealflow.core.structure import set_label

__all__ = ["Start", "labelled_by"]

_LARGEST_FORCE = 10.0  # eV/Å; what the start model says of atoms that are too close is not worth keeping


def labelled_by(calculator: Any, structures: Sequence[Atoms]) -> list[Atoms]:
    """Structures with the energy, forces and stress that a calculator gives; those with forces beyond 10 eV/Å are left out.

    Examples
    --------
    >>> from ase.calculators.emt import EMT
    >>> [made] = labelled_by(EMT(), [Atoms("Cu2", [[0, 0, 0], [0, 0, d]]) for d in (2.5, 1.0)])
    >>> round(float(made.get_forces()[0, 2]), 2)
    2.74
    """
    found = []
    for atoms in structures:
        made = atoms.copy()
        made.calc = calculator
        energy, forces = float(made.get_potential_energy()), np.array(made.get_forces())
        if np.isfinite(energy) and np.abs(forces).max(initial=0.0) <= _LARGEST_FORCE:
            stress = made.get_stress() if made.cell.rank == 3 and made.pbc.all() else None
            found.append(set_label(atoms.copy(), energy=energy, forces=forces, stress=stress))
    return found


@dataclass
class Start:
    """Where learning began.

    Attributes
    ----------
    weights
        State of the model.
    anchor
        Structures that are learned beside all data, with labels of the start model.
    outside
        Others, with its labels too, that are never learned: the forces on them say how far the model has moved.
    reference : (n_species,)
        Energy of an atom of each species in the labels of ``anchor``, eV.

    Examples
    --------
    The energies of the species have changed since; labels of the anchor follow them:

    >>> copper = set_label(Atoms("Cu"), energy=-3.5, forces=np.zeros((1, 3)))
    >>> start = Start({}, [copper], [], reference=np.array([-3.0]))
    >>> [atoms.get_potential_energy() for atoms in start.anchored(np.array([1.0]), [np.array([0])])]
    [0.5]
    """

    weights: dict[str, Tensor]
    anchor: list[Atoms] = field(default_factory=list)
    outside: list[Atoms] = field(default_factory=list)
    reference: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def anchored(self, reference: NDArray[np.float64], kinds: Sequence[NDArray[np.int64]]) -> list[Atoms]:
        """The anchor's structures, their energies relative to what the energies of the species are now.

        Parameters
        ----------
        reference : (n_species,)
            These energies, eV.
        kinds
            Species index of the atoms of each structure.
        """
        moved = reference - self.reference
        found = []
        for atoms, kind in zip(self.anchor, kinds, strict=True):
            label = atoms.calc.results
            energy = float(label["energy"] + moved[kind].sum())
            found.append(set_label(atoms.copy(), energy=energy, forces=label["forces"], stress=label.get("stress")))
        return found

    def force_shift(self, calculator: Any) -> float | None:
        """Mean change of the force components on the structures outside, eV/Å; None without any."""
        changes = []
        for atoms in self.outside:
            moved = atoms.copy()
            moved.calc = calculator
            changes.append(np.abs(moved.get_forces() - atoms.calc.results["forces"]).mean())
        return float(np.mean(changes)) if changes else None

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, for a file."""
        return {
            "weights": list(self.weights.values()),  # in the order of the model's own state: names would be there twice
            "anchor": [_packed(atoms) for atoms in self.anchor],
            "outside": [_packed(atoms) for atoms in self.outside],
            "anchor_reference": torch.from_numpy(self.reference.copy()),
        }

    @classmethod
    def of(cls, state: Mapping[str, Any], names: Sequence[str]) -> Start:
        """Read a :meth:`state`; ``names`` are those of the model's state."""
        anchor, outside = ([_unpacked(*packed) for packed in state[part]] for part in ("anchor", "outside"))
        weights = dict(zip(names, state["weights"], strict=True))
        return cls(weights, anchor, outside, state["anchor_reference"].cpu().numpy())


def _packed(atoms: Atoms) -> list[Tensor]:
    label = atoms.calc.results
    stress = label.get("stress")
    parts = (
        atoms.numbers.astype(np.int64),
        atoms.positions,
        atoms.cell.array,
        atoms.pbc,
        np.array(label["energy"]),
        np.asarray(label["forces"]),
        np.zeros(0) if stress is None else np.asarray(stress),
    )
    return [torch.from_numpy(np.ascontiguousarray(part).copy()) for part in parts]


def _unpacked(*parts: Tensor) -> Atoms:
    numbers, positions, cell, pbc, energy, forces, stress = (part.cpu().numpy() for part in parts)
    atoms = Atoms(numbers, positions, cell=cell, pbc=pbc)
    return set_label(atoms, energy=float(energy.item()), forces=forces, stress=stress if len(stress) else None)
