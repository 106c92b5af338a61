"""Fitting the local model: standardisation, loss, optimiser steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from idealflow.forcefields.dataset import Targets
from idealflow.forcefields.local.batch import Geometry, collated, evaluated, geometry_of
from idealflow.forcefields.local.model import LocalModel

__all__ = ["Sample", "absolute_errors", "fit_references", "run_steps", "samples_of", "standardise"]

_DELTA = 0.1
_ENERGY_WEIGHT, _FORCE_WEIGHT, _STRESS_WEIGHT = 4.0, 1.0, 10.0
_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


@dataclass(frozen=True)
class Sample:
    """A labelled structure with its neighbours."""

    geometry: Geometry
    targets: Targets


def samples_of(
    dataset: Sequence[Atoms], targets: Sequence[Targets], kinds: Callable[[Atoms], NDArray[np.int64]], cutoff: float
) -> list[Sample]:
    """Neighbours of every structure, found once."""
    return [
        Sample(geometry_of(atoms, kinds(atoms), cutoff), target) for atoms, target in zip(dataset, targets, strict=True)
    ]


def fit_references(model: LocalModel, samples: Sequence[Sample]) -> None:
    """Energy of each species' atom by least squares, and the spread of what remains as the energy scale."""
    n_species = len(model.reference)
    counts = np.array([np.bincount(s.geometry.kind, minlength=n_species) for s in samples], dtype=float)
    energies = np.array([s.targets.energy for s in samples])
    solution, *_ = np.linalg.lstsq(counts, energies, rcond=1e-8)
    forces = np.concatenate([s.targets.forces.ravel() for s in samples])
    model.reference.copy_(torch.from_numpy(solution))
    model.scale.fill_(max(float(np.sqrt((forces**2).mean())), 1e-2))


def standardise(model: LocalModel, samples: Sequence[Sample]) -> None:
    """Shift and scale every feature by its mean and spread over the training atoms of each species."""
    rows, kinds = [], []
    with torch.no_grad():
        for sample in samples:
            env = collated([sample.geometry], model.cutoff, model.contraction.dtype)
            rows.append(model.features(env))
            kinds.append(env.kind)
    x, kind = torch.cat(rows), torch.cat(kinds)
    for s in range(len(model.reference)):
        mine = x[kind == s]
        if len(mine):
            spread = mine.std(0, unbiased=False)
            model.mean[s] = mine.mean(0)
            # a feature that hardly varies yet must not blow up when it does
            model.spread[s] = torch.clamp(spread, min=0.02 * float(spread.median()) + 1e-4)


def loss_of(model: LocalModel, batch: Sequence[Sample], weights: Tensor | None = None) -> Tensor:
    """Huber loss (δ = 0.1) of energy per atom, forces, and stress where there is one; mean over structures."""
    env = collated([s.geometry for s in batch], model.cutoff, model.contraction.dtype)
    energies, forces, stresses = evaluated(model, env, train=True)
    sizes = torch.tensor([len(s.geometry.kind) for s in batch])
    target = torch.tensor([s.targets.energy for s in batch], dtype=torch.float64)
    offset = torch.zeros(len(batch), dtype=torch.float64).index_add(0, env.graph, model.reference[env.kind])
    dtype = forces.dtype
    energy_loss = _huber(((energies + offset - target) / sizes).to(dtype))
    force_target = torch.from_numpy(np.concatenate([s.targets.forces for s in batch])).to(dtype)
    mask = torch.from_numpy(np.concatenate([s.targets.force_weight for s in batch])).to(dtype)
    per_atom = _huber(forces - force_target).mean(1) * mask
    norm = torch.zeros(len(batch), dtype=dtype).index_add(0, env.graph, mask).clamp(min=1e-12)
    force_loss = torch.zeros(len(batch), dtype=dtype).index_add(0, env.graph, per_atom) / norm
    known = torch.tensor([s.targets.stress is not None and s.geometry.volume > 0 for s in batch], dtype=dtype)
    stress_target = torch.from_numpy(
        np.array([s.targets.stress if s.targets.stress is not None else np.zeros(6) for s in batch])
    ).to(dtype)
    stress_loss = _huber(stresses[:, _VOIGT[0], _VOIGT[1]] - stress_target).mean(1) * known
    total = _ENERGY_WEIGHT * energy_loss + _FORCE_WEIGHT * force_loss + _STRESS_WEIGHT * stress_loss
    return (total * weights).sum() / weights.sum() if weights is not None else total.mean()


def _huber(difference: Tensor) -> Tensor:
    return torch.nn.functional.huber_loss(difference, torch.zeros_like(difference), reduction="none", delta=_DELTA) / _DELTA


def run_steps(
    model: LocalModel,
    optimiser: torch.optim.Optimizer,
    batches: Callable[[int], Sequence[Sample]],
    rates: Callable[[int], float],
    steps: int,
    progress: Callable[[int, int, float], None] | None = None,
) -> list[float]:
    """Take gradient steps; returns the loss at about a hundred of them."""
    history: list[float] = []
    every = max(1, steps // 100)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rates(step)
        optimiser.zero_grad()
        loss = loss_of(model, batches(step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % every == 0 or step == steps - 1:
            history.append(float(loss.detach()))
            if progress is not None:
                progress(step + 1, steps, history[-1])
    return history


def absolute_errors(model: LocalModel, samples: Sequence[Sample]) -> NDArray[np.float64]:
    """|ΔE|/atom, mean |ΔF|, mean |Δσ| (NaN without a label) of each structure, (n, 3)."""
    out = np.full((len(samples), 3), np.nan)
    for row, sample in zip(out, samples, strict=True):
        env = collated([sample.geometry], model.cutoff, model.contraction.dtype)
        energies, forces, stresses = evaluated(model, env, train=False)
        energy = energies[0].item() + model.reference[env.kind].sum().item()
        row[0] = abs(energy - sample.targets.energy) / len(sample.geometry.kind)
        row[1] = float(np.abs(forces.detach().numpy() - sample.targets.forces).mean())
        if sample.targets.stress is not None and sample.geometry.volume > 0:
            row[2] = float(np.abs(stresses[0][_VOIGT].detach().numpy() - sample.targets.stress).mean())
    return out
