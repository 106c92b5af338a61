"""Repulsion of atoms closer than any bond, where no training data reach and a network may fall into a hole.

The universal potential of Ziegler, Biersack and Littmark (The Stopping and Range of Ions in Solids, 1985, eq. 2-60),
switched on smoothly (two continuous derivatives) between 0.7 and 0.35 of the sum of the covalent radii. It acts on no
bond, so what the network learns is unaffected.
"""
# mypy: ignore-errors
# numba compiles these functions for the types it meets

from __future__ import annotations

import math
from collections.abc import Sequence

import numba
import numpy as np
from ase.data import covalent_radii

__all__ = ["repulsion", "repulsion_ranges"]

_COULOMB = 14.399645  # e²/(4πε₀), eV Å
_OUTER = 0.7


def repulsion_ranges(numbers: Sequence[int]) -> np.ndarray:
    """Distance (Å) at which each pair of species begins to repel, (n_species, n_species)."""
    radii = covalent_radii[np.asarray(numbers)]
    return _OUTER * (radii[:, None] + radii[None, :])


@numba.njit(cache=True, nogil=True)
def repulsion(vec, offsets, j, kind, centres, charges, ranges, energies, slopes):
    """Add each centre's half of its pairs' energies (eV) to ``energies``, and what they pull with (eV/Å) to ``slopes``.

    Arguments are those of :func:`idealflow.forcefields.local.kernels.scatter_forces`; ``charges`` (n_species,) are
    atomic numbers, ``ranges`` comes from :func:`repulsion_ranges`.
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
            length = 0.46850 / (charges[s] ** 0.23 + charges[t] ** 0.23)
            screen, d_screen = 0.0, 0.0
            for a, b in ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162)):
                term = a * math.exp(-b * r / length)
                screen += term
                d_screen -= b / length * term
            x = min(1.0, 2.0 * (1.0 - r / outer))
            switch = x**3 * (10.0 - 15.0 * x + 6.0 * x * x)
            d_switch = -60.0 * (x * (1.0 - x)) ** 2 / outer
            coulomb = 0.5 * _COULOMB * charges[s] * charges[t] / r
            energies[c] += coulomb * screen * switch
            d_r = coulomb * (d_screen * switch + screen * d_switch - screen * switch / r)
            for b in range(3):
                slopes[p, b] += d_r * vec[p, b] / r
