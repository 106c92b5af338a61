"""The part of a message-passing force field that its architecture brings: a network in layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from idealflow.errors import InputError
from idealflow.forcefields.message_passing.graph import Graph

__all__ = ["Edges", "MessagePassingNetwork", "PairStates", "both_ways"]


R = TypeVar("R")


class Edges(NamedTuple):
    """States of pairs (n_pairs, width), and of what a network makes of several pairs of one receiver, such as angles.

    Examples
    --------
    >>> Edges(torch.zeros(6, 4), torch.zeros(10, 4)).angles.shape
    torch.Size([10, 4])
    """

    pairs: Tensor
    angles: Tensor


#: what a layer knows of pairs: their states, with those of angles too, or nothing
PairStates = Tensor | Edges | None


class MessagePassingNetwork(nn.Module, ABC):
    """A network that gives the energy of every atom, layer by layer.

    An atom's state is a row of numbers. In every layer an atom receives messages of its neighbours, and gets a new state. A
    pair may have a state too, which only its receiver's messages use, and so may angles between pairs. So a layer of some atoms
    needs the states of these atoms and of their neighbours, and nothing else: that is what lets
    :mod:`~idealflow.forcefields.message_passing.evaluation` divide large structures. Where pairs are ``undirected``, the two
    directions of a pair share a state: the sum of what the layer gave to each.

    Everything must be made of operations that torch can differentiate twice, and of sums whose order does not change from run to
    run: ``index_select``, not ``x[index]``; :meth:`Graph.received <idealflow.forcefields.message_passing.Graph.received>`.

    Attributes
    ----------
    reference : (n_species,) float64
        Energy of an atom of each species, eV, to which the network's energies are relative.
    scale : (n_species,)
        Energy of one unit of the network's output, eV.
    seen : (n_species,) bool
        Whether each species was in the training data.

    Examples
    --------
    A network of one layer, in which an atom's energy grows with its number of near neighbours:

    >>> class Crowd(MessagePassingNetwork):
    ...     n_layers = 1
    ...     def start(self, kind, dtype):
    ...         return torch.zeros(len(kind), 1, dtype=dtype)
    ...     def geometry(self, graph, dtype):
    ...         return (torch.exp(-graph.vec.square().sum(1, keepdim=True)).to(dtype),)
    ...     def layer(self, number, nodes, pairs, graph, near):
    ...         return nodes[: graph.n_receivers] + graph.received(near[0]), None
    ...     def readout(self, nodes, kind):
    ...         return nodes[-1][:, 0]
    >>> from ase import Atoms
    >>> from idealflow.forcefields.message_passing import frame_of, graph_of
    >>> row = Atoms("Cu3", [[0, 0, 0], [0, 0, 1], [0, 0, 2]])
    >>> graph = graph_of(frame_of(row, torch.zeros(3, dtype=torch.int64).numpy(), cutoff=1.5))
    >>> [round(energy, 4) for energy in Crowd(n_species=1)(graph).tolist()]
    [0.3679, 0.7358, 0.3679]
    """

    #: number of layers, each of which carries information by one cutoff
    n_layers: int
    #: names of tensors with a row for each species
    of_species: tuple[str, ...] = ("scale", "reference", "seen")
    #: whether after each layer but the last the states of a pair and of its reverse are added up
    undirected: bool = False

    reference: Tensor
    scale: Tensor
    seen: Tensor

    def __init__(self, n_species: int) -> None:
        super().__init__()
        self.register_buffer("reference", torch.zeros(n_species, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(n_species))
        self.register_buffer("seen", torch.zeros(n_species, dtype=torch.bool))

    @abstractmethod
    def start(self, kind: Tensor, dtype: torch.dtype) -> Tensor:
        """First states of atoms, (n, width), from their species index."""

    @abstractmethod
    def geometry(self, graph: Graph, dtype: torch.dtype) -> Any:
        """A tuple of tensors: what all layers need of the vectors between atoms, such as radial functions."""

    def first_pairs(self, geometry: Any) -> PairStates:
        """First states of pairs, (n_pairs, width), with those of angles if there are any; None for networks without."""
        del geometry
        return None

    @abstractmethod
    def layer(self, number: int, nodes: Tensor, pairs: Any, graph: Graph, geometry: Any) -> tuple[Tensor, PairStates]:
        """New states of the receivers, (n_receivers, width), and of the pairs.

        Parameters
        ----------
        number
            Layer, from 0 on.
        nodes : (n_table, width)
            States of all atoms of the graph's table.
        pairs
            States of the pairs, as :meth:`first_pairs` or the layer before gave them.
        """

    @abstractmethod
    def readout(self, nodes: Sequence[Tensor], kind: Tensor) -> Tensor:
        """Energy of each atom, (n,), in units of ``scale``, from its first state and its state after each layer."""

    def forward(self, graph: Graph) -> Tensor:
        """Energy of each receiver relative to its species' reference, eV, (n_receivers,).

        Of receivers whose neighbours are not all receivers themselves, it is right only where ``n_layers - 1`` further steps from
        neighbour to neighbour lead to receivers.
        """
        dtype, n = self.scale.dtype, graph.n_receivers
        geometry = self.geometry(graph, dtype)
        table, pairs, reverse = self.start(graph.kind, dtype), self.first_pairs(geometry), self.needed(graph.reverse)
        nodes = [table[:n]]
        for number in range(self.n_layers):
            received, pairs = self.layer(number, table, pairs, graph, geometry)
            if reverse is not None:
                pairs = both_ways(pairs, reverse)
            nodes.append(received)
            others = received.new_zeros(
                (len(table) - n, *received.shape[1:])
            )  # whose states no right result depends on
            table = received if n == len(table) else torch.cat([received, others])
        return self.scaled(self.readout(nodes, graph.kind[:n]), graph.kind[:n])

    def needed(self, reverse: R) -> R | None:
        """Reverses of pairs, or None where :attr:`undirected` is False.

        Raises
        ------
        InputError
            If they are needed and not there.
        """
        if self.undirected and reverse is None:
            raise InputError(
                "this network needs the reverse of each pair; make frames by frame_of(..., undirected=True)"
            )
        return reverse if self.undirected else None

    def scaled(self, output: Tensor, kind: Tensor) -> Tensor:
        """Output of the network in eV, relative to the species' references."""
        return output * self.scale.index_select(0, kind)


def both_ways(pairs: PairStates, reverse: Tensor) -> PairStates:
    """Sum of the states of each pair and of its reverse; angles stay.

    Examples
    --------
    >>> both_ways(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([1, 0, 2])).tolist()
    [[3.0], [3.0], [8.0]]
    """
    if pairs is None:
        return None
    if isinstance(pairs, Edges):
        return pairs._replace(pairs=pairs.pairs + pairs.pairs.index_select(0, reverse))
    return pairs + pairs.index_select(0, reverse)
