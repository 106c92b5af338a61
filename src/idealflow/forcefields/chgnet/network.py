"""CHGNet: messages between atoms, whose bonds learn of the angles at both of their ends.

B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023). The bond between two atoms has one state, which both use; near bonds that
share an atom form angles, which have states of their own. Magnetic moments are not computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from idealflow.forcefields.message_passing import Edges, Graph, MessagePassingNetwork

__all__ = ["CHGNet"]


class Geometry(NamedTuple):
    """What the layers need of the vectors.

    Examples
    --------
    >>> Geometry._fields[:2]
    ('bonds', 'weight')
    """

    #: first states of pairs, and weights of their messages (n_pairs, units)
    bonds: Tensor
    weight: Tensor
    #: near pairs (n_near,), and their weights (n_near, units)
    near: Tensor
    near_weight: Tensor
    #: near pairs of each angle as rows of ``near``, the atom they share (n_angles,), and first states (n_angles, units)
    first: Tensor
    second: Tensor
    centre: Tensor
    angles: Tensor


class Gated(nn.Module):
    """A network with a normalised output, multiplied with that of a second one, which ends in sigmoids.

    Its input is several states side by side, which may be given once for many rows: the first layer is linear, so what it makes
    of a state is computed once.

    Parameters
    ----------
    sizes
        Width of the input, and of each layer.

    Examples
    --------
    >>> rows = torch.tensor([0, 0, 1])
    >>> Gated([4, 2])([(torch.zeros(2, 3), rows), (torch.zeros(3, 1), None)]).shape
    torch.Size([3, 2])
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.value = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])
        self.gate = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])
        self.value_norm, self.gate_norm = nn.LayerNorm(sizes[-1]), nn.LayerNorm(sizes[-1])

    def forward(self, parts: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
        """Output for states, each with the row that is taken of it for each output; None: one after the other."""
        value, gate = self._through(self.value, parts), self._through(self.gate, parts)
        return nn.functional.silu(self.value_norm(value)) * torch.sigmoid(self.gate_norm(gate))

    def _through(self, layers: nn.ModuleList, parts: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
        first = layers[0]
        assert isinstance(first, nn.Linear)  # noqa: S101  # a list of modules forgets which
        found: Tensor = first.bias
        shares = first.weight.split([state.shape[1] for state, _ in parts], 1)
        for (state, rows), share in zip(parts, shares, strict=True):
            mine = state @ share.T
            found = found + (mine if rows is None else mine.index_select(0, rows))
        for layer in layers[1:]:
            found = layer(nn.functional.silu(found))
        return found


class AtomLayer(nn.Module):
    """Atoms learn of their neighbours and the bonds to them.

    Examples
    --------
    >>> sorted(name for name, _ in AtomLayer(8).named_children())
    ['message', 'out']
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.message = Gated([3 * units, units, units])
        self.out = nn.Linear(units, units, bias=False)

    def forward(self, nodes: Tensor, bonds: Tensor, graph: Graph, weight: Tensor) -> Tensor:
        """New states of the receivers."""
        own = nodes[: graph.n_receivers]
        sent = self.message([(own, graph.receiver), (bonds, None), (nodes, graph.sender)]) * weight
        states: Tensor = own + self.out(graph.received(sent))
        return states


class BondLayer(nn.Module):
    """Near bonds learn of the angles at one of their atoms.

    Examples
    --------
    >>> sorted(name for name, _ in BondLayer(8).named_children())
    ['message', 'out']
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.message = Gated([4 * units, units, units])
        self.out = nn.Linear(units, units, bias=False)

    def forward(self, atoms: Tensor, bonds: Tensor, angles: Tensor, geometry: Geometry) -> Tensor:
        """Half of each bond's state, with what the angles at its receiver say; the other half comes from its other atom."""
        near = bonds.index_select(0, geometry.near)
        first, second = geometry.first, geometry.second
        said = self.message([(near, first), (near, second), (angles, None), (atoms, geometry.centre)])
        weight = geometry.near_weight
        said = said * weight.index_select(0, first) * weight.index_select(0, second)
        heard = said.new_zeros(near.shape).index_add(0, first, said)
        return (0.5 * bonds).index_add(0, geometry.near, self.out(heard))


class AngleLayer(nn.Module):
    """Angles learn of their two bonds and of their atom.

    Examples
    --------
    >>> AngleLayer(8).message.value[0].in_features
    32
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.message = Gated([4 * units, units])

    def forward(self, atoms: Tensor, bonds: Tensor, angles: Tensor, geometry: Geometry) -> Tensor:
        """New states of angles."""
        near = bonds.index_select(0, geometry.near)
        parts = [(near, geometry.first), (near, geometry.second), (angles, None), (atoms, geometry.centre)]
        states: Tensor = angles + self.message(parts)
        return states


class CHGNet(MessagePassingNetwork):
    """The network of CHGNet.

    Parameters
    ----------
    n_species
        Number of species.
    n_layers, units
        Number of layers, width of the states of atoms, bonds and angles.
    cutoff, three_body_cutoff
        Distance up to which atoms are neighbours, and up to which bonds form angles, Å.
    n_radial, n_angular
        Number of radial functions, and of functions of the angle, which is odd.
    cutoff_power
        Power of the polynomial that takes messages smoothly to zero at the cutoffs.
    n_hidden
        Number of hidden layers of the network that gives energies.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.forcefields.message_passing import frame_of, graph_of
    >>> kind = torch.zeros(4, dtype=torch.int64).numpy()
    >>> frame = frame_of(bulk("Cu", cubic=True), kind, cutoff=5.0, undirected=True)
    >>> CHGNet(1, n_layers=2, units=8, cutoff=5.0)(graph_of(frame)).shape
    torch.Size([4])
    """

    of_species = ("atoms.weight", *MessagePassingNetwork.of_species)
    undirected = True

    def __init__(
        self,
        n_species: int,
        n_layers: int = 4,
        units: int = 64,
        cutoff: float = 6.0,
        three_body_cutoff: float = 3.0,
        n_radial: int = 31,
        n_angular: int = 31,
        cutoff_power: float = 8.0,
        n_hidden: int = 3,
    ) -> None:
        super().__init__(n_species)
        self.n_layers = n_layers
        self._cutoff, self._near, self._power = cutoff, three_body_cutoff, cutoff_power
        self.atoms = nn.Embedding(n_species, units)
        waves = math.pi * torch.arange(1, n_radial + 1, dtype=torch.float32)
        self.frequencies, self.near_frequencies = nn.Parameter(waves), nn.Parameter(waves.clone())
        self.angular_frequencies = nn.Parameter(torch.arange(1, (n_angular - 1) // 2 + 1, dtype=torch.float32))
        self.bonds, self.weight, self.near_weight = (nn.Linear(n_radial, units, bias=False) for _ in range(3))
        self.angles = nn.Linear(n_angular, units, bias=False)
        self.atom_layers = nn.ModuleList([AtomLayer(units) for _ in range(n_layers)])
        self.bond_layers = nn.ModuleList([BondLayer(units) for _ in range(n_layers - 1)])
        self.angle_layers = nn.ModuleList([AngleLayer(units) for _ in range(n_layers - 2)])
        self.norm = nn.LayerNorm(units)
        self.final = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise([units] * (n_hidden + 1) + [1])])

    def start(self, kind: Tensor, dtype: torch.dtype) -> Tensor:
        """An embedding of each atom's species."""
        return self.atoms.weight.index_select(0, kind).to(dtype)

    def geometry(self, graph: Graph, dtype: torch.dtype) -> Geometry:
        """First states and weights; functions of distances and angles are computed in double precision."""
        r = torch.sqrt(graph.vec.square().sum(1).clamp(min=1e-12))
        near = torch.nonzero(r < self._near)[:, 0]
        first, second = _angles(graph.receiver.index_select(0, near), graph.n_receivers)
        unit = (graph.vec / r[:, None]).index_select(0, near)
        cosine = (unit.index_select(0, first) * unit.index_select(0, second)).sum(1)
        far = self._waves(r, self._cutoff, self.frequencies).to(dtype)
        close = self._waves(r.index_select(0, near), self._near, self.near_frequencies).to(dtype)
        return Geometry(
            self.bonds(far),
            self.weight(far),
            near,
            self.near_weight(close),
            first,
            second,
            graph.receiver.index_select(0, near).index_select(0, first),
            self.angles(self._of_angles(cosine).to(dtype)),
        )

    def first_pairs(self, geometry: Geometry) -> Edges:
        """Linear functions of the distance, and of the angle."""
        return Edges(geometry.bonds, geometry.angles)

    def layer(
        self, number: int, nodes: Tensor, pairs: Edges, graph: Graph, geometry: Geometry
    ) -> tuple[Tensor, Edges | None]:
        """Angles learn of bonds, then atoms of their neighbours, then bonds of angles."""
        bonds, angles = pairs
        if 0 < number < self.n_layers - 1:
            angles = self.angle_layers[number - 1](nodes[: graph.n_receivers], bonds, angles, geometry)
        atoms: Tensor = self.atom_layers[number](nodes, bonds, graph, geometry.weight)
        if number == self.n_layers - 1:
            return atoms, None
        return atoms, Edges(self.bond_layers[number](atoms, bonds, angles, geometry), angles)

    def readout(self, nodes: Sequence[Tensor], kind: Tensor) -> Tensor:
        """A network of the last states."""
        del kind
        x = self.norm(nodes[-1])
        for number, layer in enumerate(self.final):
            x = layer(nn.functional.silu(x) if number else x)
        energies: Tensor = x[:, 0]
        return energies

    def _waves(self, r: Tensor, cutoff: float, frequencies: Tensor) -> Tensor:
        x, p = (r / cutoff)[:, None], self._power
        first, second, third = (p + 1) * (p + 2) / 2, p * (p + 2), p * (p + 1) / 2
        falling = 1.0 - first * x**p + second * x ** (p + 1) - third * x ** (p + 2)
        waves: Tensor = math.sqrt(2.0 / cutoff) * torch.sin(frequencies.double() * x) / r[:, None] * falling
        return waves

    def _of_angles(self, cosine: Tensor) -> Tensor:
        angle = torch.acos(cosine * (1 - 1e-6))[:, None]  # its slope at 0 and 180 degrees would be infinite
        waves = angle * self.angular_frequencies.double()
        constant = torch.full_like(angle, math.sqrt(0.5))
        return torch.cat([constant, torch.sin(waves), torch.cos(waves)], 1) / math.sqrt(math.pi)


def _angles(receiver: Tensor, n_receivers: int) -> tuple[Tensor, Tensor]:
    """Every near pair with every other one of the same receiver, as two lists of rows; receivers ascend."""
    counts = torch.bincount(receiver, minlength=n_receivers)
    start = torch.cumsum(counts, 0) - counts
    others = counts.index_select(0, receiver)
    rows = torch.arange(len(receiver), device=receiver.device)
    first = torch.repeat_interleave(rows, others)
    place = torch.arange(len(first), device=receiver.device) - (torch.cumsum(others, 0) - others).index_select(0, first)
    second = start.index_select(0, receiver.index_select(0, first)) + place
    different = torch.nonzero(first != second)[:, 0]
    return first.index_select(0, different), second.index_select(0, different)
