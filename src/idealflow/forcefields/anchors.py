"""Structures outside of what a campaign learns, on which a pretrained force field keeps what it knew.

They are labelled by the force field that learning starts from (:class:`~idealflow.forcefields.toolkit.Start`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

__all__ = ["varied_crystals"]

#: fractional sites of the two kinds of atoms in a cube, and the distance of nearest neighbours in units of its edge
_FACES = [(0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)]
_LATTICES: list[tuple[list[tuple[float, float, float]], list[tuple[float, float, float]], float]] = [
    ([(0.0, 0.0, 0.0)], [(0.5, 0.5, 0.5)], 3**0.5 / 2),  # CsCl; bcc
    (_FACES[:2], _FACES[2:], 2**-0.5),  # CuAu; fcc
    (_FACES, [(x + 0.5, y, z) for x, y, z in _FACES], 0.5),  # rock salt; simple cubic
    (_FACES, [(x + 0.25, y + 0.25, z + 0.25) for x, y, z in _FACES], 3**0.5 / 4),  # zinc blende; diamond
]
_STRETCH, _RATTLE = (0.97, 1.2), (0.01, 0.07)  # of the distance of nearest neighbours
_SHORTEST = 1.8  # Å; what is closer than that in a crystal is no matter that anybody knows
_LEAST_ATOMS = 4


def varied_crystals(species: Sequence[str], n: int, seed: int) -> list[Atoms]:
    """Small rattled crystals of one or two of the species, of several lattices and densities.

    Every species is taken as often as the others, in an order drawn by the seed; its partner may be itself.

    Examples
    --------
    >>> [str(atoms.symbols) for atoms in varied_crystals(["Cu", "O"], 3, seed=0)]
    ['Cu2O2', 'O8', 'Cu4O4']
    """
    rng = np.random.default_rng(seed)
    order: list[str] = []
    while len(order) < n:
        order += [species[i] for i in rng.permutation(len(species))]
    return [_crystal(symbol, str(rng.choice(list(species))), rng) for symbol in order[:n]]


def _crystal(one: str, other: str, rng: np.random.Generator) -> Atoms:
    first, second, nearest = _LATTICES[rng.integers(len(_LATTICES))]
    length = sum(covalent_radii[atomic_numbers[symbol]] for symbol in (one, other)) * rng.uniform(*_STRETCH)
    length = max(float(length), _SHORTEST)
    edge = length / nearest
    symbols = [one] * len(first) + [other] * len(second)
    atoms = Atoms(symbols, scaled_positions=[*first, *second], cell=[edge] * 3, pbc=True)
    if len(atoms) < _LEAST_ATOMS:
        atoms = atoms.repeat((1, 1, 2))
    atoms.rattle(length * rng.uniform(*_RATTLE), rng=np.random.RandomState(rng.integers(2**31)))
    return atoms
