"""Structures as graphs: atoms that receive messages, atoms that send them, and the vectors between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from idealflow.core.descriptors import Pairs, neighbour_pairs

__all__ = ["Frame", "Graph", "Part", "frame_of", "graph_of", "joined", "parts_of", "side_by_side", "surroundings_of"]

Float = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Frame:
    """One structure and its neighbour pairs.

    Attributes
    ----------
    kind : (n,) int64
        Species index of each atom.
    pairs
        Neighbours of every atom, in the order of the atoms.
    volume
        Volume of the cell, Å³, positive for left-handed cells too; 0 without a cell in three directions.
    reverse : (n_pairs,) int64
        Which pair is the same one seen from its other atom; None where no network asks for it.

    Examples
    --------
    >>> from ase.build import bulk
    >>> frame = frame_of(bulk("Cu", cubic=True), np.zeros(4, dtype=np.int64), cutoff=3.0)
    >>> frame.pairs.vec.shape, round(frame.volume, 2)
    ((48, 3), 47.05)
    """

    kind: Whole
    pairs: Pairs
    volume: float
    reverse: Whole | None = None

    @property
    def receiver(self) -> Whole:
        """Atom that receives the message of each pair, (n_pairs,)."""
        return np.repeat(np.arange(len(self.kind)), np.diff(self.pairs.offsets))


def frame_of(atoms: Atoms, kind: Whole, cutoff: float, *, undirected: bool = False) -> Frame:
    """Find the neighbours of all atoms of a structure, each direction as periodic as it is.

    Parameters
    ----------
    atoms
        The structure.
    kind : (n,) int64
        Species index of each atom.
    cutoff
        Distance up to which atoms are neighbours, Å.
    undirected
        Whether to find for each pair the same one seen from its other atom, too.

    Examples
    --------
    A wire along z: each atom sees its own images on both sides, and nothing across the other two directions.

    >>> wire = Atoms("Cu", cell=[3.0, 3.0, 2.5], pbc=[False, False, True])
    >>> frame_of(wire, np.zeros(1, dtype=np.int64), cutoff=3.5).pairs.vec[:, 2].tolist()
    [-2.5, 2.5]
    """
    pairs = neighbour_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    volume = float(atoms.cell.volume) if atoms.cell.rank == 3 else 0.0
    return Frame(kind, pairs, volume, _reverse(pairs) if undirected else None)


def _reverse(pairs: Pairs) -> Whole:
    """Row of each pair seen from its other atom; its own row where rounding left only one of both within the cutoff."""
    n, n_atoms, shift = len(pairs.j), len(pairs.offsets) - 1, pairs.shift.astype(np.int64)
    if not n:
        return np.zeros(0, dtype=np.int64)
    i, j = np.repeat(np.arange(n_atoms), np.diff(pairs.offsets)), pairs.j.astype(np.int64)
    most = int(np.abs(shift).max())
    images = (2 * most + 1) ** np.arange(3)
    key = (i * n_atoms + j) * (2 * most + 1) ** 3 + (shift + most) @ images
    wanted = (j * n_atoms + i) * (2 * most + 1) ** 3 + (most - shift) @ images
    order = np.argsort(key)
    found = order[np.searchsorted(key, wanted, sorter=order).clip(max=n - 1)]
    return np.where(key[found] == wanted, found, np.arange(n))


@dataclass(frozen=True, eq=False)
class Graph:
    """What one pass of a network sees: a table of atoms, of which the first ones receive messages.

    Attributes
    ----------
    kind : (n_table,) int64
        Species index of each atom in the table.
    n_receivers
        The first atoms of the table, whose states a layer computes; all their neighbours are in the table.
    receiver, sender : (n_pairs,) int64
        Rows of the table; receivers ascend.
    vec : (n_pairs, 3) float64, Å
        From the receiver to the sender.
    reverse : (n_pairs,) int64
        Row of the same pair seen from its other atom, its own row if that atom does not receive; None where no network asks.

    Examples
    --------
    >>> from ase.build import bulk
    >>> graph = graph_of(frame_of(bulk("Cu", cubic=True), np.zeros(4, dtype=np.int64), cutoff=3.0))
    >>> graph.n_receivers, graph.vec.shape
    (4, torch.Size([48, 3]))
    """

    kind: Tensor
    n_receivers: int
    receiver: Tensor
    sender: Tensor
    vec: Tensor
    reverse: Tensor | None = None

    def received(self, messages: Tensor) -> Tensor:
        """Sum of the messages (n_pairs, width) that each receiver gets, (n_receivers, width)."""
        zeros = messages.new_zeros((self.n_receivers, *messages.shape[1:]))
        return zeros.index_add(0, self.receiver, messages)


def graph_of(frame: Frame, device: torch.device | None = None) -> Graph:
    """A whole structure as a graph, in which every atom receives.

    Examples
    --------
    >>> dimer = frame_of(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]]), np.zeros(2, dtype=np.int64), cutoff=3.0)
    >>> graph_of(dimer).sender.tolist()
    [1, 0]
    """
    arrays = (frame.kind, frame.receiver, frame.pairs.j.astype(np.int64), frame.pairs.vec)
    kind, receiver, sender, vec = (torch.from_numpy(array).to(device) for array in arrays)
    reverse = None if frame.reverse is None else torch.from_numpy(frame.reverse).to(device)
    return Graph(kind, len(frame.kind), receiver, sender, vec, reverse)


def joined(frames: Sequence[Frame], device: torch.device | None = None) -> Graph:
    """Several structures as one graph, the atoms of each after those of the one before.

    Examples
    --------
    >>> dimer = frame_of(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]]), np.zeros(2, dtype=np.int64), cutoff=3.0)
    >>> joined([dimer, dimer]).sender.tolist()
    [1, 0, 3, 2]
    """
    return graph_of(side_by_side(frames), device)


def side_by_side(frames: Sequence[Frame]) -> Frame:
    """Several structures as one that has no volume, the atoms and pairs of each after those of the one before.

    Examples
    --------
    >>> dimer = frame_of(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]]), np.zeros(2, dtype=np.int64), cutoff=3.0)
    >>> side_by_side([dimer, dimer]).pairs.j.tolist()
    [1, 0, 3, 2]
    """
    n_atoms = np.cumsum([0, *(len(frame.kind) for frame in frames)])
    n_pairs = np.cumsum([0, *(len(frame.pairs.j) for frame in frames)])
    pairs = Pairs(
        np.concatenate([[0], *(f.pairs.offsets[1:] + start for f, start in zip(frames, n_pairs, strict=False))]),
        np.concatenate([f.pairs.j + np.int32(start) for f, start in zip(frames, n_atoms, strict=False)]),
        np.concatenate([frame.pairs.shift for frame in frames]),
        np.concatenate([frame.pairs.vec for frame in frames]),
    )
    rows = [f.reverse + start for f, start in zip(frames, n_pairs, strict=False) if f.reverse is not None]
    return Frame(np.concatenate([frame.kind for frame in frames]), pairs, 0.0, np.concatenate(rows) if rows else None)


@dataclass(frozen=True, eq=False)
class Part:
    """Some atoms of a structure as receivers of a graph, with where its rows and pairs are in the structure.

    Attributes
    ----------
    graph
        The receivers, and every atom that sends to them.
    rows : (n_table,) int64
        Atom of the structure in each row of the table.
    pairs
        Which of the structure's pairs are those of the graph.

    Examples
    --------
    Made by :func:`parts_of` and :func:`surroundings_of`. The second half of a dimer:

    >>> dimer = frame_of(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]]), np.zeros(2, dtype=np.int64), cutoff=3.0)
    >>> part = parts_of(dimer, 1)[1]
    >>> part.rows.tolist(), part.graph.n_receivers, part.pairs
    ([1, 0], 1, slice(1, 2, None))
    """

    graph: Graph
    rows: Tensor
    pairs: slice | Tensor


def _part(frame: Frame, atoms: Whole, pairs: slice | Whole, device: torch.device | None) -> Part:
    counts = np.diff(frame.pairs.offsets)[atoms]
    senders = frame.pairs.j[pairs].astype(np.int64)
    row = np.full(len(frame.kind), -1, dtype=np.int64)
    row[atoms] = np.arange(len(atoms))
    others = np.unique(senders[row[senders] < 0])
    row[others] = len(atoms) + np.arange(len(others))
    rows = np.concatenate([atoms, others])
    arrays = (frame.kind[rows], np.repeat(np.arange(len(atoms)), counts), row[senders], frame.pairs.vec[pairs], rows)
    kind, receiver, sender, vec, table = (torch.from_numpy(array).to(device) for array in arrays)
    if isinstance(pairs, slice):
        return Part(Graph(kind, len(atoms), receiver, sender, vec), table, pairs)
    reverse = None
    if frame.reverse is not None:
        place = np.full(len(frame.reverse), -1, dtype=np.int64)
        place[pairs] = np.arange(len(pairs))
        found = place[frame.reverse[pairs]]
        reverse = torch.from_numpy(np.where(found < 0, np.arange(len(pairs)), found)).to(device)
    return Part(Graph(kind, len(atoms), receiver, sender, vec, reverse), table, torch.from_numpy(pairs))


def parts_of(frame: Frame, n_pairs: int, device: torch.device | None = None) -> list[Part]:
    """A structure in parts of at most ``n_pairs`` pairs, or of one atom that has more, in the order of the atoms.

    Examples
    --------
    >>> row = frame_of(Atoms("Cu3", [[0, 0, 0], [0, 0, 2], [0, 0, 4]]), np.zeros(3, dtype=np.int64), cutoff=3.0)
    >>> [part.rows.tolist() for part in parts_of(row, 3)]
    [[0, 1, 2], [2, 1]]
    """
    offsets, n = frame.pairs.offsets, len(frame.kind)
    parts, start = [], 0
    while start < n:
        end = max(start + 1, int(np.searchsorted(offsets, offsets[start] + n_pairs, side="right")) - 1)
        parts.append(_part(frame, np.arange(start, end), slice(int(offsets[start]), int(offsets[end])), device))
        start = end
    return parts


def surroundings_of(frame: Frame, chosen: Whole, hops: int, device: torch.device | None = None) -> Part:
    """The chosen atoms and all that are at most so many neighbours away from them, as the receivers of one graph.

    The chosen ones are its first rows.

    Examples
    --------
    >>> row = frame_of(Atoms("Cu5", [[0, 0, 2.0 * i] for i in range(5)]), np.zeros(5, dtype=np.int64), cutoff=3.0)
    >>> part = surroundings_of(row, np.array([0]), hops=1)
    >>> part.rows.tolist(), part.graph.n_receivers
    ([0, 1, 2], 2)
    """
    offsets, reached = frame.pairs.offsets, np.asarray(chosen, dtype=np.int64)
    inside = np.zeros(len(frame.kind), dtype=bool)
    inside[reached] = True
    edge = reached
    for _ in range(hops):
        found = np.unique(frame.pairs.j[_pairs_of(offsets, edge)])
        edge = found[~inside[found]].astype(np.int64)
        inside[edge] = True
        reached = np.concatenate([reached, edge])
    return _part(frame, reached, _pairs_of(offsets, reached), device)


def _pairs_of(offsets: Whole, atoms: Whole) -> Whole:
    """Numbers of the pairs whose receivers are some atoms, in the order of the atoms."""
    counts = np.diff(offsets)[atoms]
    ends = np.cumsum(counts)
    return np.repeat(offsets[atoms] - (ends - counts), counts) + np.arange(int(counts.sum()))
