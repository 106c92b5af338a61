"""The settings of one segment: their rules and their fingerprint."""

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
from idealflow.core.dynamics.state import MDState, check_atoms
from idealflow.errors import InputError

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Everything about a segment but its walker and calculator; names as in :func:`md_segment`."""

    schedule: Schedule
    sampler: Sampler
    last: int
    check_interval: int
    check: Callable[[Atoms, int], CheckOutcome] | None
    check_first: bool
    on_step: Callable[[Mapping[str, float]], None] | None
    trajectory_interval: int
    limits: Limits
    wall_time_s: float | None
    checkpoint: Checkpoint | None

    @property
    def checkpoint_interval(self) -> int:
        """Steps between checkpoints."""
        given = None if self.checkpoint is None else self.checkpoint.interval
        return 10 * self.check_interval if given is None else given

    def refuse_bad_input(self, state: MDState, trajectory: str | Path | None) -> None:
        """Raise InputError for whatever breaks a rule, before anything is computed."""
        intervals = {
            "check_interval": self.check_interval,
            "trajectory_interval": self.trajectory_interval,
            "checkpoint.interval": self.checkpoint_interval,
        }
        for name, value in intervals.items():
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InputError(f"`{name}` must be a whole number of steps, at least 1, got {value!r}")
        if self.checkpoint_interval % self.check_interval:
            raise InputError(
                f"`checkpoint.interval` must be a multiple of `check_interval`={self.check_interval}, got "
                f"{self.checkpoint_interval}; a run resumed elsewhere could return to another frame after a blow-up"
            )
        if self.wall_time_s is not None and not self.wall_time_s > 0.0:
            raise InputError(f"`wall_time_s` must be positive, got {self.wall_time_s}; None means no budget")
        if not 0 <= state.step <= self.last:
            raise InputError(
                f"the starting step must not lie beyond `stop_step` or the schedule's end, got step {state.step} with "
                f"end {self.last}; lengthen the schedule"
            )
        for path in (trajectory, None if self.checkpoint is None else self.checkpoint.path):
            if path is not None and not Path(path).parent.is_dir():
                raise InputError(f"the folder of {path} does not exist; create it first")
        check_atoms(state.atoms())
        self.sampler.check(state)

    def key(self, state: MDState) -> str:
        """Hash of everything that decides the segment, except calculator and check."""
        parts = {
            "state": state.digest(),
            "schedule": self.schedule.to_dict(),
            "sampler": sampler_to_dict(self.sampler),
            "steps": [self.last, self.check_interval, self.check_first, self.trajectory_interval],
            "limits": [self.limits.max_force, self.limits.max_temperature],
            "key": "" if self.checkpoint is None else self.checkpoint.key,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
