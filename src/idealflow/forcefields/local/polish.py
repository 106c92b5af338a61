"""The end of an update: all its structures at once, by a method that sees the curvature.

Adam gives every parameter a step of about the same size, and all of them together shift the energy of a frame by many
meV per atom per step: forces converge while energies scatter. A few L-BFGS iterations (Nocedal and Wright, Numerical
Optimization, 2006, algorithm 7.5) over the whole set, where nothing is noise, take that scatter away, and they can give
energies a weight at which Adam would only oscillate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.training import Sample, loss_of

__all__ = ["polish"]

ENERGY_WEIGHT = 400.0  # 1 meV/atom then weighs as much as 20 meV/Å
_MEMORY = 20
ATOMS_AT_ONCE = 4096  # bounds the memory; gradients of the pieces add up


def polish(model: LocalModel, samples: Sequence[Sample], cutoff: float, iterations: int) -> float:
    """Lower the loss of all samples together; it never rises.

    Parameters
    ----------
    model
        Changed in place.
    samples
        What to fit: new structures and the replay.
    cutoff
        Å.
    iterations
        Line searches, each mostly one evaluation of all samples.

    Returns
    -------
    float
        Loss at the end; not finite if it was not at the start, and then the model is as it was.
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
    pieces = list(_pieces(samples))

    def evaluate() -> Tensor:
        nonlocal lowest
        optimiser.zero_grad()
        total = torch.zeros(())
        for piece in pieces:
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


def _pieces(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """The samples in order, in pieces of a bounded number of atoms."""
    piece: list[Sample] = []
    n_atoms = 0
    for sample in samples:
        if piece and n_atoms + len(sample.frame.kind) > ATOMS_AT_ONCE:
            yield piece
            piece, n_atoms = [], 0
        piece.append(sample)
        n_atoms += len(sample.frame.kind)
    yield piece
