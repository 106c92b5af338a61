"""Energies of single atoms in the local force field, and the reverse pass of any scalar of them."""

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
    """Atomic energies (eV) in double precision, with the species' reference energies.

    Parameters
    ----------
    model
        Trained model; a copy is kept, so later learning does not change it.
    numbers
        Atomic numbers of the model's species.
    cutoff
        Å.
    kinds
        Species indices of a frame's atoms; refuses unknown species.
    """

    def __init__(
        self, model: LocalModel, numbers: Sequence[int], cutoff: float, kinds: Callable[[Atoms], NDArray[np.int64]]
    ) -> None:
        self._model = copy.deepcopy(model).double().requires_grad_(False)
        self._charges, self._ranges = np.array(numbers, dtype=float), repulsion_ranges(numbers)
        self._cutoff, self._kinds = float(cutoff), kinds

    def __call__(self, atoms: Atoms, indices: ArrayLike | None = None) -> Float:
        """Energies of all atoms or of those at ``indices``, (n,), eV.

        Those of a species that was in no training structure mean nothing.

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
        """Energies as by calling, and the function that pulls weights back.

        The function maps weights (n,) to the gradient of Σ weight · energy in the positions (n_atoms, 3), eV/Å, and in the
        cell at fixed Cartesian positions (3, 3), eV/Å. The pairs of all chosen atoms are kept for it.
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
        """Each centre's energy of repulsion, and its slope in each pair's vector."""
        energies, slopes = np.zeros(len(centres)), np.zeros_like(pairs.vec)
        repulsion(pairs.vec, pairs.offsets, pairs.j, kind, centres, self._charges, self._ranges, energies, slopes)
        return energies, slopes
