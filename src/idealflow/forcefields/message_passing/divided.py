"""A structure too large for one pass, computed layer by layer and part by part.

Only the states of atoms and pairs between layers are kept, and what layers need of the geometry. The gradient goes through the
layers backwards and computes each part anew. Both passes see every pair once a layer: there is no halo of atoms that are computed
for their neighbours' sake, and the sums are those of the whole structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idealflow.forcefields.message_passing.devices import gradients
from idealflow.forcefields.message_passing.graph import Frame, Graph, Part
from idealflow.forcefields.message_passing.network import Edges, MessagePassingNetwork, PairStates

__all__ = ["DividedPass"]

Float = NDArray[np.float64]


class DividedPass:
    """One pass of a network over a structure in parts.

    Parameters
    ----------
    network
        Trained network, whose parameters need no gradient.
    frame
        The structure.
    parts
        All of it, in parts.
    dtype
        Precision of the network.
    device
        Where the network and the parts are.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.forcefields import get_force_field
    >>> from idealflow.forcefields.message_passing import frame_of, parts_of
    >>> network = get_force_field("m3gnet-small", species=["Cu"]).network.requires_grad_(False)
    >>> frame = frame_of(bulk("Cu", cubic=True), np.zeros(4, dtype=np.int64), cutoff=5.0)
    >>> divided = DividedPass(network, frame, parts_of(frame, 100), torch.float32, torch.device("cpu"))
    >>> divided.outputs().shape, divided.with_slopes(np.ones(4))[1].shape == frame.pairs.vec.shape
    (torch.Size([4]), True)
    """

    def __init__(
        self,
        network: MessagePassingNetwork,
        frame: Frame,
        parts: Sequence[Part],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._network, self._parts, self._dtype, self._device = network, parts, dtype, device
        self._n_pairs = len(frame.pairs.j)
        reverse = network.needed(frame.reverse)
        self._reverse = None if reverse is None else torch.from_numpy(reverse).to(device)
        with torch.no_grad():
            self._geometry = [network.geometry(part.graph, dtype) for part in parts]
            self._nodes = [network.start(torch.from_numpy(frame.kind).to(device), dtype)]
            self._pairs: list[Tensor | None] = [None]
            # of each part, since no other part uses them
            self._angles: list[list[Tensor | None]] = [[None] * len(parts)]
            for number in range(network.n_layers - 1):
                self._step(number)

    def outputs(self) -> Tensor:
        """Energy of each atom relative to its species' reference, eV, (n,)."""
        last, found = self._network.n_layers - 1, []
        with torch.no_grad():
            for place, (part, geometry) in enumerate(zip(self._parts, self._geometry, strict=True)):
                new, _ = self._layer(last, part.graph, geometry, self._table(last, part), self._before(last, place))
                found.append(self._energies([*self._own_states(part), new], part))
        return torch.cat(found)

    def with_slopes(self, weights: Float) -> tuple[Tensor, Float]:
        """Energies as :meth:`outputs`, and the gradient of Σ weight · energy in every pair's vector, eV/Å, (n_pairs, 3).

        The states of pairs give way to their gradients, so this can be called once.
        """
        network, seeds = self._network, torch.from_numpy(weights).to(self._device, self._dtype)
        by_nodes = [torch.zeros_like(state) for state in self._nodes]
        by_geometry: list[list[Tensor | None]] = [[None] * len(each) for each in self._geometry]
        out: list[Tensor] = []
        for number in reversed(range(network.n_layers)):
            last = number == network.n_layers - 1
            if not last:
                self._pairs[number + 1] = self._both_ways(self._pairs[number + 1])  # the gradient goes the same way
            for place, (part, geometry, kept) in enumerate(zip(self._parts, self._geometry, by_geometry, strict=True)):
                leaves = [each.detach().requires_grad_(each.is_floating_point()) for each in geometry]
                table = self._table(number, part).requires_grad_()
                before = self._before(number, place)
                states = [each.requires_grad_() for each in _tensors(before)]
                own = [state.requires_grad_() for state in self._own_states(part)] if last else []
                rows = part.rows[: part.graph.n_receivers]
                with torch.enable_grad():
                    new, after = self._layer(number, part.graph, _like(geometry, leaves), table, before)
                    if last:
                        energies = self._energies([*own, new], part)
                        out.append(energies.detach())
                        outputs, slopes = [energies], [seeds.index_select(0, rows)]
                    else:
                        outputs, slopes = [new], [by_nodes[number + 1].index_select(0, rows)]
                        for each, later in zip(_tensors(after), _tensors(self._before(number + 1, place)), strict=True):
                            outputs.append(each)
                            slopes.append(later)
                floats = [each for each in leaves if each.requires_grad]
                inputs = [table, *own, *floats, *states]
                found = gradients(outputs, inputs, slopes)
                _add_rows(by_nodes[number], part.rows, found.pop(0))
                for state in by_nodes if last else []:
                    _add_rows(state, rows, found.pop(0))
                for row, leaf in enumerate(leaves):
                    if leaf.requires_grad and (slope := found.pop(0)) is not None:
                        earlier = kept[row]
                        kept[row] = slope if earlier is None else earlier + slope
                if (table_of_pairs := self._pairs[number]) is not None:
                    table_of_pairs[part.pairs] = 0.0 if found[0] is None else found[0]
                if isinstance(before, Edges):
                    self._angles[number][place] = torch.zeros_like(before.angles) if found[1] is None else found[1]
        return torch.cat(out), self._in_vectors(by_geometry)

    def _in_vectors(self, by_geometry: Sequence[Sequence[Tensor | None]]) -> Float:
        """Gradient in the pairs' vectors, from that in the geometry of each part."""
        slopes = np.zeros((self._n_pairs, 3))
        for part, kept in zip(self._parts, by_geometry, strict=True):
            graph = part.graph
            vec = graph.vec.detach().requires_grad_()
            with torch.enable_grad():
                made = self._network.geometry(replace(graph, vec=vec), self._dtype)
            used = [(each, slope) for each, slope in zip(made, kept, strict=True) if slope is not None]
            if used and len(vec):
                (found,) = gradients([each for each, _ in used], [vec], [slope for _, slope in used])
                if found is not None:
                    slopes[part.pairs] = found.cpu().numpy()
        return slopes

    def _step(self, number: int) -> None:
        """States of all atoms and pairs after a layer."""
        received: Tensor | None = None
        states: Tensor | None = None
        angles: list[Tensor | None] = []
        for place, (part, geometry) in enumerate(zip(self._parts, self._geometry, strict=True)):
            before = self._before(number, place)
            new, after = self._layer(number, part.graph, geometry, self._table(number, part), before)
            after, own = (after.pairs, after.angles) if isinstance(after, Edges) else (after, None)
            angles.append(own)
            if received is None:
                received = new.new_empty((len(self._nodes[0]), *new.shape[1:]))
            received[part.rows[: part.graph.n_receivers]] = new
            if after is not None:
                states = after.new_empty((self._n_pairs, *after.shape[1:])) if states is None else states
                states[part.pairs] = after
        self._nodes.append(self._nodes[-1] if received is None else received)
        self._pairs.append(self._both_ways(states))
        self._angles.append(angles)

    def _layer(
        self, number: int, graph: Graph, geometry: tuple[Tensor, ...], table: Tensor, before: PairStates
    ) -> tuple[Tensor, PairStates]:
        state = self._network.first_pairs(geometry) if number == 0 else before
        return self._network.layer(number, table, state, graph, geometry)

    def _table(self, number: int, part: Part) -> Tensor:
        return self._nodes[number].index_select(0, part.rows)

    def _both_ways(self, states: Tensor | None) -> Tensor | None:
        if states is None or self._reverse is None:
            return states
        return states + states.index_select(0, self._reverse)

    def _before(self, number: int, place: int) -> PairStates:
        states, angles = self._pairs[number], self._angles[number][place]
        if states is None:
            return None
        own = states[self._parts[place].pairs].clone()
        return own if angles is None else Edges(own, angles.clone())

    def _own_states(self, part: Part) -> list[Tensor]:
        rows = part.rows[: part.graph.n_receivers]
        return [state.index_select(0, rows) for state in self._nodes]

    def _energies(self, nodes: Sequence[Tensor], part: Part) -> Tensor:
        kind = part.graph.kind[: part.graph.n_receivers]
        return self._network.scaled(self._network.readout(nodes, kind), kind)


def _like(geometry: tuple[Tensor, ...], leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The leaves in a tuple of the same class, plain or named."""
    kind: Any = type(geometry)
    made: tuple[Tensor, ...] = tuple(leaves) if kind is tuple else kind(*leaves)
    return made


def _tensors(states: PairStates) -> list[Tensor]:
    if states is None:
        return []
    return list(states) if isinstance(states, Edges) else [states]


def _add_rows(whole: Tensor, rows: Tensor, slope: Tensor | None) -> None:
    if slope is not None:
        whole.index_add_(0, rows, slope)
