"""Scales of the local model: what gradient steps do not change, but work best with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from idealflow.forcefields.local.gradient import Passed
from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.samples import Sample

__all__ = ["rescale", "set_scales"]

_LEAST_VARIATION = 0.005  # least spread of an invariant, as a fraction of the largest density, or of its square


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
