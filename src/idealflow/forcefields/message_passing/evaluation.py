"""Energies of a structure and their gradients: in one pass where it fits a budget of memory, else in parts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idealflow.core.descriptors import neighbour_pairs
from idealflow.forcefields.message_passing.devices import deterministic, gradients, memory_budget
from idealflow.forcefields.message_passing.divided import DividedPass
from idealflow.forcefields.message_passing.graph import Frame, Part, graph_of, parts_of, surroundings_of
from idealflow.forcefields.message_passing.network import MessagePassingNetwork

__all__ = ["Evaluator"]

Float = NDArray[np.float64]


class Evaluator:
    """A trained network, as it is now, on a device and in a precision.

    Parameters
    ----------
    network
        It is copied, so later learning does not change the results.
    cutoff
        Distance up to which atoms are neighbours, Å.
    device
        Where to compute.
    dtype
        Precision of the network; energies are added up in double precision.
    pairs_at_once
        Number of pairs from which a structure is divided; None takes what fits the device's budget.

    Examples
    --------
    A structure in parts has the energies of the whole:

    >>> from ase.build import bulk
    >>> from idealflow.forcefields import get_force_field
    >>> from idealflow.forcefields.message_passing import frame_of
    >>> network = get_force_field("m3gnet-small", species=["Cu"]).network
    >>> frame = frame_of(bulk("Cu", cubic=True), np.zeros(4, dtype=np.int64), cutoff=5.0)
    >>> whole, parts = (Evaluator(network, 5.0, pairs_at_once=n) for n in (None, 100))
    >>> bool(np.allclose(whole.with_slopes(frame)[0], parts.with_slopes(frame)[0]))
    True
    """

    def __init__(
        self,
        network: MessagePassingNetwork,
        cutoff: float,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        pairs_at_once: int | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.network = copy.deepcopy(network).to(self.device).requires_grad_(False)
        self.network.scale, self._reference = self.network.scale.to(dtype), network.reference.cpu().numpy().copy()
        for parameter in self.network.parameters():
            parameter.data = parameter.data.to(dtype)
        self._dtype = dtype
        self.pairs_at_once = pairs_at_once or max(1, memory_budget(self.device) // self._bytes_per_pair(cutoff))

    def energies(self, frame: Frame, chosen: NDArray[np.int64] | None = None) -> Float:
        """Energies of all atoms or of those at ``chosen``, eV, (n,), references of the species included."""
        with deterministic(), torch.no_grad():
            part = None if chosen is None else self._around(frame, chosen)
            if part is not None:
                out = self.network(part.graph)[: len(chosen)]  # type: ignore[arg-type]  # part is None if chosen is
            elif len(frame.pairs.j) <= self.pairs_at_once:
                out = self.network(graph_of(frame, self.device))
            else:
                out = self._divided(frame).outputs()
        relative = _numbers(out)
        if part is None and chosen is not None:
            relative = relative[chosen]
        kind = frame.kind if chosen is None else frame.kind[chosen]
        energies: Float = self._reference[kind] + relative
        return energies

    def with_slopes(self, frame: Frame) -> tuple[Float, Float]:
        """Energies of all atoms, eV, (n,), and the gradient of their sum in every pair's vector, eV/Å, (n_pairs, 3)."""
        ones = np.ones(len(frame.kind))
        if len(frame.pairs.j) <= self.pairs_at_once:
            energies, pull = self.linearised(frame)
            return energies, pull(ones)
        with deterministic():
            out, slopes = self._divided(frame).with_slopes(ones)
        return self._reference[frame.kind] + _numbers(out), slopes

    def linearised(
        self, frame: Frame, chosen: NDArray[np.int64] | None = None
    ) -> tuple[Float, Callable[[Float], Float]]:
        """Energies of all or of the chosen atoms, eV, (n,), and a function of the gradient of a weighted sum of them.

        The function maps weights (n,) to the gradient in every pair's vector, eV/Å, (n_pairs, 3).
        """
        kind = frame.kind if chosen is None else frame.kind[chosen]
        part = None if chosen is None else self._around(frame, chosen)
        if part is None and len(frame.pairs.j) > self.pairs_at_once:
            return self._linearised_in_parts(frame, chosen)
        graph = graph_of(frame, self.device) if part is None else part.graph
        graph.vec.requires_grad_()
        with deterministic(), torch.enable_grad():
            out = self.network(graph)
            if chosen is not None:
                out = out[: len(chosen)] if part is not None else out.index_select(0, self._moved(chosen))
        energies: Float = self._reference[kind] + _numbers(out)

        def pull(weights: Float) -> Float:
            slopes = np.zeros_like(frame.pairs.vec)
            if len(graph.vec):
                with deterministic():
                    (found,) = gradients([out], [graph.vec], [self._moved(weights).to(self._dtype)], again=True)
                if found is not None:
                    slopes[slice(None) if part is None else part.pairs] = found.cpu().numpy()
            return slopes

        return energies, pull

    def _linearised_in_parts(
        self, frame: Frame, chosen: NDArray[np.int64] | None
    ) -> tuple[Float, Callable[[Float], Float]]:
        with deterministic():
            kept = [self._divided(frame)]
            out = kept[0].outputs()

        def pull(weights: Float) -> Float:
            seeds = np.zeros(len(frame.kind))
            seeds[slice(None) if chosen is None else chosen] = weights
            with deterministic():
                divided = kept.pop() if kept else self._divided(frame)
                return divided.with_slopes(seeds)[1]

        energies = self._reference[frame.kind] + _numbers(out)
        return energies if chosen is None else energies[chosen], pull

    def _divided(self, frame: Frame) -> DividedPass:
        parts = parts_of(frame, self.pairs_at_once, self.device)
        return DividedPass(self.network, frame, parts, self._dtype, self.device)

    def _around(self, frame: Frame, chosen: NDArray[np.int64]) -> Part | None:
        """The chosen atoms with all that their energies depend on; None if that is (nearly) the whole structure, or too much."""
        if 2 * len(chosen) > len(frame.kind):
            return None
        part = surroundings_of(frame, chosen, self.network.n_layers - 1, self.device)
        fits = len(part.graph.vec) <= min(self.pairs_at_once, len(frame.pairs.j) // 2)
        return part if fits else None

    def _moved(self, array: NDArray[np.float64] | NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _bytes_per_pair(self, cutoff: float) -> int:
        """What autograd keeps of a pair for the gradient, in the layer that keeps most, on a crystal with 40 neighbours."""
        spacing = cutoff / 2.2
        sites = np.array(list(product(range(3), repeat=3))) * spacing
        pairs = neighbour_pairs(sites, np.eye(3) * 3 * spacing, [True] * 3, cutoff)
        graph = graph_of(Frame(np.zeros(27, dtype=np.int64), pairs, 1.0), self.device)
        graph.vec.requires_grad_()
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor.detach()  # the tensor itself would hold the node that holds it, for good

        network = self.network
        most, table = 0, network.start(graph.kind, self._dtype).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.enable_grad():
            geometry = network.geometry(graph, self._dtype)
            state, basis = network.first_pairs(geometry), sum(sizes.values())
            for number in range(network.n_layers):
                sizes.clear()
                table, state = network.layer(number, table, state, graph, geometry)
                most = max(most, sum(sizes.values()))
        return max(1, (basis + most) // len(pairs.j))


def _numbers(out: Tensor) -> Float:
    found: Float = out.detach().cpu().numpy().astype(np.float64)
    return found
