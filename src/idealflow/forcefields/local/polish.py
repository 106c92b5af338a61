"""The last phase of an update: a few L-BFGS iterations over all its structures at once.

Adam moves every parameter by about the same amount, and together these moves shift the energy of a frame by many meV per atom
in each step: forces converge while energies scatter. L-BFGS (Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.5)
uses the curvature of the loss. Over the whole set, where no choice of a batch adds noise, a few iterations remove that scatter,
and energies can have a weight at which Adam would only oscillate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.samples import Sample, pieces
from idealflow.forcefields.local.training import loss_of

__all__ = ["polish"]

ENERGY_WEIGHT = 400.0  # 1 meV/atom then weighs as much as 20 meV/Å
_MEMORY = 20


def polish(model: LocalModel, samples: Sequence[Sample], cutoff: float, iterations: int) -> float:
    """Lower the loss over all samples by L-BFGS; the model never ends with a higher one than it had.

    Parameters
    ----------
    model
        Changed in place.
    samples
        What to fit: new structures and the replay.
    cutoff
        Distance up to which atoms are neighbours, Å.
    iterations
        Number of line searches; most take one evaluation of all samples.

    Returns
    -------
    float
        Loss at the end. If the loss is not finite at the start, it is infinite and the model stays as it was.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.forcefields import get_force_field
    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.rattle(0.1, seed=0)
    >>> atoms.calc = EMT()
    >>> energy = atoms.get_potential_energy()  # the label: EMT computes the forces too
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0, hidden=[4])
    >>> _ = learner.fit([atoms], steps=5)
    >>> samples = learner.samples([atoms])
    >>> once = polish(learner.model, samples, learner.cutoff, iterations=1)
    >>> polish(learner.model, samples, learner.cutoff, iterations=10) < once
    True
    """
    parameters = list(model.parameters())
    best = [parameter.detach().clone() for parameter in parameters]
    lowest = np.inf
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=iterations,
        max_eval=iterations + iterations // 4 + 1,
        history_size=_MEMORY,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=0.0,
    )
    parts = list(pieces(samples))  # their gradients add up

    def evaluate() -> Tensor:
        nonlocal lowest
        optimiser.zero_grad()
        total = torch.zeros(())
        for piece in parts:
            loss = loss_of(model, piece, cutoff, ENERGY_WEIGHT) * (len(piece) / len(samples))
            loss.backward()
            total += loss.detach()
        if float(total) < lowest:
            lowest = float(total)
            for kept, parameter in zip(best, parameters, strict=True):
                kept.copy_(parameter.detach())
        return total

    optimiser.step(evaluate)
    with torch.no_grad():
        for kept, parameter in zip(best, parameters, strict=True):
            parameter.copy_(kept)
    return lowest
