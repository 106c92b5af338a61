"""A starting frame is screened before its forces are computed, and each check frame once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from idealflow.core.dynamics import (
    CheckOutcome,
    Checkpoint,
    MDState,
    Schedule,
    SegmentResult,
    Stage,
    Trajectory,
    get_sampler,
    md_segment,
)
from support.md_worker import ExactEMT, Springs, copper

TEN = Schedule([Stage("hold", 300.0, steps=10)])


class Screens:
    """Stops at some steps; counts what it is asked, and fails where a kill is to stand."""

    def __init__(self, stop: set[int], killed_at: int | None = None) -> None:
        self.stop, self.killed_at = stop, killed_at
        self.asked: list[int] = []

    def __call__(self, _: Any, step: int) -> CheckOutcome:
        self.asked.append(step)
        if step == self.killed_at:
            raise KeyboardInterrupt
        return CheckOutcome(stop=step in self.stop, max_uncertainty=float(step))


def started(sampler: str = "langevin") -> MDState:
    """Some copper at a step that is no multiple of the check interval."""
    return md_segment(
        ExactEMT(), MDState.initial(copper(), 300.0, seed=1), schedule=TEN, sampler=sampler, stop_step=3
    ).state


@pytest.mark.parametrize("sampler", ["langevin", "nve", "bussi"])
def test_a_starting_frame_that_triggers_costs_no_forces(sampler: str) -> None:
    start, springs = started(sampler), Springs(copper().positions)
    check = Screens({3})
    end = md_segment(springs, start, schedule=TEN, sampler=sampler, check=check, check_first=True)
    assert (end.reason, end.state.step, check.asked, springs.calls) == ("triggered", 3, [3], 0)
    assert end.state.digest() == start.digest()
    assert end.check is not None
    assert end.check.stop
    assert end.log == []


def test_one_that_passes_is_screened_once_and_every_step_has_one_force_call() -> None:
    springs, check = Springs(copper().positions), Screens({9})
    end = md_segment(springs, started(), schedule=TEN, check=check, check_first=True, check_interval=3)
    assert (end.reason, check.asked) == ("triggered", [3, 6, 9])
    assert springs.calls == 1 + 6  # of the starting frame, with this model, and of every step
    assert not any(math.isnan(value) for row in end.log for value in row.values())


def test_a_first_frame_is_stored_when_it_is_passed(tmp_path: Path) -> None:
    start = MDState.initial(copper(), 300.0, seed=1)
    held = md_segment(ExactEMT(), start, schedule=TEN, check=Screens({0}), trajectory=tmp_path / "held")
    assert (held.reason, held.n_frames, len(Trajectory(tmp_path / "held"))) == ("triggered", 0, 0)
    passed = md_segment(ExactEMT(), held.state, schedule=TEN, check=Screens(set()), trajectory=tmp_path / "passed")
    assert passed.n_frames == 2
    assert Trajectory(tmp_path / "passed").steps().tolist() == [0, 10]


def test_a_checkpoint_that_a_trigger_follows_resumes_to_the_bit(tmp_path: Path) -> None:
    def run(folder: Path, check: Screens) -> SegmentResult:
        folder.mkdir(exist_ok=True)
        files = {"trajectory": folder / "md.idf", "checkpoint": Checkpoint(folder / "md.npz", interval=3)}
        start = MDState.initial(copper(), 300.0, seed=1)
        sampler = get_sampler("langevin", friction=0.05)
        return md_segment(ExactEMT(), start, schedule=TEN, sampler=sampler, check=check, check_interval=3, **files)

    whole = run(tmp_path / "whole", Screens({6}))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", Screens({6}, killed_at=6))
    again = run(tmp_path / "cut", screens := Screens({6}))
    assert screens.asked == [6]
    assert again.reason == whole.reason == "triggered"
    assert again.log == whole.log  # with the energy of the frame, which the run that was cut had computed
    assert again.state.digest() == whole.state.digest()
    assert (tmp_path / "cut" / "md.idf").read_bytes() == (tmp_path / "whole" / "md.idf").read_bytes()
