"""The loss of some structures and its gradient in the weights of the local model, without a graph of operations.

With E the atomic energies and W their gradient in the densities, the loss depends on the weights through E and, by forces and
virials, linearly through W. So its gradient in them is that of Σ e·E + (dE along w), where e and w are its gradients in E and W:
the derivative of the energies along a change w of the densities, computed forwards, then one pass backwards through both. The
backward pass of that derivative is the one that gave W, and is not done again.

torch computes the same by differentiating twice; the tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idealflow.core.descriptors.vectors import LANES
from idealflow.forcefields.local import pairs
from idealflow.forcefields.local.descriptor import Frame
from idealflow.forcefields.local.kernels import N_LM, scatter_forces, threads_for
from idealflow.forcefields.local.model import LocalModel

__all__ = ["Basis", "Passed", "basis_of", "joined_basis"]

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Basis:
    """What a gradient step reads of one or of several structures, in single precision.

    Attributes
    ----------
    kind, graph : (n,) int64
        Species index of each atom, and the structure it belongs to.
    groups : (n * n_species + 1,) int64
        Pairs of atom i with neighbours of species s are ``groups[i * n_species + s]`` up to the next entry.
    j : (n_pairs,) int32
        Neighbour of each pair.
    vec : (n_pairs, 3), Å
        Vector from atom i to the neighbour.
    radial, slope : (n_pairs, width)
        Radial functions and their slopes, 1/Å; ``width`` is the number of radial functions, padded to a multiple of eight.
    harmonic : (n_pairs, 16)
        Spherical harmonics.
    density : (n, 16, n_species * width)
        Densities.
    n_graphs, n_species
        Number of structures and of species.

    Examples
    --------
    Made by :func:`basis_of` and :func:`joined_basis`, which shows one.

    >>> Basis.__annotations__["vec"]
    'Float'
    """

    kind: NDArray[np.int64]
    graph: NDArray[np.int64]
    groups: NDArray[np.int64]
    j: NDArray[np.int32]
    vec: Float
    radial: Float
    slope: Float
    harmonic: Float
    density: Float
    n_graphs: int
    n_species: int

    @property
    def nbytes(self) -> int:
        """Memory that it takes, bytes."""
        arrays = (self.groups, self.j, self.vec, self.radial, self.slope, self.harmonic, self.density)
        return sum(array.nbytes for array in arrays)

    @cached_property
    def sizes(self) -> Tensor:
        """Number of atoms of each structure, (n_graphs,) float32."""
        return torch.from_numpy(np.bincount(self.graph, minlength=self.n_graphs)).float()


def basis_of(frame: Frame, cutoff: float, n_species: int, n_radial: int) -> Basis:
    """Compute the basis of one structure.

    Examples
    --------
    >>> from ase import Atoms
    >>> from idealflow.forcefields.local.descriptor import frame_of
    >>> frame = frame_of(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]]), np.zeros(2, dtype=np.int64), cutoff=4.0)
    >>> basis = basis_of(frame, 4.0, n_species=1, n_radial=1)
    >>> basis.density[0, 0].tolist()  # one radial function, padded
    [0.421875, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    n = len(frame.kind)
    group = np.repeat(np.arange(n), np.diff(frame.offsets)) * n_species + frame.kind[frame.j]
    order = np.argsort(group, kind="stable")
    groups = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=n * n_species))])
    vec, width = frame.vec[order], -(-n_radial // LANES) * LANES
    radial, slope = np.empty((2, len(vec), width), np.float32)
    harmonic, density = np.empty((len(vec), N_LM), np.float32), np.empty((n, N_LM, n_species * width), np.float32)
    pairs.functions_of_pairs(vec, cutoff, n_radial, radial, slope, harmonic)
    with threads_for(n):
        pairs.density_of_pairs(groups, n_species, radial, harmonic, density)
    j, single = frame.j[order].astype(np.int32), vec.astype(np.float32)
    graph = np.zeros(n, dtype=np.int64)
    return Basis(frame.kind, graph, groups, j, single, radial, slope, harmonic, density, 1, n_species)


def joined_basis(parts: Sequence[Basis]) -> Basis:
    """Join structures, at least one, to one batch, the atoms of each after those of the one before.

    Examples
    --------
    >>> from ase import Atoms
    >>> from idealflow.forcefields.local.descriptor import frame_of
    >>> frame = frame_of(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]]), np.zeros(2, dtype=np.int64), cutoff=4.0)
    >>> basis = basis_of(frame, 4.0, n_species=1, n_radial=1)
    >>> joined_basis([basis, basis]).graph.tolist(), joined_basis([basis, basis]).j.tolist()
    ([0, 0, 1, 1], [1, 0, 3, 2])
    """
    if len(parts) == 1:
        return parts[0]
    sizes = [len(part.kind) for part in parts]
    first_atom = np.cumsum([0, *sizes[:-1]])
    first_pair = np.cumsum([0, *(len(part.j) for part in parts[:-1])])
    starts = [part.groups[:-1] + first for part, first in zip(parts, first_pair, strict=True)]
    return Basis(
        kind=np.concatenate([part.kind for part in parts]),
        graph=np.repeat(np.arange(len(parts)), sizes),
        groups=np.concatenate([*starts, [sum(len(part.j) for part in parts)]]),
        j=np.concatenate([part.j + np.int32(first) for part, first in zip(parts, first_atom, strict=True)]),
        vec=np.concatenate([part.vec for part in parts]),
        radial=np.concatenate([part.radial for part in parts]),
        slope=np.concatenate([part.slope for part in parts]),
        harmonic=np.concatenate([part.harmonic for part in parts]),
        density=np.concatenate([part.density for part in parts]),
        n_graphs=len(parts),
        n_species=parts[0].n_species,
    )


@dataclass(frozen=True)
class _Species:
    """Activations of the atoms of one species: inputs, their layers, and gradients of the energy in the layers' arguments."""

    index: int
    rows: Tensor
    x: Tensor
    layers: list[Tensor]
    sigmoids: list[Tensor]
    arguments: list[Tensor]
    backward: list[Tensor]
    by_x: Tensor


class Passed:
    """A model applied to a batch: energies, forces and virials, from which :meth:`gradient` goes back.

    Parameters
    ----------
    model
        Model, in single precision.
    basis
        The batch.

    Attributes
    ----------
    atomic : (n,)
        Energy of each atom relative to its species' reference, eV.
    forces : (n, 3), eV/Å
    virials : (n_graphs, 3, 3), eV

    Examples
    --------
    Two atoms pull at each other with opposite forces:

    >>> from ase import Atoms
    >>> from idealflow.forcefields.local.descriptor import frame_of
    >>> frame = frame_of(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]]), np.zeros(2, dtype=np.int64), cutoff=4.0)
    >>> model = LocalModel(n_species=1, n_radial=4, n_channels=3, hidden=[8])
    >>> passed = Passed(model, basis_of(frame, 4.0, n_species=1, n_radial=4))
    >>> slopes = [torch.ones_like(part) for part in (passed.atomic, passed.forces, passed.virials)]
    >>> passed.forces.shape, len(passed.gradient(*slopes)) == len(list(model.parameters()))
    (torch.Size([2, 3]), True)
    """

    @torch.no_grad()
    def __init__(self, model: LocalModel, basis: Basis) -> None:
        self.model, self.basis = model, basis
        n, width = len(basis.kind), -(-model.n_channels // LANES) * LANES
        self._density = torch.from_numpy(basis.density)
        self._contraction = self._padded(width)
        self._a = (self._density.view(n * N_LM, -1) @ self._contraction).view(n, N_LM, width)
        #: invariants of each atom, (n, n_features)
        self.features = features = self._invariants(self._a, self._a, 0.5)
        self.atomic, by_features = torch.zeros(n), torch.zeros_like(features)
        self._species = []
        for s in range(model.n_species):
            rows = torch.from_numpy(np.flatnonzero(basis.kind == s))
            if len(rows):
                part, energy = self._through(s, rows, features)
                self.atomic[rows] = energy
                by_features[rows] = part.by_x * (model.scale / model.spread[s])
                self._species.append(part)
        self._by_features = by_features
        self._by_a = torch.zeros_like(self._a)
        self._pull(self._a, by_features, True, self._by_a)
        weight = (self._by_a.view(n * N_LM, width) @ self._contraction.T).view_as(self._density)
        self.forces, self.virials = self._forces(weight)

    @torch.no_grad()
    def gradient(self, by_atomic: Tensor, by_forces: Tensor, by_virials: Tensor) -> list[Tensor]:
        """Gradient in the model's parameters, in their order, from one in energies (n,), forces (n, 3) and virials."""
        model, basis, n = self.model, self.basis, len(self.basis.kind)
        w = torch.empty_like(self._density)
        with threads_for(n):
            pairs.along_motion(
                basis.vec, basis.groups, basis.j, basis.n_species, basis.radial, basis.slope, basis.harmonic, basis.graph,
                by_forces.contiguous().numpy(), by_virials.contiguous().numpy(), w.numpy(),
            )  # fmt: skip
        width = self._a.shape[2]
        a_along = (w.view(n * N_LM, -1) @ self._contraction).view(n, N_LM, width)
        features_along = self._invariants(self._a, a_along, 1.0)
        found = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
        by_features = torch.zeros_like(self._by_features)
        for part in self._species:
            by_x = self._back(part, features_along, by_atomic[part.rows], found)
            by_features[part.rows] = by_x * (model.scale / model.spread[part.index])
        by_a = torch.zeros_like(self._a)
        self._pull(self._a, by_features, True, by_a)
        self._pull(a_along, self._by_features, False, by_a)
        whole = self._density.view(n * N_LM, -1).T @ by_a.view(n * N_LM, width)
        whole += w.view(n * N_LM, -1).T @ self._by_a.view(n * N_LM, width)
        found["contraction"] = self._cut(whole)
        return [found[name] for name, _ in model.named_parameters()]

    def readout_inputs(self, reference: float) -> NDArray[np.float64]:
        """What the energy per atom of each structure is linear in, (n_graphs, n_species * m), eV.

        For each species: the standardised invariants, the last hidden layer, and ``reference`` for its reference energy, each
        summed over the atoms of the species and divided by the number of all atoms.
        """
        model, basis = self.model, self.basis
        m = model.linear.shape[1] + model.readout.shape[1] + 1
        out = np.zeros((basis.n_graphs, model.n_species, m))
        for part in self._species:
            constant = torch.full((len(part.rows), 1), reference)
            rows = torch.cat([part.x, part.layers[-1], constant], dim=1).double().numpy()
            np.add.at(out[:, part.index], basis.graph[part.rows.numpy()], rows)
        sizes = basis.sizes.double().numpy()
        found: NDArray[np.float64] = out.reshape(basis.n_graphs, -1) * (float(model.scale) / sizes[:, None])
        return found

    def _through(self, s: int, rows: Tensor, features: Tensor) -> tuple[_Species, Tensor]:
        """Energies of the atoms of one species, and the gradient in their standardised invariants."""
        model = self.model
        x = (features[rows] - model.mean[s]) / model.spread[s]
        layers, sigmoids, arguments, backward = [x], [], [], []
        for weight, bias in zip(model.weights, model.biases, strict=True):
            z = torch.addmm(bias[s], layers[-1], weight[s])
            arguments.append(z)
            sigmoids.append(torch.sigmoid(z))
            layers.append(z * sigmoids[-1])
        energy = layers[-1] @ model.readout[s] + x @ model.linear[s]
        back = model.readout[s].expand(len(rows), -1)
        for weight, z, sigmoid in zip(reversed(model.weights), reversed(arguments), reversed(sigmoids), strict=True):
            backward.append(back * _first(z, sigmoid))
            back = backward[-1] @ weight[s].T
        return _Species(
            s, rows, x, layers, sigmoids, arguments, backward[::-1], back + model.linear[s]
        ), energy * model.scale

    def _back(self, part: _Species, features_along: Tensor, by_atomic: Tensor, found: dict[str, Tensor]) -> Tensor:
        """Fill in the gradients of one species' network, and return that in its standardised invariants."""
        model, s = self.model, part.index
        along = [features_along[part.rows] / model.spread[s]]
        arguments_along = []
        for weight, z, sigmoid in zip(model.weights, part.arguments, part.sigmoids, strict=True):
            arguments_along.append(along[-1] @ weight[s])
            along.append(_first(z, sigmoid) * arguments_along[-1])
        found["readout"][s] = model.scale * (by_atomic @ part.layers[-1] + along[-1].sum(0))
        found["linear"][s] = model.scale * (by_atomic @ part.x + along[0].sum(0))
        back = by_atomic[:, None] * model.readout[s]
        back_along = model.readout[s].expand(len(part.rows), -1)
        for k in range(len(model.weights) - 1, -1, -1):
            z, sigmoid = part.arguments[k], part.sigmoids[k]
            back = back * _first(z, sigmoid) + back_along * _second(z, sigmoid) * arguments_along[k]
            found[f"weights.{k}"][s] = model.scale * (part.layers[k].T @ back + along[k].T @ part.backward[k])
            found[f"biases.{k}"][s] = model.scale * back.sum(0)
            back = back @ model.weights[k][s].T
            if k:
                back_along = part.backward[k] @ model.weights[k][s].T
        return back + by_atomic[:, None] * model.linear[s]

    def _forces(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        basis, n = self.basis, len(self.basis.kind)
        slopes = np.empty_like(basis.vec)
        with threads_for(n):
            pairs.slopes_of_pairs(
                basis.vec,
                basis.groups,
                basis.n_species,
                basis.radial,
                basis.slope,
                basis.harmonic,
                weight.numpy(),
                slopes,
            )
        forces, virials = np.zeros((n, 3), np.float32), np.zeros((basis.n_graphs, 3, 3), np.float32)
        offsets = basis.groups[:: basis.n_species]
        scatter_forces(basis.vec, offsets, basis.j, np.arange(n), basis.graph, slopes, forces, virials)
        return torch.from_numpy(forces), torch.from_numpy(virials)

    def _invariants(self, a: Tensor, b: Tensor, factor: float) -> Tensor:
        out = torch.empty(len(a), self.model.mean.shape[1])
        with threads_for(len(a)):
            pairs.invariants(a.numpy(), b.numpy(), self.model.n_channels, np.float32(factor), out.numpy())
        return out

    def _pull(self, a: Tensor, by_invariant: Tensor, linear: bool, out: Tensor) -> None:
        with threads_for(len(a)):
            pairs.pull_invariants(a.numpy(), by_invariant.numpy(), self.model.n_channels, linear, out.numpy())

    def _padded(self, width: int) -> Tensor:
        """The contraction, (n_species * padded n_radial, padded n_channels), with zeros where it was padded."""
        model = self.model
        rows = self.basis.density.shape[2] // model.n_species
        out = torch.zeros(model.n_species, rows, width)
        out[:, : model.n_radial, : model.n_channels] = model.contraction.view(model.n_species, model.n_radial, -1)
        return out.view(-1, width)

    def _cut(self, padded: Tensor) -> Tensor:
        model = self.model
        blocks = padded.view(model.n_species, -1, padded.shape[1])[:, : model.n_radial, : model.n_channels]
        return blocks.reshape(model.contraction.shape)


def _first(z: Tensor, sigmoid: Tensor) -> Tensor:
    """First derivative of z · sigmoid(z)."""
    return sigmoid * (1.0 + z * (1.0 - sigmoid))


def _second(z: Tensor, sigmoid: Tensor) -> Tensor:
    """Second derivative of z · sigmoid(z)."""
    return sigmoid * (1.0 - sigmoid) * (2.0 + z * (1.0 - 2.0 * sigmoid))
