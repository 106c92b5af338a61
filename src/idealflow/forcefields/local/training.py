"""Training of the local model: its loss, its errors, and energies mended in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idealflow.forcefields.local.gradient import Basis, Passed, joined_basis
from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.samples import VOIGT, Sample, pieces
from idealflow.forcefields.toolkit.offsets import least_change, species_offsets

__all__ = ["errors_of", "loss_of", "refit_energies", "refit_references"]

_DELTA = 0.1  # error from which the Huber loss is linear: eV per atom, eV/Å, eV/Å³
_ENERGY_WEIGHT, _FORCE_WEIGHT, _STRESS_WEIGHT = 4.0, 1.0, 10.0
#: tried in turn; smaller ones move forces, larger ones leave energies off (docs/explanation/learning.md)
_REFIT_DAMPINGS = (1e-2, 1e-1, 1.0, 10.0)
_REFERENCE_UNIT = 3.0  # a reference energy moves as easily as a weight whose input is 3


@torch.no_grad()
def refit_energies(model: LocalModel, samples: Sequence[Sample], cutoff: float) -> None:
    """Mend the energies of some structures by the least change of what is linear in a model: last layer, linear map, references.

    Gradient steps leave the energies of whole structures several meV per atom off while forces converge; the change that takes
    this back is so small that forces hardly notice. Where it is not, as with energies that no smooth change explains (cells with
    different k-points), the change is damped until the loss of all structures, forces and stress included, is no larger than
    before; if no damping does that, only the reference energies are set anew, which no force notices.

    Parameters
    ----------
    model
        Changed in place.
    samples
        Structures.
    cutoff
        Distance up to which atoms are neighbours, Å.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = [set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))]
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0)
    >>> _ = learner.fit(labelled, steps=3)
    >>> learner.model.reference += 1.0
    >>> refit_energies(learner.model, learner.samples(labelled), learner.cutoff)
    >>> bool(learner.errors(labelled)[0, 0] < 0.02)  # eV/atom
    True
    """
    found = _predicted(model, samples, cutoff)
    inputs = np.concatenate([passed.readout_inputs(_REFERENCE_UNIT) for passed, _, _ in found])
    residuals = np.concatenate([residual for _, residual, _ in found])
    linear = model.linear, model.readout, model.reference
    before, kept = _mean_loss(model, samples, cutoff), [part.clone() for part in linear]
    for damping in _REFIT_DAMPINGS:
        change = torch.from_numpy(least_change(inputs, residuals, damping)).view(model.n_species, -1)
        parts = change.split([*model.linear.shape[1:], *model.readout.shape[1:], 1], dim=1)
        model.linear.add_(parts[0].float())
        model.readout.add_(parts[1].float())
        model.reference += parts[2][:, 0] * _REFERENCE_UNIT * float(model.scale)
        if _mean_loss(model, samples, cutoff) <= before:
            return
        for part, value in zip(linear, kept, strict=True):
            part.copy_(value)
    refit_references(model, samples, cutoff)


def _mean_loss(model: LocalModel, samples: Sequence[Sample], cutoff: float) -> float:
    """The loss of some structures, piece by piece."""
    total = sum(len(piece) * float(loss_of(model, piece, cutoff)) for piece in pieces(samples))
    return total / len(samples)


@torch.no_grad()
def refit_references(model: LocalModel, samples: Sequence[Sample], cutoff: float) -> None:
    """Set the reference energies of the species to what brings the energies of some structures closest to their labels.

    Labels that are all off alike, as another method's are, would otherwise send the first gradient steps astray.

    Parameters
    ----------
    model
        Changed in place.
    samples, cutoff
        As for :func:`refit_energies`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = [set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))]
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0)
    >>> _ = learner.fit(labelled, steps=3)
    >>> learner.model.reference += 1.0
    >>> refit_references(learner.model, learner.samples(labelled), learner.cutoff)
    >>> bool(learner.errors(labelled)[0, 0] < 0.01)  # eV/atom
    True
    """
    found = _predicted(model, samples, cutoff)
    residuals, fractions = (np.concatenate([entry[part] for entry in found]) for part in (1, 2))
    model.reference += torch.from_numpy(species_offsets(fractions, residuals))


def _predicted(
    model: LocalModel, samples: Sequence[Sample], cutoff: float
) -> list[tuple[Passed, NDArray[np.float64], NDArray[np.float64]]]:
    """Predictions piece by piece, label less prediction of each structure (eV/atom), and its fractions of species."""
    found = []
    for piece in pieces(samples):
        passed = Passed(model, joined_basis([sample.basis(cutoff, model) for sample in piece]))
        basis, sizes = passed.basis, passed.basis.sizes.double().numpy()
        atomic = passed.atomic.double().numpy() + model.reference.numpy()[basis.kind]
        energies = np.bincount(basis.graph, atomic, minlength=len(piece))
        residuals = (np.array([sample.energy for sample in piece]) - energies) / sizes
        fractions = np.zeros((len(piece), model.n_species))
        np.add.at(fractions, (basis.graph, basis.kind), 1.0)
        found.append((passed, residuals, fractions / sizes[:, None]))
    return found


@torch.no_grad()
def errors_of(model: LocalModel, samples: Sequence[Sample], cutoff: float) -> NDArray[np.float64]:
    """Absolute errors of each structure, (n, 3): energy eV/atom, mean force eV/Å, mean stress eV/Å³ (NaN if absent).

    They are computed many structures at once, in single precision, and equal those of a calculator to about 1e-5.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = [set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))]
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0)
    >>> _ = learner.fit(labelled, steps=3)
    >>> errors_of(learner.model, learner.samples(labelled), learner.cutoff).shape
    (1, 3)
    """
    rows = []
    for piece in pieces(samples):
        passed = Passed(model, joined_basis([sample.basis(cutoff, model) for sample in piece]))
        basis, sizes = passed.basis, passed.basis.sizes.double().numpy()
        atomic = passed.atomic.double().numpy() + model.reference.numpy()[basis.kind]
        energies = np.bincount(basis.graph, atomic, minlength=len(piece))
        forces = np.abs(passed.forces.double().numpy() - np.concatenate([sample.forces for sample in piece])).mean(
            axis=1
        )
        out = np.full((len(piece), 3), np.nan)
        out[:, 0] = np.abs(energies - [sample.energy for sample in piece]) / sizes
        out[:, 1] = np.bincount(basis.graph, forces, minlength=len(piece)) / sizes
        for row, sample, virial in zip(out, piece, passed.virials.double().numpy(), strict=True):
            if sample.has_stress:
                row[2] = np.abs(virial[VOIGT] / sample.frame.volume - sample.stress).mean()
        rows.append(out)
    return np.concatenate(rows)


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
    loss: Tensor = _Loss.apply(  # type: ignore[no-untyped-call]  # torch's, untyped
        [sample.basis(cutoff, model) for sample in samples], samples, model, energy_weight, *model.parameters()
    )
    return loss


class _Loss(torch.autograd.Function):
    """The loss; its gradient in the parameters is computed at once, and scaled when torch asks for it."""

    @staticmethod
    def forward(
        ctx: Any, parts: Sequence[Basis], samples: Sequence[Sample], model: LocalModel, energy_weight: float, *_: Tensor
    ) -> Tensor:
        passed = Passed(model, joined_basis(parts))
        loss, *slopes = _loss_and_slopes(passed, samples, model, energy_weight)
        ctx.passed, ctx.slopes = passed, slopes
        return loss

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, None, None, *(scale * gradient for gradient in ctx.passed.gradient(*ctx.slopes)))


def _loss_and_slopes(
    passed: Passed, samples: Sequence[Sample], model: LocalModel, energy_weight: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss, and its gradient in atomic energies (n,), forces (n, 3) and virials (n_graphs, 3, 3)."""
    basis, n = passed.basis, len(samples)
    graph, sizes = torch.from_numpy(basis.graph), basis.sizes
    # the reference is subtracted in double precision before anything is rounded
    target = np.array([s.energy for s in samples])
    target -= np.bincount(basis.graph, model.reference.numpy()[basis.kind], minlength=n)
    energy = torch.zeros(n).index_add(0, graph, passed.atomic)
    energy_loss, energy_slope = _huber((energy - torch.from_numpy(target).float()) / sizes)

    force_target = torch.from_numpy(np.concatenate([s.forces for s in samples])).float()
    mask = torch.from_numpy(np.concatenate([s.force_weight for s in samples])).float()
    share = (mask / torch.zeros(n).index_add(0, graph, mask).clamp(min=1e-12)[graph])[:, None] / 3.0
    force_loss, force_slope = _huber(passed.forces - force_target)

    volume = torch.tensor([s.frame.volume if s.has_stress else 1.0 for s in samples])[:, None]
    known = torch.tensor([float(s.has_stress) for s in samples])[:, None]
    stress_target = torch.from_numpy(np.array([s.stress for s in samples])).float()
    stress = passed.virials[:, VOIGT[0], VOIGT[1]] / volume
    stress_loss, stress_slope = _huber((stress - stress_target) * known)
    by_virials = torch.zeros_like(passed.virials)
    by_virials[:, VOIGT[0], VOIGT[1]] = stress_slope * (_STRESS_WEIGHT / (6.0 * n)) * known / volume

    loss = (energy_weight * energy_loss + _STRESS_WEIGHT * stress_loss.mean(1)).mean()
    loss = loss + _FORCE_WEIGHT * (force_loss * share).sum() / n
    by_atomic = (energy_slope * (energy_weight / n) / sizes)[graph]
    return loss, by_atomic, force_slope * share * (_FORCE_WEIGHT / n), by_virials


def _huber(difference: Tensor) -> tuple[Tensor, Tensor]:
    """Huber loss divided by its delta, and its slope."""
    size = difference.abs()
    within = size < _DELTA
    loss = torch.where(within, 0.5 / _DELTA * difference * difference, size - 0.5 * _DELTA)
    return loss, (difference / _DELTA).clamp(-1.0, 1.0)
