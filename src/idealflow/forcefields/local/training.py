"""Training of the local model: standardisation, loss, optimiser steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from idealflow.forcefields.dataset import Targets
from idealflow.forcefields.local.descriptor import Frame, frame_of
from idealflow.forcefields.local.gradient import Basis, Passed, basis_of, joined_basis
from idealflow.forcefields.local.kernels import scatter_forces
from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.repulsion import repulsion, repulsion_ranges
from idealflow.forcefields.toolkit.offsets import least_change

__all__ = ["Sample", "errors_of", "loss_of", "refit_energies", "rescale", "sample_of", "set_scales"]

_DELTA = 0.1  # error from which the Huber loss is linear: eV per atom, eV/Å, eV/Å³
_ENERGY_WEIGHT, _FORCE_WEIGHT, _STRESS_WEIGHT = 4.0, 1.0, 10.0
_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))
ATOMS_AT_ONCE = 4096  # bounds the memory of a pass over a set
_REFIT_DAMPING = (
    1e-2  # residuals within a tenth of the size of the inputs' noise stay: measured, docs/explanation/learning.md
)
_REFERENCE_UNIT = 3.0  # a reference energy moves as easily as a weight whose input is 3
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
    kept: list[Basis] = field(default_factory=list, compare=False, repr=False)

    def basis(self, cutoff: float, model: LocalModel) -> Basis:
        """What a gradient step of ``model`` reads of it; kept for the next step."""
        if not self.kept:
            self.kept.append(basis_of(self.frame, cutoff, model.n_species, model.n_radial))
        return self.kept[0]


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
    _standardise(model, samples, cutoff)


def rescale(model: LocalModel, samples: Sequence[Sample], cutoff: float) -> None:
    """Set the scale of energies, and mean and spread of the invariants, anew; weights change with them, so predictions stay.

    Gradient steps work best where the inputs of a network have mean 0 and spread 1. Data that a model has met since its first
    fit, a liquid after a crystal, may be many spreads off.

    Parameters
    ----------
    model
        Changed in place.
    samples
        What it is going to be trained on.
    cutoff
        Distance up to which atoms are neighbours, Å.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = [set_label(bulk("Cu", a=a, cubic=True), energy=-14.0, forces=np.zeros((4, 3))) for a in (3.6, 4.0)]
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0)
    >>> _ = learner.fit(labelled[:1], steps=3)
    >>> before = learner.errors(labelled)
    >>> rescale(learner.model, learner.samples(labelled), learner.cutoff)
    >>> bool(np.allclose(before, learner.errors(labelled), atol=1e-4, equal_nan=True))
    True
    """
    mean, spread, scale = model.mean.clone(), model.spread.clone(), model.scale.clone()
    _standardise(model, samples, cutoff)
    with torch.no_grad():
        ratio, shift = model.spread / spread, (model.mean - mean) / spread
        grown = scale / model.scale
        model.reference += ((shift * model.linear).sum(1) * scale).double()
        model.linear.mul_(ratio * grown)
        model.readout.mul_(grown)
        model.biases[0].add_((shift[:, None] @ model.weights[0])[:, 0])
        model.weights[0].mul_(ratio[:, :, None])


def _standardise(model: LocalModel, samples: Sequence[Sample], cutoff: float) -> None:
    """Set the scale of energies, and mean and spread of every invariant."""
    forces = np.concatenate([s.forces[s.force_weight > 0].ravel() for s in samples])
    model.scale.fill_(max(float(np.sqrt((forces**2).sum() / max(1, forces.size))), 1e-2))
    rows = [Passed(model, sample.basis(cutoff, model)).features for sample in samples]
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


@torch.no_grad()
def refit_energies(model: LocalModel, samples: Sequence[Sample], cutoff: float) -> None:
    """Mend the energies of some structures by the least change of what is linear in a model: last layer, linear map, references.

    Gradient steps leave the energies of whole structures several meV per atom off while forces converge; the change that takes
    this back is so small that forces hardly notice.

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
    inputs, residuals = [], []
    for piece in pieces(samples):
        passed = Passed(model, joined_basis([sample.basis(cutoff, model) for sample in piece]))
        basis, sizes = passed.basis, passed.basis.sizes.double().numpy()
        atomic = passed.atomic.double().numpy() + model.reference.numpy()[basis.kind]
        energies = np.bincount(basis.graph, atomic, minlength=len(piece))
        residuals.append((np.array([sample.energy for sample in piece]) - energies) / sizes)
        inputs.append(passed.readout_inputs(_REFERENCE_UNIT))
    change = least_change(np.concatenate(inputs), np.concatenate(residuals), _REFIT_DAMPING)
    parts = (
        torch.from_numpy(change)
        .view(model.n_species, -1)
        .split([*model.linear.shape[1:], *model.readout.shape[1:], 1], dim=1)
    )
    model.linear.add_(parts[0].float())
    model.readout.add_(parts[1].float())
    model.reference += parts[2][:, 0] * _REFERENCE_UNIT * float(model.scale)


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
                row[2] = np.abs(virial[_VOIGT] / sample.frame.volume - sample.stress).mean()
        rows.append(out)
    return np.concatenate(rows)


def pieces(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Split the samples, in order, into pieces of at most ``ATOMS_AT_ONCE`` atoms, or of one larger sample."""
    piece: list[Sample] = []
    n_atoms = 0
    for sample in samples:
        if piece and n_atoms + len(sample.frame.kind) > ATOMS_AT_ONCE:
            yield piece
            piece, n_atoms = [], 0
        piece.append(sample)
        n_atoms += len(sample.frame.kind)
    yield piece


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
    stress = passed.virials[:, _VOIGT[0], _VOIGT[1]] / volume
    stress_loss, stress_slope = _huber((stress - stress_target) * known)
    by_virials = torch.zeros_like(passed.virials)
    by_virials[:, _VOIGT[0], _VOIGT[1]] = stress_slope * (_STRESS_WEIGHT / (6.0 * n)) * known / volume

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
