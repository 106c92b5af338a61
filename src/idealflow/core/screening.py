"""Which atoms of a frame ask for a label, and around which of them substructures are centred."""

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

__all__ = ["ScreenedFrame", "screen", "screen_frame"]

_BLOCK = 256


@dataclass(frozen=True)
class ScreenedFrame:
    """A frame seen through the uncertainty.

    Attributes
    ----------
    values : (n_atoms,)
        Normalised uncertainties; 1 is the in-distribution mean.
    triggering : (n_atoms,) bool
        Above the threshold and uncovered.
    centres : (n_centres,) int
        Atoms to build substructures around, most uncertain first.

    Examples
    --------
    >>> import numpy as np
    >>> ScreenedFrame(np.array([0.9, 7.0]), np.array([False, True]), np.array([1])).centres.tolist()
    [1]
    """

    values: NDArray[np.float64]
    triggering: NDArray[np.bool_]
    centres: NDArray[np.int64]


def screen(
    model: Uncertainty,
    atoms: Atoms,
    threshold: float,
    max_centres: int | None = None,
    values: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """Centres of a frame, most uncertain first: indices of atoms (n_centres,); arguments and errors as :func:`screen_frame`.

    Examples
    --------
    Beside a vacancy one of its twelve neighbours is chosen; the others are too near to it, or too like it:

    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel, screen
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.05, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = bulk("Cu", cubic=True) * 4
    >>> del frame[0]
    >>> len(screen(u, frame, u.auto_threshold()))
    1
    """
    return screen_frame(model, atoms, threshold, max_centres, values).centres


def screen_frame(
    model: Uncertainty,
    atoms: Atoms,
    threshold: float,
    max_centres: int | None = None,
    values: ArrayLike | None = None,
) -> ScreenedFrame:
    """Screen a frame atom by atom.

    An atom triggers when its uncertainty exceeds ``threshold`` and it is uncovered. Centres are picked greedily by
    uncertainty; an atom is passed over if it lies in the core (within the true cutoff) of a chosen centre, or if its
    environment is nearly that of a chosen one of its species (δ ≤ 2 τ, as in coverage).

    Parameters
    ----------
    model
        The uncertainty.
    atoms
        The frame.
    threshold
        τ, normalised; 0 lets every uncovered atom trigger.
    max_centres
        At most so many centres; None: no limit.
    values : (n_atoms,), optional
        Uncertainties already at hand.

    Raises
    ------
    InputError
        For a negative threshold, ``max_centres`` below 1, or atoms the model refuses.

    Examples
    --------
    The twelve neighbours of a vacancy trigger:

    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel, screen_frame
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.05, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = bulk("Cu", cubic=True) * 4
    >>> del frame[0]
    >>> screened = screen_frame(u, frame, u.auto_threshold())
    >>> int(screened.triggering.sum()), screened.values.shape
    (12, (255,))
    """
    if not threshold >= 0.0:
        raise InputError(f"the threshold must be at least 0, got {threshold}")
    if max_centres is not None and max_centres < 1:
        raise InputError(f"max_centres must be at least 1, got {max_centres}")
    frame = model.prepare(atoms)
    u = model(atoms) if values is None else np.asarray(values, dtype=np.float64)
    if u.shape != (len(atoms),):
        raise InputError(f"values must be one per atom, {len(atoms)}, got shape {u.shape}")
    triggering = u > threshold
    above = np.flatnonzero(triggering)
    triggering[above] = ~model.covered(frame, threshold, above)
    candidates = np.flatnonzero(triggering)
    counts = model.n_samples
    unseen = [atomic_numbers[symbol] for symbol in model.species if not counts.get(symbol, counts.get("pooled", 0))]
    # of the infinitely uncertain, species that were never seen before those of which little is known
    candidates = candidates[np.lexsort((candidates, ~np.isin(atoms.numbers[candidates], unseen), -u[candidates]))]
    limit = len(candidates) if max_centres is None else max_centres
    return ScreenedFrame(u, triggering, _picked(model, atoms, frame, candidates, threshold, limit))


def _picked(
    model: Uncertainty, atoms: Atoms, frame: Any, candidates: NDArray[np.int64], threshold: float, limit: int
) -> NDArray[np.int64]:
    """Greedy choice among candidates, most uncertain first: one pass, in blocks of bounded size."""
    if limit == 1 or len(candidates) == 0:
        return candidates[:1]
    chosen: list[int] = []
    grid = NeighbourGrid(atoms.positions, np.asarray(atoms.cell), atoms.pbc, model.cutoff)
    in_core = np.zeros(len(atoms), dtype=bool)
    known: dict[int, list[NDArray[np.float64]]] = {}
    for start in range(0, len(candidates), _BLOCK):
        block = candidates[start : start + _BLOCK]
        block = block[~in_core[block]]
        for atom, here in zip(block.tolist(), model.fingerprints(frame, block), strict=True):
            if len(chosen) == limit:
                return np.asarray(chosen, dtype=np.int64)
            if in_core[atom]:
                continue
            chosen_alike = known.setdefault(int(atoms.numbers[atom]), [])
            if any(float(((here - other) ** 2).sum()) <= COVER_RADIUS * threshold for other in chosen_alike):
                continue  # of a species never seen, fingerprints are NaN: nothing is near them
            chosen_alike.append(here)
            chosen.append(atom)
            in_core[grid.pairs([atom]).j] = True
            in_core[atom] = True
    return np.asarray(chosen, dtype=np.int64)
