"""One attempt at learning: a copy of the force field trained on new and replayed structures, and whether it may stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jobflow import JobStore

from idealflow.forcefields import ForceField
from idealflow.schemas import TrainingErrors
from idealflow.storage import ArtifactStore
from idealflow.workflow.learner.ledger import Ledger, fetch_structures

__all__ = ["Known", "Trial", "draw", "mean_errors", "rejection", "train"]

#: the loss counts energy (eV/atom), forces (eV/Å) and stress (eV/Å³) so
_WEIGHTS = np.array([1.0, 1.0, 0.1])

#: a loss below it is as good as none
_LEAST_LOSS = 1e-3


@dataclass(frozen=True)
class Known:
    """Structures learned earlier that one update uses.

    Attributes
    ----------
    replay_keys, replay
        Keys in the ledger, and the structures: trained on together with the new ones.
    validation_keys, validation
        The same of the validation set, which decides whether the update stays.
    """

    replay_keys: list[str]
    replay: list[Atoms]
    validation_keys: list[str]
    validation: list[Atoms]


def draw(
    jobstore: JobStore, store: ArtifactStore, ledger: Ledger, n_replay: int, n_validation: int, rng: np.random.Generator
) -> Known:
    """Draw replay and validation set from a ledger: at most ``n_replay``, and ``n_validation`` of each role."""
    replayed = ledger.replay(n_replay, rng)
    validation = ledger.validation(n_validation, rng, exclude=replayed)
    structures = fetch_structures(jobstore, store, replayed + validation)
    return Known(replayed, structures[: len(replayed)], validation, structures[len(replayed) :])


@dataclass(frozen=True)
class Trial:
    """A trained copy of the force field and its errors, (n, 3): energy eV/atom, forces eV/Å, stress eV/Å³.

    Attributes
    ----------
    force_field
        The copy.
    known
        What it was trained on beside the new structures, and validated by.
    new_before, new_after
        Errors on the new structures before and after training.
    validation_before, validation_after
        Errors on the validation set before and after training.
    """

    force_field: ForceField
    known: Known
    new_before: np.ndarray
    new_after: np.ndarray
    validation_before: np.ndarray
    validation_after: np.ndarray

    def enter(self, ledger: Ledger, keys: Sequence[str]) -> None:
        """Take the new structures, of these keys, and the errors of all that was used into a ledger."""
        if self.known.replay:
            ledger.refresh(self.known.replay_keys, self.force_field.errors(self.known.replay))
        ledger.refresh(self.known.validation_keys, self.validation_after)
        ledger.add(keys, self.new_after)


def train(
    force_field: ForceField, new: Sequence[Atoms], known: Known, *, steps: int, learning_rate: float, seed: int
) -> Trial:
    """Train a copy of a force field on new structures and a replay; ``steps`` gradient steps."""
    trained = force_field.copy()
    new_before, validation_before = trained.errors(new), _errors(trained, known.validation)
    trained.update(new, known.replay, steps=steps, lr=learning_rate, seed=seed)
    new_after, validation_after = trained.errors(new), _errors(trained, known.validation)
    return Trial(trained, known, new_before, new_after, validation_before, validation_after)


def rejection(trial: Trial, factor: float) -> str | None:
    """Why a trained copy must not stay, or None: errors that are not finite, or that grew by more than ``factor``."""
    if not all(np.isfinite(errors[:, :2]).all() for errors in (trial.validation_after, trial.new_after)):
        return "the updated force field gives errors that are not finite"
    new_before, new_after = _loss(trial.new_before), _loss(trial.new_after)
    if len(trial.validation_after):
        before, after = _loss(trial.validation_before), _loss(trial.validation_after)
        if after > factor * max(before, new_after, _LEAST_LOSS):
            return (
                f"the error on held-out structures grew from {before:.4f} to {after:.4f}, more than reject_factor = "
                f"{factor:g} allows"
            )
    if new_after > factor * max(new_before, _LEAST_LOSS):
        return f"the error on the new labels grew from {new_before:.4f} to {new_after:.4f}"
    return None


def mean_errors(errors: np.ndarray) -> TrainingErrors | None:
    """Mean of (n, 3) errors (eV/atom, eV/Å, eV/Å³); None for no structures, stress None where no label has one."""
    if len(errors) == 0:
        return None
    stress = errors[:, 2][np.isfinite(errors[:, 2])]
    return TrainingErrors(
        energy=float(errors[:, 0].mean()),
        forces=float(errors[:, 1].mean()),
        stress=float(stress.mean()) if stress.size else None,
    )


def _errors(force_field: ForceField, structures: Sequence[Atoms]) -> np.ndarray:
    return force_field.errors(structures) if structures else np.zeros((0, 3))


def _loss(errors: np.ndarray) -> float:
    return float(np.nansum(errors * _WEIGHTS, axis=1).mean())
