"""Learning of the local model: standardisation, loss, optimiser steps."""

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

_DELTA = 0.1  # of the Huber loss: eV per atom, eV/Å, eV/Å³
_ENERGY_WEIGHT, _FORCE_WEIGHT, _STRESS_WEIGHT = 4.0, 1.0, 10.0
_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))
_LARGEST_GRADIENT = 1.0
_LEAST_VARIATION = 0.005  # least spread of an invariant, as a fraction of the largest density, or of its square


@dataclass(frozen=True)
class Sample:
    """A labelled structure, its neighbours found and the short-range repulsion taken off its label."""

    frame: Frame
    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    has_stress: bool
    force_weight: NDArray[np.float64]


def sample_of(atoms: Atoms, targets: Targets, kind: NDArray[np.int64], cutoff: float, numbers: Sequence[int]) -> Sample:
    """What there is to learn from one structure."""
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
    """Fix what is not learned by gradients, from the first training set.

    Energies of the species' atoms by least squares; the energy scale from the forces' root mean square; mean and spread
    of every invariant over the atoms of each species.
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
            # what hardly varies in the first data, perfect crystals perhaps, must not blow up when it varies later
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
    """Take gradient steps; returns the loss at about a hundred of them.

    Stops before the step whose loss is not finite; that loss then ends the list.
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
    """Huber loss of energy per atom, forces, and stress where there is one; mean over structures."""
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
