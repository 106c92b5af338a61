"""How much the members of a committee disagree on an atom's energy, and the gradient of this disagreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.objective import objective
from idealflow.forcefields.committee.scale import deviations
from idealflow.forcefields.protocol import AtomicEnergies

__all__ = ["Disagreement"]

_CENTRES_AT_ONCE = 1024  # atoms per piece of a gradient: bounds the memory of the members' reverse pass

Float = NDArray[np.float64]
Species = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Disagreement:
    """Variance of an atom's energy over the members, divided by the mean of that variance in training.

    Attributes
    ----------
    energies
        Atomic energies of each member.
    mean : (n_members, n_species)
        Mean atomic energy of each member over the training environments, eV.
    variance : (n_species,)
        Mean variance over the training environments, eV²; NaN for a species that was in none, or in too few of them.

    Examples
    --------
    Two members that give an atom its index as its energy, with opposite signs:

    >>> import numpy as np
    >>> from ase.build import bulk
    >>> members = [lambda atoms, chosen: 1.0 * chosen, lambda atoms, chosen: -1.0 * chosen]
    >>> apart = Disagreement(members, mean=np.array([[1.5], [-1.5]]), variance=np.array([1.25]))
    >>> apart.values(bulk("Cu", cubic=True), np.arange(4), np.zeros(4, dtype=int)).tolist()
    [1.8, 0.2, 0.2, 1.8]
    """

    energies: Sequence[AtomicEnergies]
    mean: Float
    variance: Float

    def values(self, atoms: Atoms, chosen: NDArray[np.int64], species: Species, *, raw: bool = False) -> Float:
        """Uncertainties of the atoms at ``chosen``, (n,); infinite for a species whose ``variance`` is NaN.

        ``species`` (n,) are the species indices of these atoms. With ``raw`` the variances themselves, eV².
        """
        energies = np.array([member(atoms, chosen) for member in self.energies])
        variance, mean = (self._apart(energies, species) ** 2).mean(axis=0), self.variance[species]
        return np.where(np.isnan(mean), np.inf, variance if raw else variance / mean)

    def value_and_gradient(
        self, atoms: Atoms, species: Species, weights: Float, reference: Float | None
    ) -> tuple[float, Float, Float]:
        """Objective of all atoms, its gradient in positions (n_atoms, 3) and in the cell (3, 3), per Å.

        ``species``, ``weights`` and ``reference`` are (n_atoms,).
        """
        parts = []
        in_positions, in_cell = np.zeros((len(atoms), 3)), np.zeros((3, 3))
        chosen, total = np.flatnonzero(weights > 0.0), weights.sum()
        for start in range(0, len(chosen), _CENTRES_AT_ONCE):
            centres = chosen[start : start + _CENTRES_AT_ONCE]
            linearised = [member.linearised(atoms, centres) for member in self.energies]
            apart = self._apart(np.array([energies for energies, _ in linearised]), species[centres])
            mean = self.variance[species[centres]]
            known = np.isfinite(mean)  # uncertainties of other species are infinite everywhere, and have no slope
            u = np.where(known, (apart**2).mean(axis=0) / mean, np.inf)
            value, slope = objective(u, None if reference is None else reference[centres])
            parts.append(weights[centres] / total * value)
            # the derivative of the mean over members drops out, since deviations from that mean sum to zero
            by_variance = weights[centres] / total * slope * 2.0 / (len(linearised) * mean)
            by_energies = np.where(known, apart * by_variance, 0.0)
            for (_, pull), by_energy in zip(linearised, by_energies, strict=True):
                positions_part, cell_part = pull(by_energy)
                in_positions += positions_part
                in_cell += cell_part
        return float(np.concatenate(parts).sum()), in_positions, in_cell

    def _apart(self, energies: Float, species: Species) -> Float:
        """Deviation of each member's atomic energies from the members' mean, (n_members, n), eV."""
        return deviations(energies - self.mean[:, species])
