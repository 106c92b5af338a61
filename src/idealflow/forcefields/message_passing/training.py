"""What force fields by message passing learn from: labelled structures as graphs, and the loss of a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idealflow.forcefields.dataset import Targets
from idealflow.forcefields.message_passing.graph import Frame, graph_of, joined
from idealflow.forcefields.message_passing.network import MessagePassingNetwork

__all__ = ["GraphSample", "loss_of", "outputs_of", "set_scales"]

_DELTA = 0.1  # error from which the Huber loss is linear: eV per atom, eV/Å, eV/Å³
_ENERGY_WEIGHT, _FORCE_WEIGHT, _STRESS_WEIGHT = 4.0, 1.0, 10.0
_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))

Float = NDArray[np.float64]


@dataclass(frozen=True)
class GraphSample:
    """A labelled structure and its neighbours.

    Attributes
    ----------
    frame
        Species and neighbours.
    label
        Energy, forces, stress and the weights of forces.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))
    >>> (sample,) = get_force_field("m3gnet-small", species=["Cu"]).samples([labelled])
    >>> sample.label.energy, sample.has_stress
    (-14.0, False)
    """

    frame: Frame
    label: Targets

    @property
    def has_stress(self) -> bool:
        """Whether the label has a stress and the structure a volume."""
        return self.label.stress is not None and self.frame.volume > 0.0


def set_scales(network: MessagePassingNetwork, samples: Sequence[GraphSample]) -> None:
    """Set what gradient steps do not change, from the first training set.

    The reference energy of each species by least squares, the scale of energies as the root mean square of the forces (at least
    0.01), and which species were seen.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))
    >>> learner = get_force_field("m3gnet-small", species=["Cu"])
    >>> set_scales(learner.network, learner.samples([labelled]))
    >>> learner.network.reference.numpy().round(6).tolist()  # eV per atom
    [-3.5]
    """
    n_species = len(network.reference)
    counts = np.array([np.bincount(s.frame.kind, minlength=n_species) for s in samples], dtype=float)
    solution, *_ = np.linalg.lstsq(counts, np.array([s.label.energy for s in samples]), rcond=1e-8)
    network.reference.copy_(torch.from_numpy(solution))
    forces = np.concatenate([s.label.forces[s.label.force_weight > 0].ravel() for s in samples])
    network.scale.fill_(max(float(np.sqrt((forces**2).sum() / max(1, forces.size))), 1e-2))
    network.seen.copy_(torch.from_numpy(counts.sum(axis=0) > 0))


def loss_of(
    network: MessagePassingNetwork,
    samples: Sequence[GraphSample],
    device: torch.device | None = None,
    energy_weight: float = _ENERGY_WEIGHT,
) -> Tensor:
    """Loss of some samples: the mean over structures of the Huber losses of energy per atom, forces, and stress if there is one.

    Parameters
    ----------
    network
        Network to judge, in the precision in which it learns.
    samples
        Structures, taken as one batch.
    device
        Where the network is.
    energy_weight
        Weight of the energy; those of forces and stress are 1 and 10.

    Returns
    -------
    Tensor
        One number, without unit; torch can differentiate it in the network's parameters.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))
    >>> learner = get_force_field("m3gnet-small", species=["Cu"])
    >>> loss_of(learner.network, learner.samples([labelled])).shape
    torch.Size([])
    """
    n = len(samples)
    graph = joined([s.frame for s in samples], device)
    graph.vec.requires_grad_()
    out = network(graph)
    dtype = out.dtype
    slopes = torch.zeros_like(graph.vec)
    if len(graph.vec):
        (slopes,) = torch.autograd.grad(out.sum(), graph.vec, create_graph=True)
    slopes, vec = slopes.to(dtype), graph.vec.detach().to(dtype)
    forces = out.new_zeros((len(graph.kind), 3))
    forces = forces.index_add(0, graph.receiver, slopes).index_add(0, graph.sender, -slopes)
    sizes = np.array([len(s.frame.kind) for s in samples])
    owner = np.repeat(np.arange(n), sizes)
    # the reference is subtracted in double precision before anything is rounded
    target = np.array([s.label.energy for s in samples])
    target -= np.bincount(owner, network.reference.cpu().numpy()[graph.kind.cpu().numpy()], minlength=n)
    of_atom, counts = _on(owner, device), _on(sizes, device).to(dtype)
    energies = out.new_zeros(n).index_add(0, of_atom, out)
    energy_loss = _huber((energies - _on(target, device).to(dtype)) / counts)
    wanted = _on(np.concatenate([s.label.forces for s in samples]), device).to(dtype)
    mask = _on(np.concatenate([s.label.force_weight for s in samples]), device).to(dtype)
    force_loss = out.new_zeros(n).index_add(0, of_atom, _huber(forces - wanted).mean(1) * mask)
    force_loss = force_loss / out.new_zeros(n).index_add(0, of_atom, mask).clamp(min=1e-12)
    stress_loss = out.new_zeros(n)
    if any(s.has_stress for s in samples):
        virials = out.new_zeros((n, 3, 3)).index_add(
            0, of_atom.index_select(0, graph.receiver), vec[:, :, None] * slopes[:, None, :]
        )
        volumes = _on(np.array([s.frame.volume if s.has_stress else 1.0 for s in samples]), device).to(dtype)
        stress = (virials / volumes[:, None, None])[:, _VOIGT[0], _VOIGT[1]]
        stresses = [s.label.stress if s.label.stress is not None and s.has_stress else np.zeros(6) for s in samples]
        known = _on(np.array([float(s.has_stress) for s in samples]), device).to(dtype)
        stress_loss = _huber((stress - _on(np.array(stresses), device).to(dtype)) * known[:, None]).mean(1)
    loss: Tensor = (energy_weight * energy_loss + _FORCE_WEIGHT * force_loss + _STRESS_WEIGHT * stress_loss).mean()
    return loss


def outputs_of(network: MessagePassingNetwork, sample: GraphSample, device: torch.device | None = None) -> Float:
    """Energies of a sample's atoms relative to the references of their species, as training sees them, eV, (n_atoms,).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))
    >>> learner = get_force_field("m3gnet-small", species=["Cu"])
    >>> outputs_of(learner.network, learner.samples([labelled])[0]).shape
    (4,)
    """
    found: Float = network(graph_of(sample.frame, device)).detach().cpu().numpy().astype(np.float64)
    return found


def _on(array: NDArray[np.float64] | NDArray[np.int64], device: torch.device | None) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _huber(difference: Tensor) -> Tensor:
    zero = torch.zeros_like(difference)
    return torch.nn.functional.huber_loss(difference, zero, reduction="none", delta=_DELTA) / _DELTA
