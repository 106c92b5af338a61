"""Training of the local model: standardisation, loss, optimiser steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from idealflow.forcefields.dataset import Targets
from idealflow.forcefields.local.descriptor import Frame, densities, forces_and_virials, frame_of, joined
from idealflow.forcefields.local.kernels import scatter_forces
from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.repulsion import repulsion, repulsion_ranges

__all__ = ["Sample", "loss_of", "run_steps", "sample_of", "set_scales"]

_DELTA = 0.1  # error from which the Huber loss is linear: eV per atom, eV/Å, eV/Å³
_ENERGY_WEIGHT, _FORCE_WEIGHT, _STRESS_WEIGHT = 4.0, 1.0, 10.0
_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))
_LARGEST_GRADIENT = 1.0
_LEAST_VARIATION = 0.005  # least spread of an invariant, as a fraction of the largest density, or of its square


@dataclass(frozen=True)
class Sample:
    """A labelled structure with its neighbours, as training reads it; the repulsion is already subtracted from its label.

    Attributes
    ----------
    frame
        Species and neighbours.
    energy
        eV.
    forces : (n, 3), eV/Å
    stress : (6,), eV/Å³
        In Voigt order; zeros where there is none.
    has_stress
        Whether the label has a stress and the structure a volume.
    force_weight : (n,)
        Weight of each atom's force in the loss.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))
    >>> (sample,) = get_force_field("local", species=["Cu"], cutoff=3.0).samples([labelled])
    >>> sample.energy, sample.has_stress, len(sample.frame.j)
    (-14.0, False, 48)
    """

    frame: Frame
    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    has_stress: bool
    force_weight: NDArray[np.float64]


def sample_of(atoms: Atoms, targets: Targets, kind: NDArray[np.int64], cutoff: float, numbers: Sequence[int]) -> Sample:
    """Prepare one structure for training: find its neighbours, and subtract the short-range repulsion from its label.

    Parameters
    ----------
    atoms, targets
        Structure and its label.
    kind : (n,) int64
        Species index of each atom.
    cutoff
        Distance up to which atoms are neighbours, Å.
    numbers
        Atomic numbers of the species.

    Examples
    --------
    The repulsion between two atoms at 1.5 Å is no longer in the energy to be learned:

    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields.dataset import targets_of
    >>> dimer = set_label(Atoms("Cu2", [[0, 0, 0], [0, 0, 1.5]]), energy=0.0, forces=np.zeros((2, 3)))
    >>> sample_of(dimer, targets_of(dimer), np.zeros(2, dtype=np.int64), cutoff=4.0, numbers=[29]).energy < 0.0
    True
    """
    frame = frame_of(atoms, kind, cutoff)
    n = len(kind)
    energies, slopes = np.zeros(n), np.zeros_like(frame.vec)
    centres, graph = np.arange(n), np.zeros(n, dtype=np.int64)
    charges, ranges = np.array(numbers, dtype=float), repulsion_ranges(numbers)
    repulsion(frame.vec, frame.offsets, frame.j, kind, centres, charges, ranges, energies, slopes)
    forces, virial = np.zeros((n, 3)), np.zeros((1, 3, 3))
    scatter_forces(frame.vec, frame.offsets, frame.j, centres, graph, slopes, forces, virial)
    has_stress = targets.stress is not None and frame.volume > 0
    stress = np.zeros(6)
    if targets.stress is not None and has_stress:
        stress = targets.stress - virial[0][_VOIGT] / frame.volume
    energy = targets.energy - float(energies.sum())
    return Sample(frame, energy, targets.forces - forces, stress, has_stress, targets.force_weight)


def set_scales(model: LocalModel, samples: Sequence[Sample], cutoff: float) -> None:
    """Set, from the first training set, the parts of a model that gradient steps do not change.

    These are the reference energy of each species, by least squares; the scale of energies, which is the root mean square of the
    forces (eV/Å), at least 0.01; and mean and spread of every invariant over the atoms of each species.

    Parameters
    ----------
    model
        Changed in place.
    samples
        Training set.
    cutoff
        Distance up to which atoms are neighbours, Å.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0)
    >>> set_scales(learner.model, learner.samples([labelled]), learner.cutoff)
    >>> learner.model.reference.numpy().round(6).tolist(), learner.model.seen.tolist()  # eV per atom
    ([-3.5], [True])
    """
    counts = np.array([np.bincount(s.frame.kind, minlength=model.n_species) for s in samples], dtype=float)
    solution, *_ = np.linalg.lstsq(counts, np.array([s.energy for s in samples]), rcond=1e-8)
    model.reference.copy_(torch.from_numpy(solution))
    forces = np.concatenate([s.forces[s.force_weight > 0].ravel() for s in samples])
    model.scale.fill_(max(float(np.sqrt((forces**2).sum() / max(1, forces.size))), 1e-2))
    rows = []
    with torch.no_grad():
        for sample in samples:
            batch = joined([sample.frame], cutoff, model.n_species, model.n_radial, np.float32)
            rows.append(model.features(densities(batch)))
    features = torch.cat(rows)
    kind = torch.from_numpy(np.concatenate([s.frame.kind for s in samples]))
    for s in range(model.n_species):
        mine = features[kind == s]
        if len(mine):
            # an invariant that hardly varies in the first data (perfect crystals) must not become huge when it varies later
            size = float(mine[:, : model.n_channels].square().mean(0).max().sqrt()) + 0.1
            floor = torch.full((mine.shape[1],), _LEAST_VARIATION * size * size)
            floor[: model.n_channels] = _LEAST_VARIATION * size
            model.mean[s] = mine.mean(0)
            model.spread[s] = torch.maximum(mine.std(0, unbiased=False), floor)
            model.seen[s] = True


def run_steps(
    model: LocalModel,
    optimiser: torch.optim.Optimizer,
    cutoff: float,
    batches: Callable[[], Sequence[Sample]],
    rate: Callable[[int], float],
    steps: int,
    progress: Callable[[int, int, float], None] | None = None,
) -> list[float]:
    """Take gradient steps.

    Parameters
    ----------
    model, optimiser
        Changed in place.
    cutoff
        Distance up to which atoms are neighbours, Å.
    batches
        Returns the samples of the next step.
    rate
        Step size of a step, by its number from 0 on.
    steps
        Number of steps.
    progress
        Called about a hundred times as ``progress(step, steps, loss)``.

    Returns
    -------
    list of float
        The loss at about a hundred of the steps. A loss that is not finite ends the list and the training, before its step.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.full((4, 3), 0.1))
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0)
    >>> samples = learner.samples([labelled])
    >>> optimiser = torch.optim.Adam(learner.model.parameters())
    >>> losses = run_steps(learner.model, optimiser, 3.0, lambda: samples, lambda step: 1e-3, steps=5)
    >>> len(losses), losses[-1] < losses[0]
    (5, True)
    """
    history: list[float] = []
    every = max(1, steps // 100)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
        optimiser.zero_grad()
        loss = loss_of(model, batches(), cutoff)
        value = float(loss.detach())
        if not np.isfinite(value):
            history.append(value)
            break
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_GRADIENT)
        optimiser.step()
        if step % every == 0 or step == steps - 1:
            history.append(value)
            if progress is not None:
                progress(step + 1, steps, value)
    return history


def loss_of(
    model: LocalModel, samples: Sequence[Sample], cutoff: float, energy_weight: float = _ENERGY_WEIGHT
) -> Tensor:
    """Loss of some samples: the mean over structures of the Huber losses of energy per atom, forces, and stress if there is one.

    Parameters
    ----------
    model
        Model to judge.
    samples
        Structures, taken as one batch in single precision.
    cutoff
        Distance up to which atoms are neighbours, Å.
    energy_weight
        Weight of the energy; those of forces and stress are 1 and 10.

    Returns
    -------
    Tensor
        One number, without unit; torch can differentiate it in the model's parameters.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0)
    >>> loss = loss_of(learner.model, learner.samples([labelled]), learner.cutoff)
    >>> loss.backward()
    >>> loss.shape, learner.model.readout.grad.shape
    (torch.Size([]), torch.Size([1, 32]))
    """
    batch = joined([s.frame for s in samples], cutoff, model.n_species, model.n_radial, np.float32)
    kind, graph = torch.from_numpy(batch.kind), torch.from_numpy(batch.graph)
    density = densities(batch).requires_grad_()
    atomic = model(density, kind)
    (weight,) = torch.autograd.grad(atomic.sum(), density, create_graph=True)
    forces, virials = forces_and_virials(batch, weight)
    sizes = torch.from_numpy(np.diff(np.searchsorted(batch.graph, np.arange(len(samples) + 1)))).float()
    # the reference is subtracted in double precision before anything is rounded
    target = np.array([s.energy for s in samples])
    target -= np.bincount(batch.graph, model.reference.numpy()[batch.kind], minlength=len(samples))
    energy = _per_graph(atomic, graph, len(samples))
    energy_loss = _huber((energy - torch.from_numpy(target).float()) / sizes)
    force_target = torch.from_numpy(np.concatenate([s.forces for s in samples])).float()
    mask = torch.from_numpy(np.concatenate([s.force_weight for s in samples])).float()
    force_loss = _per_graph(_huber(forces - force_target).mean(1) * mask, graph, len(samples))
    force_loss = force_loss / _per_graph(mask, graph, len(samples)).clamp(min=1e-12)
    volume = torch.tensor([s.frame.volume if s.has_stress else 1.0 for s in samples])
    known = torch.tensor([float(s.has_stress) for s in samples])
    stress = (virials / volume[:, None, None])[:, _VOIGT[0], _VOIGT[1]]
    stress_target = torch.from_numpy(np.array([s.stress for s in samples])).float()
    stress_loss = _huber((stress - stress_target) * known[:, None]).mean(1)
    return (energy_weight * energy_loss + _FORCE_WEIGHT * force_loss + _STRESS_WEIGHT * stress_loss).mean()


def _per_graph(values: Tensor, graph: Tensor, n_graphs: int) -> Tensor:
    return torch.zeros(n_graphs, dtype=values.dtype).index_add(0, graph, values)


def _huber(difference: Tensor) -> Tensor:
    zero = torch.zeros_like(difference)
    return torch.nn.functional.huber_loss(difference, zero, reduction="none", delta=_DELTA) / _DELTA
