"""Which composition a crop should have: the frame's, or that of what lies around the centre."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.contacts import composition_distance
from idealflow.core.cropping.molecules import BODY
from idealflow.core.cropping.surroundings import Surroundings

__all__ = ["composition_of", "judged_locally"]


def composition_of(numbers: NDArray[np.integer]) -> dict[int, float]:
    """Fraction of each atomic number among ``numbers`` (n,).

    Examples
    --------
    >>> composition_of(np.array([8, 13, 8, 8]))
    {8: 0.75, 13: 0.25}
    """
    counts = np.bincount(numbers)
    return {int(z): int(counts[z]) / len(numbers) for z in np.flatnonzero(counts)}


def judged_locally(sur: Surroundings, reach: float, open_here: bool) -> Surroundings:
    """Say which composition a crop should have: the frame's, or what lies around the centre where that is another.

    Another is one that differs by more than one over the square root of the number of atoms. Beside empty space only bodies
    count, without what sits on them: how much of that a cell holds follows from how large its surface is.

    Parameters
    ----------
    sur : the centre's surroundings, with the composition of the frame
    reach : how far "around" is, Å
    open_here : whether the core sees empty space

    Examples
    --------
    Around an atom of a pure region an alloy's composition is no measure:

    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> frame = bulk("Cu", cubic=True) * (12, 3, 3)
    >>> frame.symbols[frame.positions[:, 0] > 22.0] = "Ni"
    >>> sur = survey(frame, centre=int(np.abs(frame.positions[:, 0] - 11.0).argmin()), cutoff=4.0, radius=12.0)
    >>> sur.composition, judged_locally(sur, reach=9.0, open_here=False).composition
    ({28: 0.4583333333333333, 29: 0.5416666666666666}, {29: 1.0})
    """
    near = np.linalg.norm(sur.vectors, axis=1) <= reach
    judged = ~sur.gas & ~sur.adsorbed & (sur.molecule == BODY) if open_here or sur.gas.any() else sur.judged
    if not (judged & near).any():
        judged = sur.judged
    around = sur.numbers[judged & near]
    same = composition_distance(around, sur.composition) <= 1.0 / np.sqrt(len(around))
    return replace(sur, judged=judged, composition=sur.composition if judged.all() and same else composition_of(around))
