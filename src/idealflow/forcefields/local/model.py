"""Energy of atoms from the densities around them: invariants, and one small network per species.

With A[i, k, lm] a learned contraction of the densities over neighbour species and radial functions, the invariants
A[k, 00] and Σ_m A[k, lm] A[k', lm] of an atom go through a network and a linear map of its species (density trick:
Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013); Drautz, Phys. Rev. B 99, 014104 (2019)).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["LocalModel"]

_L_MAX = 3


class LocalModel(nn.Module):
    """Atomic energies.

    Parameters
    ----------
    n_species, n_radial
        Shape of the densities.
    n_channels
        Densities kept after the learned contraction.
    hidden
        Widths of the networks' hidden layers.

    Attributes
    ----------
    reference : (n_species,) float64
        Energy of each species' atom that predictions are relative to, eV.
    scale
        Energy of one unit of network output, eV.
    mean, spread : (n_species, n_features)
        Standardisation of the invariants.
    seen : (n_species,) bool
        Species that were in the training data.
    """

    reference: Tensor
    scale: Tensor
    mean: Tensor
    spread: Tensor
    seen: Tensor
    upper: Tensor

    def __init__(self, n_species: int, n_radial: int, n_channels: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.n_species, self.n_radial, self.n_channels = n_species, n_radial, n_channels
        upper = torch.triu_indices(n_channels, n_channels)
        self.register_buffer("upper", upper[0] * n_channels + upper[1], persistent=False)
        n_features = n_channels + upper.shape[1] * (_L_MAX + 1)
        eye = torch.eye(n_radial, n_channels).repeat(n_species, 1)
        self.contraction = nn.Parameter(eye + (n_species > 1) * 0.5 * torch.randn(eye.shape))
        sizes = [n_features, *hidden]
        self.weights = nn.ParameterList(
            [nn.Parameter(torch.randn(n_species, a, b) / np.sqrt(a)) for a, b in pairwise(sizes)]
        )
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(n_species, b)) for b in sizes[1:]])
        self.readout = nn.Parameter(torch.randn(n_species, sizes[-1]) * 0.1 / np.sqrt(sizes[-1]))
        self.linear = nn.Parameter(torch.zeros(n_species, n_features))
        self.register_buffer("reference", torch.zeros(n_species, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("mean", torch.zeros(n_species, n_features))
        self.register_buffer("spread", torch.ones(n_species, n_features))
        self.register_buffer("seen", torch.zeros(n_species, dtype=torch.bool))

    def features(self, density: Tensor) -> Tensor:
        """Invariants of each atom, (n, n_features), from its densities (n, n_species * n_radial, 16)."""
        a = density.transpose(1, 2) @ self.contraction
        parts = [a[:, 0]]
        for l in range(_L_MAX + 1):
            block = a[:, l * l : (l + 1) ** 2]
            gram = block.transpose(1, 2) @ block / np.sqrt(2 * l + 1)
            parts.append(gram.flatten(1).index_select(1, self.upper))
        return torch.cat(parts, dim=1)

    def forward(self, density: Tensor, kind: Tensor) -> Tensor:
        """Energy of each atom relative to its species' reference, eV, (n,)."""
        features = self.features(density)
        energy = torch.zeros(len(features), dtype=features.dtype)
        for s, rows in self._of_species(kind):
            x = (features[rows] - self.mean[s]) / self.spread[s]
            h = x
            for weight, bias in zip(self.weights, self.biases, strict=True):
                h = nn.functional.silu(h @ weight[s] + bias[s])
            energy = energy.index_add(0, rows, h @ self.readout[s] + x @ self.linear[s])
        return energy * self.scale

    def _of_species(self, kind: Tensor) -> Iterator[tuple[int, Tensor]]:
        for s in range(self.n_species):
            rows = torch.nonzero(kind == s)[:, 0]
            if len(rows):
                yield s, rows
