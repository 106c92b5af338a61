"""Shorter descriptors of many species: which densities the power spectrum multiplies.

The whole power spectrum has a block for each pair of species, so it grows with their square. DScribe's three modes
(Darby, Kermode and Csányi, npj Comput. Mater. 8, 166, 2022) leave out part of it:

========= ================================== ==========================================
mode      products of densities              what is lost
========= ================================== ==========================================
mu1nu1    each species with the sum of all   which species a pair of neighbours is of
crossover each species with itself           angles between neighbours of two species
mu2       the sum of all with itself         the species of neighbours
========= ================================== ==========================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idealflow.errors import InputError

__all__ = ["MODES", "density_pairs", "n_invariants", "n_summed", "read_mode"]

#: ways to compress, the one that keeps most first
MODES = ("mu1nu1", "crossover", "mu2")


def read_mode(compression: Mapping[str, Any] | None) -> str | None:
    """The mode of a setting ``{"mode": ...}``; None for no compression, which is also what ``"off"`` says.

    Raises
    ------
    InputError
        If it is no such mapping.

    Examples
    --------
    >>> read_mode({"mode": "mu2"}), read_mode(None)
    ('mu2', None)
    """
    if compression is None:
        return None
    if isinstance(compression, Mapping) and set(compression) == {"mode"}:
        mode = compression["mode"]
        if mode == "off":
            return None
        if mode in MODES:
            return str(mode)
    raise InputError(
        f"compression must be {{mode: {' | '.join(MODES)}}}, got {compression!r}; leave it out for the whole descriptor"
    )


def density_pairs(mode: str | None, n_species: int) -> NDArray[np.int64]:
    """The densities whose products are the descriptor's blocks, in DScribe's order: (n_blocks, 2).

    Densities are those of the species, 0 to n_species − 1, and ``n_species`` for their sum; with ``mu2`` there is one alone, 0,
    of all atoms.

    Examples
    --------
    >>> [density_pairs(mode, n_species=2).tolist() for mode in (None, "mu1nu1", "crossover", "mu2")]
    [[[0, 0], [0, 1], [1, 1]], [[0, 2], [1, 2]], [[0, 0], [1, 1]], [[0, 0]]]
    """
    every = range(n_species)
    pairs = {
        None: [(z, w) for z in every for w in range(z, n_species)],
        "mu1nu1": [(z, n_species) for z in every],
        "crossover": [(z, z) for z in every],
        "mu2": [(0, 0)],
    }[mode]
    return np.array(pairs, dtype=np.int64)


def n_summed(mode: str | None, n_species: int) -> int:
    """Number of densities that neighbours are summed into: one for each species, or one for all.

    Examples
    --------
    >>> n_summed(None, n_species=4), n_summed("mu2", n_species=4)
    (4, 1)
    """
    return 1 if mode == "mu2" else n_species


def n_invariants(pairs: NDArray[np.int64], n_max: int, l_max: int) -> int:
    """Length of a descriptor with these pairs of densities.

    Examples
    --------
    >>> [n_invariants(density_pairs(mode, n_species=4), n_max=8, l_max=6) for mode in (None, "mu1nu1", "crossover", "mu2")]
    [3696, 1792, 1008, 252]
    """
    same = int((pairs[:, 0] == pairs[:, 1]).sum())
    return (l_max + 1) * (same * n_max * (n_max + 1) // 2 + (len(pairs) - same) * n_max**2)
