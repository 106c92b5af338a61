"""Averages over the atoms around each atom, whose noise is smaller than one environment's: phases then stand apart.

Thermal motion moves each environment in a direction of its own, another phase moves all of them in the same one. The average
over a neighbourhood (Lechner and Dellago, J. Chem. Phys. 129, 114707, 2008) keeps what they have in common.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from idealflow.core.descriptors import PreparedFrame

__all__ = ["Neighbourhoods"]

#: centres whose pairs are searched at a time
_BLOCK = 2048

Float = NDArray[np.float64]


class Neighbourhoods:
    """Weights by which rows of atoms are averaged around some centres, and the reverse pass.

    The weight of a neighbour is 1 up to half the radius and falls smoothly to 0 at the radius; a centre's own is 1.

    Parameters
    ----------
    frame
        The frame.
    centres : (n,) int
        Atoms around which rows are averaged, each once.
    radius
        Å; at most the cutoff of the frame's grid.

    Attributes
    ----------
    members : (m,) int
        Atoms that take part, ascending: centres and neighbours. Rows to be averaged are theirs.
    places : (n,) int
        Where the centres lie among the members.

    Examples
    --------
    The mean of two atoms 1 Å apart, and of one alone:

    >>> from ase import Atoms
    >>> from idealflow.core import SOAP
    >>> soap = SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3)
    >>> frame = soap.prepare(Atoms("Cu3", positions=[[0, 0, 0], [0, 0, 1], [0, 0, 9]]))
    >>> around = Neighbourhoods(frame, np.array([0, 2]), radius=3.0)
    >>> around.members.tolist(), around.averages(np.array([[1.0], [3.0], [7.0]])).tolist()
    ([0, 1, 2], [[2.0], [7.0]])
    """

    def __init__(self, frame: PreparedFrame, centres: NDArray[np.int64], radius: float) -> None:
        rows, others, shifts, vectors = [], [], [], []
        for start in range(0, len(centres), _BLOCK):
            pairs = frame.grid.pairs(centres[start : start + _BLOCK], within=radius)
            rows.append(np.repeat(np.arange(start, start + len(pairs.offsets) - 1), np.diff(pairs.offsets)))
            others.append(pairs.j.astype(np.int64))
            shifts.append(pairs.shift)
            vectors.append(pairs.vec)
        self._rows, self._others, self._shifts, self._vectors = (
            np.concatenate(each) if each else np.zeros(0, dtype=np.int64) for each in (rows, others, shifts, vectors)
        )
        self.members = np.unique(np.concatenate([centres, self._others]))
        self.places = np.searchsorted(self.members, centres)
        self._columns = np.searchsorted(self.members, self._others)
        self._centres, self._n_atoms = centres, len(frame)
        lengths = np.sqrt((self._vectors.reshape(-1, 3) ** 2).sum(axis=1))
        share = np.clip(2.0 * lengths / radius - 1.0, 0.0, 1.0)
        weights = 1.0 - share**2 * (3.0 - 2.0 * share)
        # the slope of the weight in the vector, (n_pairs, 3)
        steep = -6.0 * share * (1.0 - share) * 2.0 / radius / np.maximum(lengths, 1e-300)
        self._slopes = steep[:, None] * self._vectors.reshape(-1, 3)
        n = len(centres)
        self._sums = 1.0 + np.bincount(self._rows, weights, minlength=n)
        self._matrix = scipy.sparse.csr_array(
            (
                np.concatenate([np.ones(n), weights]) / self._sums[np.concatenate([np.arange(n), self._rows])],
                (np.concatenate([np.arange(n), self._rows]), np.concatenate([self.places, self._columns])),
            ),
            shape=(n, len(self.members)),
        )

    def averages(self, rows: Float) -> Float:
        """Weighted means around the centres, (n, d), of the members' ``rows`` (m, d)."""
        found: Float = self._matrix @ rows
        return found

    def reverse(self, rows: Float, averages: Float, slopes: Float) -> tuple[Float, Float, Float]:
        """Derivatives of a scalar, from its derivatives by the averages.

        Parameters
        ----------
        rows : (m, d)
            What was averaged.
        averages, slopes : (n, d)
            The averages, and the derivatives by them.

        Returns
        -------
        in_rows : (m, d)
        in_positions : (n_atoms, 3), per Å
            Through the weights alone, at fixed rows.
        in_cell : (3, 3), per Å
            Likewise, at fixed Cartesian positions.
        """
        in_rows = self._matrix.T @ slopes
        own = np.einsum("ij,ij->i", slopes, averages)
        by_weight = np.einsum("ij,ij->i", slopes[self._rows], rows[self._columns]) - own[self._rows]
        by_vector = (by_weight / self._sums[self._rows])[:, None] * self._slopes
        in_positions = np.zeros((self._n_atoms, 3))
        for axis in range(3):
            in_positions[:, axis] += np.bincount(self._others, by_vector[:, axis], minlength=self._n_atoms)
            in_positions[:, axis] -= np.bincount(self._centres[self._rows], by_vector[:, axis], minlength=self._n_atoms)
        return in_rows, in_positions, self._shifts.reshape(-1, 3).T @ by_vector
