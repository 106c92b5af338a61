"""Uncertainties on this machine's cores: descriptors in blocks of atoms, each block's results taken at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from idealflow.core.descriptors import SOAP, PreparedFrame
from idealflow.core.known import KnownEnvironments

__all__ = ["NumbaEngine"]

Float = NDArray[np.float64]


class NumbaEngine:
    """What an uncertainty model computes with numba; :class:`~idealflow.core.torch_engine.TorchEngine` does it on a device.

    ``chosen`` are indices of atoms of the frame, (n,), each once; ``known`` is what they are compared with.

    Parameters
    ----------
    soap
        The descriptor.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP
    >>> soap = SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3)
    >>> NumbaEngine(soap).descriptors(soap.prepare(bulk("Cu", cubic=True)), np.array([0, 2])).shape == (2, soap.n_features)
    True
    """

    device = None

    def __init__(self, soap: SOAP) -> None:
        self._soap = soap

    def descriptors(self, frame: PreparedFrame, chosen: NDArray[np.int64]) -> Float:
        """SOAP vectors of the chosen atoms, (n, n_features)."""
        return self._soap(frame, chosen)

    def distances(
        self, frame: PreparedFrame, chosen: NDArray[np.int64], known: KnownEnvironments, *, raw: bool
    ) -> Float:
        """Uncertainty of the chosen atoms, (n,); per dimension unless ``raw``."""
        kinds, values = frame.kinds[chosen], np.empty(len(chosen))
        known.prepare()

        def distances(part: slice, vectors: Float) -> None:
            values[part] = known.distances(vectors, kinds[part], raw=raw)

        for _ in self._soap.map_blocks(frame, chosen, distances):
            pass
        return values

    def value_and_gradient(
        self,
        frame: PreparedFrame,
        chosen: NDArray[np.int64],
        weights: Float,
        reference: Float | None,
        known: KnownEnvironments,
    ) -> tuple[float, Float, Float]:
        """Objective of the chosen atoms, and its gradient in positions (n_atoms, 3) and cell (3, 3), per Å.

        ``weights`` and ``reference`` are (n,), those of the chosen atoms.
        """
        kinds, parts = frame.kinds[chosen], np.full(len(chosen), np.inf)
        known.prepare()

        def adjoint(part: slice, vectors: Float) -> Float:
            own = None if reference is None else reference[part]
            parts[part], slopes = known.objective(vectors, kinds[part], weights[part], own)
            return slopes

        positions_gradient, cell_gradient = self._soap.pull_back(frame, chosen, adjoint)
        return float(parts.sum()), positions_gradient, cell_gradient

    def values_and_pull_back(
        self, frame: PreparedFrame, known: KnownEnvironments
    ) -> tuple[Float, Callable[[Float], tuple[Float, Float]]]:
        """Uncertainties of all atoms, (n,), and what gives the gradient of their weighted mean, in one pass.

        Weights are (n,), of sum 1; atoms of weight 0 cost nothing in the gradient.
        """
        values = np.empty(len(frame))
        known.prepare()

        def measure(part: slice, vectors: Float) -> Callable[[NDArray[np.int64], Float], Float]:
            values[part], slopes = known.measured(vectors, frame.kinds[part])
            return slopes

        blocks = self._soap.keep_blocks(frame, None, measure)

        def pull_back(weights: Float) -> tuple[Float, Float]:
            chosen = []
            for kept, slopes in blocks:
                rows = np.flatnonzero(weights[kept.part] > 0.0)
                if len(rows):
                    chosen.append((kept.only(rows), slopes(rows, weights[kept.part][rows])))
            return self._soap.reverse(frame, chosen)

        return values, pull_back

    def covered(
        self, frame: PreparedFrame, chosen: NDArray[np.int64], known: KnownEnvironments, threshold: float
    ) -> NDArray[np.bool_]:
        """Whether each of the chosen atoms is covered, (n,)."""
        kinds, out = frame.kinds[chosen], np.zeros(len(chosen), dtype=bool)
        known.prepare()

        def cover(part: slice, vectors: Float) -> None:
            out[part] = known.covered(vectors, kinds[part], threshold)

        for _ in self._soap.map_blocks(frame, chosen, cover):
            pass
        return out
