"""Which atoms of a frame ask for a label, and around which of them substructures are centred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from numpy.typing import ArrayLike, NDArray

from idealflow.core.coverage import COVER_RADIUS
from idealflow.core.uncertainty import UncertaintyModel
from idealflow.errors import InputError

__all__ = ["ScreenedFrame", "screen", "screen_frame"]


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
    """

    values: NDArray[np.float64]
    triggering: NDArray[np.bool_]
    centres: NDArray[np.int64]


def screen(
    model: UncertaintyModel,
    atoms: Atoms,
    threshold: float,
    max_centres: int | None = None,
    values: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """Centres of a frame, most uncertain first; see :func:`screen_frame`."""
    return screen_frame(model, atoms, threshold, max_centres, values).centres


def screen_frame(
    model: UncertaintyModel,
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
    """
    if not threshold >= 0.0:
        raise InputError(f"the threshold must be at least 0, got {threshold}")
    if max_centres is not None and max_centres < 1:
        raise InputError(f"max_centres must be at least 1, got {max_centres}")
    u = model(atoms) if values is None else np.asarray(values, dtype=np.float64)
    triggering = u > threshold
    above = np.flatnonzero(triggering)
    triggering[above] = ~model.covered(atoms, threshold, above)
    candidates = np.flatnonzero(triggering)
    candidates = candidates[np.lexsort((candidates, -u[candidates]))]
    limit = len(candidates) if max_centres is None else max_centres
    return ScreenedFrame(u, triggering, _picked(model, atoms, candidates, threshold, limit))


def _picked(
    model: UncertaintyModel, atoms: Atoms, candidates: NDArray[np.int64], threshold: float, limit: int
) -> NDArray[np.int64]:
    frame = model.soap.prepare(atoms)
    kinds = frame.kinds
    left = candidates
    chosen: list[int] = []
    while len(left) and len(chosen) < limit:
        centre = int(left[0])
        chosen.append(centre)
        if len(chosen) == limit:
            break
        _, distances = get_distances(atoms.positions[[centre]], atoms.positions[left], cell=atoms.cell, pbc=atoms.pbc)
        left = left[distances[0] > model.cutoff]
        alike = kinds[left] == kinds[centre]
        if alike.any():
            vector = model.descriptors(frame, [centre])[0]
            delta = model.distance_to(model.descriptors(frame, left[alike]), vector, int(kinds[centre]))
            near = np.zeros(len(left), dtype=bool)
            near[alike] = delta <= COVER_RADIUS * threshold
            left = left[~near]
    return np.asarray(chosen, dtype=np.int64)
