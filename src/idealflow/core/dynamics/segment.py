"""A segment of dynamics that watches itself: it screens, logs, writes its trajectory, and resumes to the bit."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idealflow.core.archive import read_archive, write_archive
from idealflow.core.dynamics.outcome import CheckOutcome, Observation, Reason, SegmentResult
from idealflow.core.dynamics.protocol import Motion, Sampler, get_sampler
from idealflow.core.dynamics.schedule import Schedule
from idealflow.core.dynamics.settings import SegmentChecks, SegmentEnds, SegmentFiles, Settings
from idealflow.core.dynamics.state import MDState
from idealflow.core.dynamics.trajectory_writer import TrajectoryWriter
from idealflow.core.rules import with_single_rules
from idealflow.errors import OtherSegmentError
from idealflow.former_names import formerly

__all__ = ["md_segment"]

_FILE_TYPE = "idealflow segment checkpoint"
_VERSION = 1
_COLUMNS = ("step", "time_fs", "temperature", "potential_energy", "target", "max_uncertainty", "volume", "pressure")
_FORMER_COLUMNS = 6  # of checkpoints before there were volume and pressure
_MAX_SUSPECTS = 16


@formerly(wall_time_s="time_limit_s")
def md_segment(
    calculator: Any,
    state: MDState,
    *,
    schedule: Schedule,
    sampler: Sampler | str = "langevin",
    ends: SegmentEnds | None = None,
    checks: SegmentChecks | None = None,
    files: SegmentFiles | None = None,
    **single: Any,
) -> SegmentResult:
    """Move a walker until something stops it.

    Everything is counted in absolute steps of the walker, so a run that a wall-time budget, a kill or a trigger cuts into
    segments is the uninterrupted run to the bit, as long as the calculator is a pure function of the frame (see
    :mod:`idealflow.core.dynamics.protocol`).

    Frames whose step is a multiple of ``check_interval`` are *check frames*: they are given to ``check``, logged, and become the
    frame to go back to after a blow-up. The starting frame is one of them if its step is such a multiple; so a frame that
    triggered is screened again before the walker moves on, and before its forces are computed.

    Parameters
    ----------
    calculator
        ASE calculator giving energy (eV) and forces (eV/Å); stress too (eV/Å³) for ``npt``.
    state
        Where to start.
    schedule
        Target temperature by step; its end ends the segment.
    sampler
        A sampler, or the name of one with default settings.
    ends
        What else ends the segment. None: ``SegmentEnds()``.
    checks
        Who looks at the frames. None: ``SegmentChecks()``.
    files
        What is written. None: ``SegmentFiles()``.
    **single
        Single fields of ``ends``, ``checks`` and ``files`` by name, as in ``stop_step=100``.

    Returns
    -------
    SegmentResult
        Where it ended and why. Of several reasons the first of these is given: ``blow_up``, ``triggered``, ``schedule_end``,
        ``segment_end``, ``wall_time``.

    Raises
    ------
    InputError
        Before any computation, if an argument or the state breaks a rule.
    OtherSegmentError
        If the checkpoint or the trajectory file belongs to a segment with other settings; both stay as they are.
    ArtifactError
        If the checkpoint or its trajectory is damaged.

    Examples
    --------
    Twenty steps of copper at 300 K, stopped by a check at the tenth:

    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.dynamics import CheckOutcome, MDState, Schedule, Stage
    >>> start = MDState.initial(bulk("Cu", cubic=True), temperature=300.0, seed=0)
    >>> hold = Schedule([Stage("hold", 300.0, steps=20)])
    >>> result = md_segment(EMT(), start, schedule=hold, check_interval=5, check=lambda _, step: CheckOutcome(step == 10))
    >>> result.reason, result.state.step, [row["step"] for row in result.log]
    ('triggered', 10, [0, 5, 10])
    >>> md_segment(EMT(), result.state, schedule=hold, ends=SegmentEnds(stop_step=15)).reason
    'segment_end'
    """
    sampler = get_sampler(sampler) if isinstance(sampler, str) else sampler
    settings = Settings(
        schedule,
        sampler,
        *with_single_rules("md_segment", single, (ends, SegmentEnds), (checks, SegmentChecks), (files, SegmentFiles)),
    )
    settings.refuse_bad_input(state)
    key = settings.key(state)
    log: list[dict[str, float]] = []
    n_frames: int | None = None
    trajectory, checkpoint = settings.files.trajectory, settings.files.checkpoint
    resumed = checkpoint is not None and Path(checkpoint.path).exists()
    if checkpoint is not None and resumed:
        state, log, n_frames = _load_checkpoint(checkpoint.path, key)
    form = settings.files.trajectory_format
    writer = None if trajectory is None else TrajectoryWriter(trajectory, state, key=key, keep=n_frames, form=form)
    with writer or contextlib.nullcontext():
        return _Run(calculator, state, settings, key=key, log=log, writer=writer, resumed=resumed).go()


def _load_checkpoint(path: str | Path, key: str) -> tuple[MDState, list[dict[str, float]], int]:
    arrays, meta = read_archive(path, _FILE_TYPE, _VERSION)
    if meta["key"] != key:
        raise OtherSegmentError(
            f"the checkpoint {path} belongs to another segment (its start, schedule, sampler, intervals, limits or key "
            "differ); delete it or choose another path"
        )
    rows = arrays.pop("log")
    if rows.shape[1] == _FORMER_COLUMNS:
        rows = np.pad(rows, ((0, 0), (0, len(_COLUMNS) - _FORMER_COLUMNS)), constant_values=math.nan)
    log = [dict(zip(_COLUMNS, (int(row[0]), *map(float, row[1:])), strict=True)) for row in rows]
    return MDState.from_arrays(arrays, meta), log, meta["n_frames"]


class _Run:
    """The moving parts of one segment."""

    def __init__(
        self,
        calculator: Any,
        state: MDState,
        settings: Settings,
        *,
        key: str,
        log: list[dict[str, float]],
        writer: TrajectoryWriter | None,
        resumed: bool,
    ) -> None:
        self.settings = settings
        self.resumed = resumed
        self.key = key
        self.log = log
        self.writer = writer
        self.start = state.step
        self.step = state.step
        self.time_step = settings.sampler.time_step(state)
        self.fixed = state.fixed_directions
        self.atoms = state.atoms()
        self.atoms.calc = calculator
        self.rng = state.rng()
        self.motion: Motion = settings.sampler.start(
            state, self.atoms, self.rng, settings.schedule.temperature(state.step)
        )
        self.max_uncertainty = math.nan
        # where a blow-up goes back to
        self.good = state
        self.good_check: CheckOutcome | None = None
        self.good_frames = 0 if writer is None else writer.n_frames
        self.suspects: deque[tuple[int, NDArray[np.float64], NDArray[np.float64]]] = deque(maxlen=_MAX_SUSPECTS)

    def go(self) -> SegmentResult:
        started = time.monotonic()
        first = self._first_screen()
        if first is not None and first.stop:
            return SegmentResult(self.good, "triggered", first, self.log, n_frames=self._n_frames())
        seen, trouble = self._look()
        while not trouble:
            moved = self.step > self.start
            row = self._row(seen)
            if moved or self.step == 0:
                self._store_frame(seen)
            outcome, is_check = None, self._is_check_frame()
            if is_check:
                outcome = self._check_frame(row, moved, first)
                first = None
            if moved and self.settings.checks.on_step is not None:
                self.settings.checks.on_step(row)
            reason = self._reason_to_stop(outcome, in_time=not (is_check and moved) or not self._spent(started))
            if reason is not None:
                state = self.good if is_check else self._capture()
                return SegmentResult(state, reason, outcome, self.log, n_frames=self._n_frames())
            if moved and not is_check:
                self._suspect()
            seen, trouble = self._move()
        return self._blow_up(trouble)

    def _is_check_frame(self) -> bool:
        first = self.settings.checks.check_first and self.step == self.start
        return first or self.step % self.settings.checks.check_interval == 0

    def _first_screen(self) -> CheckOutcome | None:
        """Screen the starting frame before its forces are computed: if it stops the segment, nobody needs them.

        It is then not logged, as its energy is unknown; a frame at step 0 is logged and stored when it is passed. A frame that a
        checkpoint resumes from was moved to, with forces.
        """
        if self.resumed or not self._is_check_frame() or self.settings.checks.check is None:
            return None
        self.good = self._capture()
        return self._screened()

    def _screened(self) -> CheckOutcome:
        """Give a copy of the last good frame to the check."""
        assert self.settings.checks.check is not None  # noqa: S101  # its callers have looked
        frame = self.good.atoms()
        frame.info.update(step=self.good.step, time=self.good.step * self.time_step)
        return self.settings.checks.check(frame, self.good.step)

    def _look(self) -> tuple[Observation, str]:
        seen = self.motion.observe()
        return seen, self.settings.limits.trouble(self.atoms, seen, self.fixed)

    def _move(self) -> tuple[Observation, str]:
        self.step += 1
        try:
            self.motion.step(self.settings.schedule.temperature(self.step))
            return self._look()
        except Exception as error:
            # calculators may raise on positions that are no longer numbers; any other error is a real failure
            if np.isfinite(self.atoms.positions).all() and np.isfinite(np.asarray(self.atoms.cell)).all():
                raise
            trouble = f"positions or cell are not finite ({type(error).__name__}: {error})"
            return Observation(math.nan, None, math.nan), trouble

    def _row(self, seen: Observation) -> dict[str, float]:
        return {
            "step": self.step,
            "time_fs": self.step * self.time_step,
            "temperature": seen.temperature,
            "potential_energy": seen.potential_energy,
            "target": self.settings.schedule.temperature(self.step),
            "max_uncertainty": self.max_uncertainty,
            "volume": float(self.atoms.cell.volume) if self.atoms.pbc.all() else math.nan,
            "pressure": seen.pressure,
        }

    def _store_frame(self, seen: Observation) -> None:
        if self.writer is not None and self.step % self.settings.trajectory_interval == 0:
            time_fs = self.step * self.time_step
            self.writer.append(self.atoms, self.step, time_fs, seen.potential_energy, seen.temperature)

    def _n_frames(self) -> int:
        return 0 if self.writer is None else self.writer.n_frames

    def _capture(self) -> MDState:
        return self.good.advanced(self.atoms, self.step, self.rng, self.motion.memory())

    def _check_frame(self, row: dict[str, float], moved: bool, known: CheckOutcome | None) -> CheckOutcome | None:
        """Save, screen (unless the outcome is known) and log a check frame, which becomes the last good frame."""
        self.good = self._capture()
        self.good_frames = self._n_frames()
        self.suspects.clear()
        if moved and self.step % self.settings.checkpoint_interval == 0:
            self._save_checkpoint()  # before the screen: a run that continues here screens this frame again
        outcome = known
        if outcome is None and self.settings.checks.check is not None:
            outcome = self._screened()
        if outcome is not None:
            self.max_uncertainty = row["max_uncertainty"] = float(outcome.max_uncertainty)
        self.good_check = outcome
        self.log.append(dict(row))
        return outcome

    def _save_checkpoint(self) -> None:
        checkpoint = self.settings.files.checkpoint
        if checkpoint is None:
            return
        if self.writer is not None:
            self.writer.sync()
        arrays, meta = self.good.to_arrays()
        rows = [[row[name] for name in _COLUMNS] for row in self.log]
        log = np.array(rows, dtype=np.float64).reshape(-1, len(_COLUMNS))
        meta = {**meta, "key": self.key, "n_frames": self.good_frames}
        write_archive(checkpoint.path, _FILE_TYPE, _VERSION, {**arrays, "log": log}, meta)

    def _spent(self, started: float) -> bool:
        budget = self.settings.ends.time_limit_s
        return budget is not None and time.monotonic() - started >= budget

    def _reason_to_stop(self, outcome: CheckOutcome | None, in_time: bool) -> Reason | None:
        if outcome is not None and outcome.stop:
            return "triggered"
        if self.step >= self.settings.schedule.n_steps:
            return "schedule_end"
        if self.step >= self.settings.last:
            return "segment_end"
        return None if in_time else "wall_time"

    def _suspect(self) -> None:
        self.suspects.append((self.step, self.atoms.positions.copy(), np.array(self.atoms.cell)))

    def _blow_up(self, trouble: str) -> SegmentResult:
        if np.isfinite(self.atoms.positions).all() and np.isfinite(np.asarray(self.atoms.cell)).all():
            self._suspect()
        frames = []
        for step, positions, cell in self.suspects:
            frame = self.good.atoms()
            frame.set_constraint()
            frame.set_cell(cell)
            frame.positions[:] = positions
            frame.arrays["momenta"][:] = 0.0  # only the structure of a suspect frame is needed
            frame.info["step"] = step
            frames.append(frame)
        if self.writer is not None:
            self.writer.cut(self.good_frames)
        detail = f"step {self.step}: {trouble}"
        return SegmentResult(self.good, "blow_up", self.good_check, self.log, frames, detail, self._n_frames())
