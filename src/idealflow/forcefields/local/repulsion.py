"""Repulsion of atoms that are closer than in any bond.

There is no training data at such distances, and a network alone might attract the atoms further. The repulsion is the
universal potential of Ziegler, Biersack and Littmark (The Stopping and Range of Ions in Solids, 1985, eq. 2-60), switched on
smoothly (two continuous derivatives) between 0.7 and 0.35 times the sum of the covalent radii. Bonds are longer than that, so
it does not change what the network learns.
"""
# mypy: ignore-errors
# numba compiles these functions for the types it meets

from __future__ import annotations

import math
from collections.abc import Sequence

import numba
import numpy as np
from ase.data import covalent_radii

__all__ = ["repulsion", "repulsion_of", "repulsion_ranges"]

_COULOMB = 14.399645  # e²/(4πε₀), eV Å
_OUTER = 0.7


def repulsion_ranges(numbers: Sequence[int]) -> np.ndarray:
    """Distance below which atoms of two species repel each other, Å, (n_species, n_species).

    Parameters
    ----------
    numbers
        Atomic numbers of the species.

    Examples
    --------
    Copper has a covalent radius of 1.32 Å:

    >>> repulsion_ranges([29]).round(3).tolist()  # 0.7 · 2 · 1.32
    [[1.848]]
    """
    radii = covalent_radii[np.asarray(numbers)]
    return _OUTER * (radii[:, None] + radii[None, :])


@numba.njit(cache=True, nogil=True, inline="always")
def repulsion_of(r, charge, other, outer):
    """Half the energy of a pair, eV, and its slope, eV/Å.

    Parameters
    ----------
    r
        Distance, Å, below ``outer``.
    charge, other
        Atomic numbers.
    outer
        Distance at which the repulsion begins, Å.

    Examples
    --------
    >>> repulsion_of(1.847, 29.0, 29.0, 1.848)[0] < 1e-6 < repulsion_of(1.5, 29.0, 29.0, 1.848)[0]
    True
    """
    length = 0.46850 / (charge**0.23 + other**0.23)
    screen, d_screen = 0.0, 0.0
    for a, b in ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162)):
        term = a * math.exp(-b * r / length)
        screen += term
        d_screen -= b / length * term
    x = min(1.0, 2.0 * (1.0 - r / outer))
    switch = x**3 * (10.0 - 15.0 * x + 6.0 * x * x)
    d_switch = -60.0 * (x * (1.0 - x)) ** 2 / outer
    coulomb = 0.5 * _COULOMB * charge * other / r
    return coulomb * screen * switch, coulomb * (d_screen * switch + screen * d_switch - screen * switch / r)


@numba.njit(cache=True, nogil=True)
def repulsion(vec, offsets, j, kind, centres, charges, ranges, energies, slopes):
    """Add half of each pair's energy to that of its centre, and the gradient of that half in the pair's vector to ``slopes``.

    Parameters
    ----------
    vec, offsets, j, centres
        Pairs as for :func:`idealflow.forcefields.local.kernels.scatter_forces`.
    kind : (n_atoms,)
        Species index.
    charges : (n_species,)
        Atomic numbers.
    ranges : (n_species, n_species)
        From :func:`repulsion_ranges`.
    energies : (n,), eV
        Changed in place.
    slopes : (n_pairs, 3), eV/Å
        Changed in place.

    Examples
    --------
    Copper atoms at the distance of a bond, and at 0.8 Å:

    >>> def energy(distance):
    ...     pair = np.array([[0.0, 0.0, distance]]), np.array([0, 1]), np.array([1], dtype=np.int32)
    ...     kind, centres = np.zeros(2, dtype=np.int64), np.array([0])
    ...     energies, slopes = np.zeros(1), np.zeros((1, 3))
    ...     repulsion(*pair, kind, centres, np.array([29.0]), repulsion_ranges([29]), energies, slopes)
    ...     return energies[0].item()
    >>> energy(2.5), energy(0.8) > 50.0  # eV
    (0.0, True)
    """
    for c in range(len(offsets) - 1):
        s = kind[centres[c]]
        for p in range(offsets[c], offsets[c + 1]):
            t = kind[j[p]]
            outer = ranges[s, t]
            r2 = vec[p, 0] ** 2 + vec[p, 1] ** 2 + vec[p, 2] ** 2
            if r2 >= outer * outer:
                continue
            r = math.sqrt(r2)
            energy, d_r = repulsion_of(r, charges[s], charges[t], outer)
            energies[c] += energy
            for b in range(3):
                slopes[p, b] += d_r * vec[p, b] / r
