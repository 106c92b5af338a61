"""Gradient steps of any torch model: with progress, up to a wall time, and from where an earlier process stopped, to the bit."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idealflow.forcefields.toolkit.checkpoint import read_checkpoint, write_checkpoint
from idealflow.forcefields.toolkit.draws import Draws

__all__ = ["Course", "Training", "affordable", "falling", "rise_and_fall", "task_key"]

_NAME = "training"  # in the place of a force field's name in the checkpoint
_LEAST_SHARE = 0.05
SAVE_EVERY_S = 60.0  # when a checkpoint is written changes no result


def affordable(steps: int, atoms_in_a_batch: float, atom_steps: int | None) -> int:
    """How many of so many steps a budget allows; none if that is less than a twentieth, which is not worth a try.

    Parameters
    ----------
    steps
        Steps wanted.
    atoms_in_a_batch
        Their mean number.
    atom_steps
        Budget: atoms in a batch, summed over the steps; None: no limit.

    Examples
    --------
    >>> affordable(1000, 200.0, None), affordable(1000, 200.0, 50_000), affordable(1000, 200.0, 5_000)
    (1000, 250, 0)
    """
    allowed = steps if atom_steps is None else min(steps, int(max(0, atom_steps) / max(1.0, atoms_in_a_batch)))
    return allowed if allowed >= max(1.0, _LEAST_SHARE * steps) else 0


def rise_and_fall(steps: int, highest: float, warm_up: float = 0.1) -> Callable[[int], float]:
    """Step size that rises over the first part of the steps, then falls to almost zero as a cosine.

    Examples
    --------
    >>> rate = rise_and_fall(100, 1e-3)
    >>> [f"{rate(step):.0e}" for step in (0, 9, 49, 99)]
    ['1e-04', '1e-03', '5e-04', '1e-06']
    """

    def rate(step: int) -> float:
        done = (step + 1) / steps
        return highest * min(1.0, done / warm_up) * 0.5 * (1.0 + math.cos(math.pi * done)) + 1e-3 * highest

    return rate


def falling(steps: int, highest: float) -> Callable[[int], float]:
    """Step size that is constant, and falls linearly over the last third of the steps.

    Examples
    --------
    >>> rate = falling(6, 3e-4)
    >>> [f"{rate(step):.1e}" for step in range(6)]
    ['3.0e-04', '3.0e-04', '3.0e-04', '3.0e-04', '3.0e-04', '1.5e-04']
    """
    return lambda step: highest * min(1.0, 3.0 * (steps - step) / steps)


def task_key(*parts: Any) -> str:
    """Hash of everything that a training's outcome depends on: arrays and tensors count by their bytes, the rest as JSON.

    Examples
    --------
    >>> task_key("fit", 100, np.zeros(3)) == task_key("fit", 100, np.zeros(3))
    True
    >>> task_key("fit", 100, np.zeros(3)) == task_key("fit", 200, np.zeros(3))
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        value = part.detach().cpu().numpy() if isinstance(part, Tensor) else part
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        else:
            digest.update(json.dumps(value, sort_keys=True).encode())
        digest.update(b"\n")
    return digest.hexdigest()


@dataclass
class Course:
    """How far a training got.

    Attributes
    ----------
    steps
        Steps taken, by earlier processes too.
    loss
        The loss at about a hundred of the steps; one that is not finite is the last, and was not followed.
    finished
        False if it was stopped by its deadline; call :meth:`Training.run` again with the same checkpoint to go on.

    Examples
    --------
    >>> Course(steps=20, loss=[0.4, float("nan")]).diverged
    True
    """

    steps: int = 0
    loss: list[float] = field(default_factory=list)
    finished: bool = True

    @property
    def diverged(self) -> bool:
        """Whether the loss was not finite."""
        return bool(self.loss) and not math.isfinite(self.loss[-1])


@dataclass
class Training:
    """Gradient steps of a torch model.

    Attributes
    ----------
    model, optimiser
        Changed by :meth:`run`.
    loss
        Function from the indices of a batch to its loss, which torch can differentiate.
    draws
        Gives the batches.
    rate
        Step size by the number of the step, from 0 on: :func:`rise_and_fall`, :func:`falling`.
    steps
        How many.
    largest_gradient
        Longer gradients are shortened to this length.

    Examples
    --------
    A line is fitted to points, one step at a time, as a process would that is stopped after each:

    >>> x = torch.linspace(-1, 1, 16)[:, None]
    >>> def training():
    ...     torch.manual_seed(0)
    ...     model = torch.nn.Linear(1, 1)
    ...     loss = lambda batch: (model(x[batch]) - 3 * x[batch]).square().mean()
    ...     adam = torch.optim.Adam(model.parameters())
    ...     return Training(model, adam, loss, Draws([16], [4], seed=1), rise_and_fall(50, 0.1), steps=50)
    >>> whole = training()
    >>> whole.run().finished
    True
    >>> stopped = Course(finished=False)
    >>> while not stopped.finished:
    ...     later = training()
    ...     stopped = later.run(checkpoint="line.training", deadline=0.0)
    >>> stopped.steps, bool(later.model.weight == whole.model.weight)
    (50, True)
    """

    model: torch.nn.Module
    optimiser: torch.optim.Optimizer
    loss: Callable[[list[int]], Tensor]
    draws: Draws
    rate: Callable[[int], float]
    steps: int
    largest_gradient: float = 1.0

    def run(
        self,
        progress: Callable[[int, int, float], None] | None = None,
        *,
        checkpoint: str | Path | None = None,
        task: str = "",
        deadline: float | None = None,
    ) -> Course:
        """Take the steps that are left.

        Parameters
        ----------
        progress
            Called about a hundred times as ``progress(step, steps, loss)``.
        checkpoint
            File in which the state of an unfinished training is kept, written atomically about once a minute and at the deadline,
            and removed at the end. If there is one of the same task, the training goes on from it; one of another is replaced.
        task
            What the training depends on, :func:`task_key`.
        deadline
            Value of ``time.monotonic()`` from which no further step is taken; one step is taken in any case.

        Raises
        ------
        ArtifactError
            If the checkpoint is damaged.
        """
        path = None if checkpoint is None else Path(checkpoint)
        course = self._resumed(path, task)
        every, saved = max(1, self.steps // 100), time.monotonic()
        while course.steps < self.steps and not course.diverged:
            step = course.steps
            value = self._step(step)
            if step % every == 0 or step == self.steps - 1 or not math.isfinite(value):
                course.loss.append(value)
                if progress is not None and math.isfinite(value):
                    progress(step + 1, self.steps, value)
            course.steps += not course.diverged
            now = time.monotonic()
            course.finished = course.steps >= self.steps or course.diverged or deadline is None or now < deadline
            if path is not None and (not course.finished or now - saved > SAVE_EVERY_S):
                self._save(path, task, course)
                saved = now
            if not course.finished:
                return course
        if path is not None:
            path.unlink(missing_ok=True)
        return course

    def _step(self, step: int) -> float:
        """Take one step and return its loss; nothing changes if that is not finite."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(step)
        self.optimiser.zero_grad()
        loss = self.loss(self.draws.next())
        value = float(loss.detach())
        if math.isfinite(value):
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.largest_gradient)
            self.optimiser.step()
        return value

    def _save(self, path: Path, task: str, course: Course) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "draws": self.draws.state(),
            "steps": course.steps,
            "loss": course.loss,
        }
        write_checkpoint(path, _NAME, {"task": task}, state)

    def _resumed(self, path: Path | None, task: str) -> Course:
        if path is None or not path.exists():
            return Course()
        settings, state = read_checkpoint(path, _NAME)
        if settings["task"] != task:
            return Course()
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.draws.restore(state["draws"])
        return Course(steps=int(state["steps"]), loss=list(state["loss"]))
