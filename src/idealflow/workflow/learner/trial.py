"""Attempts at learning: a copy of the force field trained on new and replayed structures, and whether it may stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jobflow import JobStore

from idealflow.errors import IdealflowError
from idealflow.forcefields import ForceField, Startable, TrainReport
from idealflow.schemas import TrainingErrors
from idealflow.storage import ArtifactStore
from idealflow.workflow.jobs.progress import Progress, emit
from idealflow.workflow.learner.guard import Guard
from idealflow.workflow.learner.ledger import Draw, Ledger, fetch_structures
from idealflow.workflow.learner.stretches import Stretch, Stretches

__all__ = ["Effort", "Known", "Trial", "Verdict", "attempts", "draw", "mean_errors", "shift_of", "train"]

_LOWER = 0.3  # of the learning rate, for a second attempt


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
    jobstore: JobStore,
    store: ArtifactStore,
    ledger: Ledger,
    n_replay: int,
    n_validation: int,
    rng: np.random.Generator,
    by: Draw = "errors",
    core_forces: bool = False,
) -> Known:
    """Draw replay and validation set from a ledger: ``n_replay`` structures, ``n_validation`` held out and as many learned ones.

    With ``core_forces`` the forces of substructures count on their cores alone.

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
    replayed = ledger.replay(n_replay, rng, by)
    validation = ledger.validation(n_validation, rng, exclude=replayed)
    structures = fetch_structures(jobstore, store, replayed + validation, core_forces=core_forces)
    return Known(replayed, structures[: len(replayed)], validation, structures[len(replayed) :])


@dataclass(frozen=True)
class Effort:
    """How much an update may try.

    Attributes
    ----------
    n_steps
        Gradient steps, after which the new labels are looked at.
    max_steps
        Budget of steps: more stretches of ``n_steps`` follow while the new labels are not learned, up to so many steps in all.
    learned_within
        The new labels are learned when their mean force error is at most so many times that of the validation set.
    learning_rate
        Step size of the optimiser.

    Examples
    --------
    >>> Effort(n_steps=20, max_steps=60, learned_within=1.5, learning_rate=3e-4).stretches
    [20, 20, 20]
    >>> Effort(n_steps=20, max_steps=50, learned_within=1.5, learning_rate=3e-4).stretches
    [20, 20, 10]
    """

    n_steps: int
    max_steps: int
    learned_within: float
    learning_rate: float

    @property
    def stretches(self) -> list[int]:
        """Steps of each stretch, as many as the budget allows."""
        whole, rest = divmod(max(self.max_steps, self.n_steps), self.n_steps)
        return [self.n_steps] * whole + [rest] * (rest > 0)


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
        Errors on the new structures, of the version before and after training.
    validation_before, validation_after
        Errors on the validation set, of the version before and after training.
    steps, atom_steps
        Gradient steps taken, and atoms in a batch summed over them.

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
    steps: int = 0
    atom_steps: int = 0

    def enter(self, ledger: Ledger, keys: Sequence[str]) -> None:
        """Add the new structures, with these keys, to a ledger, and renew the errors of all structures that were used."""
        if self.known.replay:
            ledger.refresh(self.known.replay_keys, self.force_field.errors(self.known.replay))
        ledger.refresh(self.known.validation_keys, self.validation_after)
        ledger.add(keys, self.new_after)


def train(
    force_field: ForceField,
    new: Sequence[Atoms],
    known: Known,
    effort: Effort,
    seed: int,
    before: tuple[np.ndarray, np.ndarray] | None = None,
    kept: Stretches | None = None,
) -> Trial:
    """Train a copy of a force field on new structures and a replay, until the new ones are learned or the budget is out.

    Parameters
    ----------
    force_field
        Where to start; it is not changed.
    new, known
        Structures.
    effort
        How much to try.
    seed
        Seed of the order of the data.
    before
        Errors on new and validation structures to compare with; None: those of ``force_field``.
    kept
        Where each stretch is kept for a process that comes after a kill, and found by it.

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
    >>> trial = train(force_field, cells[2:], known, Effort(5, 5, 1.5, 1e-3), seed=1)
    >>> trial.steps, trial.new_after.shape, trial.validation_after.shape
    (5, (1, 3), (1, 3))
    """
    trained = force_field.copy()
    new_before, validation_before = before or errors_before(force_field, new, known)
    new_after, validation_after, steps, atom_steps = new_before, validation_before, 0, 0
    for number, stretch in enumerate(effort.stretches):
        task = f"{seed}-{number}"
        ended = None if kept is None else kept.found(task)
        if ended is None:
            report = trained.update(new, known.replay, steps=stretch, lr=effort.learning_rate, seed=seed + number)
            loss = report.loss[-1] if report.loss else None
            ended = Stretch(trained, _errors_of(report, new), report.atom_steps, loss)
            if kept is not None:
                kept.keep(task, ended)
        trained = ended.force_field
        steps, atom_steps = steps + stretch, atom_steps + ended.atom_steps
        emit(Progress("update", step=steps, n_steps=sum(effort.stretches), loss=ended.loss))
        new_after, validation_after = ended.new_after, _errors(trained, known.validation)
        if not len(validation_after):
            break
        known_forces, new_forces = validation_after[:, 1].mean(), new_after[:, 1].mean()
        if not new_forces > effort.learned_within * known_forces:  # learned, or not finite
            break
    return Trial(trained, known, new_before, new_after, validation_before, validation_after, steps, atom_steps)


def errors_before(force_field: ForceField, new: Sequence[Atoms], known: Known) -> tuple[np.ndarray, np.ndarray]:
    """Errors of a force field on new structures and on a validation set, each (n, 3)."""
    return force_field.errors(new), _errors(force_field, known.validation)


def attempts(
    force_field: ForceField,
    consolidated: Callable[[], ForceField | None],
    new: Sequence[Atoms],
    known: Known,
    effort: Effort,
    guard: Guard,
    seed: int,
    kept: Stretches | None = None,
) -> Verdict:
    """Train until a trial may stay: as asked, then at a lower rate, then at that rate from the last consolidated version.

    Parameters
    ----------
    force_field
        The present version.
    consolidated
        Returns the last consolidated version, None if there is no other than the present one.
    new, known, effort, seed, kept
        As for :func:`train`.
    guard
        What a trial must not do to the errors of the present version.

    Examples
    --------
    A guard that refuses everything sees both attempts; there is no consolidated version to start the third from:

    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> cells = [set_label(bulk("Cu"), energy=-3.5, forces=np.zeros((1, 3)))]
    >>> force_field = get_force_field("local", species=["Cu"], cutoff=3.0, hidden=[4])
    >>> _ = force_field.fit(cells, steps=3)
    >>> class Never(Guard):
    ...     def objection(self, *errors):
    ...         return "never"
    >>> verdict = attempts(force_field, lambda: None, cells, Known([], [], [], []), Effort(2, 2, 1.5, 1e-3), Never(), seed=0)
    >>> verdict.rejected, len(verdict.refused)
    ('never', 1)
    """
    before = errors_before(force_field, new, known)
    slower = Effort(effort.n_steps, effort.max_steps, effort.learned_within, _LOWER * effort.learning_rate)
    ways: list[tuple[Callable[[], ForceField | None], Effort]] = [
        (lambda: force_field, effort),
        (lambda: force_field, slower),
        (consolidated, slower),
    ]
    refused: list[str] = []
    verdict = Verdict(None, None)
    for number, (start, trying) in enumerate(ways):
        begun = start()
        if begun is None:
            continue
        if verdict.rejected is not None:
            refused.append(verdict.rejected)
        verdict = Verdict.of(train(begun, new, known, trying, seed + 1000 * number, before, kept), guard)
        if verdict.rejected is None:
            break
    return Verdict(verdict.trial, verdict.rejected, tuple(refused))


@dataclass(frozen=True)
class Verdict:
    """Decision on whether what a trial learned may stay.

    Attributes
    ----------
    trial
        The trial; None if there was nothing to learn.
    rejected
        Why its force field must not stay, or None.
    refused
        Why earlier attempts at the same were refused.

    Examples
    --------
    >>> Verdict.of(None, Guard()).learned is None
    True
    """

    trial: Trial | None
    rejected: str | None
    refused: tuple[str, ...] = ()

    @property
    def learned(self) -> Trial | None:
        """The trial whose force field becomes the next version's, or None."""
        return self.trial if self.rejected is None else None

    @classmethod
    def of(cls, trial: Trial | None, guard: Guard) -> Verdict:
        """Judge a trial by its errors."""
        if trial is None:
            return cls(None, None)
        errors = (trial.new_before, trial.new_after, trial.validation_before, trial.validation_after)
        return cls(trial, guard.objection(*errors))


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


def shift_of(force_field: ForceField) -> float | None:
    """Mean change of forces since a pretrained start on structures outside the campaign, eV/Å; None without such a start.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> print(shift_of(get_force_field("local", species=["Cu"])))
    None
    """
    return force_field.force_shift() if isinstance(force_field, Startable) else None


def _errors_of(report: TrainReport, new: Sequence[Atoms]) -> np.ndarray:
    if report.errors.shape != (len(new), 3):
        raise IdealflowError(
            f"the report of an update has the errors of each new structure, ({len(new)}, 3), got {report.errors.shape}; mend "
            "update() of the force field, and try it with idealflow.testing.check_force_field"
        )
    return report.errors


def _errors(force_field: ForceField, structures: Sequence[Atoms]) -> np.ndarray:
    return force_field.errors(structures) if structures else np.zeros((0, 3))
