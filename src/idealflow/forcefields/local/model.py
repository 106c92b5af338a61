"""Energy of atoms from their neighbours: densities, their invariants, one small network per species.

A[i, k, lm] = Σ_j R_k^{s_j}(r_ij) Y_lm(r̂_ij) with R_k a learned contraction of a fixed radial basis; the invariants
Σ_m A[k, lm] A[k', lm] and A[k, 00] go through a network of the centre's species ("density trick": Bartók et al., Phys. Rev. B
87, 184115, 2013; Drautz, Phys. Rev. B 99, 014104, 2019). A Ziegler–Biersack–Littmark repulsion, switched off before
bonding distances, keeps unknown close contacts from collapsing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from ase.data import covalent_radii
from torch import Tensor, nn

__all__ = ["Environments", "LocalModel"]

_L_MAX = 3
_N_LM = (_L_MAX + 1) ** 2
_ZBL = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
_COULOMB = 14.399645  # e²/(4πε₀), eV Å


class Environments(NamedTuple):
    """Padded neighbours of a batch of atoms.

    Attributes
    ----------
    kind : (n,) int64
        Species index of each atom.
    graph : (n,) int64
        Structure it belongs to.
    j : (n, m) int64
        Neighbour index in the batch (0 where padded).
    vec : (n, m, 3), Å
        Vector to the neighbour (beyond the cutoff where padded).
    volume : (n_graphs,), Å³ (1 where there is none)
    """

    kind: Tensor
    graph: Tensor
    j: Tensor
    vec: Tensor
    volume: Tensor


class LocalModel(nn.Module):
    """Atomic energies.

    Parameters
    ----------
    numbers
        Atomic numbers of the species, ascending.
    cutoff
        Å.
    n_radial, n_channels, width
        Size of the radial basis, of its learned contraction, and of the networks' hidden layers.
    """

    def __init__(self, numbers: Sequence[int], cutoff: float, n_radial: int, n_channels: int, width: int) -> None:
        super().__init__()
        n_species = len(numbers)
        self.cutoff, self.n_radial, self.n_channels = cutoff, n_radial, n_channels
        pairs = torch.triu_indices(n_channels, n_channels)
        self.register_buffer("first", pairs[0], persistent=False)
        self.register_buffer("second", pairs[1], persistent=False)
        n_features = n_channels + pairs.shape[1] * (_L_MAX + 1)
        self.contraction = nn.Parameter(_initial_contraction(n_species, n_radial, n_channels))
        sizes = [n_features, width, width]
        self.weights = nn.ParameterList(
            [nn.Parameter(torch.randn(n_species, a, b) / np.sqrt(a)) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        )
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(n_species, b)) for b in sizes[1:]])
        self.readout = nn.Parameter(torch.randn(n_species, width) * 0.1 / np.sqrt(width))
        self.linear = nn.Parameter(torch.zeros(n_species, n_features))
        self.register_buffer("reference", torch.zeros(n_species, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("mean", torch.zeros(n_species, n_features))
        self.register_buffer("spread", torch.ones(n_species, n_features))
        self.register_buffer("charge", torch.tensor(numbers, dtype=torch.float32), persistent=False)
        radii = torch.tensor([covalent_radii[z] for z in numbers], dtype=torch.float32)
        self.register_buffer("contact", 0.7 * (radii[:, None] + radii[None, :]), persistent=False)

    def features(self, env: Environments) -> Tensor:
        """Invariants of each environment, (n, n_features)."""
        r = env.vec.square().sum(-1).sqrt()
        radial = _radial(r, self.cutoff, self.n_radial)
        angular = _harmonics(env.vec / r[..., None])
        neighbour = env.kind[env.j]
        # densities before contraction: one batched product per neighbour species
        density = torch.stack(
            [
                torch.einsum("imb,iml->ibl", radial * (neighbour == s)[..., None], angular)
                for s in range(self.contraction.shape[0])
            ],
            dim=1,
        )
        a = torch.einsum("sbk,isbl->ikl", self.contraction, density)
        parts = [a[:, :, 0]]
        for l in range(_L_MAX + 1):
            block = a[:, :, l * l : (l + 1) ** 2]
            gram = block @ block.transpose(1, 2) / np.sqrt(2 * l + 1)
            parts.append(gram[:, self.first, self.second])
        return torch.cat(parts, dim=1)

    def forward(self, env: Environments) -> Tensor:
        """Energy of each atom relative to its species' reference, eV, (n,)."""
        x = (self.features(env) - self.mean[env.kind]) / self.spread[env.kind]
        energy = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for s in range(self.contraction.shape[0]):
            rows = torch.nonzero(env.kind == s)[:, 0]
            if len(rows) == 0:
                continue
            h = inputs = x[rows]
            for weight, bias in zip(self.weights, self.biases, strict=True):
                h = nn.functional.silu(h @ weight[s] + bias[s])
            energy = energy.index_add(0, rows, (h @ self.readout[s] + inputs @ self.linear[s]) * self.scale)
        return energy + self._repulsion(env)

    def _repulsion(self, env: Environments) -> Tensor:
        """Half of the switched ZBL energy of each atom's pairs (Ziegler, Biersack, Littmark, 1985)."""
        r = env.vec.square().sum(-1).sqrt()
        kind_j = env.kind[env.j]
        outer = self.contact[env.kind[:, None], kind_j]
        if not bool((r < outer).any()):
            return torch.zeros(len(r), dtype=r.dtype, device=r.device)
        z_i, z_j = self.charge[env.kind][:, None], self.charge[kind_j]
        length = 0.46850 / (z_i**0.23 + z_j**0.23)
        screening = sum(c * torch.exp(-d * r / length) for c, d in _ZBL)
        t = torch.clamp(1.0 - r / outer, min=0.0)
        switch = 1.0 - (1.0 - t.square()).pow(3)  # vanishes with its slope at `outer`
        return 0.5 * (_COULOMB * z_i * z_j / r * screening * switch).sum(-1)


def _initial_contraction(n_species: int, n_radial: int, n_channels: int) -> Tensor:
    start = torch.randn(n_species, n_radial, n_channels) / np.sqrt(n_radial * n_species)
    eye = torch.eye(n_radial, n_channels)
    return start * 0.3 + eye / np.sqrt(n_species)


def _radial(r: Tensor, cutoff: float, n: int) -> Tensor:
    """Chebyshev polynomials of the scaled distance times a cutoff function that ends smoothly, (..., n)."""
    u = torch.clamp(r / cutoff, max=1.0)
    envelope = (1.0 - u.square()).pow(3)
    x = 2.0 * (1.0 - u).square() - 1.0  # denser where neighbours are close
    values = [torch.ones_like(x), x]
    for _ in range(2, n):
        values.append(2.0 * x * values[-1] - values[-2])
    return torch.stack(values[:n], dim=-1) * envelope[..., None]


def _harmonics(v: Tensor) -> Tensor:
    """Real spherical harmonics up to l = 3 of unit vectors, normalised to Σ_m Y² = 2l + 1, (..., 16)."""
    x, y, z = v.unbind(-1)
    x2, y2, z2 = x * x, y * y, z * z
    s3, s15, s5 = 3.0**0.5, 15.0**0.5, 5.0**0.5
    return torch.stack(
        [
            torch.ones_like(x),
            s3 * y, s3 * z, s3 * x,
            s15 * x * y, s15 * y * z, s5 / 2 * (3 * z2 - 1), s15 * x * z, s15 / 2 * (x2 - y2),
            (35 / 8) ** 0.5 * y * (3 * x2 - y2), 105**0.5 * x * y * z, (21 / 8) ** 0.5 * y * (5 * z2 - 1),
            7**0.5 / 2 * z * (5 * z2 - 3), (21 / 8) ** 0.5 * x * (5 * z2 - 1), 105**0.5 / 2 * z * (x2 - y2),
            (35 / 8) ** 0.5 * x * (x2 - 3 * y2),
        ],
        dim=-1,
    )  # fmt: skip
