"""The scale of a committee's disagreement: the energies that its members give to training environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.errors import InputError
from idealflow.forcefields.committee.kept_frames import KeptFrames
from idealflow.forcefields.protocol import AtomicEnergies

__all__ = ["Scale", "deviations", "scale_of"]

_TAIL_QUANTILE = 0.99
_LEAST = 1e-12  # eV²: below this, members differ by rounding alone, as they do where all environments are alike

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """Statistics of the members' atomic energies over training environments, by species.

    Attributes
    ----------
    mean : (n_members, n_species)
        Mean atomic energy, eV.
    variance : (n_species,)
        Mean over environments of the variance over members, eV², at least (1 µeV)²; NaN for a species never seen.
    tail : (n_species,)
        99th percentile of the normalised uncertainty; NaN for a species never seen.

    Examples
    --------
    Two members and one species, on whose energy they disagree by ±1 meV:

    >>> import numpy as np
    >>> Scale(mean=np.array([[-3.5], [-3.4]]), variance=np.array([1e-6]), tail=np.array([4.0])).variance.tolist()
    [1e-06]
    """

    mean: Float
    variance: Float
    tail: Float


def scale_of(
    energies: Sequence[AtomicEnergies],
    kept: KeptFrames,
    species: Sequence[str],
    kinds_of: Callable[[Atoms], NDArray[np.int64]],
) -> Scale:
    """Compute the statistics of the members' atomic energies over the kept environments.

    Parameters
    ----------
    energies
        Atomic energies of each member.
    kept
        Structures and which of their atoms count.
    species
        Chemical symbols.
    kinds_of
        Function that returns the index among ``species`` of each atom of a structure.

    Raises
    ------
    InputError
        If the members agree on every environment of every species.

    Examples
    --------
    Two members that give an atom its index as its energy, with opposite signs:

    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> crystal = set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))
    >>> kept = KeptFrames().with_more([crystal], None, np.random.default_rng(0))
    >>> members = [lambda atoms, chosen: 1.0 * chosen, lambda atoms, chosen: -1.0 * chosen]
    >>> scale = scale_of(members, kept, ["Cu"], lambda atoms: np.zeros(len(atoms), dtype=int))
    >>> scale.mean.tolist(), scale.variance.tolist()
    ([[1.5], [-1.5]], [1.25])
    """
    pairs = [(atoms, np.flatnonzero(mask)) for atoms, mask in zip(kept.frames, kept.masks, strict=True)]
    kinds = np.concatenate([kinds_of(atoms)[chosen] for atoms, chosen in pairs])
    values = np.array([np.concatenate([member(*pair) for pair in pairs]) for member in energies])
    n_species = len(species)
    mean = np.zeros((len(values), n_species))
    variance, tail = np.full(n_species, np.nan), np.full(n_species, np.nan)
    for kind in np.unique(kinds):
        mine = values[:, kinds == kind]
        mean[:, kind] = mine.mean(axis=1)
        found = (deviations(mine - mean[:, [kind]]) ** 2).mean(axis=0)
        variance[kind] = max(float(found.mean()), _LEAST)
        tail[kind] = np.quantile(found / variance[kind], _TAIL_QUANTILE)
    if not (variance > _LEAST).any():
        raise InputError(
            "the members agree on every environment, so nothing measures novelty; train them with other seeds, on "
            "structures that differ"
        )
    return Scale(mean, variance, tail)


def deviations(centred: Float) -> Float:
    """Deviation of each member from the members' mean, (n_members, n).

    Parameters
    ----------
    centred : (n_members, n)
        Atomic energies of each member minus that member's mean in training, eV.

    Examples
    --------
    >>> import numpy as np
    >>> deviations(np.array([[1.0, 2.0], [3.0, 2.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    found: Float = centred - centred.mean(axis=0)
    return found
