"""Which structures each gradient step takes: from shuffled passes over a set, reproducibly, and with a state that can be kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from idealflow.errors import InputError

__all__ = ["Draws"]


class Draws:
    """Batches of indices. Each set is gone through in shuffled order, again and again, and gives every batch its share.

    Parameters
    ----------
    sizes
        Number of structures in each set. Indices count through all sets: those of the second begin where the first ends.
    shares
        How many structures of each set a batch holds; of a set with fewer, all of them.
    seed
        Seed of the order.

    Raises
    ------
    InputError
        If no batch would hold anything.

    Examples
    --------
    Two of three new structures (0 to 2) and one of four old ones (3 to 6) in every batch:

    >>> draws = Draws([3, 4], [2, 1], seed=0)
    >>> batches = [draws.next() for _ in range(3)]
    >>> sorted(index for batch in batches for index in batch[:2])  # the new ones, each twice
    [0, 0, 1, 1, 2, 2]
    >>> all(3 <= batch[2] <= 6 for batch in batches)
    True

    The state says where it stands:

    >>> state = draws.state()
    >>> following = draws.next()
    >>> draws.restore(state)
    >>> draws.next() == following
    True
    """

    def __init__(self, sizes: Sequence[int], shares: Sequence[int], seed: int) -> None:
        self._sizes = list(sizes)
        self._shares = [min(share, size) for share, size in zip(shares, sizes, strict=True)]
        if sum(self._shares) < 1:
            raise InputError(
                f"a batch must hold at least one structure, got sets of {list(sizes)} and shares {list(shares)}"
            )
        self._rng = np.random.default_rng(seed)
        self._queues: list[list[int]] = [[] for _ in sizes]

    def next(self) -> list[int]:
        """Return the indices of the next batch."""
        picked: list[int] = []
        start = 0
        for size, share, queue in zip(self._sizes, self._shares, self._queues, strict=True):
            while len(queue) < share:
                queue.extend(self._rng.permutation(size).tolist())
            picked.extend(start + index for index in queue[:share])
            del queue[:share]
            start += size
        return picked

    def state(self) -> dict[str, Any]:
        """Return where it stands, as plain values."""
        return {"queues": [list(queue) for queue in self._queues], "rng": self._rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state`."""
        self._queues = [list(queue) for queue in state["queues"]]
        self._rng.bit_generator.state = state["rng"]
