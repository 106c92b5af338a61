"""The smallest distances that atoms of a crop may have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["ContactLimits", "contact_limits"]

COVALENT_FRACTION = 0.7
SEEN_FRACTION = 0.85

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ContactLimits:
    """Smallest distances allowed between atoms of a crop, per pair of species.

    Attributes
    ----------
    pairs
        ``{"Al-O": 1.45, ...}``, Å; the two symbols in alphabetical order. For other pairs the limit is 0.7 times the sum of the
        covalent radii.

    Examples
    --------
    >>> limits = ContactLimits({"Al-O": 1.45})
    >>> limits.of(8, 13), round(limits.of(8, 8), 3)
    (1.45, 0.924)
    """

    pairs: dict[str, float]

    def table(self, numbers: NDArray[np.integer]) -> tuple[Floats, Ints]:
        """Return the limits as a square matrix over the species in `numbers`, and each atom's row in it.

        Parameters
        ----------
        numbers
            (n,) atomic numbers.
        """
        species, rows = np.unique(numbers, return_inverse=True)
        matrix = np.array([[self.of(int(a), int(b)) for b in species] for a in species], dtype=float)
        return matrix, rows.astype(np.int64)

    def of(self, a: int, b: int) -> float:
        """Limit in Å for a pair of atomic numbers."""
        key = pair_key(a, b)
        return self.pairs.get(key, COVALENT_FRACTION * float(covalent_radii[a] + covalent_radii[b]))


def pair_key(a: int, b: int) -> str:
    """Name of a pair of species: the two symbols in alphabetical order."""
    return "-".join(sorted((chemical_symbols[a], chemical_symbols[b])))


def contact_limits(numbers: Ints, vectors: Floats, min_contact: float | None) -> ContactLimits:
    """Derive the smallest allowed distances from those that the frame has.

    For a pair of species the limit is 0.85 times the smallest distance found, or 0.7 times the sum of the covalent radii if that
    is more, but at most 0.95 times the distance found: what the frame has is physical. In ionic crystals ions of one sign never
    come as near as their covalent radii would allow, so the radii alone would be too small a limit.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    vectors : (n, 3) positions, Å
    min_contact : one limit for all pairs instead, Å, or None

    Examples
    --------
    >>> copper = contact_limits(np.array([29, 29]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.5]]), min_contact=None)
    >>> round(copper.pairs["Cu-Cu"], 3)
    2.125
    """
    species = np.unique(numbers)
    if min_contact is not None:
        return ContactLimits({pair_key(int(a), int(b)): float(min_contact) for a in species for b in species})
    reach = 2.4 * float(covalent_radii[species].max())
    pairs = cKDTree(vectors).query_pairs(reach, output_type="ndarray")
    seen: dict[str, float] = {}
    if len(pairs):
        distance = np.linalg.norm(vectors[pairs[:, 0]] - vectors[pairs[:, 1]], axis=1)
        left, right = numbers[pairs].min(axis=1), numbers[pairs].max(axis=1)
        for a, b in {(int(x), int(y)) for x, y in np.unique(np.stack([left, right], axis=1), axis=0)}:
            seen[pair_key(a, b)] = float(distance[(left == a) & (right == b)].min())
    limits = {}
    for x in species:
        for y in species:
            key = pair_key(int(x), int(y))
            bonded = COVALENT_FRACTION * float(covalent_radii[x] + covalent_radii[y])
            nearest = seen.get(key, reach)
            limits[key] = min(0.95 * nearest, max(bonded, SEEN_FRACTION * nearest))
    return ContactLimits(limits)
