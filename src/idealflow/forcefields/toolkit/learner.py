"""Base of the force fields that learn by gradient steps: what fit, update and consolidation have in common."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from idealflow.errors import IdealflowError
from idealflow.forcefields.dataset import check_dataset
from idealflow.forcefields.protocol import TrainReport
from idealflow.forcefields.toolkit.draws import Draws
from idealflow.forcefields.toolkit.settings import check_rate, checked_steps
from idealflow.forcefields.toolkit.torch_force_field import S, TorchForceField
from idealflow.forcefields.toolkit.training import Course, Training, affordable, falling, rise_and_fall, task_key

__all__ = ["GradientLearner", "Phase"]

Phase = Literal["fit", "update", "consolidation"]


class GradientLearner(TorchForceField[S]):
    """A force field that learns by steps of Adam, from scratch or from a start, and goes on from where it is.

    A derived class says what its model is and how it reads a structure. Results are the same to the bit for the same data, seed,
    machine type and torch thread count.

    Parameters
    ----------
    settings
        As of :class:`~idealflow.forcefields.toolkit.TorchForceField`; ``fit_steps``, ``batch_size`` and ``fit_learning_rate`` are
        among them.

    Examples
    --------
    >>> from idealflow.forcefields.local import LocalForceField
    >>> from idealflow.forcefields.m3gnet import M3GNetForceField
    >>> issubclass(LocalForceField, GradientLearner), issubclass(M3GNetForceField, GradientLearner)
    (True, True)
    """

    #: highest step size of a consolidation, unless a campaign says another
    consolidation_rate: ClassVar[float] = 2e-3

    @abstractmethod
    def errors(self, dataset: Sequence[Atoms]) -> NDArray[np.float64]:
        """Absolute errors of each structure, (n, 3): energy eV/atom, mean force eV/Å, mean stress eV/Å³ (NaN if absent)."""

    @abstractmethod
    def _begin(self, samples: Sequence[S], seed: int) -> None:
        """Set the weights with which a fit begins, and the scales of its data."""

    @abstractmethod
    def _meet(self, samples: Sequence[S], phase: Phase) -> None:
        """Get ready for data that may be unlike those before."""

    @abstractmethod
    def _settle(self, samples: Sequence[S], phase: Phase) -> Iterable[float]:
        """Mend energies after a training that came to its end; losses of it that are worth a report."""

    @abstractmethod
    def _loss(self, batch: list[S]) -> Tensor:
        """Loss of a batch."""

    @abstractmethod
    def _size(self, sample: S) -> int:
        """Number of atoms."""

    @abstractmethod
    def _parts(self, sample: S) -> Iterable[Any]:
        """Everything of a sample that a training depends on, for a hash."""

    def fit(
        self,
        dataset: Sequence[Atoms],
        *,
        steps: int | None = None,
        seed: int = 0,
        validation: Sequence[Atoms] | None = None,
        progress: Callable[[int, int, float], None] | None = None,
        checkpoint: str | Path | None = None,
        deadline: float | None = None,
    ) -> TrainReport:
        """Learn by Adam, whose step size rises over the first tenth of the steps and falls to zero as a cosine.

        It begins from scratch; after :meth:`start_here` from the weights of then, whose energies of the species are first set to
        what suits the data best.

        Parameters
        ----------
        dataset, steps, seed, validation, progress
            As of :meth:`ForceField.fit <idealflow.forcefields.ForceField.fit>`.
        checkpoint, deadline
            File for the state of an unfinished fit, from which the same call goes on, to the bit, after a stop or a kill
            (:class:`~idealflow.forcefields.toolkit.Training`); and value of ``time.monotonic()`` at which it stops.

        Raises
        ------
        InputError
            For an empty dataset, missing or non-finite labels, unknown species, or no steps.
        IdealflowError
            If the training diverges.
        """
        steps = int(self.settings["fit_steps"]) if steps is None else checked_steps(steps)
        samples = self.samples(dataset)
        self._begin(samples, seed)
        rate = rise_and_fall(steps, float(self.settings["fit_learning_rate"]))
        course = self._whole_set(samples, rate, steps, seed, progress, checkpoint, deadline)
        if course.diverged:
            raise IdealflowError(
                f"training diverged: the loss became {course.loss[-1]}; lower fit_learning_rate, check the labels"
            )
        if course.finished:
            course.loss += self._settle(samples, "fit")
        return self._report(course, self._cost(samples), validation or dataset)

    def update(
        self,
        new: Sequence[Atoms],
        replay: Sequence[Atoms],
        *,
        steps: int,
        lr: float = 1e-4,
        seed: int = 0,
        progress: Callable[[int, int, float], None] | None = None,
        checkpoint: str | Path | None = None,
        deadline: float | None = None,
    ) -> TrainReport:
        """Continue learning from the stored state of the optimiser; half of every batch is new, half is of the replay.

        The step size is ``lr``, and falls linearly to zero over the last third of the steps. Energies are set in closed form to
        what suits all these structures best. If the training diverges, the losses of the report end with one that is not finite.
        After a stop the same call on a copy from before goes on.

        Parameters
        ----------
        new, replay, steps, lr, seed
            As of :meth:`ForceField.update <idealflow.forcefields.ForceField.update>`.
        progress, checkpoint, deadline
            As of :meth:`fit`.

        Raises
        ------
        InputError
            If nothing was fitted yet, there is nothing new, or the structures hold a species that the fit never saw.
        """
        self._check_trained()
        checked_steps(steps)
        check_rate(lr)
        for atoms in (*new, *replay):
            self._seen_kinds(atoms)
        check_dataset(new, self.species)
        samples = self.samples([*new, *replay])
        self._meet(samples, "update")
        optimiser = self._optimiser()
        if self._optimiser_state is not None:
            optimiser.load_state_dict(copy.deepcopy(self._optimiser_state))
        size, anchor = int(self.settings["batch_size"]), self._anchor()
        n_new = min(len(new), max(1, size // 2) if len(replay) else size)
        parts = [samples[: len(new)], samples[len(new) :], *([anchor] if anchor else [])]
        shares = [n_new, size - n_new, *([size] if anchor else [])]
        draws = Draws([len(part) for part in parts], shares, seed)
        rate = falling(steps, lr)
        training = self._training([*samples, *anchor], optimiser, draws, rate, steps)
        task = ""
        if checkpoint is not None:
            remembered = _tensors(optimiser.state_dict())
            task = self._task(samples, [rate(step) for step in range(steps)], seed, len(new), *remembered)
        course = self._run(training, progress, checkpoint=checkpoint, task=task, deadline=deadline)
        if course.finished and not course.diverged:
            course.loss += self._settle(samples, "update")
        return self._report(course, self._atoms_of_batch(parts, shares), new)

    def consolidate(
        self,
        dataset: Sequence[Atoms],
        *,
        steps: int,
        lr: float | None = None,
        seed: int = 0,
        atom_steps: int | None = None,
        progress: Callable[[int, int, float], None] | None = None,
        checkpoint: str | Path | None = None,
        deadline: float | None = None,
    ) -> TrainReport:
        """Learn all data together, from the present weights; as :meth:`idealflow.forcefields.Consolidating.consolidate`.

        The step size rises to ``lr`` (None: ``consolidation_rate``) over the first tenth of the steps and falls to zero as a
        cosine. In the end energies are mended in closed form. If the training diverges, the losses of the report end with one
        that is not finite. If ``atom_steps`` allows less than a twentieth of the steps, none is taken.

        Raises
        ------
        InputError
            If nothing was fitted yet, for an empty dataset or a bad label, or for a species that it was not made for.
        """
        self._check_trained()
        lr = self.consolidation_rate if lr is None else lr
        checked_steps(steps)
        check_rate(lr)
        samples = self.samples(dataset)
        steps = affordable(steps, self._cost(samples), atom_steps)
        if not steps:
            return TrainReport(0, [], self.errors(dataset))
        self._meet(samples, "consolidation")
        course = self._whole_set(samples, rise_and_fall(steps, lr), steps, seed, progress, checkpoint, deadline)
        if course.finished and not course.diverged:
            course.loss += self._settle(samples, "consolidation")
        return self._report(course, self._cost(samples), dataset)

    def _optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self._learned() or self.module.parameters(), lr=1e-3, betas=(0.9, 0.99))

    def _training(
        self,
        samples: Sequence[S],
        optimiser: torch.optim.Optimizer,
        draws: Draws,
        rate: Callable[[int], float],
        steps: int,
    ) -> Training:
        return Training(
            self.module, optimiser, lambda batch: self._loss([samples[i] for i in batch]), draws, rate, steps
        )

    def _whole_set(
        self,
        samples: Sequence[S],
        rate: Callable[[int], float],
        steps: int,
        seed: int,
        progress: Callable[[int, int, float], None] | None,
        checkpoint: str | Path | None,
        deadline: float | None,
    ) -> Course:
        """Train on batches of the whole set, with a new optimiser."""
        size, anchor = int(self.settings["batch_size"]), self._anchor()
        sets = [len(part) for part in (samples, anchor) if part]
        draws = Draws(sets, [size] * len(sets), seed)
        samples = [*samples, *anchor]
        task = "" if checkpoint is None else self._task(samples, [rate(step) for step in range(steps)], seed)
        training = self._training(samples, self._optimiser(), draws, rate, steps)
        return self._run(training, progress, checkpoint=checkpoint, task=task, deadline=deadline)

    def _run(self, training: Training, progress: Callable[[int, int, float], None] | None = None, **how: Any) -> Course:
        if not self._learned():
            return Course()  # all is frozen: no steps, and then energies of the species
        course = training.run(progress, **how)
        self._optimiser_state = training.optimiser.state_dict()
        return course

    def _task(self, samples: Sequence[S], rates: list[float], seed: int, *further: Any) -> str:
        """Hash of what a training depends on."""
        weights = [value for _, value in sorted(self.module.state_dict().items())]
        parts = (part for s in samples for part in self._parts(s))
        return task_key(self.settings, rates, seed, *weights, *parts, *further)

    def _report(self, course: Course, cost: float, judged: Sequence[Atoms]) -> TrainReport:
        """What a training did; ``cost`` is the mean number of atoms in a batch."""
        return TrainReport(course.steps, course.loss, self.errors(judged), course.finished, round(course.steps * cost))

    def _cost(self, samples: Sequence[S]) -> float:
        """Mean number of atoms in a batch of the whole set."""
        parts = [samples, self._anchor()]
        return self._atoms_of_batch(parts, [int(self.settings["batch_size"])] * len(parts))

    def _atoms_of_batch(self, parts: Sequence[Sequence[S]], shares: Sequence[int]) -> float:
        """Mean number of atoms of a batch that draws so many of each part."""
        return sum(
            min(share, len(part)) * sum(map(self._size, part)) / len(part)
            for part, share in zip(parts, shares, strict=True)
            if part
        )


def _tensors(state: Any) -> list[Tensor]:
    """All tensors of nested containers, in their order."""
    if isinstance(state, Tensor):
        return [state]
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [tensor for each in inner for tensor in _tensors(each)]
