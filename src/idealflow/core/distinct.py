"""A uniform sample of bounded size of the distinct environments that stream by, and how many there were.

Copies of one environment (the atoms of a perfect crystal, a structure that is in the data twice) say no more than one. Each
environment has a rank that is a hash of its descriptor, so that copies have the same; the sample holds those of the lowest ranks
(a bottom-k sketch: Cohen and Kaplan, 2007). It does not depend on how the stream is cut or ordered, and the highest rank kept
says how many distinct environments there were.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIKE", "SAMPLE", "DistinctSample", "alike"]

#: environments kept
SAMPLE = 512

#: descriptors closer than this fraction of their length are one environment: what rounding of coordinates does
ALIKE = 1e-6

_RANKS = 2.0**64
_COARSE = 2.0**-20  # of the length: what is hashed is rounded to this

Float = NDArray[np.float64]
Ranks = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class DistinctSample:
    """The distinct environments of lowest rank.

    Attributes
    ----------
    rows : (n, d), at most :data:`SAMPLE`, of ascending rank
    ranks : (n,) uint64
    keys : (n,) uint64
        Hashes of the rows: their ranks, but for a sample that was not made here (:meth:`of_uniform`).
    full
        Whether some were left out.
    """

    rows: Float
    ranks: Ranks
    keys: Ranks
    full: bool = False

    @classmethod
    def empty(cls, dimension: int) -> DistinctSample:
        """A sample of nothing, of descriptors of this length."""
        nothing = np.zeros(0, dtype=np.uint64)
        return cls(np.zeros((0, dimension)), nothing, nothing)

    @classmethod
    def of_uniform(cls, rows: Float, n: int, seed: int) -> DistinctSample:
        """What a uniform sample ``rows`` of ``n`` environments, copies and all, says of the distinct ones.

        Environments that the sample has once stand for as many as it is short of ``n``; one that it has twice or more is a
        frequent one, and counted as one.
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
        """The sample after ``new`` rows (m, d) have followed."""
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
        """How many distinct environments there were: exact while the sample holds all, then good to 4 %."""
        if not self.full:
            return len(self.rows)
        return max(len(self.rows), round((len(self.rows) - 1) * _RANKS / float(self.ranks[-1])))

    def _unlike(self, new: Float) -> NDArray[np.int64]:
        """Which rows of ``new`` are like none of the sample and none before them, up to rounding; no more than can be of use."""
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
    """A hash of each of ``rows`` (n, d), the same for rows that differ by rounding alone (but for rare bad luck), (n,)."""
    lengths = _lengths(rows)
    # the length's power of two: a scale that rounding does not change
    scales = np.exp2(np.floor(np.log2(np.maximum(lengths, 1e-150)))) * _COARSE
    coarse = np.rint(rows / scales[:, None]).astype(np.int64)
    key = str(seed).encode()[-64:]
    found = [
        int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8, key=key).digest(), "little") for row in coarse
    ]
    return np.array(found, dtype=np.uint64)


def alike(vectors: Float, rows: Float) -> NDArray[np.bool_]:
    """Whether each of ``vectors`` (n, d) is one of ``rows`` (m, d), up to rounding, (n,)."""
    return np.array([_alike(vector, rows).any() for vector in vectors], dtype=bool)


def _alike(vector: Float, rows: Float) -> NDArray[np.bool_]:
    """Whether ``vector`` (d,) is one of ``rows`` (n, d), up to rounding, (n,)."""
    close: NDArray[np.bool_] = ((rows - vector) ** 2).sum(axis=1) <= ALIKE**2 * float(vector @ vector)
    return close
