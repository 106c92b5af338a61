"""Frames as batches of neighbour pairs, and the two places where torch meets the loops over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from idealflow.core.descriptors import neighbour_pairs
from idealflow.forcefields.local import kernels

__all__ = ["Batch", "Frame", "densities", "forces_and_virials", "frame_of", "joined"]


@dataclass(frozen=True)
class Frame:
    """One structure and its neighbour pairs.

    Attributes
    ----------
    kind : (n,) int64
        Species index of each atom.
    offsets : (n + 1,) int64
        Pairs of atom i are ``offsets[i]:offsets[i + 1]``.
    j : (n_pairs,) int64
        Neighbour of each pair.
    vec : (n_pairs, 3), Å
        Vector to it.
    volume
        Å³; 0 if the structure has none.
    """

    kind: NDArray[np.int64]
    offsets: NDArray[np.int64]
    j: NDArray[np.int64]
    vec: NDArray[np.float64]
    volume: float


def frame_of(atoms: Atoms, kind: NDArray[np.int64], cutoff: float) -> Frame:
    """A structure with its neighbours within the cutoff (Å)."""
    with kernels.threads_for(len(kind)):
        pairs = neighbour_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    volume = float(atoms.cell.volume) if atoms.cell.rank == 3 else 0.0
    return Frame(kind, pairs.offsets, pairs.j.astype(np.int64), pairs.vec, volume)


@dataclass(frozen=True)
class Batch:
    """Several structures as one: atoms one after another, ``graph`` (n,) int64 saying to which structure each belongs.

    ``kind``, ``offsets``, ``j`` and ``vec`` as in :class:`Frame`, ``vec`` in the precision to compute in.
    """

    kind: NDArray[np.int64]
    graph: NDArray[np.int64]
    offsets: NDArray[np.int64]
    j: NDArray[np.int64]
    vec: NDArray[Any]
    n_graphs: int
    cutoff: float
    n_species: int
    n_radial: int

    @property
    def basis(self) -> tuple[Any, ...]:
        """Leading arguments of the kernels."""
        return self.vec, self.offsets, self.j, self.kind, self.vec.dtype.type(self.cutoff), self.n_radial


def joined(frames: Sequence[Frame], cutoff: float, n_species: int, n_radial: int, dtype: Any) -> Batch:
    """One batch of all structures."""
    sizes = [len(frame.kind) for frame in frames]
    first_atom = np.cumsum([0, *sizes[:-1]])
    first_pair = np.cumsum([0, *(len(frame.j) for frame in frames[:-1])])
    offsets = [frame.offsets[:-1] + start for frame, start in zip(frames, first_pair, strict=True)]
    n_pairs = sum(len(frame.j) for frame in frames)
    return Batch(
        kind=np.concatenate([frame.kind for frame in frames]),
        graph=np.repeat(np.arange(len(frames)), sizes),
        offsets=np.concatenate([*offsets, [n_pairs]]),
        j=np.concatenate([frame.j + start for frame, start in zip(frames, first_atom, strict=True)]),
        vec=np.concatenate([frame.vec for frame in frames]).astype(dtype),
        n_graphs=len(frames),
        cutoff=cutoff,
        n_species=n_species,
        n_radial=n_radial,
    )


def densities(batch: Batch) -> Tensor:
    """Densities around every atom, (n, n_species * n_radial, 16)."""
    out = np.empty((len(batch.kind), batch.n_species * batch.n_radial, kernels.N_LM), dtype=batch.vec.dtype)
    with kernels.threads_for(len(batch.kind)):
        kernels.densities(*batch.basis, out)
    return torch.from_numpy(out)


def forces_and_virials(batch: Batch, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Forces and virials from the gradient of the energy in the densities, and differentiable in it.

    Parameters
    ----------
    batch
        Structures.
    weight : (n, n_species * n_radial, 16)
        dE/d(density), eV.

    Returns
    -------
    forces : (n, 3), eV/Å
    virials : (n_graphs, 3, 3), eV
        dE/d(strain); divided by the volume it is the stress in ASE's sign.
    """
    forces, virials = _ForcesAndVirials.apply(weight, batch)  # type: ignore[no-untyped-call]  # torch's, untyped
    return forces, virials


class _ForcesAndVirials(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        ctx.batch = batch
        slopes = np.empty_like(batch.vec)
        with kernels.threads_for(len(batch.kind)):
            kernels.pair_slopes(*batch.basis, weight.detach().contiguous().numpy(), slopes)
        forces = np.zeros((len(batch.kind), 3), dtype=batch.vec.dtype)
        virials = np.zeros((batch.n_graphs, 3, 3), dtype=batch.vec.dtype)
        kernels.scatter_forces(
            batch.vec, batch.offsets, batch.j, np.arange(len(batch.kind)), batch.graph, slopes, forces, virials
        )
        return torch.from_numpy(forces), torch.from_numpy(virials)

    @staticmethod
    def backward(ctx: Any, by_forces: Tensor, by_virials: Tensor) -> tuple[Tensor, None]:
        batch = ctx.batch
        out = np.empty((len(batch.kind), batch.n_species * batch.n_radial, kernels.N_LM), dtype=batch.vec.dtype)
        motion = by_forces.contiguous().numpy(), by_virials.contiguous().numpy()
        with kernels.threads_for(len(batch.kind)):
            kernels.densities_along(*batch.basis, batch.graph, *motion, out)
        return torch.from_numpy(out), None
