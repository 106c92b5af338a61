"""Which atoms of a frame trigger a label, and around which of them substructures are built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray

from idealflow.core.coverage import COVER_RADIUS
from idealflow.core.descriptors.neighbours import NeighbourGrid
from idealflow.core.protocols import Uncertainty
from idealflow.errors import InputError

__all__ = ["ScreenedFrame", "screen"]

_BLOCK = 256


@dataclass(frozen=True)
class ScreenedFrame:
    """A frame seen through the uncertainty; :meth:`of` makes one.

    Attributes
    ----------
    values : (n_atoms,)
        Uncertainties; 1 is the mean in distribution.
    triggering : (n_atoms,) bool
        Above the threshold and uncovered.
    centres : (n_centres,) int
        Atoms to build substructures around, most uncertain first.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = crystal.copy()
    >>> frame.positions[7] += 0.5
    >>> seen = ScreenedFrame.of(u, frame, threshold=5.0)
    >>> seen.values.shape, bool(seen.triggering[7]), bool((seen.values[seen.triggering] > 5.0).all())
    ((108,), True, True)
    """

    values: NDArray[np.float64]
    triggering: NDArray[np.bool_]
    centres: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        u: Uncertainty,
        atoms: Atoms,
        threshold: float,
        max_centres: int | None = None,
        values: ArrayLike | None = None,
        triggering: ArrayLike | None = None,
    ) -> ScreenedFrame:
        """Screen a frame atom by atom; parameters and errors are those of :func:`screen`.

        ``triggering`` (n_atoms,) bool, given with ``values``, is what an earlier screen with the same threshold has found: then
        only the centres are chosen anew.
        """
        if not threshold >= 0.0:
            raise InputError(f"the threshold must be at least 0, got {threshold}")
        if max_centres is not None and max_centres < 1:
            raise InputError(f"max_centres must be at least 1, got {max_centres}")
        frame = u.prepare(atoms)
        found = u(atoms) if values is None else np.asarray(values, dtype=np.float64)
        if found.shape != (len(atoms),):
            raise InputError(f"values must be one per atom, {len(atoms)}, got shape {found.shape}")
        if triggering is None or values is None:
            asking = found > threshold
            above = np.flatnonzero(asking)
            asking[above] = ~u.covered(frame, threshold, above)
        else:
            asking = np.asarray(triggering, dtype=bool)
        candidates = np.flatnonzero(asking)
        counts = u.n_samples
        unseen = [atomic_numbers[symbol] for symbol in u.species if not counts.get(symbol, counts.get("pooled", 0))]
        # atoms of equal, infinite uncertainty: species never seen come before those seen in too few environments
        candidates = candidates[
            np.lexsort((candidates, ~np.isin(atoms.numbers[candidates], unseen), -found[candidates]))
        ]
        limit = len(candidates) if max_centres is None else max_centres
        return cls(found, asking, _picked(u, atoms, frame, candidates, threshold, limit))


def screen(
    u: Uncertainty,
    atoms: Atoms,
    threshold: float,
    max_centres: int | None = None,
    values: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """Atoms of a frame to build substructures around, most uncertain first.

    An atom triggers when its uncertainty exceeds ``threshold`` and it is uncovered. Centres are picked greedily by
    uncertainty; an atom is passed over if it lies in the core (within the true cutoff) of a chosen centre, or if its
    environment is nearly that of a chosen one of its species: closer than δ = 2 τ, the distance of the coverage rule. Values
    and triggering atoms are those of :meth:`ScreenedFrame.of`.

    Parameters
    ----------
    u
        The uncertainty.
    atoms
        The frame.
    threshold
        τ, in units of the mean in distribution; 0 lets every uncovered atom trigger.
    max_centres
        Most centres. None: no limit.
    values : (n_atoms,), optional
        Uncertainties already at hand.

    Returns
    -------
    (n_centres,) int array
        Indices of atoms.

    Raises
    ------
    InputError
        For a negative threshold, ``max_centres`` below 1, values of another shape, or atoms that the uncertainty refuses.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = crystal.copy()
    >>> frame.positions[7] += 0.5
    >>> centres = screen(u, frame, threshold=5.0, max_centres=2)
    >>> bool(centres[0] == u(frame).argmax())
    True
    """
    return ScreenedFrame.of(u, atoms, threshold, max_centres, values).centres


def _picked(
    u: Uncertainty, atoms: Atoms, frame: Any, candidates: NDArray[np.int64], threshold: float, limit: int
) -> NDArray[np.int64]:
    """Greedy choice among candidates, most uncertain first: one pass, in blocks of bounded size."""
    if limit == 1 or len(candidates) == 0:
        return candidates[:1]
    chosen: list[int] = []
    grid = NeighbourGrid(atoms.positions, np.asarray(atoms.cell), atoms.pbc, u.cutoff)
    in_core = np.zeros(len(atoms), dtype=bool)
    known: dict[int, list[NDArray[np.float64]]] = {}
    for start in range(0, len(candidates), _BLOCK):
        block = candidates[start : start + _BLOCK]
        block = block[~in_core[block]]
        for atom, here in zip(block.tolist(), u.fingerprints(frame, block), strict=True):
            if len(chosen) == limit:
                return np.asarray(chosen, dtype=np.int64)
            if in_core[atom]:
                continue
            of_its_species = known.setdefault(int(atoms.numbers[atom]), [])
            if any(float(((here - other) ** 2).sum()) <= COVER_RADIUS * threshold for other in of_its_species):
                continue  # never for a species never seen, whose fingerprints are NaN
            of_its_species.append(here)
            chosen.append(atom)
            in_core[grid.pairs([atom]).j] = True
            in_core[atom] = True
    return np.asarray(chosen, dtype=np.int64)
