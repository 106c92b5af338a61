"""Frames as lists of neighbour pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.descriptors import neighbour_pairs
from idealflow.forcefields.local import kernels

__all__ = ["Frame", "frame_of"]


@dataclass(frozen=True)
class Frame:
    """One structure and its neighbour pairs.

    Attributes
    ----------
    kind : (n,) int64
        Species index of each atom.
    offsets : (n + 1,) int64
        Pairs of atom i are ``offsets[i]:offsets[i + 1]``.
    j : (n_pairs,) int64
        Neighbour of each pair.
    vec : (n_pairs, 3), Å
        Vector from atom i to the neighbour.
    volume
        Volume of the cell, Å³; 0 without a cell in three directions.

    Examples
    --------
    Neighbours of the second of three atoms in a row:

    >>> row = frame_of(Atoms("Cu3", [[0, 0, 0], [0, 0, 2], [0, 0, 4]]), np.zeros(3, dtype=np.int64), cutoff=3.0)
    >>> pairs = slice(*row.offsets[1:3])
    >>> row.j[pairs].tolist(), row.vec[pairs, 2].tolist()
    ([0, 2], [-2.0, 2.0])
    """

    kind: NDArray[np.int64]
    offsets: NDArray[np.int64]
    j: NDArray[np.int64]
    vec: NDArray[np.float64]
    volume: float


def frame_of(atoms: Atoms, kind: NDArray[np.int64], cutoff: float) -> Frame:
    """Find the neighbours of all atoms of a structure.

    Parameters
    ----------
    atoms
        Structure.
    kind : (n,) int64
        Species index of each atom.
    cutoff
        Distance up to which atoms are neighbours, Å.

    Examples
    --------
    Each atom of fcc copper has twelve neighbours at 2.55 Å:

    >>> from ase.build import bulk
    >>> frame = frame_of(bulk("Cu", cubic=True), np.zeros(4, dtype=np.int64), cutoff=3.0)
    >>> np.diff(frame.offsets).tolist(), frame.vec.shape, round(frame.volume, 2)
    ([12, 12, 12, 12], (48, 3), 47.05)
    """
    with kernels.threads_for(len(kind)):
        pairs = neighbour_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    volume = float(atoms.cell.volume) if atoms.cell.rank == 3 else 0.0
    return Frame(kind, pairs.offsets, pairs.j.astype(np.int64), pairs.vec, volume)
