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

__all__ = ["Known", "Trial", "Verdict", "draw", "mean_errors", "train"]

#: weights of energy (eV/atom), forces (eV/Å) and stress (eV/Å³) in the loss
_WEIGHTS = np.array([1.0, 1.0, 0.1])

#: smaller losses are treated as this one, so that noise near zero does not count as growth
_LEAST_LOSS = 1e-3


@dataclass(frozen=True)
class Known:
    """Structures learned earlier that one update uses.

    Attributes
    ----------
    replay_keys, replay
        Ledger keys and structures that are trained on together with the new ones.
    validation_keys, validation
        Ledger keys and structures of the validation set, which decides whether the update stays.

    Examples
    --------
    >>> Known(replay_keys=[], replay=[], validation_keys=[], validation=[]).replay  # a first update has nothing to replay
    []
    """

    replay_keys: list[str]
    replay: list[Atoms]
    validation_keys: list[str]
    validation: list[Atoms]


def draw(
    jobstore: JobStore, store: ArtifactStore, ledger: Ledger, n_replay: int, n_validation: int, rng: np.random.Generator
) -> Known:
    """Draw replay and validation set from a ledger: ``n_replay`` structures, ``n_validation`` held out and as many learned.

    Examples
    --------
    >>> import tempfile
    >>> from maggma.stores import MemoryStore
    >>> nothing_known = draw(
    ...     JobStore(MemoryStore()), ArtifactStore(tempfile.mkdtemp()), Ledger(), 16, 8, np.random.default_rng(1)
    ... )
    >>> nothing_known.validation
    []
    """
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
        Replay that it was trained on beside the new structures, and its validation set.
    new_before, new_after
        Errors on the new structures before and after training.
    validation_before, validation_after
        Errors on the validation set before and after training.

    Examples
    --------
    See :func:`train`, which makes one.

    >>> [name for name in Trial.__annotations__ if name.startswith("validation")]
    ['validation_before', 'validation_after']
    """

    force_field: ForceField
    known: Known
    new_before: np.ndarray
    new_after: np.ndarray
    validation_before: np.ndarray
    validation_after: np.ndarray

    def enter(self, ledger: Ledger, keys: Sequence[str]) -> None:
        """Add the new structures, with these keys, to a ledger, and renew the errors of all structures that were used."""
        if self.known.replay:
            ledger.refresh(self.known.replay_keys, self.force_field.errors(self.known.replay))
        ledger.refresh(self.known.validation_keys, self.validation_after)
        ledger.add(keys, self.new_after)


def train(
    force_field: ForceField, new: Sequence[Atoms], known: Known, *, steps: int, learning_rate: float, seed: int
) -> Trial:
    """Train a copy of a force field on new structures and a replay, in ``steps`` gradient steps.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.forcefields import get_force_field
    >>> cells = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6, 3.7)]  # labelled with EMT
    >>> for cell in cells:
    ...     cell.calc = EMT()
    ...     forces = cell.get_forces()
    >>> force_field = get_force_field("local", species=["Cu"], cutoff=4.0, hidden=[8])
    >>> report = force_field.fit(cells[:2], steps=20, seed=1)
    >>> known = Known([], [], ["first"], cells[:1])
    >>> trial = train(force_field, cells[2:], known, steps=5, learning_rate=1e-3, seed=1)
    >>> trial.new_after.shape, trial.validation_after.shape
    ((1, 3), (1, 3))
    """
    trained = force_field.copy()
    new_before, validation_before = trained.errors(new), _errors(trained, known.validation)
    trained.update(new, known.replay, steps=steps, lr=learning_rate, seed=seed)
    new_after, validation_after = trained.errors(new), _errors(trained, known.validation)
    return Trial(trained, known, new_before, new_after, validation_before, validation_after)


@dataclass(frozen=True)
class Verdict:
    """Decision on whether what a trial learned may stay.

    Attributes
    ----------
    trial
        The trial; None if there was nothing to learn.
    rejected
        Why its force field must not stay, or None.

    Examples
    --------
    >>> Verdict.of(None, factor=3.0).learned is None
    True
    """

    trial: Trial | None
    rejected: str | None

    @property
    def learned(self) -> Trial | None:
        """The trial whose force field becomes the next version's, or None."""
        return self.trial if self.rejected is None else None

    @classmethod
    def of(cls, trial: Trial | None, factor: float) -> Verdict:
        """Judge a trial: it is rejected if its errors are not finite, or grew by more than ``factor``."""
        return cls(trial, None if trial is None else _rejection(trial, factor))


def _rejection(trial: Trial, factor: float) -> str | None:
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
    """Average errors (n, 3) in eV/atom, eV/Å, eV/Å³; None if n is 0, and stress None if no label has one.

    Examples
    --------
    >>> mean_errors(np.array([[0.01, 0.1, np.nan], [0.03, 0.3, np.nan]]))
    TrainingErrors(energy=0.02, forces=0.2, stress=None)
    """
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
