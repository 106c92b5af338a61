"""Coverage: environments near one that was labelled and learned do not ask for another label.

Adding m copies of an outlier of uncertainty U to n samples leaves about U / (1 + m U / n): with a large n a labelled
environment stays uncertain for ever. So an atom is *covered* when for an accepted and learned centre c of its species

    δ(v, c) = |W (v − c)|² / k ≤ min(2 τ, 1.5 u(c)),

with W the current whitener and u(c) the centre's own uncertainty under it. The second bound keeps the ball of a mild
outlier, one just above the threshold, from reaching around the mean of the distribution: with 2 τ alone such a centre
silences whatever is mildly new in any other direction. Quarantined centres (whose label failed for good) cover in the
same way until they are forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from idealflow.core.whitening import Whitener

__all__ = ["COVER_RADIUS", "Coverage"]

#: covered up to δ = COVER_RADIUS · τ; measured: τ spends three times the labels, 5 τ hides interstitials
COVER_RADIUS = 2.0

#: and up to δ = REACH · u(c); measured on copper: 2 τ alone hides 7–10 % of an interstitial's uncertain atoms, this 2–4 %
REACH = 1.5

_BLOCK = 256

Float = NDArray[np.float64]


@dataclass
class Coverage:
    """Descriptors of the centres of one species that cover.

    Attributes
    ----------
    learned : list of (d,) arrays
        Centres whose labels were learned.
    quarantined : list of (d,) arrays
        Centres whose labels failed.

    Examples
    --------
    A centre of uncertainty 3 covers up to δ = min(2 · 3, 1.5 · 3) = 4.5 around it at a threshold of 3:

    >>> import numpy as np
    >>> from idealflow.core.whitening import Whitener
    >>> whitener = Whitener(np.zeros(1), np.array([[1.0]]), np.array([1.0]), np.array([1.0]), k=1.0)
    >>> coverage = Coverage(learned=[np.array([3.0**0.5])])
    >>> coverage.covered(np.array([[2.0], [3.8], [-1.0]]), whitener, threshold=3.0).tolist()
    [True, True, False]
    """

    learned: list[Float] = field(default_factory=list)
    quarantined: list[Float] = field(default_factory=list)
    _prepared: tuple[Float, Float, Float] | None = field(default=None, repr=False)
    _whitener: Whitener | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.learned) + len(self.quarantined)

    def prepare(self, whitener: Whitener) -> tuple[Float, Float, Float]:
        """All covering centres c; WᵀW (c − x̄), by which points are multiplied; and |W (c − x̄)|²; kept until either changes.

        Shapes (m, d), (m, d), (m,).
        """
        if self._prepared is None or self._whitener is not whitener or len(self._prepared[0]) != len(self):
            centres = np.array([*self.learned, *self.quarantined])
            measured = whitener.measured(centres)
            self._prepared = centres, 0.5 * whitener.slopes(centres, measured), measured[0]
            self._whitener = whitener
        return self._prepared

    def forget_quarantined(self) -> None:
        """Drop the quarantined centres: they cover no more."""
        self.quarantined.clear()
        self._prepared = None

    def covered(self, vectors: Float, whitener: Whitener, threshold: float, reach: float = REACH) -> NDArray[np.bool_]:
        """Whether each of ``vectors`` (n, d) lies within the reach of a covering centre, (n,); ``reach`` in place of 1.5."""
        out = np.zeros(len(vectors), dtype=bool)
        if len(vectors) and len(self):
            centres, turned, sizes = self.prepare(whitener)
            limits = np.minimum(COVER_RADIUS * threshold * whitener.k, reach * sizes)
            for start in range(0, len(vectors), _BLOCK):
                part = slice(start, start + _BLOCK)
                best = nearest(vectors[part] - whitener.mean, turned, sizes, limits)
                out[part] = whitener.between(vectors[part], centres[best]) <= limits[best]
        return out


def nearest(points: Float, turned: Float, sizes: Float, limits: Float) -> NDArray[np.int64]:
    """The centre within whose limit each of ``points`` (n, d) lies, if it lies within any: indices (n,).

    It is the one of least |W (p − c)|² − limit, found by |W p|² + |W c|² − 2 p·WᵀW c. The distance from it is then taken
    directly, without the cancellation, so that a point that is a centre has distance zero.

    Parameters
    ----------
    points : (n, d)
        From the mean.
    turned : (m, d)
        The centres from the mean, times WᵀW.
    sizes, limits : (m,)
        Squared lengths of the whitened centres, and their squared reaches.
    """
    found: NDArray[np.int64] = np.argmin((sizes - limits)[None, :] - 2.0 * points @ turned.T, axis=1)
    return found
