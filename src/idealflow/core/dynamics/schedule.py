"""Temperature schedules: holds, ramps and (as two holds) steps.

A schedule is a pure function of the absolute step number, so that a run cut into segments sees the same target
temperatures as an uninterrupted one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from idealflow.core.setting_types import is_number
from idealflow.errors import InputError

__all__ = ["Schedule", "Stage"]


@dataclass(frozen=True)
class Stage:
    """One part of a temperature schedule.

    Parameters
    ----------
    kind
        ``"hold"`` keeps ``temperature``; ``"ramp"`` goes linearly from ``temperature`` to ``to``. Configs have the same key.
    temperature
        Target, or start of the ramp, K.
    to
        End of the ramp, K; only for ramps.
    steps
        Number of MD steps, at least 1.

    Raises
    ------
    InputError
        If a temperature is negative or not finite, ``steps`` is below 1, or ``to`` does not fit ``kind``.

    Examples
    --------
    >>> Stage("ramp", 300.0, to=600.0, steps=1000).to
    600.0
    """

    kind: Literal["hold", "ramp"]
    temperature: float
    to: float | None = None
    steps: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("hold", "ramp"):
            raise InputError(f"a stage's kind is 'hold' or 'ramp', got {self.kind!r}; a jump is two holds")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise InputError(f"a stage needs a whole number of steps, at least 1, got {self.steps!r}; set `steps`")
        for name, value in (("temperature", self.temperature), ("to", self.to)):
            if value is None and name == "to":
                continue
            if value is None or not (is_number(value) and value >= 0.0):
                raise InputError(f"a stage's `{name}` must be at least 0 K and finite, got {value!r}; give kelvin")
        if (self.kind == "ramp") != (self.to is not None):
            raise InputError(
                f"`to` is the end of a ramp and belongs to ramps only, got kind={self.kind!r} and to={self.to}; "
                "give both or neither"
            )


class Schedule:
    """Target temperature for every step.

    Step s moves the atoms from frame s − 1 to frame s, and :meth:`temperature` is the target of that move (for frame 0 it is
    the start of the first stage). So a ramp of n steps reaches its end at its n-th frame, and a jump between two holds acts
    from the first move of the second.

    Parameters
    ----------
    stages
        Stages in order, at least one.

    Raises
    ------
    InputError
        If there is no stage.

    Examples
    --------
    >>> schedule = Schedule([Stage("hold", 300.0, steps=100), Stage("ramp", 300.0, to=400.0, steps=50)])
    >>> schedule.n_steps, schedule.temperature(100), schedule.temperature(125), schedule.stage(101)
    (150, 300.0, 350.0, 1)
    """

    def __init__(self, stages: Iterable[Stage]) -> None:
        self.stages: tuple[Stage, ...] = tuple(stages)
        if not self.stages:
            raise InputError("a schedule needs at least one stage, got none; add Stage('hold', temperature, steps=…)")
        ends, total = [], 0
        for stage in self.stages:
            total += stage.steps
            ends.append(total)
        self._ends = ends

    @property
    def n_steps(self) -> int:
        """Number of MD steps of all stages together; the last frame has this number."""
        return self._ends[-1]

    @property
    def max_temperature(self) -> float:
        """Highest target, K."""
        return max(max(s.temperature, s.to if s.to is not None else 0.0) for s in self.stages)

    def stage(self, step: int) -> int:
        """Index of the stage whose move produced frame ``step`` (0 for frame 0)."""
        if not 0 <= step <= self.n_steps:
            raise InputError(
                f"a step must lie within the schedule, 0 to {self.n_steps}, got {step}; lengthen the schedule"
            )
        return bisect_left(self._ends, step)

    def temperature(self, step: int) -> float:
        """Target temperature of frame ``step``, K."""
        index = self.stage(step)
        stage = self.stages[index]
        if stage.to is None:
            return float(stage.temperature)
        done = step - (self._ends[index] - stage.steps)
        return float(stage.temperature + (stage.to - stage.temperature) * (done / stage.steps))

    def to_dict(self) -> dict[str, Any]:
        """Write the schedule as plain data, for documents."""
        return {"stages": [asdict(stage) for stage in self.stages]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Schedule:
        """Build the schedule that :meth:`to_dict` wrote."""
        return cls(Stage(**stage) for stage in data["stages"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self.stages == other.stages

    def __hash__(self) -> int:
        return hash(self.stages)

    def __repr__(self) -> str:
        return f"Schedule({list(self.stages)!r})"
