"""Squared distances of descriptors on a torch device: what :mod:`~idealflow.core.residuals` does, as whole tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idealflow.core.residuals import CANCELLED
from idealflow.core.whitening import Whitener

__all__ = ["TorchMetric"]

#: directions that are taken out of a vector before the lengths of the rest are subtracted
_FIRST = 8


class TorchMetric:
    """A whitener's squared lengths on a device, in double precision; gradients are torch's.

    Parameters
    ----------
    whitener
        The metric.
    device
        Where tensors are.

    Examples
    --------
    >>> whitener = Whitener(np.zeros(2), np.array([[1.0, 0.0]]), np.array([0.5]), np.array([1.0, 1.0]), k=2.0)
    >>> metric = TorchMetric(whitener, torch.device("cpu"))
    >>> metric.squared(torch.tensor([[2.0, 0.0], [2.0, 1.0]], dtype=torch.float64)).tolist()
    [1.0, 2.0]
    """

    def __init__(self, whitener: Whitener, device: torch.device) -> None:
        def moved(array: NDArray[np.float64]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self.whitener = whitener
        self.mean, self._weights, self._floor = moved(whitener.mean), moved(whitener.scales**2), whitener.floor
        self._first, self._others = moved(whitener.directions[:_FIRST]), moved(whitener.directions[_FIRST:])
        apart = whitener.apart
        self._apart = torch.from_numpy(apart).to(device)
        self._others_apart = moved(whitener.directions[_FIRST:, apart])
        self._more = moved(whitener.rest[apart] ** 2 - whitener.floor)

    def squared(self, vectors: Tensor, origin: Tensor | None = None) -> Tensor:
        """Squared length of each whitened vector, (n,), of ``vectors`` (n, d) from ``origin`` (n, d), or from the mean."""
        rest = vectors - (self.mean if origin is None else origin)
        first = rest @ self._first.T
        rest = rest - first @ self._first
        others = rest @ self._others.T
        left = (rest**2).sum(dim=1)
        distance = (torch.cat([first, others], dim=1) ** 2 * self._weights).sum(dim=1)
        if len(self._apart):
            distance = distance + ((rest[:, self._apart] - others @ self._others_apart) ** 2 * self._more).sum(dim=1)
        difference = torch.relu(left - (others**2).sum(dim=1))
        cancelled = (self._floor * left > CANCELLED * (distance + self._floor * difference)).detach()
        if bool(cancelled.any()):
            whole = ((rest - others @ self._others) ** 2).sum(dim=1)
            difference = torch.where(cancelled, whole, difference)
        return distance + self._floor * difference
