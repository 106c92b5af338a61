"""Training of one arm to convergence, and its errors on whole frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from idealflow.forcefields import ForceField

CHUNKS = 10
FLAT_CHUNKS = 3  # the last 30 % of the steps
FLAT = 0.02
PEAK_RATE, LAST_RATE = 2e-3, 1e-5


@dataclass
class Trained:
    """One arm's model and how it got there.

    Attributes
    ----------
    model : the force field
    steps : gradient steps of the final run
    validation : mean absolute force error on the arm's own held-out structures after every tenth of the steps, eV/Å
    drift : largest relative difference of these over the last 30 % of the steps
    """

    model: ForceField
    steps: int
    validation: list[float] = field(default_factory=list)

    @property
    def drift(self) -> float:
        """(largest - least) / mean of the last validation errors."""
        last = np.array(self.validation[-FLAT_CHUNKS - 1 :])
        return float((last.max() - last.min()) / last.mean())

    @property
    def converged(self) -> bool:
        """Whether they are flat within 2 %."""
        return self.drift <= FLAT


def rate(chunk: int) -> float:
    """Step size of a tenth of the steps: constant for two, then falling geometrically to a two-hundredth by the sixth."""
    decay = min(1.0, max(0, chunk - 1) / (CHUNKS - FLAT_CHUNKS - 3))
    return float(PEAK_RATE * (LAST_RATE / PEAK_RATE) ** decay)


def train(
    start: ForceField, learned: list[Atoms], replay: list[Atoms], seed: int, steps: int, doublings: int = 1
) -> Trained:
    """Go on from the first model with an arm's structures, a fifth held out, until the validation error is flat.

    Not flat within 2 % over the last 30 % of the steps: the run is repeated with twice the steps, `doublings` times at most.
    """
    held_out = learned[::5]
    taught = [atoms for k, atoms in enumerate(learned) if k % 5]
    for attempt in range(doublings + 1):
        total = steps * 2**attempt
        trained = Trained(start.copy(), total)
        for chunk in range(CHUNKS):
            trained.model.update(taught, replay, steps=total // CHUNKS, lr=rate(chunk), seed=1000 * seed + chunk)
            trained.validation.append(float(trained.model.errors(held_out)[:, 1].mean()))
        if trained.converged:
            break
    return trained


def frame_errors(model: ForceField, frames: list[Atoms]) -> np.ndarray:
    """Absolute errors on whole frames, (n, 2): eV/atom, mean force component eV/Å."""
    return np.asarray(model.errors(frames)[:, :2])


def core_force_error(cell: Atoms, core: np.ndarray, parents: np.ndarray, frame: Atoms) -> float:
    """Mean absolute difference of the reference's forces on core atoms, in the cell against in the frame, eV/Å."""
    return float(np.abs(cell.get_forces()[core] - frame.get_forces()[parents[core]]).mean())
