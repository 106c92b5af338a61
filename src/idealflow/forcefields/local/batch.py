"""Structures as padded tensors, and energies, forces and stresses from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from idealflow.core.descriptors import neighbour_pairs
from idealflow.forcefields.local.model import Environments, LocalModel

__all__ = ["Geometry", "collated", "evaluated", "geometry_of"]


@dataclass(frozen=True)
class Geometry:
    """Neighbours of one structure, ready to be batched.

    Attributes
    ----------
    kind : (n,) int64
    counts : (n,) int64
        Neighbours of each atom.
    j : (n_pairs,) int64
    vec : (n_pairs, 3), Å
    volume
        Å³; 0 if the structure has none.
    """

    kind: NDArray[np.int64]
    counts: NDArray[np.int64]
    j: NDArray[np.int64]
    vec: NDArray[np.float64]
    volume: float


def geometry_of(atoms: Atoms, kind: NDArray[np.int64], cutoff: float) -> Geometry:
    """Neighbours within the cutoff."""
    pairs = neighbour_pairs(atoms.positions, np.asarray(atoms.cell), atoms.pbc, cutoff)
    volume = float(atoms.get_volume()) if atoms.cell.rank == 3 else 0.0
    return Geometry(kind, np.diff(pairs.offsets), pairs.j.astype(np.int64), pairs.vec, volume)


def collated(geometries: Sequence[Geometry], cutoff: float, dtype: torch.dtype) -> Environments:
    """One batch of several structures, padded to the most neighbours; padding lies beyond the cutoff."""
    counts = np.concatenate([geometry.counts for geometry in geometries])
    most = max(1, int(counts.max(initial=0)))
    starts = np.cumsum([0, *(len(geometry.kind) for geometry in geometries)])
    filled = np.arange(most)[None, :] < counts[:, None]
    j = np.zeros((len(counts), most), dtype=np.int64)
    vec = np.full((len(counts), most, 3), 2.0 * cutoff)
    j[filled] = np.concatenate([geometry.j + start for geometry, start in zip(geometries, starts, strict=False)])
    vec[filled] = np.concatenate([geometry.vec for geometry in geometries])
    graph = np.repeat(np.arange(len(geometries)), np.diff(starts))
    volume = np.array([geometry.volume if geometry.volume > 0 else 1.0 for geometry in geometries])
    return Environments(
        torch.from_numpy(np.concatenate([geometry.kind for geometry in geometries])),
        torch.from_numpy(graph),
        torch.from_numpy(j),
        torch.from_numpy(vec).to(dtype),
        torch.from_numpy(volume).to(dtype),
    )


def evaluated(model: LocalModel, env: Environments, *, train: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Energies of the structures relative to their atoms' references, forces, and stresses.

    Returns
    -------
    energies : (n_graphs,), eV
        Summed in double precision.
    forces : (n, 3), eV/Å
    stresses : (n_graphs, 3, 3), eV/Å³
    """
    vec = env.vec.detach().requires_grad_()
    atomic = model(env._replace(vec=vec))
    (slope,) = torch.autograd.grad(atomic.sum(), vec, create_graph=train)
    forces = slope.sum(1).index_add(0, env.j.reshape(-1), slope.reshape(-1, 3), alpha=-1)
    n_graphs = len(env.volume)
    virial = torch.zeros((n_graphs, 3, 3), dtype=slope.dtype).index_add(0, env.graph, torch.einsum("ima,imb->iab", vec, slope))
    energies = torch.zeros(n_graphs, dtype=torch.float64).index_add(0, env.graph, atomic.double())
    return energies, forces, virial / env.volume[:, None, None]
