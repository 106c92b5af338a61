"""The scale of a committee's disagreement: what its members say on training environments."""

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
_LEAST = 1e-12  # eV²: where all environments are alike, members centred on them differ by rounding alone

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """What the members say on training environments, by species.

    Attributes
    ----------
    mean : (n_members, n_species)
        Mean atomic energy, eV.
    variance : (n_species,)
        Mean over environments of the variance over members, eV², at least (1 µeV)²; NaN for a species never seen.
    tail : (n_species,)
        99th percentile of the normalised uncertainty; NaN for a species never seen.
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
    """What members say on the kept environments.

    Parameters
    ----------
    energies
        Of each member.
    kept
        Structures and which of their atoms count.
    species, kinds_of
        Chemical symbols, and the index among them of each atom of a structure.

    Raises
    ------
    InputError
        If the members agree on every environment of every species.
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
    """Of the members' centred energies from their mean, (n_members, n)."""
    found: Float = centred - centred.mean(axis=0)
    return found
