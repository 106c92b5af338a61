"""A uniform sample, of bounded size, of the distinct environments in a stream of data, and how many there were.

Copies of one environment (the atoms of a perfect crystal, or a structure that is in the data twice) are worth no more than
one. The rank of an environment is a hash of its descriptor, the same for all copies, and the sample contains those of lowest
rank (a bottom-k sketch: Cohen and Kaplan, PODC 2007). It does not depend on how the stream is cut or ordered, and the highest
rank in it tells how many distinct environments there were (docs/explanation/method.md, "What few samples do not show").
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIKE", "SAMPLE", "DistinctSample", "alike"]

#: most environments in a sample
SAMPLE = 512

#: descriptors closer than this fraction of their length are of one environment; rounded coordinates differ by as much
ALIKE = 1e-6

_RANKS = 2.0**64
_COARSE = 2.0**-20  # descriptors are rounded to this fraction of their length before they are hashed

Float = NDArray[np.float64]
Ranks = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class DistinctSample:
    """The distinct environments of lowest rank.

    Attributes
    ----------
    rows : (n, d)
        Descriptors, at most :data:`SAMPLE`, in ascending order of rank.
    ranks : (n,) uint64
    keys : (n,) uint64
        Hashes of the rows. They are the ranks, except in samples made by :meth:`of_uniform`.
    full
        Whether there were more distinct environments than the sample has.

    Examples
    --------
    >>> rows = np.repeat(np.random.default_rng(0).normal(size=(20, 4)), 3, axis=0)
    >>> sample = DistinctSample.empty(4).joined(rows, seed=0)
    >>> len(sample.rows), sample.count, sample.full
    (20, 20, False)
    """

    rows: Float
    ranks: Ranks
    keys: Ranks
    full: bool = False

    @classmethod
    def empty(cls, dimension: int) -> DistinctSample:
        """Make a sample without environments, for descriptors of this length."""
        nothing = np.zeros(0, dtype=np.uint64)
        return cls(np.zeros((0, dimension)), nothing, nothing)

    @classmethod
    def of_uniform(cls, rows: Float, n: int, seed: int) -> DistinctSample:
        """Estimate the distinct environments from ``rows``, a uniform sample of ``n`` environments that counts copies.

        An environment that occurs once in the sample stands for n / len(rows) distinct ones; one that occurs twice or more is a
        frequent one, and stands for itself.
        """
        if len(rows) >= n:
            return cls.empty(rows.shape[1]).joined(rows, seed)
        keys = hashes(rows, seed)
        unique, first, times = np.unique(keys, return_index=True, return_counts=True)
        distinct = float((times > 1).sum() + (times == 1).sum() * (n / len(rows)))
        share = min(1.0, len(unique) / distinct)
        ranks = (unique.astype(np.float64) * share).astype(np.uint64)
        if share < 1.0:
            return cls(rows[first], ranks, unique, full=True)
        return cls.empty(rows.shape[1]).joined(rows[np.sort(first)], seed)

    def joined(self, new: Float, seed: int) -> DistinctSample:
        """Return the sample of this stream and of ``new`` rows (m, d) after it."""
        keys = hashes(new, seed)
        if self.full:
            low = keys < self.ranks[-1]
            new, keys = new[low], keys[low]
        keys, first = np.unique(keys, return_index=True)
        other = ~np.isin(keys, self.keys)
        keys, first = keys[other], first[other]
        unlike = self._unlike(new[first])
        if len(unlike) == 0:
            return self
        ranks = np.concatenate([self.ranks, keys[unlike]])
        order = np.argsort(ranks, kind="stable")[:SAMPLE]
        return DistinctSample(
            np.concatenate([self.rows, new[first[unlike]]])[order],
            ranks[order],
            np.concatenate([self.keys, keys[unlike]])[order],
            self.full or len(ranks) > SAMPLE,
        )

    @property
    def count(self) -> int:
        """How many distinct environments there were: exact as long as the sample has all, then to 4 %."""
        if not self.full:
            return len(self.rows)
        return max(len(self.rows), round((len(self.rows) - 1) * _RANKS / float(self.ranks[-1])))

    def _unlike(self, new: Float) -> NDArray[np.int64]:
        """Which rows of ``new`` equal none of the sample and none before them, up to rounding; at most one more than fit."""
        kept: list[int] = []
        pool = np.concatenate([self.rows, np.zeros((min(len(new), SAMPLE + 1), new.shape[1]))])
        lengths = _lengths(pool)
        for number, (vector, length) in enumerate(zip(new, _lengths(new), strict=True)):
            n = len(self.rows) + len(kept)
            near = np.flatnonzero(np.abs(lengths[:n] - length) <= ALIKE * length)
            if not _alike(vector, pool[near]).any():
                kept.append(number)
                pool[n], lengths[n] = vector, length
            if len(kept) > SAMPLE:
                break
        return np.asarray(kept, dtype=np.int64)


def _lengths(rows: Float) -> Float:
    found: Float = np.sqrt((rows**2).sum(axis=1))
    return found


def hashes(rows: Float, seed: int) -> Ranks:
    """Hash each of ``rows`` (n, d) to a number, (n,) uint64; rows that differ by rounding have almost always the same.

    Parameters
    ----------
    rows : (n, d)
        Descriptors.
    seed
        Another seed gives other numbers.

    Examples
    --------
    >>> row = np.array([[1.0, 2.0, 3.0]])
    >>> bool(hashes(row, seed=0) == hashes(row * (1.0 + 1e-12), seed=0)), bool(hashes(row, 0) == hashes(row + 0.1, 0))
    (True, False)
    """
    lengths = _lengths(rows)
    # scale by the power of two below the length, which rounding does not change
    scales = np.exp2(np.floor(np.log2(np.maximum(lengths, 1e-150)))) * _COARSE
    coarse = np.rint(rows / scales[:, None]).astype(np.int64)
    key = str(seed).encode()[-64:]
    found = [
        int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8, key=key).digest(), "little") for row in coarse
    ]
    return np.array(found, dtype=np.uint64)


def alike(vectors: Float, rows: Float) -> NDArray[np.bool_]:
    """Whether each of ``vectors`` (n, d) equals one of ``rows`` (m, d) up to rounding, (n,) bool.

    Examples
    --------
    >>> known = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> alike(np.array([[3.0, 4.0 + 1e-9], [3.0, 4.1]]), known).tolist()
    [True, False]
    """
    return np.array([_alike(vector, rows).any() for vector in vectors], dtype=bool)


def _alike(vector: Float, rows: Float) -> NDArray[np.bool_]:
    """Which of ``rows`` (n, d) equal ``vector`` (d,) up to rounding, (n,) bool."""
    close: NDArray[np.bool_] = ((rows - vector) ** 2).sum(axis=1) <= ALIKE**2 * float(vector @ vector)
    return close
