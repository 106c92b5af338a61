"""Silicon by Stillinger and Weber (Phys. Rev. B 31, 5262, 1985): a covalent stand-in for first principles that melts."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import primitive_neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress

EPSILON, SIGMA, RANGE = 2.1683, 2.0951, 1.8  # eV, Å, in units of σ
A, B, LAMBDA, GAMMA = 7.049556277, 0.6022245584, 21.0, 1.2


class StillingerWeber(Calculator):
    """Energy, forces and stress; derivatives by torch."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        """Evaluate; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        n = len(self.atoms)
        i, j, vectors = primitive_neighbor_list(
            "ijD", self.atoms.pbc, self.atoms.cell.array, self.atoms.positions, SIGMA * RANGE
        )
        order = np.argsort(i, kind="stable")
        i, j = torch.from_numpy(i[order]), torch.from_numpy(j[order])
        moved = torch.zeros(n, 3, dtype=torch.float64, requires_grad=True)
        strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        vec = torch.from_numpy(vectors[order])
        energy = _energy(vec + vec @ strain + moved[j] - moved[i], i)
        by_position, by_strain = torch.autograd.grad(energy, [moved, strain])
        stress = full_3x3_to_voigt_6_stress(by_strain.numpy() / self.atoms.cell.volume)
        self.results = {"energy": float(energy.detach()), "forces": -by_position.numpy(), "stress": stress}


def _energy(vec: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
    """Energy, eV, of pairs in order of their first atom ``i``, each of which occurs in both directions."""
    r = vec.norm(dim=1) / SIGMA
    tail = torch.exp(1.0 / (r - RANGE))
    pairs = 0.5 * A * (B * r**-4 - 1.0) * tail
    first = torch.searchsorted(i, i)  # triplets: every pair of an atom with each earlier one of the same
    count = torch.arange(len(i)) - first
    later = torch.repeat_interleave(torch.arange(len(i)), count)
    earlier = first[later] + torch.arange(len(later)) - torch.repeat_interleave(torch.cumsum(count, 0) - count, count)
    cosine = (vec[later] * vec[earlier]).sum(1) / (r[later] * r[earlier] * SIGMA**2)
    decay = torch.exp(GAMMA / (r - RANGE))
    triplets = LAMBDA * decay[later] * decay[earlier] * (cosine + 1.0 / 3.0) ** 2
    return EPSILON * (pairs.sum() + triplets.sum())
