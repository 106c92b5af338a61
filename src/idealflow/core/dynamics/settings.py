"""The settings of one segment: what ends it, who looks at it, what it writes; their rules and their hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from idealflow.core.dynamics.outcome import CheckOutcome, Checkpoint, Limits
from idealflow.core.dynamics.protocol import Sampler, sampler_to_dict
from idealflow.core.dynamics.schedule import Schedule
from idealflow.core.dynamics.startable import check_atoms
from idealflow.core.dynamics.state import MDState
from idealflow.core.dynamics.trajectory import FORMATS
from idealflow.errors import InputError
from idealflow.former_names import formerly

__all__ = ["SegmentChecks", "SegmentEnds", "SegmentFiles", "Settings"]


@formerly(wall_time_s="time_limit_s")
@dataclass(frozen=True, kw_only=True)
class SegmentEnds:
    """What ends a segment, besides the end of its schedule.

    Parameters
    ----------
    stop_step
        Step at which to end, counted from the start of the walker. Choose a multiple of ``check_interval``: after any other
        step a later blow-up goes back to another frame than it would in one uninterrupted run.
    time_limit_s
        Time budget, s, looked at on check frames after the first, so that every call makes progress. None: no budget.
    limits
        What counts as blown up, besides anything that is not finite; looked at after every step. None: ``Limits()``.

    Examples
    --------
    >>> SegmentEnds(stop_step=1000, time_limit_s=3600.0).stop_step
    1000
    """

    stop_step: int | None = None
    time_limit_s: float | None = None
    limits: Limits | None = None


@dataclass(frozen=True, kw_only=True)
class SegmentChecks:
    """Who looks at the frames of a segment, and how often.

    Parameters
    ----------
    check
        Called as ``check(atoms, step)`` with a copy of each check frame; says whether to stop there. It must be a pure function
        of the frame. None: nothing is screened (inference).
    check_interval
        Steps between check frames, at least 1.
    check_first
        Make the starting frame a check frame whatever its step.
    on_step
        Called after every step with a row as in :attr:`SegmentResult.log`, for a progress display; its ``max_uncertainty`` is
        that of the last check.

    Examples
    --------
    >>> SegmentChecks(check=lambda atoms, step: CheckOutcome(stop=step >= 40), check_interval=20).check_interval
    20
    """

    check: Callable[[Atoms, int], CheckOutcome] | None = None
    check_interval: int = 10
    check_first: bool = False
    on_step: Callable[[Mapping[str, float]], None] | None = None


@dataclass(frozen=True, kw_only=True)
class SegmentFiles:
    """What a segment writes.

    Parameters
    ----------
    trajectory
        File for the frames, one file per segment: those after the starting frame (which belongs to the segment before; step 0 is
        stored when it is passed) whose step is a multiple of ``trajectory_interval``. Frames later than the returned state are
        cut off again.
    trajectory_interval
        Steps between stored frames. None: ``check_interval``.
    trajectory_format
        ``exact``: the frame that is read is the frame that was computed, 48 bytes per atom. ``single``: positions and momenta
        rounded to single precision, 24 bytes. ``positions``: the same without momenta, 12 bytes.
    checkpoint
        Where the segment saves itself, and goes on from if it was interrupted.

    Examples
    --------
    >>> SegmentFiles(trajectory="md.idf", checkpoint=Checkpoint("md.npz")).checkpoint.path
    'md.npz'
    """

    trajectory: str | Path | None = None
    trajectory_interval: int | None = None
    trajectory_format: str = "exact"
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True)
class Settings:
    """Everything about a segment but its walker and calculator, as :func:`md_segment` was told.

    Examples
    --------
    >>> from idealflow.core.dynamics import Schedule, Stage, get_sampler
    >>> hold = Schedule([Stage("hold", 300.0, steps=500)])
    >>> settings = Settings(hold, get_sampler("nve"), SegmentEnds(stop_step=900), SegmentChecks(), SegmentFiles())
    >>> settings.last, settings.trajectory_interval, settings.checkpoint_interval
    (500, 10, 100)
    """

    schedule: Schedule
    sampler: Sampler
    ends: SegmentEnds
    checks: SegmentChecks
    files: SegmentFiles

    @property
    def last(self) -> int:
        """Step of the last frame, if nothing stops the walker before."""
        stop = self.ends.stop_step
        return self.schedule.n_steps if stop is None else min(stop, self.schedule.n_steps)

    @property
    def limits(self) -> Limits:
        """What a physical frame never exceeds."""
        return self.ends.limits or Limits()

    @property
    def trajectory_interval(self) -> int:
        """Steps between stored frames."""
        given = self.files.trajectory_interval
        return self.checks.check_interval if given is None else given

    @property
    def checkpoint_interval(self) -> int:
        """Steps between checkpoints."""
        given = None if self.files.checkpoint is None else self.files.checkpoint.interval
        return 10 * self.checks.check_interval if given is None else given

    def refuse_bad_input(self, state: MDState) -> None:
        """Raise InputError if a setting or the state breaks a rule, before anything is computed."""
        checkpoint = self.files.checkpoint
        intervals = {
            "check_interval": self.checks.check_interval,
            "trajectory_interval": self.trajectory_interval,
            "checkpoint.interval": self.checkpoint_interval,
        }
        for name, value in intervals.items():
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InputError(f"`{name}` must be a whole number of steps, at least 1, got {value!r}")
        if self.files.trajectory_format not in FORMATS:
            known = ", ".join(FORMATS)
            raise InputError(f"`trajectory_format` must be one of {known}, got {self.files.trajectory_format!r}")
        if self.checkpoint_interval % self.checks.check_interval:
            raise InputError(
                f"`checkpoint.interval` must be a multiple of `check_interval`={self.checks.check_interval}, got "
                f"{self.checkpoint_interval}; a run resumed elsewhere could return to another frame after a blow-up"
            )
        if self.ends.time_limit_s is not None and not self.ends.time_limit_s > 0.0:
            raise InputError(f"`time_limit_s` must be positive, got {self.ends.time_limit_s}; None means no budget")
        if not 0 <= state.step <= self.last:
            raise InputError(
                f"the starting step must not lie beyond `stop_step` or the schedule's end, got step {state.step} with "
                f"end {self.last}; lengthen the schedule"
            )
        for path in (self.files.trajectory, None if checkpoint is None else checkpoint.path):
            if path is not None and not Path(path).parent.is_dir():
                raise InputError(f"the folder of {path} does not exist; create it first")
        check_atoms(state.atoms())
        self.sampler.check(state)

    def key(self, state: MDState) -> str:
        """Hash of everything that the segment's frames depend on, except calculator and check."""
        checkpoint = self.files.checkpoint
        parts = {
            "state": state.digest(),
            "schedule": self.schedule.to_dict(),
            "sampler": sampler_to_dict(self.sampler),
            "steps": [self.last, self.checks.check_interval, self.checks.check_first, self.trajectory_interval],
            "limits": [self.limits.max_force, self.limits.max_temperature],
            "key": "" if checkpoint is None else checkpoint.key,
        }
        if self.files.trajectory_format != "exact":
            parts["trajectory_format"] = self.files.trajectory_format
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
