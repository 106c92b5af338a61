"""Energies of single atoms in the local force field, and gradients of weighted sums of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from idealflow.core.descriptors import chosen_atoms
from idealflow.core.descriptors.kernel import scatter
from idealflow.core.descriptors.neighbours import NeighbourGrid, Pairs
from idealflow.forcefields.local import kernels
from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.repulsion import repulsion, repulsion_ranges

__all__ = ["LocalAtomicEnergies"]

_CENTRES_AT_ONCE = 4096

Float = NDArray[np.float64]


class LocalAtomicEnergies:
    """Atomic energies (eV) in double precision, reference energies of the species included.

    Made by :meth:`LocalForceField.atomic_energies <idealflow.forcefields.local.LocalForceField.atomic_energies>`.

    Parameters
    ----------
    model
        Trained model; a copy is kept, so later learning does not change it.
    numbers
        Atomic numbers of the model's species.
    cutoff
        Distance up to which atoms are neighbours, Å.
    kinds
        Function that returns the species index of each atom of a frame; it refuses unknown species.

    Examples
    --------
    They add up to the energy of the whole:

    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.rattle(0.1, seed=0)
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0, hidden=[4])
    >>> _ = learner.fit([set_label(atoms.copy(), energy=-14.0, forces=np.zeros((4, 3)))], steps=3)
    >>> energies = learner.atomic_energies()
    >>> atoms.calc = learner.calculator()
    >>> energies(atoms, [1, 2]).shape, bool(np.isclose(energies(atoms).sum(), atoms.get_potential_energy()))
    ((2,), True)
    """

    def __init__(
        self, model: LocalModel, numbers: Sequence[int], cutoff: float, kinds: Callable[[Atoms], NDArray[np.int64]]
    ) -> None:
        self._model = copy.deepcopy(model).double().requires_grad_(False)
        self._charges, self._ranges = np.array(numbers, dtype=float), repulsion_ranges(numbers)
        self._cutoff, self._kinds = float(cutoff), kinds

    def __call__(self, atoms: Atoms, indices: ArrayLike | None = None) -> Float:
        """Energies of all atoms or of those at ``indices``, (n,), eV.

        Energies of atoms whose species was in no training structure mean nothing.

        Raises
        ------
        InputError
            For an unknown species, or positions that are not finite.
        """
        kind, chosen = self._kinds(atoms), chosen_atoms(atoms, indices)
        grid = NeighbourGrid(atoms.positions, atoms.cell.array, atoms.pbc, self._cutoff)
        parts = [np.zeros(0)]
        for start in range(0, len(chosen), _CENTRES_AT_ONCE):
            centres = chosen[start : start + _CENTRES_AT_ONCE]
            pairs = grid.pairs(centres)
            with kernels.threads_for(len(centres)), torch.no_grad():
                atomic = self._model(self._density(pairs, kind), torch.from_numpy(kind[centres]))
            parts.append(atomic.numpy() + self._repulsion(pairs, kind, centres)[0])
        energies: Float = self._model.reference.numpy()[kind[chosen]] + np.concatenate(parts)
        return energies

    def linearised(
        self, atoms: Atoms, indices: ArrayLike | None = None
    ) -> tuple[Float, Callable[[Float], tuple[Float, Float]]]:
        """Energies (n,), eV, and a function that maps weights (n,) to the gradient of Σ weight · energy.

        The function returns two gradients: in the positions (n_atoms, 3), eV/Å, and in the cell at fixed Cartesian positions
        (3, 3), eV/Å. It holds the neighbour pairs of all chosen atoms in memory.
        """
        kind, centres = self._kinds(atoms), chosen_atoms(atoms, indices)
        pairs = NeighbourGrid(atoms.positions, atoms.cell.array, atoms.pbc, self._cutoff).pairs(centres)
        with kernels.threads_for(len(centres)), torch.enable_grad():
            density = self._density(pairs, kind).requires_grad_()
            atomic = self._model(density, torch.from_numpy(kind[centres]))
        repelled, repelling = self._repulsion(pairs, kind, centres)
        energies: Float = self._model.reference.numpy()[kind[centres]] + (atomic.detach().numpy() + repelled)

        def pull(weights: Float) -> tuple[Float, Float]:
            slopes = np.repeat(weights, np.diff(pairs.offsets))[:, None] * repelling
            with kernels.threads_for(len(centres)):
                (by_density,) = torch.autograd.grad(atomic, density, torch.from_numpy(weights), retain_graph=True)
                learned = np.empty_like(slopes)
                kernels.pair_slopes(*self._basis(pairs, kind), by_density.contiguous().numpy(), learned)
            in_positions, in_cell = np.zeros((len(kind), 3)), np.zeros((3, 3))
            scatter(pairs.offsets, pairs.j, pairs.shift, centres, slopes + learned, in_positions, in_cell)
            return in_positions, in_cell

        return energies, pull

    def _basis(self, pairs: Pairs, kind: NDArray[np.int64]) -> tuple[object, ...]:
        return pairs.vec, pairs.offsets, pairs.j, kind, self._cutoff, self._model.n_radial

    def _density(self, pairs: Pairs, kind: NDArray[np.int64]) -> torch.Tensor:
        shape = (len(pairs.offsets) - 1, self._model.n_species * self._model.n_radial, kernels.N_LM)
        density = np.empty(shape)
        kernels.densities(*self._basis(pairs, kind), density)
        return torch.from_numpy(density)

    def _repulsion(self, pairs: Pairs, kind: NDArray[np.int64], centres: NDArray[np.int64]) -> tuple[Float, Float]:
        """Repulsion energy of each centre (n,), eV, and its gradient in each pair's vector (n_pairs, 3), eV/Å."""
        energies, slopes = np.zeros(len(centres)), np.zeros_like(pairs.vec)
        repulsion(pairs.vec, pairs.offsets, pairs.j, kind, centres, self._charges, self._ranges, energies, slopes)
        return energies, slopes
