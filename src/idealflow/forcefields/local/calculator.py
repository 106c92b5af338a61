"""ASE calculator of the local force field: a pure function of the frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from idealflow.forcefields.local.batch import collated, evaluated, geometry_of
from idealflow.forcefields.local.model import LocalModel

__all__ = ["LocalCalculator"]


class LocalCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and stress (eV/Å³) of the local model.

    Parameters
    ----------
    model
        Trained model.
    kinds
        Species indices of a frame's atoms; refuses unknown species and positions that are not finite.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, model: LocalModel, kinds: Callable[[Atoms], NDArray[np.int64]]) -> None:
        super().__init__()
        self._model = model
        self._kinds = kinds

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        geometry = geometry_of(self.atoms, self._kinds(self.atoms), self._model.cutoff)
        env = collated([geometry], self._model.cutoff, self._model.contraction.dtype)
        energies, forces, stresses = evaluated(self._model, env, train=False)
        energy = energies[0].item() + self._model.reference[env.kind].sum().item()
        self.results = {"energy": energy, "free_energy": energy, "forces": forces.detach().double().numpy()}
        if geometry.volume > 0:
            self.results["stress"] = full_3x3_to_voigt_6_stress(stresses[0].detach().double().numpy())
