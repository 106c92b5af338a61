"""ASE calculator of the local force field: a pure function of the frame."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from idealflow.core.descriptors.neighbours import NeighbourGrid
from idealflow.forcefields.local import kernels
from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.repulsion import repulsion, repulsion_ranges

__all__ = ["LocalCalculator"]

CENTRES_AT_ONCE = 4096  # densities of one chunk take 4 MB per species


class LocalCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and stress (eV/Å³) in double precision.

    Made by :meth:`LocalForceField.calculator <idealflow.forcefields.local.LocalForceField.calculator>`. Nothing, not even a
    neighbour list, is kept from one frame to the next. Atoms are computed in chunks of 4096, which bounds the memory.

    Parameters
    ----------
    model
        Trained model; the calculator keeps its own copy, so later learning does not change it.
    numbers
        Atomic numbers of the model's species.
    cutoff
        Distance up to which atoms are neighbours, Å.
    kinds
        Function that returns the species index of each atom of a frame; it refuses unknown species and positions that are not
        finite.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> atoms = bulk("Cu", cubic=True)
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0, hidden=[4])
    >>> _ = learner.fit([set_label(atoms.copy(), energy=-14.0, forces=np.zeros((4, 3)))], steps=3)
    >>> atoms.calc = learner.calculator()
    >>> atoms.get_forces().shape, atoms.get_stress().shape
    ((4, 3), (6,))
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "energies", "free_energy", "forces", "stress"]
    #: results depend on the structure alone, so one calculator may serve for several
    pure: ClassVar[bool] = True

    def __init__(
        self, model: LocalModel, numbers: Sequence[int], cutoff: float, kinds: Callable[[Atoms], NDArray[np.int64]]
    ) -> None:
        super().__init__()
        self._model = copy.deepcopy(model).double().requires_grad_(False)
        self._charges, self._ranges = np.array(numbers, dtype=float), repulsion_ranges(numbers)
        self._cutoff, self._kinds = float(cutoff), kinds

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None  # noqa: S101  # set by the line above
        kind = self._kinds(self.atoms)
        n = len(kind)
        energies = self._model.reference.numpy()[kind]
        forces, virial = np.zeros((n, 3)), np.zeros((1, 3, 3))
        grid = NeighbourGrid(self.atoms.positions, self.atoms.cell.array, self.atoms.pbc, self._cutoff)
        for start in range(0, n, CENTRES_AT_ONCE):
            centres = np.arange(start, min(start + CENTRES_AT_ONCE, n))
            with kernels.threads_for(len(centres)):
                energies[centres] += self._of_centres(grid, centres, kind, forces, virial)
        energy = float(energies.sum())
        self.results = {"energy": energy, "free_energy": energy, "energies": energies, "forces": forces}
        if self.atoms.cell.rank == 3:
            self.results["stress"] = full_3x3_to_voigt_6_stress(virial[0] / self.atoms.cell.volume)

    def _of_centres(
        self,
        grid: NeighbourGrid,
        centres: NDArray[np.int64],
        kind: NDArray[np.int64],
        forces: NDArray[np.float64],
        virial: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Energies of some atoms relative to their references, (n,), eV; what they contribute to forces and virial is added."""
        model = self._model
        offsets, j, _, vec = grid.pairs(centres)
        basis = (vec, offsets, j, kind, self._cutoff, model.n_radial)
        density = np.empty((len(centres), model.n_species * model.n_radial, kernels.N_LM))
        kernels.densities(*basis, density)
        tensor = torch.from_numpy(density).requires_grad_()
        with torch.enable_grad():
            atomic = model(tensor, torch.from_numpy(kind[centres]))
        (weight,) = torch.autograd.grad(atomic.sum(), tensor)
        slopes = np.empty_like(vec)
        kernels.pair_slopes(*basis, weight.contiguous().numpy(), slopes)
        energies: NDArray[np.float64] = atomic.detach().numpy()
        repulsion(vec, offsets, j, kind, centres, self._charges, self._ranges, energies, slopes)
        kernels.scatter_forces(vec, offsets, j, centres, np.zeros_like(centres), slopes, forces, virial)
        return energies
