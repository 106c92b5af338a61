"""SevenNet: equivariant messages between atoms, whose states are scalars, vectors and tensors of higher degree.

Y. Park, J. Kim, S. Hwang, S. Han, J. Chem. Theory Comput. 20, 4857 (2024), after NequIP (S. Batzner et al., Nat. Commun. 13, 2453
(2022)). What depends on the directions of neighbours alone is computed once for all layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from idealflow.forcefields.message_passing import Graph, MessagePassingNetwork
from idealflow.forcefields.message_passing.coupling import coupling, harmonics

__all__ = ["CUTOFF_FUNCTIONS", "Path", "SevenNet", "paths_of"]

#: functions that take messages smoothly to zero at the cutoff
CUTOFF_FUNCTIONS = ("xplor", "polynomial")
_SILU_NORM = 1.6791767923989418  # makes the mean square of silu of a normal variable 1; the number that e3nn draws


class Path(NamedTuple):
    """One way of a message: a state of degree ``source``, with harmonics of degree ``filter``, gives one of degree ``target``.

    Examples
    --------
    >>> Path(source=1, filter=1, target=2).size
    5
    """

    source: int
    filter: int
    target: int

    @property
    def size(self) -> int:
        """Number of components it gives."""
        return 2 * self.target + 1


def paths_of(n_source: int, l_max: int, n_target: int) -> list[Path]:
    """All ways between ``n_source`` and ``n_target`` degrees with harmonics up to ``l_max``, by source, filter, target.

    Examples
    --------
    >>> paths_of(1, 2, 3)
    [Path(source=0, filter=0, target=0), Path(source=0, filter=1, target=1), Path(source=0, filter=2, target=2)]
    >>> len(paths_of(3, 2, 3))
    15
    """
    return [
        Path(source, middle, target)
        for source in range(n_source)
        for middle in range(l_max + 1)
        for target in range(abs(source - middle), min(source + middle, n_target - 1) + 1)
    ]


class Mixing(nn.Module):
    """Linear layer that mixes the channels of each degree: states (n, 2 l + 1, channels in) to (n, 2 l + 1, channels out).

    Parameters
    ----------
    inputs, outputs
        Number of channels of each degree, from 0 on.

    Examples
    --------
    >>> mixing = Mixing([4, 2], [3, 3])
    >>> [each.shape for each in mixing([torch.zeros(5, 1, 4), torch.zeros(5, 3, 2)])]
    [torch.Size([5, 1, 3]), torch.Size([5, 3, 3])]
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.ParameterList([torch.randn(n, m) for n, m in zip(inputs, outputs, strict=False)])

    def forward(self, states: Sequence[Tensor]) -> list[Tensor]:
        """Mixed states, of the degrees that come in and go out."""
        return [x @ weight * len(weight) ** -0.5 for x, weight in zip(states, self.weight, strict=False)]


class Interaction(nn.Module):
    """One layer: messages of neighbours, mixed with the atom's own state, through a gate.

    Parameters
    ----------
    inputs, outputs
        Number of channels of each degree before and after it.
    l_max
        Highest degree of the harmonics of directions.
    radial
        Widths of the network that makes weights of messages from distances: radial functions, hidden layers.

    Examples
    --------
    >>> layer = Interaction([4], [4, 2], 1, [8, 16])
    >>> layer.radial[-1].shape  # a weight for each channel of the two paths 0 → 0 and 0 → 1
    torch.Size([16, 8])
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], l_max: int, radial: Sequence[int]) -> None:
        super().__init__()
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.paths = paths_of(len(inputs), l_max, len(outputs))
        gated = [outputs[0] + sum(outputs[1:]), *outputs[1:]]
        arriving = [sum(inputs[path.source] for path in self.paths if path.target == l) for l in range(len(outputs))]
        widths = [*radial, sum(inputs[path.source] for path in self.paths)]
        self.own = Mixing(inputs, gated)
        self.before = Mixing(inputs, inputs)
        self.after = Mixing(arriving, gated)
        self.radial = nn.ParameterList([torch.randn(n, m) for n, m in pairwise(widths)])
        for source in range(len(inputs)):  # which rows of the couplings this layer uses, and the path of each of them
            paths = [path for path in self.paths if path.source == source]
            rows = [row for path in paths for row in _rows(path, l_max)]
            places = [place for place, path in enumerate(paths) for _ in range(path.size)]
            self.register_buffer(f"rows_{source}", torch.tensor(rows), persistent=False)
            self.register_buffer(f"path_{source}", torch.tensor(places), persistent=False)

    def forward(
        self, nodes: Tensor, radial: Tensor, directions: Sequence[Tensor], graph: Graph, neighbours: Tensor
    ) -> Tensor:
        """New states of the receivers, one flat row an atom."""
        states = _split(nodes, self.inputs)
        own = self.own([state[: graph.n_receivers] for state in states])
        weights = self._weights(radial)
        received: dict[Path, Tensor] = {}
        for source, state in enumerate(self.before(states)):
            paths = [path for path in self.paths if path.source == source]
            angular, rows = directions[source], self.get_buffer(f"rows_{source}")
            if len(rows) < angular.shape[1]:
                angular = angular.index_select(1, rows)
            sent = torch.bmm(angular, state.index_select(0, graph.sender))
            sent = graph.received(sent * weights[source].index_select(1, self.get_buffer(f"path_{source}")))
            for path, part in zip(paths, sent.split([path.size for path in paths], 1), strict=True):
                received[path] = part / neighbours
        arriving = [
            torch.cat([received[path] for path in self.paths if path.target == l], 2) for l in range(len(self.outputs))
        ]
        mixed = self.after(arriving)
        return self._gated([state + own[l] if l < len(own) else state for l, state in enumerate(mixed)])

    def _weights(self, radial: Tensor) -> list[Tensor]:
        """Weights of messages by degree of their source, each (n_pairs, paths, channels)."""
        x = radial
        for weight in self.radial[:-1]:
            x = nn.functional.silu(x @ weight * len(weight) ** -0.5) * _SILU_NORM
        last = self.radial[-1]
        x = x @ last * len(last) ** -0.5
        n_paths = [sum(path.source == source for path in self.paths) for source in range(len(self.inputs))]
        parts = x.split([n * channels for n, channels in zip(n_paths, self.inputs, strict=True)], 1)
        return [
            part.reshape(len(part), n, channels) for part, n, channels in zip(parts, n_paths, self.inputs, strict=True)
        ]

    def _gated(self, states: Sequence[Tensor]) -> Tensor:
        scalars = nn.functional.silu(states[0]) * _SILU_NORM
        first, *gates = scalars.split(self.outputs, 2)
        parts = [first, *(state * gate for state, gate in zip(states[1:], gates, strict=True))]
        return torch.cat([part.flatten(1) for part in parts], 1)


class SevenNet(MessagePassingNetwork):
    """The network.

    Parameters
    ----------
    n_species
        Number of species.
    channels
        Number of channels of each degree, from 0 on, between layers.
    n_layers
        Number of layers, of which the last gives scalars only.
    cutoff
        Å.
    n_radial, radial_hidden
        Number of Bessel functions of the distance, and widths of the network that makes weights of messages from them.
    cutoff_function, cutoff_start, cutoff_power
        ``xplor``, which begins at ``cutoff_start`` Å, or ``polynomial`` of the degree ``cutoff_power``.

    Examples
    --------
    >>> network = SevenNet(2, channels=(8, 4), n_layers=2)
    >>> network.embedding.shape, len(network.layers)
    (torch.Size([2, 8]), 2)
    """

    of_species = ("embedding", *MessagePassingNetwork.of_species)

    neighbours: Tensor

    def __init__(
        self,
        n_species: int,
        channels: Sequence[int] = (128, 64, 32),
        n_layers: int = 5,
        cutoff: float = 5.0,
        n_radial: int = 8,
        radial_hidden: Sequence[int] = (64, 64),
        cutoff_function: str = "xplor",
        cutoff_start: float = 4.5,
        cutoff_power: float = 6.0,
    ) -> None:
        super().__init__(n_species)
        self.n_layers, self.l_max, self.channels = n_layers, len(channels) - 1, list(channels)
        self._cutoff, self._function, self._start, self._power = cutoff, cutoff_function, cutoff_start, cutoff_power
        scalars = [channels[0]]
        widths = [scalars, *[list(channels)] * (n_layers - 1), scalars]
        self.embedding = nn.Parameter(torch.randn(n_species, channels[0]))
        self.frequencies = nn.Parameter(torch.arange(1, n_radial + 1) * (math.pi / cutoff))
        self.layers = nn.ModuleList(
            [Interaction(a, b, self.l_max, [n_radial, *radial_hidden]) for a, b in pairwise(widths)]
        )
        self.hidden = nn.Parameter(torch.randn(channels[0], max(1, channels[0] // 2)))
        self.energy = nn.Parameter(torch.randn(max(1, channels[0] // 2), 1))
        self.register_buffer("neighbours", torch.full((n_layers,), 36.0, dtype=torch.float64))

    def start(self, kind: Tensor, dtype: torch.dtype) -> Tensor:
        """First states of atoms: scalars, by their species."""
        return self.embedding.index_select(0, kind).to(dtype)

    def geometry(self, graph: Graph, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Radial functions (n_pairs, n_radial), and couplings by degree of the source, each (n_pairs, components, 2 l + 1)."""
        r = graph.vec.square().sum(1, keepdim=True).sqrt()
        radial = (2.0 / self._cutoff) * torch.sin(self.frequencies.double() * r) / r * self._envelope(r)
        angular = harmonics(graph.vec, self.l_max)
        directions = [
            torch.cat([_coupled(path, angular) for path in self._all_paths() if path.source == source], 1)
            for source in range(self.l_max + 1)
        ]
        return (radial.to(dtype), *(each.to(dtype) for each in directions))

    def layer(
        self, number: int, nodes: Tensor, pairs: Tensor | None, graph: Graph, geometry: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor | None]:
        """New states of the receivers; pairs have none."""
        radial, *directions = geometry
        neighbours = self.neighbours[number].to(nodes.dtype)
        states: Tensor = self.layers[number](nodes, radial, directions, graph, neighbours)
        return states, pairs

    def readout(self, nodes: Sequence[Tensor], kind: Tensor) -> Tensor:
        """Energy of each atom in units of ``scale``: linear in its last state."""
        del kind
        hidden = nodes[-1] @ self.hidden * len(self.hidden) ** -0.5
        energies: Tensor = (hidden @ self.energy * len(self.energy) ** -0.5)[:, 0]
        return energies

    def _all_paths(self) -> list[Path]:
        return paths_of(self.l_max + 1, self.l_max, self.l_max + 1)

    def _envelope(self, r: Tensor) -> Tensor:
        if self._function == "xplor":
            rr, on, off = r * r, self._start**2, self._cutoff**2
            falling = (off - rr) ** 2 * (off + 2 * rr - 3 * on) / (off - on) ** 3
            return torch.where(r < self._start, torch.ones_like(r), falling)
        x, p = r / self._cutoff, self._power
        first, second, third = (p + 1) * (p + 2) / 2, p * (p + 2), p * (p + 1) / 2
        smooth: Tensor = 1.0 - first * x**p + second * x ** (p + 1) - third * x ** (p + 2)
        return smooth


def _coupled(path: Path, angular: Sequence[Tensor]) -> Tensor:
    """Matrix that takes a state of the path's source to its target, for each pair: (n_pairs, 2 target + 1, 2 source + 1)."""
    table = torch.from_numpy(coupling(*path) * math.sqrt(path.size)).to(angular[path.filter])
    return torch.einsum("ijk,zj->zki", table, angular[path.filter])


def _rows(path: Path, l_max: int) -> range:
    """Where a path's components are among those of all paths from the same source, with targets up to ``l_max``."""
    start = 0
    for other in paths_of(path.source + 1, l_max, l_max + 1):
        if other == path:
            break
        start += other.size if other.source == path.source else 0
    return range(start, start + path.size)


def _split(nodes: Tensor, channels: Sequence[int]) -> list[Tensor]:
    """States by degree, (n, 2 l + 1, channels), from flat rows."""
    parts = nodes.split([(2 * l + 1) * n for l, n in enumerate(channels)], 1)
    return [part.reshape(len(part), 2 * l + 1, channels[l]) for l, part in enumerate(parts)]
