"""M3GNet: messages between pairs of atoms, which know the angles to the neighbours they share an atom with.

C. Chen, S. P. Ong, Nat. Comput. Sci. 2, 718 (2022). The sum over third atoms is not taken triple by triple: by the addition
theorem of spherical harmonics, Σ_k f(k) P_l(cos θ_jik) is a product of the harmonics of the pair ij with a sum over the
neighbours k that all pairs of atom i share. So its cost grows with the number of neighbours, and not with its square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from idealflow.forcefields.m3gnet.basis import BesselFunctions, SmoothFunctions, envelope, harmonics
from idealflow.forcefields.message_passing import Graph, MessagePassingNetwork

__all__ = ["VARIANTS", "M3GNet", "Variant"]


@dataclass(frozen=True)
class Variant:
    """Where implementations of M3GNet differ from each other.

    Attributes
    ----------
    radial, angular
        Radial functions of pairs, and those that are multiplied with harmonics: ``smooth`` or ``bessel``.
    depth, readout_depth
        Number of layers of the gated networks that update pairs and atoms, and of the one that gives energies.
    gate
        Whose state weights the part of neighbour k in the messages of pair ij: that of the ``neighbour`` k, or of the
        ``centre`` i.
    weight_activation
        Whether the weights of messages to atoms pass through an activation.
    pair_bias
        Whether the first states of pairs have a bias.

    Examples
    --------
    >>> VARIANTS["mattersim"].gate
    'centre'
    """

    radial: str
    angular: str
    depth: int = 3
    readout_depth: int = 4
    gate: str = "neighbour"
    weight_activation: bool = False
    pair_bias: bool = True


#: by name: the paper's functions in matgl's networks; matgl's with ``use_smooth`` and without; mattersim's
VARIANTS = {
    "paper": Variant("smooth", "bessel"),
    "matgl-smooth": Variant("smooth", "smooth"),
    "matgl": Variant("bessel", "bessel"),
    "mattersim": Variant("smooth", "bessel", 2, 3, "centre", weight_activation=True, pair_bias=False),
}


class Geometry(NamedTuple):
    """What the layers need of the vectors: radial functions of all pairs, and of those within the three-body cutoff the rest."""

    radial: Tensor
    near: Tensor
    receiver: Tensor
    sender: Tensor
    #: radial functions times cutoff function (n_near, degrees, max_n); harmonics (n_near, degrees²); cutoff function (n_near, 1)
    angular: Tensor
    harmonics: Tensor
    cutoff: Tensor


class Gated(nn.Module):
    """A network whose output is multiplied with that of a second one, which ends in sigmoids.

    Parameters
    ----------
    sizes
        Width of the input, and of each layer.
    activate_last, bias
        Whether the last layer has an activation; whether layers have a bias.

    Examples
    --------
    >>> Gated([3, 4, 2])(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(self, sizes: Sequence[int], *, activate_last: bool = True, bias: bool = True) -> None:
        super().__init__()
        pairs = list(pairwise(sizes))
        self.value = nn.ModuleList([nn.Linear(a, b, bias=bias) for a, b in pairs])
        self.gate = nn.ModuleList([nn.Linear(a, b, bias=bias) for a, b in pairs])
        self._activate_last = activate_last

    def forward(self, x: Tensor) -> Tensor:
        """Output for each row of x."""
        return self._after_first(self.value[0](x), self.gate[0](x))

    def of_pairs(self, nodes: Tensor, pairs: Tensor, graph: Graph) -> Tensor:
        """Output for the states of each pair's receiver and sender and of the pair, side by side.

        The first layer is linear, so the atoms' share of it is computed once an atom.
        """
        width = nodes.shape[1]
        parts = []
        for first in (self.value[0], self.gate[0]):
            assert isinstance(first, nn.Linear)  # noqa: S101  # a list of modules forgets which
            own = torch.addmm(first.bias, nodes[: graph.n_receivers], first.weight[:, :width].T)
            others = nodes @ first.weight[:, width : 2 * width].T
            gathered = own.index_select(0, graph.receiver) + others.index_select(0, graph.sender)
            parts.append(torch.addmm(gathered, pairs, first.weight[:, 2 * width :].T))
        return self._after_first(*parts)

    def _after_first(self, value: Tensor, gate: Tensor) -> Tensor:
        for next_value, next_gate in zip(self.value[1:], self.gate[1:], strict=True):
            value, gate = next_value(nn.functional.silu(value)), next_gate(nn.functional.silu(gate))
        return (nn.functional.silu(value) if self._activate_last else value) * torch.sigmoid(gate)


class Block(nn.Module):
    """One layer: pairs learn of third atoms, then pairs and atoms of each other.

    Parameters
    ----------
    units, n_radial, n_angular
        Width of the states, number of radial functions, and of products of radial functions and degrees.
    variant
        Fine print.

    Examples
    --------
    >>> sorted(name for name, _ in Block(8, 4, 16, VARIANTS["paper"]).named_children())
    ['atom_update', 'atom_weight', 'pair_update', 'pair_weight', 'third_atoms', 'third_gate']
    """

    def __init__(self, units: int, n_radial: int, n_angular: int, variant: Variant) -> None:
        super().__init__()
        self._variant = variant
        self.third_gate = nn.Linear(units, n_angular)
        self.third_atoms = Gated([n_angular, units], bias=False)
        self.pair_update = Gated([3 * units] + [units] * variant.depth)
        self.pair_weight = nn.Linear(n_radial, units, bias=False)
        self.atom_update = Gated([3 * units] + [units] * variant.depth)
        self.atom_weight = nn.Linear(n_radial, units, bias=False)

    def forward(self, nodes: Tensor, pairs: Tensor, graph: Graph, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """New states of the receivers and of the pairs."""
        if len(geometry.near):
            pairs = pairs.index_add(0, geometry.near, self.third_atoms(self._thirds(nodes, graph, geometry)))
        pairs = pairs + self.pair_update.of_pairs(nodes, pairs, graph) * self.pair_weight(geometry.radial)
        weight = self.atom_weight(geometry.radial)
        weight = nn.functional.silu(weight) if self._variant.weight_activation else weight
        messages = self.atom_update.of_pairs(nodes, pairs, graph) * weight
        return nodes[: graph.n_receivers] + graph.received(messages), pairs

    def _thirds(self, nodes: Tensor, graph: Graph, geometry: Geometry) -> Tensor:
        """Sum over the other neighbours k of a pair's atom i, (n_near, n_angular)."""
        n_near, degrees, max_n = geometry.angular.shape
        gate = torch.sigmoid(self.third_gate(nodes))
        whose = geometry.sender if self._variant.gate == "neighbour" else geometry.receiver
        own = geometry.angular * gate.index_select(0, whose).view(n_near, degrees, max_n)
        found = []
        for l in range(degrees):
            waves = geometry.harmonics[:, l * l : (l + 1) ** 2]
            spread = (waves[:, :, None] * own[:, l, None, :]).flatten(1)
            total = spread.new_zeros((graph.n_receivers, spread.shape[1])).index_add(0, geometry.receiver, spread)
            shared = total.index_select(0, geometry.receiver).view(n_near, 2 * l + 1, max_n)
            itself = math.sqrt((2 * l + 1) / (4.0 * math.pi)) * own[:, l]
            found.append((waves[:, :, None] * shared).sum(1) - itself)
        return torch.cat(found, dim=1) * geometry.cutoff


class M3GNet(MessagePassingNetwork):
    """The network of M3GNet.

    Parameters
    ----------
    n_species
        Number of species.
    n_blocks, units
        Number of layers, width of the states.
    cutoff, three_body_cutoff
        Distance up to which atoms are neighbours, and up to which they are third atoms, Å.
    max_n, max_l
        Number of radial functions, and of degrees of harmonics.
    variant
        One of :data:`VARIANTS`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.forcefields.message_passing import frame_of, graph_of
    >>> crystal = bulk("Cu", cubic=True)
    >>> graph = graph_of(frame_of(crystal, torch.zeros(4, dtype=torch.int64).numpy(), cutoff=5.0))
    >>> M3GNet(1, n_blocks=2, units=8)(graph).shape
    torch.Size([4])
    """

    of_species = ("atoms.weight", *MessagePassingNetwork.of_species)

    def __init__(
        self,
        n_species: int,
        n_blocks: int = 4,
        units: int = 128,
        cutoff: float = 5.0,
        three_body_cutoff: float = 4.0,
        max_n: int = 4,
        max_l: int = 4,
        variant: str = "paper",
    ) -> None:
        super().__init__(n_species)
        fine = VARIANTS[variant]
        self.n_layers = n_blocks
        self._cutoff = three_body_cutoff
        self._max_n, self._degrees = max_n, max_l
        self._radial = (
            BesselFunctions(max_l, max_n, cutoff) if fine.radial == "bessel" else SmoothFunctions(max_n, cutoff)
        )
        self._angular = (
            BesselFunctions(max_l, max_n, cutoff)
            if fine.angular == "bessel"
            else SmoothFunctions(max_n * max_l, cutoff)
        )
        self.atoms = nn.Embedding(n_species, units)
        self.pairs = nn.Linear(self._radial.number, units, bias=fine.pair_bias)
        self.blocks = nn.ModuleList([Block(units, self._radial.number, max_n * max_l, fine) for _ in range(n_blocks)])
        hidden = [units] * (fine.readout_depth - 1)
        self.final = Gated([units, *hidden, 1], activate_last=False)

    def start(self, kind: Tensor, dtype: torch.dtype) -> Tensor:
        """An embedding of each atom's species."""
        return self.atoms.weight.index_select(0, kind).to(dtype)

    def geometry(self, graph: Graph, dtype: torch.dtype) -> Geometry:
        """Radial functions and harmonics, computed in double precision."""
        r = torch.sqrt(graph.vec.square().sum(1).clamp(min=1e-12))
        near = torch.nonzero(r < self._cutoff)[:, 0]
        close = r.index_select(0, near)
        falling = envelope(close, self._cutoff)[:, None]
        angular = (self._angular(close) * falling).view(-1, self._degrees, self._max_n)
        unit = graph.vec.index_select(0, near) / close[:, None]
        return Geometry(
            self._radial(r).to(dtype),
            near,
            graph.receiver.index_select(0, near),
            graph.sender.index_select(0, near),
            angular.to(dtype),
            harmonics(unit, self._degrees).to(dtype),
            falling.to(dtype),
        )

    def first_pairs(self, geometry: Geometry) -> Tensor:
        """Radial functions of each pair, through one layer."""
        return nn.functional.silu(self.pairs(geometry.radial))

    def layer(
        self, number: int, nodes: Tensor, pairs: Tensor | None, graph: Graph, geometry: Geometry
    ) -> tuple[Tensor, Tensor | None]:
        """One block."""
        found: tuple[Tensor, Tensor] = self.blocks[number](nodes, pairs, graph, geometry)
        return found

    def readout(self, nodes: Sequence[Tensor], kind: Tensor) -> Tensor:
        """A gated network of the last states."""
        del kind
        energies: Tensor = self.final(nodes[-1])[:, 0]
        return energies
