"""Small cells cut out of a large structure, as first structures to label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core import CropRules, crop_search
from idealflow.errors import InputError
from idealflow.structures.given import positive, whole

__all__ = ["cell_around"]

_CANDIDATES = 40


class _AllKnown:
    """An uncertainty to which everything is known, so that cells are chosen by composition, density and size alone."""

    def __init__(self, cutoff: float) -> None:
        self.cutoff = cutoff

    def __call__(self, atoms: Atoms, indices: Any = None) -> NDArray[np.float64]:
        return np.ones(len(atoms) if indices is None else len(indices))


def cell_around(
    atoms: Atoms,
    atom: int,
    *,
    radius: float = 4.0,
    max_atoms: int = 120,
    oxidation_states: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Atoms:
    """Cut a small periodic cell around an atom, as a campaign cuts crops.

    All atoms within ``radius`` stand in it as they do in the structure. Empty space stays empty; composition and density are near
    the structure's.

    Parameters
    ----------
    atoms
        The structure; any periodicity.
    atom
        Index of the atom.
    radius
        Of the surroundings that are kept, Å; the cell is at least twice as wide.
    max_atoms
        Most atoms in the cell.
    oxidation_states
        Charges by symbol, e; given, the cell is made neutral.
    seed
        Of the candidates, of which the best is taken.

    Raises
    ------
    InputError
        If there is no such atom, or no cell fits.

    Examples
    --------
    >>> from idealflow.structures import particle
    >>> cell = cell_around(particle("Cu", n_atoms=400), 200, radius=4.0)
    >>> cell.pbc.tolist(), len(cell) <= 120
    ([True, True, True], True)
    """
    number = whole("atom", atom, 0)
    if number >= len(atoms):
        raise InputError(f"atom must be one of the {len(atoms)} atoms, 0 to {len(atoms) - 1}, got {number}")
    states = None if oxidation_states is None else dict(oxidation_states)
    rules = CropRules(max_atoms=whole("max_atoms", max_atoms), oxidation_states=states, whole_if_small=False)
    known: Any = _AllKnown(positive("radius", radius))
    found = crop_search(known, atoms, number, _CANDIDATES, np.random.default_rng(whole("seed", seed, 0)), rules=rules)
    return found[0].atoms
