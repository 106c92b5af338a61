"""A uniform random sample of bounded size of everything that streams by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["RESERVOIR", "sampled"]

#: environments kept
RESERVOIR = 512

Float = NDArray[np.float64]


def sampled(kept: Float, new: Float, seen: int, rng: np.random.Generator) -> Float:
    """Sample after ``new`` rows have followed the ``seen`` ones that ``kept`` is a sample of (Vitter's algorithm R).

    Every row of the whole stream is in the sample with equal probability.
    """
    room = min(len(new), max(0, RESERVOIR - len(kept)))
    kept = np.concatenate([kept, new[:room]])
    if room < len(new):
        slots = rng.integers(0, seen + 1 + np.arange(room, len(new)))
        for row, slot in zip(range(room, len(new)), slots, strict=True):
            if slot < RESERVOIR:
                kept[slot] = new[row]
    return kept
