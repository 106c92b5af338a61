"""SevenNet with the repulsion of bare nuclei at short range, which it lacks: a stand-in for runs in which atoms collide.

7net-0 lets a hydrogen atom into iridium for 7 eV, and two of them to 0.3 Å for 10, since nothing of the kind was in its data.
First principles have a wall there. So the universal potential of Ziegler, Biersack and Littmark is added, where atoms are closer
than in any bond: the one that the built-in force field has (:mod:`idealflow.forcefields.local.repulsion`).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.mixing import SumCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from idealflow.core.descriptors.neighbours import neighbour_pairs
from idealflow.forcefields.local.kernels import scatter_forces
from idealflow.forcefields.local.repulsion import repulsion, repulsion_ranges
from idealflow.forcefields.sevennet import sevennet_calculator


class Repulsion(Calculator):
    """Energy (eV), forces (eV/Å) and stress (eV/Å³) of the repulsion alone."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None  # noqa: S101  # set by the line above
        numbers, kind = np.unique(self.atoms.numbers, return_inverse=True)
        ranges, n = repulsion_ranges(numbers.tolist()), len(kind)
        pairs = neighbour_pairs(self.atoms.positions, self.atoms.cell.array, self.atoms.pbc, float(ranges.max()))
        energies, slopes, centres = np.zeros(n), np.zeros_like(pairs.vec), np.arange(n)
        repulsion(pairs.vec, pairs.offsets, pairs.j, kind, centres, numbers.astype(float), ranges, energies, slopes)
        forces, virial = np.zeros((n, 3)), np.zeros((1, 3, 3))
        scatter_forces(pairs.vec, pairs.offsets, pairs.j, centres, np.zeros(n, dtype=np.int64), slopes, forces, virial)
        energy = float(energies.sum())
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if self.atoms.cell.rank == 3:
            self.results["stress"] = full_3x3_to_voigt_6_stress(virial[0] / self.atoms.cell.volume)


def sevennet_repelled(model: str = "7net-0") -> Calculator:
    """SevenNet and the repulsion. Needs `idealflow[sevennet]`."""
    return SumCalculator([sevennet_calculator(model), Repulsion()])
