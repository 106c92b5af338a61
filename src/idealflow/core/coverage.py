"""Coverage: environments near one that was labelled and learned do not ask for another label.

Adding m copies of an outlier of uncertainty U to n samples leaves about U / (1 + m U / n): with a large n a labelled
environment stays uncertain for ever. So an atom is *covered* when the nearest accepted and learned centre c of its
species has δ(v, c) = |W (v − c)|² / k ≤ 2 τ, with W the current whitener. Quarantined centres (whose label failed for
good) cover in the same way until they are forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from idealflow.core.distribution import Whitener

__all__ = ["COVER_RADIUS", "Coverage"]

#: δ ≤ COVER_RADIUS · τ is covered; measured: ≤ τ spends three times the labels, ≤ 5 τ hides interstitials
COVER_RADIUS = 2.0

_BLOCK = 256

Float = NDArray[np.float64]


@dataclass
class Coverage:
    """Descriptors of the centres of one species that cover.

    Attributes
    ----------
    learned, quarantined : list of (d,) arrays
    """

    learned: list[Float] = field(default_factory=list)
    quarantined: list[Float] = field(default_factory=list)
    _whitened: Float | None = field(default=None, repr=False)
    _whitener: Whitener | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.learned) + len(self.quarantined)

    def prepare(self, whitener: Whitener) -> Float:
        """All covering centres, whitened (m, k); done once for a whitener and a set of centres."""
        if self._whitened is None or self._whitener is not whitener or len(self._whitened) != len(self):
            self._whitened = whitener(np.array([*self.learned, *self.quarantined]))
            self._whitener = whitener
        return self._whitened

    def forget_quarantined(self) -> None:
        """Drop the quarantined centres."""
        self.quarantined.clear()
        self._whitened = None

    def covered(self, vectors: Float, whitener: Whitener, threshold: float) -> NDArray[np.bool_]:
        """Whether each of ``vectors`` (n, d) has a covering centre within 2 τ, (n,)."""
        out = np.zeros(len(vectors), dtype=bool)
        if len(vectors) and len(self):
            centres = self.prepare(whitener)
            limit = COVER_RADIUS * threshold * whitener.k
            for start in range(0, len(vectors), _BLOCK):
                part = slice(start, start + _BLOCK)
                out[part] = nearest(whitener(vectors[part]), centres) <= limit
        return out


def nearest(points: Float, centres: Float) -> Float:
    """Squared distance from each of ``points`` (n, k) to the nearest of ``centres`` (m, k), (n,).

    Candidates are found by |p|² + |c|² − 2 p·c; the nearest one's distance is then taken directly, without the
    cancellation, so that a point that is a centre has distance zero.
    """
    squared = (centres**2).sum(axis=1)[None, :] - 2.0 * points @ centres.T
    best = centres[np.argmin(squared, axis=1)]
    distance: Float = ((points - best) ** 2).sum(axis=1)
    return distance
