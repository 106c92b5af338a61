"""Neighbours on a torch device: the bins of :class:`NeighbourGrid`, searched by operations on whole tensors.

Numpy sorts the atoms into bins, in a time that is linear and short; the bins that a centre's sphere can reach are searched on the
device. Arithmetic and order are those of the compiled search, so both find the same pairs, images included.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from idealflow.core.descriptors.neighbours import NeighbourGrid

__all__ = ["TorchGrid", "TorchPairs"]


class TorchPairs(NamedTuple):
    """Neighbours of some centres, in the order of the centres.

    Attributes
    ----------
    centre : (n_pairs,) int64
        Number of the centre among those asked for, ascending.
    j : (n_pairs,) int64
        Index of the neighbour.
    shift : (n_pairs, 3) int64
        Image of the neighbour, in cell vectors.
    vec : (n_pairs, 3) float64, Å
        From the centre to the neighbour.

    Examples
    --------
    >>> from ase.build import bulk
    >>> crystal = bulk("Cu", cubic=True)
    >>> grid = NeighbourGrid(crystal.positions, crystal.cell.array, crystal.pbc, cutoff=2.6)
    >>> pairs = TorchGrid(grid, torch.device("cpu")).pairs(torch.tensor([2]))
    >>> len(pairs.j), pairs.centre.unique().tolist()
    (12, [0])
    """

    centre: Tensor
    j: Tensor
    shift: Tensor
    vec: Tensor


class TorchGrid:
    """The sorted atoms of one frame on a device.

    Parameters
    ----------
    grid
        The atoms in their bins.
    device
        Where to search.

    Examples
    --------
    >>> from ase.build import bulk
    >>> crystal = bulk("Cu", cubic=True)
    >>> grid = NeighbourGrid(crystal.positions, crystal.cell.array, crystal.pbc, cutoff=2.6)
    >>> TorchGrid(grid, torch.device("cpu")).pairs(torch.arange(4)).vec.shape
    torch.Size([48, 3])
    """

    def __init__(self, grid: NeighbourGrid, device: torch.device) -> None:
        atoms = grid.sorted_atoms
        self._cutoff2 = grid.cutoff**2
        self._periodic = atoms.periodic.tolist()
        self._bins, self._reach = atoms.bins.tolist(), atoms.reach.tolist()
        self._cell, self._starts, self._slot, self._home, self._x, self._order, self._wraps = (
            torch.from_numpy(array).to(device)
            for array in (atoms.cell, atoms.starts, atoms.slot, atoms.home, atoms.x.T.copy(), atoms.order, atoms.wraps)
        )

    def pairs(self, centres: Tensor) -> TorchPairs:
        """Neighbours of the atoms at ``centres`` (n_centres,) int64."""
        own, home = self._slot[centres].long(), self._home[centres].long()
        first, end, images = self._runs(home)
        n_runs = first.shape[1]
        lengths = (end - first).flatten()
        ends = lengths.cumsum(0)
        n = int(ends[-1]) if len(ends) else 0
        run = torch.repeat_interleave(torch.arange(len(lengths), device=first.device), lengths, output_size=n)
        slot = torch.arange(n, device=first.device) + (first.flatten() - ends + lengths)[run]
        # shift vectors and centre first, then the neighbour: the order of the compiled search, so the same bits
        t = images.to(self._cell.dtype)
        offset = t[..., 0:1] * self._cell[0] + t[..., 1:2] * self._cell[1] + t[..., 2:3] * self._cell[2]
        vec = self._x[slot] + (offset - self._x[own][:, None, :]).reshape(-1, 3)[run]
        x, y, z = vec.unbind(1)
        at_home = (images == 0).all(dim=2).flatten()[run]
        itself = at_home & (slot == own[run // n_runs])
        near = torch.nonzero((x * x + y * y + z * z < self._cutoff2) & ~itself)[:, 0]
        run, vec = run[near], vec[near]
        j, centre = self._order[slot[near]].long(), run // n_runs
        shift = images.reshape(-1, 3)[run] - self._wraps[j] + self._wraps[centres[centre]]
        return TorchPairs(centre, j, shift, vec)

    def _runs(self, home: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Slots a sphere can reach, as runs along the third axis: first and end (n_centres, n_runs), image (…, 3)."""
        n0, n1, n2 = self._bins
        r0, r1, r2 = self._reach
        device = home.device
        o0 = (home // (n2 * n1))[:, None] + torch.arange(-r0, r0 + 1, device=device)
        o1 = (home // n2 % n1)[:, None] + torch.arange(-r1, r1 + 1, device=device)
        t0, t1 = o0 // n0, o1 // n1
        t2 = torch.arange(-r2 // n2, (n2 - 1 + r2) // n2 + 1, device=device)
        low, high = (home % n2)[:, None] - r2 - t2 * n2, (home % n2)[:, None] + r2 - t2 * n2
        low, high = low.clamp(min=0), high.clamp(max=n2 - 1)
        row = ((o0 - t0 * n0)[:, :, None] * n1 + (o1 - t1 * n1)[:, None, :]) * n2
        shape = (len(home), o0.shape[1], o1.shape[1], len(t2))
        wide = t0[:, :, None, None], t1[:, None, :, None], t2[None, None, None, :]
        images = torch.stack([t.expand(shape) for t in wide], dim=-1)
        there = (low <= high)[:, None, None, :].expand(shape)
        for axis in range(3):
            if not self._periodic[axis]:
                there = there & (images[..., axis] == 0)
        bins = row[..., None] + low[:, None, None, :], row[..., None] + high[:, None, None, :] + 1
        first, end = (self._starts[torch.where(there, b, 0)].flatten(1) for b in bins)
        return first, end, images.flatten(1, 3)
