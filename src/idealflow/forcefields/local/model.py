"""Energy of atoms from the densities around them: invariants, and one small network per species.

A[i, k, lm] is a learned contraction of the densities around atom i over neighbour species and radial functions. The invariants
A[i, k, 00] and Σ_m A[i, k, lm] A[i, k', lm] are the input of a network and of a linear map, both those of the atom's species,
whose outputs are added (density trick: Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013); Drautz, Phys. Rev. B 99, 014104
(2019)).
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
    """Network that maps the densities around atoms to atomic energies.

    Parameters
    ----------
    n_species, n_radial
        Numbers of species and of radial functions of the densities.
    n_channels
        Number of channels to which the learned contraction reduces the densities of all species and radial functions.
    hidden
        Widths of the networks' hidden layers.

    Attributes
    ----------
    reference : (n_species,) float64
        Reference energy of an atom of each species, eV; predictions are relative to it.
    scale
        Energy of one unit of network output, eV.
    mean, spread : (n_species, n_features)
        Mean and standard deviation with which the invariants are standardised.
    seen : (n_species,) bool
        Whether each species was in the training data.

    Examples
    --------
    Inverting the surroundings of an atom flips the signs of odd l, and leaves its energy as it is:

    >>> model = LocalModel(n_species=1, n_radial=4, n_channels=3, hidden=[8])
    >>> density, kind = torch.rand(5, 4, 16), torch.zeros(5, dtype=torch.int64)
    >>> parity = torch.tensor([1.0] + [-1.0] * 3 + [1.0] * 5 + [-1.0] * 7)
    >>> model(density, kind).shape, torch.allclose(model(density, kind), model(density * parity, kind))
    (torch.Size([5]), True)
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
