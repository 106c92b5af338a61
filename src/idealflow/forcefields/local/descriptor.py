"""Frames and batches of frames as lists of neighbour pairs, and the calls of the compiled loops over pairs from torch."""

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
        Vector from atom i to the neighbour.
    volume
        Volume of the cell, Å³; 0 without a cell in three directions.

    Examples
    --------
    Neighbours of the second of three atoms in a row:

    >>> row = frame_of(Atoms("Cu3", [[0, 0, 0], [0, 0, 2], [0, 0, 4]]), np.zeros(3, dtype=np.int64), cutoff=3.0)
    >>> pairs = slice(*row.offsets[1:3])
    >>> row.j[pairs].tolist(), row.vec[pairs, 2].tolist()
    ([0, 2], [-2.0, 2.0])
    """

    kind: NDArray[np.int64]
    offsets: NDArray[np.int64]
    j: NDArray[np.int64]
    vec: NDArray[np.float64]
    volume: float


def frame_of(atoms: Atoms, kind: NDArray[np.int64], cutoff: float) -> Frame:
    """Find the neighbours of all atoms of a structure.

    Parameters
    ----------
    atoms
        Structure.
    kind : (n,) int64
        Species index of each atom.
    cutoff
        Distance up to which atoms are neighbours, Å.

    Examples
    --------
    Each atom of fcc copper has twelve neighbours at 2.55 Å:

    >>> from ase.build import bulk
    >>> frame = frame_of(bulk("Cu", cubic=True), np.zeros(4, dtype=np.int64), cutoff=3.0)
    >>> np.diff(frame.offsets).tolist(), frame.vec.shape, round(frame.volume, 2)
    ([12, 12, 12, 12], (48, 3), 47.05)
    """
    with kernels.threads_for(len(kind)):
        pairs = neighbour_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    volume = float(atoms.cell.volume) if atoms.cell.rank == 3 else 0.0
    return Frame(kind, pairs.offsets, pairs.j.astype(np.int64), pairs.vec, volume)


@dataclass(frozen=True)
class Batch:
    """Several structures in one set of arrays, the atoms of each after those of the one before.

    Attributes
    ----------
    kind, offsets, j, vec
        As in :class:`Frame`; ``vec`` in the precision to compute in.
    graph : (n,) int64
        Index of the structure to which each atom belongs.
    n_graphs
        Number of structures.
    cutoff
        Distance up to which atoms are neighbours, Å.
    n_species, n_radial
        Number of species and of radial functions.

    Examples
    --------
    Two dimers; atoms 2 and 3 are the second one:

    >>> dimer = frame_of(Atoms("Cu2", [[0, 0, 0], [0, 0, 2]]), np.zeros(2, dtype=np.int64), cutoff=3.0)
    >>> batch = joined([dimer, dimer], 3.0, n_species=1, n_radial=5, dtype=np.float32)
    >>> batch.graph.tolist(), batch.j.tolist()
    ([0, 0, 1, 1], [1, 0, 3, 2])
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
    """Join structures to one batch.

    Parameters
    ----------
    frames
        Structures, at least one.
    cutoff, n_species, n_radial
        As in :class:`Batch`.
    dtype
        Precision of the batch's vectors, and so of all that is computed from them.

    Examples
    --------
    >>> dimer = frame_of(Atoms("Cu2", [[0, 0, 0], [0, 0, 2]]), np.zeros(2, dtype=np.int64), cutoff=3.0)
    >>> batch = joined([dimer, dimer, dimer], 3.0, n_species=1, n_radial=5, dtype=np.float32)
    >>> batch.n_graphs, batch.vec.shape, batch.vec.dtype.name
    (3, (6, 3), 'float32')
    """
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
    """Densities around every atom of a batch, (n, n_species * n_radial, 16): :func:`kernels.densities` as a tensor.

    Examples
    --------
    >>> from ase.build import bulk
    >>> frame = frame_of(bulk("Cu", cubic=True), np.zeros(4, dtype=np.int64), cutoff=3.0)
    >>> densities(joined([frame], 3.0, n_species=1, n_radial=5, dtype=np.float32)).shape
    torch.Size([4, 5, 16])
    """
    out = np.empty((len(batch.kind), batch.n_species * batch.n_radial, kernels.N_LM), dtype=batch.vec.dtype)
    with kernels.threads_for(len(batch.kind)):
        kernels.densities(*batch.basis, out)
    return torch.from_numpy(out)


def forces_and_virials(batch: Batch, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Forces and virials from the gradient of the energy in the densities; torch can differentiate them in that gradient.

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

    Examples
    --------
    With E the sum of the densities' first components, two atoms pull at each other with opposite forces:

    >>> dimer = frame_of(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]]), np.zeros(2, dtype=np.int64), cutoff=4.0)
    >>> batch = joined([dimer], 4.0, n_species=1, n_radial=1, dtype=np.float32)
    >>> weight = torch.zeros(2, 1, 16)
    >>> weight[:, 0, 0] = 1.0
    >>> forces, virials = forces_and_virials(batch, weight)
    >>> forces[:, 2].tolist(), virials[0, 2, 2].item()  # each atom's density falls by 0.421875 per Å
    ([-0.84375, 0.84375], -1.6875)
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
